/* Sums over taps, each column by itself: sum[r][v] over taps t of x[t][r][v] * weight[t][v]. Pixels
 * and weights are read where they lie, of 16 bits widened as they are loaded; a weight serves a block
 * of rows, whose sums stay in vector registers over all taps. */

#define TAPS(NAME, ROWS, WIDTH, ELEMENT, VECTOR)                                                 \
  static __attribute__((noinline)) void NAME##_##ROWS##x##WIDTH(                                 \
      float* acc, int64_t acc_row, const ELEMENT* const* x, const ELEMENT* const* w, int64_t v,  \
      int taps) {                                                                                \
    vec sum[ROWS][WIDTH];                                                                        \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++) sum[r][i] = (vec){0};              \
    for (int t = 0; t < taps; t++) {                                                             \
      vec weight[WIDTH];                                                                         \
      _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++)                                    \
        weight[i] = VECTOR(w[t] + v + i * VLEN);                                                 \
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) {                                  \
        const ELEMENT* a = x[t * BLOCK + r] + v;                                                 \
        _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++)                                  \
          sum[r][i] = multiply_add(VECTOR(a + i * VLEN), weight[i], sum[r][i]);                  \
      }                                                                                          \
    }                                                                                            \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int i = 0; i < WIDTH; i++)                                    \
        *(vec*)(acc + r * acc_row + v + i * VLEN) = sum[r][i];                                   \
  }

#define TAPS_ROWS(NAME, ROWS, WIDTH)                                                             \
  if (rows & ROWS) {                                                                             \
    NAME##_##ROWS##x##WIDTH(acc + r * acc_row, acc_row, x + r, w, v, taps);                      \
    r += ROWS;                                                                                   \
  }
#if BLOCK == 8
#define TAPS_OF_BLOCK(NAME, ELEMENT, VECTOR) \
  TAPS(NAME, 8, 2, ELEMENT, VECTOR) TAPS(NAME, 8, 1, ELEMENT, VECTOR)
#define TAPS_BLOCK(NAME, WIDTH) TAPS_ROWS(NAME, 8, WIDTH)
#else
#define TAPS_OF_BLOCK(NAME, ELEMENT, VECTOR)
#define TAPS_BLOCK(NAME, WIDTH)
#endif
#define TAPS_COLUMNS(NAME, WIDTH) \
  {                               \
    int r = 0;                    \
    TAPS_BLOCK(NAME, WIDTH)       \
    TAPS_ROWS(NAME, 4, WIDTH)     \
    TAPS_ROWS(NAME, 2, WIDTH)     \
    TAPS_ROWS(NAME, 1, WIDTH)     \
  }

/* Defines NAME, by which acc[r][v] = the sums of at most BLOCK rows. The last columns that fill no
 * vector are computed with some before them once more; where there are none, one by one. VECTOR and
 * NUMBER make floats of what a pointer points to, and of one element. */
#define SUMS_OF_TAPS(NAME, ELEMENT, VECTOR, NUMBER)                                              \
  TAPS_OF_BLOCK(NAME, ELEMENT, VECTOR)                                                           \
  TAPS(NAME, 4, 2, ELEMENT, VECTOR)                                                              \
  TAPS(NAME, 4, 1, ELEMENT, VECTOR)                                                              \
  TAPS(NAME, 2, 2, ELEMENT, VECTOR)                                                              \
  TAPS(NAME, 2, 1, ELEMENT, VECTOR)                                                              \
  TAPS(NAME, 1, 2, ELEMENT, VECTOR)                                                              \
  TAPS(NAME, 1, 1, ELEMENT, VECTOR)                                                              \
  static inline __attribute__((always_inline)) void NAME(                                        \
      float* acc, int64_t acc_row, int rows, int columns, const ELEMENT* const* x,               \
      const ELEMENT* const* w, int taps) {                                                       \
    int v = 0;                                                                                   \
    for (; v + 2 * VLEN <= columns; v += 2 * VLEN) TAPS_COLUMNS(NAME, 2)                         \
    for (; v + VLEN <= columns; v += VLEN) TAPS_COLUMNS(NAME, 1)                                 \
    if (v == columns) return;                                                                    \
    if (v > 0) {                                                                                 \
      v = columns - VLEN;                                                                        \
      TAPS_COLUMNS(NAME, 1)                                                                      \
      return;                                                                                    \
    }                                                                                            \
    for (int r = 0; r < rows; r++)                                                               \
      for (v = 0; v < columns; v++) {                                                            \
        float sum = 0;                                                                           \
        for (int t = 0; t < taps; t++)                                                           \
          sum = multiply_add_f32(NUMBER(x[t * BLOCK + r][v]), NUMBER(w[t][v]), sum);             \
        acc[r * acc_row + v] = sum;                                                              \
      }                                                                                          \
  }

SUMS_OF_TAPS(sum_taps, float, *(const vec*), )
