/* As product.h, of bfloat16: sum[r][v] over steps t and k < inner of x[t][r][k] * panel[t][k][v],
 * with the panel's k and k + 1 side by side, [inner / 2][columns][2]. */

typedef uint32_t pair __attribute__((aligned(2), may_alias));
typedef uint32_t pairs __attribute__((vector_size(4 * VLEN), aligned(2), may_alias));

/* c + a1 * b1 + a0 * b0 in each lane, rounded after each sum: a product of bfloat16 is exact. The
 * instruction takes numbers below the normal range for zero, whatever the processor's mode. It has
 * no builtin here, whose types differ from compiler to compiler. */
static inline vec multiply_add_pairs(pairs a, pairs b, vec c) {
#if defined(__AVX512BF16__)
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
  return c;
#else
  c = multiply_add((vec)(a & 0xffff0000), (vec)(b & 0xffff0000), c);
  return multiply_add((vec)(a << 16), (vec)(b << 16), c);
#endif
}

#define PAIRED(ROWS, WIDTH)                                                                      \
  static __attribute__((noinline)) void paired_##ROWS##x##WIDTH(                                 \
      float* acc, int64_t acc_row, int fresh, const bf16* const* x, const bf16* const* panel,    \
      int at, int64_t panel_k, int steps, int inner) {                                           \
    vec sum[ROWS][WIDTH];                                                                        \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++) sum[r][w] = (vec){0};              \
    for (int t = 0; t < steps; t++) {                                                            \
      const bf16 *b = panel[t] + 2 * at, *a[ROWS];                                               \
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) a[r] = x[t * BLOCK + r];           \
      for (int k = 0; k < inner / 2; k++) {                                                      \
        pairs weight[WIDTH];                                                                     \
        _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                  \
          weight[w] = *(const pairs*)(b + k * panel_k + w * 2 * VLEN);                           \
        _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) {                                \
          pairs value = *(const pair*)(a[r] + 2 * k) - (pairs){0};                               \
          _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                \
            sum[r][w] = multiply_add_pairs(value, weight[w], sum[r][w]);                         \
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

#if BLOCK == 8
PAIRED(8, 2)
PAIRED(8, 1)
#endif
PAIRED(4, 2)
PAIRED(4, 1)
PAIRED(2, 2)
PAIRED(2, 1)
PAIRED(1, 2)
PAIRED(1, 1)

#define PAIRED_ROWS(ROWS, WIDTH)                                                                \
  if (rows & ROWS) {                                                                            \
    paired_##ROWS##x##WIDTH(acc + r * acc_row + v, acc_row, fresh, x + r, panel, at, panel_k,   \
                            steps, inner);                                                      \
    r += ROWS;                                                                                  \
  }
#if BLOCK == 8
#define PAIRED_BLOCK(WIDTH) PAIRED_ROWS(8, WIDTH)
#else
#define PAIRED_BLOCK(WIDTH)
#endif
#define PAIRED_COLUMNS(WIDTH)                             \
  {                                                       \
    const bf16* const* panel = panels + v / width * most; \
    int at = v % width, r = 0;                            \
    PAIRED_BLOCK(WIDTH)                                   \
    PAIRED_ROWS(4, WIDTH)                                 \
    PAIRED_ROWS(2, WIDTH)                                 \
    PAIRED_ROWS(1, WIDTH)                                 \
  }

/* As `product`, of x with its elements side by side (x_k is 1). */
static inline __attribute__((always_inline)) void paired_product(
    float* acc, int64_t acc_row, int fresh, int rows, int columns, const bf16* const* x,
    int64_t x_k, const bf16* const* panels, int width, int most, int64_t panel_k, int steps,
    int inner) {
  int v = 0;
  for (; v + 2 * VLEN <= columns; v += 2 * VLEN) PAIRED_COLUMNS(2)
  for (; v < columns; v += VLEN) PAIRED_COLUMNS(1)
}
