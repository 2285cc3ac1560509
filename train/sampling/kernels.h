/* The arithmetic that takes all of the time, once for each instruction set that it is compiled for. */
#ifndef SAMPLING_KERNELS_H
#define SAMPLING_KERNELS_H

#include <stddef.h>

#define LANES 16          /* channels that are gated together */
#define PANEL (2 * LANES) /* columns of a panel: weights are stored panel by panel, each [k][PANEL] */

typedef struct {
    const char *name;

    /* out [rows, PANEL * panels] += x [rows, k] times weights [panels][k][PANEL]; strides in floats between rows.
     * A row's sums do not depend on how many rows there are: a note is the same alone and in a batch. */
    void (*product)(float *out, size_t out_stride, const float *x, size_t x_stride, int rows, const float *weights,
                    int k, int panels);

    /* gated [LANES * panels] = sigmoid(first LANES of a panel) * tanh(last LANES), x [panels][2][LANES]; error under
     * 3e-7. What is no number stays none. */
    void (*gate)(float *gated, const float *x, int panels);

    /* x[i] = e^((x[i] - highest) * scale), for no x above the highest; relative error under 3e-7, but never less than
     * e^-80. */
    void (*exponentials)(float *x, int n, float highest, float scale);

    /* The machine's limits: the sum of n floats (n a multiple of PANEL), and a loop that does `multiply_adds_floats`
     * multiply-adds a round and touches no memory. The results are there so that the work is. */
    float (*sum)(const float *x, size_t n);
    float (*multiply_adds)(int rounds);
    int multiply_adds_floats;
} kernels;

/* The best that this processor runs, or the one of that name ("plain", "avx2", "avx512"); NULL if it cannot. */
const kernels *kernels_named(const char *name);

#endif
