// What a machine can do at most: float32 multiply-adds in registers, and copies of memory.
#include <string.h>

#ifdef __AVX512F__
enum { BYTES = 64, REGISTERS = 24 };
#elif defined(__AVX__)
enum { BYTES = 32, REGISTERS = 12 };
#else
enum { BYTES = 16, REGISTERS = 24 };
#endif
typedef float vector __attribute__((vector_size(BYTES)));

// Operations that `times` rounds of one thread are.
double fma_operations(long times) { return 2.0 * times * REGISTERS * BYTES / sizeof(float); }

#ifndef __clang__
__attribute__((optimize("fp-contract=fast")))
#endif
static float multiply_add(long times, float factor)
{
#ifdef __clang__
#pragma clang fp contract(fast)
#endif
    vector sums[REGISTERS], by = factor - (vector){};
    for (int i = 0; i < REGISTERS; i++)
        sums[i] = (vector){} + (float)i;
    for (long t = 0; t < times; t++)
#pragma GCC unroll 32
        for (int i = 0; i < REGISTERS; i++)
            sums[i] = sums[i] * by + by;
    float sum = 0;
    for (int i = 0; i < REGISTERS; i++)
        for (int lane = 0; lane < BYTES / (int)sizeof(float); lane++)
            sum += sums[i][lane];
    return sum;
}

float fma_all(long times, float factor, int threads)
{
    float sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
    for (int thread = 0; thread < threads; thread++)
        sum += multiply_add(times, factor);
    return sum;
}

void copy_all(char *into, const char *from, long bytes, int threads)
{
    long part = bytes / threads;
#pragma omp parallel for num_threads(threads)
    for (int thread = 0; thread < threads; thread++)
        memcpy(into + thread * part, from + thread * part, part);
}
