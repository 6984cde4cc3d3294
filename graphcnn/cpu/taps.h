/* Sums over taps, each column by itself: sum[r][v] over taps t of x[t][r][v] * weight[t][v]. Pixels
 * and weights are read where they lie; a weight serves a block of rows, whose sums stay in vector
 * registers over all taps. */

#define TAPS(ROWS, WIDTH)                                                                        \
  static __attribute__((noinline)) void taps_##ROWS##x##WIDTH(                                   \
      float* acc, int64_t acc_row, const float* const* x, const float* const* w, int64_t v,      \
      int taps) {                                                                                \
    vec sum[ROWS][WIDTH];                                                                        \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++) sum[r][i] = (vec){0};              \
    for (int t = 0; t < taps; t++) {                                                             \
      vec weight[WIDTH];                                                                         \
      _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++)                                    \
        weight[i] = *(const vec*)(w[t] + v + i * VLEN);                                          \
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) {                                  \
        const float* a = x[t * BLOCK + r] + v;                                                   \
        _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++)                                  \
          sum[r][i] = multiply_add(*(const vec*)(a + i * VLEN), weight[i], sum[r][i]);           \
      }                                                                                          \
    }                                                                                            \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++)                                    \
        *(vec*)(acc + r * acc_row + v + i * VLEN) = sum[r][i];                                   \
  }

#if BLOCK == 8
TAPS(8, 2)
TAPS(8, 1)
#endif
TAPS(4, 2)
TAPS(4, 1)
TAPS(2, 2)
TAPS(2, 1)
TAPS(1, 2)
TAPS(1, 1)

#define TAPS_ROWS(ROWS, WIDTH)                                                                   \
  if (rows & ROWS) {                                                                             \
    taps_##ROWS##x##WIDTH(acc + r * acc_row, acc_row, x + r, w, v, taps);                        \
    r += ROWS;                                                                                   \
  }
#if BLOCK == 8
#define TAPS_BLOCK(WIDTH) TAPS_ROWS(8, WIDTH)
#else
#define TAPS_BLOCK(WIDTH)
#endif
#define TAPS_COLUMNS(WIDTH) \
  {                         \
    int r = 0;              \
    TAPS_BLOCK(WIDTH)       \
    TAPS_ROWS(4, WIDTH)     \
    TAPS_ROWS(2, WIDTH)     \
    TAPS_ROWS(1, WIDTH)     \
  }

/* acc[r][v] = the sums of at most BLOCK rows. The last columns that fill no vector are computed with
 * some before them once more; where there are none, one by one. */
static inline __attribute__((always_inline)) void sum_taps(float* acc, int64_t acc_row, int rows,
                                                           int columns, const float* const* x,
                                                           const float* const* w, int taps) {
  int v = 0;
  for (; v + 2 * VLEN <= columns; v += 2 * VLEN) TAPS_COLUMNS(2)
  for (; v + VLEN <= columns; v += VLEN) TAPS_COLUMNS(1)
  if (v == columns) return;
  if (v > 0) {
    v = columns - VLEN;
    TAPS_COLUMNS(1)
    return;
  }
  for (int r = 0; r < rows; r++)
    for (v = 0; v < columns; v++) {
      float sum = 0;
      for (int t = 0; t < taps; t++) sum = multiply_add_f32(x[t * BLOCK + r][v], w[t][v], sum);
      acc[r * acc_row + v] = sum;
    }
}
