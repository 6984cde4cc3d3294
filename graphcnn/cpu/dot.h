/* acc[s][v] += sum over k of scalar[s][k] * panel[k][v], in blocks that stay in vector registers.
 * Each sum starts at zero and is added to acc as a whole: a product of K terms in tiles of k is
 * then two short chains of additions, of k and of K / k, not one of K. */
#include <stdint.h>

#if defined(__AVX512F__)
#define VLEN 16
#define BLOCK 8
#elif defined(__AVX__)
#define VLEN 8
#define BLOCK 4
#else
#define VLEN 4
#define BLOCK 8
#endif

typedef float vec __attribute__((vector_size(4 * VLEN), aligned(4), may_alias));

/* a * b + c. Of the loop over lanes GCC 12 makes the same instruction, but copies each scalar to all
 * lanes by another. */
static inline vec multiply_add(vec a, vec b, vec c) {
#if defined(__AVX512F__)
  return (vec)__builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4);
#elif defined(__AVX__) && defined(__FMA__)
  return (vec)__builtin_ia32_vfmaddps256(a, b, c);
#else
  vec sum;
  for (int v = 0; v < VLEN; v++) sum[v] = multiply_add_f32(a[v], b[v], c[v]);
  return sum;
#endif
}

#define DOT_BLOCK(ROWS, WIDTH)                                                                   \
  static inline void dot_##ROWS##x##WIDTH(float* acc, int64_t acc_row, const float* panel,       \
                                          int64_t panel_row, const float* scalar,                \
                                          int64_t scalar_row, int64_t scalar_k, int inner) {     \
    vec sum[ROWS][WIDTH];                                                                        \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++) sum[r][w] = (vec){0};              \
    for (int k = 0; k < inner; k++) {                                                            \
      vec b[WIDTH];                                                                              \
      _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                    \
        b[w] = *(const vec*)(panel + k * panel_row + w * VLEN);                                  \
      _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++) {                                  \
        vec a = scalar[r * scalar_row + k * scalar_k] - (vec){0};                                \
        _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                  \
          sum[r][w] = multiply_add(a, b[w], sum[r][w]);                                          \
      }                                                                                          \
    }                                                                                            \
    _Pragma("GCC unroll 16") for (int r = 0; r < ROWS; r++)                                      \
      _Pragma("GCC unroll 2") for (int w = 0; w < WIDTH; w++)                                    \
        *(vec*)(acc + r * acc_row + w * VLEN) += sum[r][w];                                      \
  }

DOT_BLOCK(1, 1)
DOT_BLOCK(1, 2)
DOT_BLOCK(4, 1)
DOT_BLOCK(4, 2)
DOT_BLOCK(8, 1)
DOT_BLOCK(8, 2)

#define DOT_TILE(ROWS, WIDTH)                                                             \
  for (int v = 0; v < columns; v += WIDTH * VLEN)                                         \
    for (int s = 0; s < rows; s += ROWS)                                                  \
      dot_##ROWS##x##WIDTH(acc + s * acc_row + v, acc_row, panel + v, panel_row,          \
                           scalar + s * scalar_row, scalar_row, scalar_k, inner)

#define DOT_ROWS(WIDTH)                     \
  if (BLOCK == 8 && rows % 8 == 0) {        \
    DOT_TILE(8, WIDTH);                     \
  } else if (rows % 4 == 0) {               \
    DOT_TILE(4, WIDTH);                     \
  } else {                                  \
    DOT_TILE(1, WIDTH);                     \
  }

/* All sizes are constants at the call. */
static inline __attribute__((always_inline)) void dot_tile(
    float* acc, int64_t acc_row, const float* panel, int64_t panel_row, const float* scalar,
    int64_t scalar_row, int64_t scalar_k, int rows, int columns, int inner) {
  if (columns % (2 * VLEN) == 0) {
    DOT_ROWS(2)
  } else if (columns % VLEN == 0) {
    DOT_ROWS(1)
  } else {
    for (int s = 0; s < rows; s++) {
      float sum[columns];
      for (int v = 0; v < columns; v++) sum[v] = 0;
      for (int k = 0; k < inner; k++)
        for (int v = 0; v < columns; v++)
          sum[v] = multiply_add_f32(scalar[s * scalar_row + k * scalar_k],
                                    panel[k * panel_row + v], sum[v]);
      for (int v = 0; v < columns; v++) acc[s * acc_row + v] += sum[v];
    }
  }
}
