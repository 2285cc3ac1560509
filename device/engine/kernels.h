/* What is done to many numbers at once: the inner loops of the stages, compiled for each instruction set (kernel_set.h).
 * Which set is used is decided when the program starts. */
#ifndef TETRAD_KERNELS_H
#define TETRAD_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#define LANES 8 /* voices side by side */

/* Samples of four cells: left and right above, then below; and where the first of them stands. */
typedef struct {
    const int16_t *samples[4];
    int column, row;
} kernel_cells;

/* Where eight voices stand in their doubled sounds. */
typedef struct {
    const float *base;      /* what the first lane's reading reaches back to at position 0 */
    int32_t doubled[LANES]; /* from there on to that of each */
    int32_t whole[LANES], whole_step[LANES], whole_glide[LANES];
    uint32_t part[LANES], part_step[LANES], part_glide[LANES]; /* 32 bits of fraction */
    bool glides;            /* any of them */
} kernel_places;

#define KERNEL_READ_TAPS 8
#define KERNEL_PHASE_BITS 7
#define KERNEL_READ_FRAMES 32 /* at once, at most */

/* [phase][value, step to the next phase's][tap] */
typedef float kernel_reading[1 << KERNEL_PHASE_BITS][2][KERNEL_READ_TAPS];

#define KERNEL_DOUBLED 64 /* samples doubled at once */
#define KERNEL_TAPS 56

/* A doubling filter, and the same as what each sample adds to the doubled ones: of sample s out of eight in a row,
 * added[s][j] to the j-th from the first one that any of the eight is heard in. */
typedef struct {
    float taps[2][KERNEL_TAPS]; /* on a sample, between it and the next */
    _Alignas(64) float added[8][128];
} kernel_doubling;

/* What a filter multiplies by (filter.c), each for all lanes. */
typedef struct {
    float a1[LANES], a2[LANES], a3[LANES];             /* states to states */
    float driven[LANES], first[LANES], second[LANES];  /* to the output */
} kernel_coefficients;

typedef struct {
    float s1[LANES], s2[LANES];    /* of the two integrators: band and low */
    kernel_coefficients now, step; /* step: added each frame, where it moves */
} kernel_filter;

/* What a lane's sound is multiplied by: (asymptote + distance) * level; frame by frame distance is multiplied by
 * coefficient, and level_step is added to level. */
typedef struct {
    float asymptote[LANES], distance[LANES], coefficient[LANES];
    float level[LANES], level_step[LANES];
    float left[LANES], right[LANES];
} kernel_shape;

typedef struct {
    const char *name;

    /* out[n] = the cells, mixed by nearness to (x, y), 0..1. */
    void (*blend_still)(const kernel_cells *from, float x, float y, float *out, int samples);

    /* The same on the way, all of it between the same four. */
    void (*blend_moving)(const kernel_cells *from, const float *across, const float *down, float *out, int samples);

    /* out[2 n] = sum over k of taps[0][k] * line[n + k], out[2 n + 1] with taps[1]; n < KERNEL_DOUBLED. line[-1] is
     * read, too, and is to be a number. */
    void (*double_rate)(float *out, const float *line, const kernel_doubling *filter);

    /* out[frame][lane]: between the doubled samples; the places go on. */
    void (*read)(kernel_places *places, const kernel_reading *reading, float (*out)[LANES], int frames);

    /* Two filters at once, for each waits for its own last frame. x[filter][frame][lane], in place. */
    void (*filter)(kernel_filter *const f[2], float (*const x[2])[LANES], bool moves, int frames);

    /* Adds to left and right [frame][lane]. */
    void (*shape)(kernel_shape *shape, float (*sound)[LANES], float (*left)[LANES], float (*right)[LANES], int frames);
} kernel_set;

/* The fastest that this processor runs. */
extern const kernel_set *kernels;

/* That of a name, for tests; NULL where there is none here. */
const kernel_set *kernels_named(const char *name);

#endif
