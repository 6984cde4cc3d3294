/* Numbers of 16 bits as floats and back: of halves by the processor's instructions, where compilers
 * take one element after the other, or integer arithmetic. */

static inline vec vector_of_half(const half* from) {
#if defined(__AVX512F__)
  typedef short halves __attribute__((vector_size(32), aligned(2), may_alias));
  return (vec)__builtin_ia32_vcvtph2ps512_mask(*(const halves*)from, (vec){0}, -1, 4);
#elif defined(__F16C__)
  typedef short halves __attribute__((vector_size(16), aligned(2), may_alias));
  return (vec)__builtin_ia32_vcvtph2ps256(*(const halves*)from);
#else
  vec floats;
  for (int v = 0; v < VLEN; v++) floats[v] = half_to_float(from[v]);
  return floats;
#endif
}

static inline vec vector_of_bf16(const bf16* from) {
  typedef bf16 upper __attribute__((vector_size(2 * VLEN), aligned(2), may_alias));
  typedef uint32_t bits __attribute__((vector_size(4 * VLEN)));
  return (vec)(__builtin_convertvector(*(const upper*)from, bits) << 16);
}

/* A row of them. */
static inline void widen_f16(float* to, const half* from, int count) {
  int i = 0;
  for (; i + VLEN <= count; i += VLEN) *(vec*)(to + i) = vector_of_half(from + i);
  for (; i < count; i++) to[i] = half_to_float(from[i]);
}

static inline void widen_bf16(float* to, const bf16* from, int count) {
  for (int i = 0; i < count; i++) to[i] = bf16_to_float(from[i]);
}

static inline void vector_to_half(half* to, const float* from) {
#if defined(__AVX512F__)
  typedef short halves __attribute__((vector_size(32), aligned(2), may_alias));
  typedef short whole __attribute__((vector_size(32)));
  *(halves*)to = (halves)__builtin_ia32_vcvtps2ph512_mask(*(const vec*)from, 0, (whole){0}, -1);
#elif defined(__F16C__)
  typedef short halves __attribute__((vector_size(16), aligned(2), may_alias));
  *(halves*)to = (halves)__builtin_ia32_vcvtps2ph256(*(const vec*)from, 0);
#else
  for (int v = 0; v < VLEN; v++) to[v] = float_to_half(from[v]);
#endif
}

/* As float_to_bf16. */
static inline void vector_to_bf16(bf16* to, const float* from) {
  typedef bf16 upper __attribute__((vector_size(2 * VLEN), aligned(2), may_alias));
  typedef uint32_t bits __attribute__((vector_size(4 * VLEN)));
  vec x = *(const vec*)from;
  bits u = (bits)x, nan = (bits)(x != x);
  bits rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  *(upper*)to = __builtin_convertvector((nan & ((u >> 16) | 64)) | (~nan & rounded), upper);
}

/* Define NAME, which rounds a row of floats; VLEN or more lie there. What fills no vector is rounded
 * with some before it once more. */
#define NARROW(NAME, ELEMENT)                                                        \
  static inline void NAME(ELEMENT* to, const float* from, int count) {               \
    int i = 0;                                                                       \
    for (; i + VLEN <= count; i += VLEN) vector_to_##ELEMENT(to + i, from + i);      \
    if (i >= count) return;                                                          \
    if (i > 0) {                                                                     \
      vector_to_##ELEMENT(to + count - VLEN, from + count - VLEN);                   \
      return;                                                                        \
    }                                                                                \
    ELEMENT first[VLEN];                                                             \
    vector_to_##ELEMENT(first, from);                                                \
    for (; i < count; i++) to[i] = first[i];                                         \
  }
NARROW(narrow_f16, half)
NARROW(narrow_bf16, bf16)
