/* Each kernel is written once, in kernel_set.h, and compiled for each instruction set. */
#include "kernels.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define LINE_FLOATS 16       /* of a cache line */
#define PREFETCH_FLOATS 1024 /* how far ahead weights are asked for, in all panels together: 4 KB, by trial */
#define PREFETCH(address) __builtin_prefetch(address, 0, 2) /* as far as the second cache, which awaits more lines */

INLINE float clamped(float x, float low, float high) {
    return x < low ? low : x > high ? high : x; /* what is no number stays none */
}

/* e^x for |x| <= 80 as 2^n e^r, |r| <= ln 2 / 2, the latter by its Taylor series to r^6: relative error 3e-7. */
INLINE float exponential(float x) {
    const float rounder = 12582912.0f; /* 1.5 * 2^23: the lowest bits of a sum with it are a whole number's */
    float shifted = x * 1.44269504f + rounder, n = shifted - rounder;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts, the first of few bits */
    float series = 1 + r * (1 + r * (1 / 2.f + r * (1 / 6.f + r * (1 / 24.f + r * (1 / 120.f + r * (1 / 720.f))))));
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    return power * series;
}

#define JOINED(name, set) name##_##set
#define EXPANDED(name, set) JOINED(name, set)
#define NAMED(name) EXPANDED(name, SET)
#define QUOTED(name) #name
#define STRING(name) QUOTED(name)

/* Any processor; the registers are those of SSE2 and NEON. */
#define SET plain
#define TARGET
#define REGISTER 4
#define MOST_ROWS 2
#define MULTIPLY_ADDS_FLOATS (12 * REGISTER)
#include "kernel_set.h"

#ifdef __x86_64__
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define REGISTER 8
#define MOST_ROWS 2
#define MULTIPLY_ADDS_FLOATS (12 * REGISTER)
#include "kernel_set.h"

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define REGISTER 16
#define MOST_ROWS 8
#define MULTIPLY_ADDS_FLOATS (16 * REGISTER)
#include "kernel_set.h"
#endif

const kernels *kernels_named(const char *name) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
        && (!name || !strcmp(name, avx512.name)))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && (!name || !strcmp(name, avx2.name)))
        return &avx2;
#endif
    return !name || !strcmp(name, plain.name) ? &plain : NULL;
}
