/* Sums of products that stay in vector registers: sum[r][v] over steps t and k < inner of
 * x[t][r][k * x_k] * panel[t][k * panel_k + v]. Rows and panels are read where they lie, a step's
 * through pointers of its own; the last rows go in blocks of 4, 2 and 1. Each block is a function of
 * its own, which GCC specialises for its constants: inside a kernel it spills some of the sums. */

/* Numbers from a line that is read to the one that is requested, a page: of distances measured, the
 * quickest. */
#define AHEAD 1024

#define PRODUCT(NAME, ROWS, WIDTH, ROW)                                                          \
  static __attribute__((noinline)) void NAME##_##ROWS##x##WIDTH(                                 \
      float* acc, int64_t acc_row, int fresh, const float* const* x, const int64_t* offset,      \
      int64_t x_k, const float* const* panel, int64_t at, int64_t panel_k, int steps,            \
      int inner, int ahead) {                                                                    \
    vec sum[ROWS][WIDTH];                                                                        \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++) sum[r][w] = (vec){0};              \
    for (int t = 0; t < steps; t++) {                                                            \
      const float *b = panel[t] + at, *a[ROWS];                                                  \
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) a[r] = ROW;                        \
      for (int k = 0; k < inner; k++) {                                                          \
        vec weight[WIDTH];                                                                       \
        _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                  \
          weight[w] = *(const vec*)(b + k * panel_k + w * VLEN);                                 \
        if (ahead)                                                                               \
          _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                \
            __builtin_prefetch(b + k * panel_k + w * VLEN + AHEAD, 0, 2);                        \
        _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) {                                \
          vec value = a[r][k * x_k] - (vec){0};                                                  \
          _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                \
            sum[r][w] = multiply_add(value, weight[w], sum[r][w]);                               \
        }                                                                                        \
      }                                                                                          \
    }                                                                                            \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++) {                                  \
        vec* place = (vec*)(acc + r * acc_row + w * VLEN);                                       \
        if (!fresh) sum[r][w] += *place;                                                         \
        *place = sum[r][w];                                                                      \
      }                                                                                          \
  }

#define IN_TABLE x[t * BLOCK + r]
#define AT_OFFSET x[r] + offset[t]
#if BLOCK == 8
PRODUCT(product, 8, 2, IN_TABLE)
PRODUCT(product, 8, 1, IN_TABLE)
PRODUCT(whole, 8, 2, AT_OFFSET)
PRODUCT(whole, 8, 1, AT_OFFSET)
#else
PRODUCT(whole, 4, 2, AT_OFFSET)
PRODUCT(whole, 4, 1, AT_OFFSET)
#endif
PRODUCT(product, 4, 2, IN_TABLE)
PRODUCT(product, 4, 1, IN_TABLE)
PRODUCT(product, 2, 2, IN_TABLE)
PRODUCT(product, 2, 1, IN_TABLE)
PRODUCT(product, 1, 2, IN_TABLE)
PRODUCT(product, 1, 1, IN_TABLE)

#define PRODUCT_ROWS(ROWS, WIDTH)                                                               \
  if (rows & ROWS) {                                                                            \
    product_##ROWS##x##WIDTH(acc + r * acc_row + v, acc_row, fresh, x + r, 0, x_k, panel, at,   \
                             panel_k, steps, inner, ahead);                                     \
    r += ROWS;                                                                                  \
  }
#if BLOCK == 8
#define PRODUCT_BLOCK(WIDTH) PRODUCT_ROWS(8, WIDTH)
#else
#define PRODUCT_BLOCK(WIDTH)
#endif
#define PRODUCT_COLUMNS(WIDTH)                          \
  {                                                     \
    const float* const* panel = panels + v / width * most; \
    int at = v % width, r = 0;                          \
    PRODUCT_BLOCK(WIDTH)                                \
    PRODUCT_ROWS(4, WIDTH)                              \
    PRODUCT_ROWS(2, WIDTH)                              \
    PRODUCT_ROWS(1, WIDTH)                              \
  }

/* acc[r][v] = or += the sums of at most BLOCK rows; panel v / width has pointers for `most` steps.
 * `columns` is a multiple of VLEN; all sizes but rows, columns and steps are constants at the call.
 * `ahead`: the panels may come from memory, whose lines are requested before they are read. */
static inline __attribute__((always_inline)) void product(
    float* acc, int64_t acc_row, int fresh, int rows, int columns, const float* const* x,
    int64_t x_k, const float* const* panels, int width, int most, int64_t panel_k, int steps,
    int inner, int ahead) {
  int v = 0;
  for (; v + 2 * VLEN <= columns; v += 2 * VLEN) PRODUCT_COLUMNS(2)
  for (; v < columns; v += VLEN) PRODUCT_COLUMNS(1)
}

#if BLOCK == 8
#define WHOLE(WIDTH) whole_8x##WIDTH
#else
#define WHOLE(WIDTH) whole_4x##WIDTH
#endif
#define WHOLE_COLUMNS(WIDTH)                                                                  \
  WHOLE(WIDTH)(acc + v, acc_row, fresh, x, offset, x_k, panels + v / width * most, v % width, \
               panel_k, steps, inner, 0);

/* The same of BLOCK rows that have a pointer each, and an offset in each step. */
static inline __attribute__((always_inline)) void product_whole(
    float* acc, int64_t acc_row, int fresh, int columns, const float* const* x,
    const int64_t* offset, int64_t x_k, const float* const* panels, int width, int most,
    int64_t panel_k, int steps, int inner) {
  int v = 0;
  for (; v + 2 * VLEN <= columns; v += 2 * VLEN) WHOLE_COLUMNS(2)
  for (; v < columns; v += VLEN) WHOLE_COLUMNS(1)
}

/* The sums beyond those rows and columns are zero. */
static inline void zero_rest(float* acc, int64_t acc_row, int count, int rows, int columns) {
  for (int r = 0; r < count; r++) {
    int64_t first = r < rows ? columns : 0;
    if (first < acc_row) memset(acc + r * acc_row + first, 0, sizeof(float) * (acc_row - first));
  }
}
