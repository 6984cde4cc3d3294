/* Numbers of 16 bits as floats, a row at a time: by the processor's instruction, where compilers take
 * one element after the other, or integer arithmetic. */

static inline void widen_f16(float* to, const half* from, int count) {
  int i = 0;
#if defined(__AVX512F__)
  typedef short halves __attribute__((vector_size(32), aligned(2), may_alias));
  for (; i + 16 <= count; i += 16)
    *(vec*)(to + i) =
        (vec)__builtin_ia32_vcvtph2ps512_mask(*(const halves*)(from + i), (vec){0}, -1, 4);
#elif defined(__F16C__)
  typedef short halves __attribute__((vector_size(16), aligned(2), may_alias));
  for (; i + 8 <= count; i += 8)
    *(vec*)(to + i) = (vec)__builtin_ia32_vcvtph2ps256(*(const halves*)(from + i));
#endif
  for (; i < count; i++) to[i] = half_to_float(from[i]);
}

static inline void widen_bf16(float* to, const bf16* from, int count) {
  for (int i = 0; i < count; i++) to[i] = bf16_to_float(from[i]);
}
