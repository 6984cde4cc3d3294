/* What every generated kernel includes: scalar types, NaN-exact minima and maxima, vectorisable exp. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BITCAST(to, from, x)                       \
  ({                                               \
    from from_ = (x);                              \
    to to_;                                        \
    __builtin_memcpy(&to_, &from_, sizeof(to_));   \
    to_;                                           \
  })
#define MAX(a, b) ({ __typeof__(a) a_ = (a), b_ = (b); a_ > b_ ? a_ : b_; })
#define MIN(a, b) ({ __typeof__(a) a_ = (a), b_ = (b); a_ < b_ ? a_ : b_; })
/* Two selects, not one condition with ||: branches on random data cost 20 cycles an element. */
#define SELECT_UNORDERED(a, b, better, unordered, otherwise) \
  ({                                                         \
    __typeof__(a) a_ = (a), b_ = (b), c_ = better;           \
    unordered != unordered ? otherwise : c_;                 \
  })
/* IEEE 754 maximumNumber: the other operand when one is NaN. */
#define MAX_NUMBER(a, b) SELECT_UNORDERED(a, b, a_ > b_ ? a_ : b_, b_, a_)
#define MIN_NUMBER(a, b) SELECT_UNORDERED(a, b, a_ < b_ ? a_ : b_, b_, a_)
/* IEEE 754 maximum: NaN when one operand is NaN. */
#define MAX_NAN(a, b) SELECT_UNORDERED(a, b, a_ > b_ ? a_ : b_, a_, a_)
#define MIN_NAN(a, b) SELECT_UNORDERED(a, b, a_ < b_ ? a_ : b_, a_, a_)
/* A quotient of 32-bit integers is exact in double, which has vector instructions; by a constant the
 * compiler has better ones. */
#define QUOTIENT(a, b)                                                             \
  (__builtin_types_compatible_p(__typeof__(a), int32_t) && !__builtin_constant_p(b) \
       ? (__typeof__(a))((double)(a) / (double)(b))                                \
       : (a) / (b))
/* A GPU returns some value for x / 0 and INT_MIN / -1; the CPU would trap. */
#define DIVIDE(a, b)                                                              \
  ({                                                                              \
    __typeof__(a) a_ = (a), b_ = (b);                                             \
    b_ == 0 ? 0 : b_ == (__typeof__(a))-1 ? -a_ : QUOTIENT(a_, b_);               \
  })
#define REMAINDER(a, b)                                                           \
  ({                                                                              \
    __typeof__(a) a_ = (a), b_ = (b);                                             \
    b_ == 0 || b_ == (__typeof__(a))-1 ? 0 : a_ - QUOTIENT(a_, b_) * b_;          \
  })

/* a * b + c, rounded once where the processor has an instruction for it. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
static inline float multiply_add_f32(float a, float b, float c) { return fmaf(a, b, c); }
static inline double multiply_add_f64(double a, double b, double c) { return fma(a, b, c); }
#else
static inline float multiply_add_f32(float a, float b, float c) { return a * b + c; }
static inline double multiply_add_f64(double a, double b, double c) { return a * b + c; }
#endif

typedef uint16_t bf16;

static inline float bf16_to_float(bf16 x) { return BITCAST(float, uint32_t, (uint32_t)x << 16); }

/* Round to nearest even; NaN stays NaN. */
static inline bf16 float_to_bf16(float x) {
  uint32_t u = BITCAST(uint32_t, float, x);
  uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return x != x ? (u >> 16) | 64 : rounded;
}

/* Halves as bits: the conversions are integer arithmetic, which every compiler vectorises. */
typedef uint16_t half;

static inline float half_to_float(half x) {
  uint32_t magnitude = (uint32_t)(x & 0x7fff) << 13;
  float scaled = BITCAST(float, uint32_t, magnitude) * 0x1p112f;
  uint32_t bits = BITCAST(uint32_t, float, scaled);
  bits = magnitude >= 0x7c00u << 13 ? magnitude | 0x7f800000 : bits;
  return BITCAST(float, uint32_t, bits | (uint32_t)(x & 0x8000) << 16);
}

/* Round to nearest even; NaN stays NaN. */
static inline half float_to_half(float x) {
  uint32_t bits = BITCAST(uint32_t, float, x), magnitude = bits & 0x7fffffff;
  uint32_t normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  float shifted = BITCAST(float, uint32_t, magnitude) + 0.5f;
  uint32_t small = BITCAST(uint32_t, float, shifted) - 0x3f000000;
  uint32_t large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
  uint32_t result = magnitude < 0x38800000 ? small : normal;
  result = magnitude >= 0x47800000 ? large : result;
  return result | (bits >> 16 & 0x8000);
}

/* 2^n * x for n in [-252, 254]: in two steps, so that results below the normal range are right. */
static inline float scale_f32(float x, int32_t n) {
  int32_t first = n >> 1, second = n - first;
  return x * BITCAST(float, int32_t, (first + 127) << 23) *
         BITCAST(float, int32_t, (second + 127) << 23);
}

/* exp on [-ln2/2, ln2/2]: Taylor polynomial of degree 7, truncation below 2^-27. */
static inline float exp_core_f32(float r) {
  float p = 1.0f / 5040;
  p = fmaf(p, r, 1.0f / 720);
  p = fmaf(p, r, 1.0f / 120);
  p = fmaf(p, r, 1.0f / 24);
  p = fmaf(p, r, 1.0f / 6);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  return fmaf(p, r, 1.0f);
}

/* Within 2 ulp over the whole range; NaN, infinities, overflow and underflow as exp. */
static inline float exp_f32(float x) {
  float clamped = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
  float n = rintf(clamped * 1.44269504088896f);
  float r = fmaf(n, -0.693145751953125f, clamped);
  r = fmaf(n, -1.42860682030941723212e-6f, r);
  int32_t k = x == x ? (int32_t)n : 0;
  return scale_f32(exp_core_f32(r), k);
}

/* Within 2 ulp. */
static inline float exp2_f32(float x) {
  float clamped = x > 129.0f ? 129.0f : x < -151.0f ? -151.0f : x;
  float n = rintf(clamped);
  int32_t k = x == x ? (int32_t)n : 0;
  return scale_f32(exp_core_f32((clamped - n) * 0.693147180559945f), k);
}

/* Within 3 ulp: an odd polynomial near 0 (Cephes' tanhf), 1 - 2 / (exp(2|x|) + 1) elsewhere. */
static inline float tanh_f32(float x) {
  float a = fabsf(x), s = x * x;
  float p = -5.70498872745e-3f;
  p = fmaf(p, s, 2.06390887954e-2f);
  p = fmaf(p, s, -5.37397155531e-2f);
  p = fmaf(p, s, 1.33314422036e-1f);
  p = fmaf(p, s, -3.33332819422e-1f);
  float small = x * fmaf(p, s, 1.0f); /* not fmaf(p * s, x, x), which turns -0 into 0 */
  float large = copysignf(1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f), x);
  return a < 0.625f ? small : x != x ? x : large;
}

/* cos(pi x) within 2 ulp: of x off its nearest half, exactly, by Cephes' sinf or cosf. */
static inline float cospi_f32(float x) {
  float turned = x - 2.0f * rintf(0.5f * x);
  float half = rintf(2.0f * turned);
  float a = (turned - 0.5f * half) * 3.14159265358979f, s = a * a;
  float p = -1.9515295891e-4f;
  p = fmaf(p, s, 8.3321608736e-3f);
  p = fmaf(p, s, -1.6666654611e-1f);
  float sine = fmaf(a * s, p, a);
  float q = 2.443315711809948e-5f;
  q = fmaf(q, s, -1.388731625493765e-3f);
  q = fmaf(q, s, 4.166664568298827e-2f);
  float cosine = fmaf(s * s, q, fmaf(s, -0.5f, 1.0f));
  float size = fabsf(half);
  return size == 1.0f ? 0.0f - half * sine : size == 2.0f ? -cosine : cosine;
}

#define ATOMIC_UPDATE(T, BITS, p, combined)                                                   \
  ({                                                                                          \
    T* p_ = (p);                                                                              \
    T old_ = *(volatile T*)p_, new_;                                                          \
    do {                                                                                      \
      new_ = (combined);                                                                      \
    } while (!__atomic_compare_exchange((BITS*)p_, (BITS*)&old_, (BITS*)&new_, 0,             \
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));                 \
    old_;                                                                                     \
  })
