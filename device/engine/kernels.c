/* Each kernel is written once, in kernel_set.h, and compiled for each instruction set. */
#include "kernels.h"

#include <stddef.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define FULL_SCALE (1.0f / 32768.0f)
#define PART_BITS (32 - KERNEL_PHASE_BITS) /* of the fraction, below the phase */
#define PHASE_SHIFT 6                      /* of a place, to what a phase's taps take in bytes */
#define AT_SHIFT (PHASE_SHIFT + KERNEL_PHASE_BITS)

/* Before a loop of fixed length over an array of vectors, so that they stay in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

/* Numbers of two vectors, the second's counted on. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

/* Two uses of what is loaded are to be one load; only x86 would make it two. */
#if defined(__x86_64__)
#define IN_REGISTER(x) __asm__("" : "+v"(x))
#else
#define IN_REGISTER(x) (void)0
#endif

#define JOINED(name, set) name##_##set
#define EXPANDED(name, set) JOINED(name, set)
#define NAMED(name) EXPANDED(name, SET)
#define QUOTED(name) #name
#define STRING(name) QUOTED(name)

INLINE const float *taps_at(const kernel_reading *reading, uint32_t place) {
    return (const float *)((const char *)reading + (place & ((1u << AT_SHIFT) - 1)));
}

/* Any processor; the registers are those of SSE2 and NEON. */
#define SET plain
#define TARGET
#define REGISTER 4
#define WIDE 4
#include "kernel_set.h"

#ifdef __x86_64__
#define SET avx2
#define TARGET __attribute__((target("avx2,fma")))
#define REGISTER 8
#define WIDE 8
#include "kernel_set.h"

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define REGISTER 8
#define WIDE 16
#include "kernel_set.h"
#endif

const kernel_set *kernels = &plain;

const kernel_set *kernels_named(const char *name) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
        && (!name || !strcmp(name, avx512.name)))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && (!name || !strcmp(name, avx2.name)))
        return &avx2;
#endif
    return !name || !strcmp(name, plain.name) ? &plain : NULL;
}

__attribute__((constructor)) static void choose(void) {
#ifdef __x86_64__
    __builtin_cpu_init();
#endif
    kernels = kernels_named(NULL);
}
