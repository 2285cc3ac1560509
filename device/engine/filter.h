/* A state-variable filter for eight voices side by side: one instruction works on several of them. */
#ifndef TETRAD_FILTER_H
#define TETRAD_FILTER_H

#include "kernels.h"

#define FILTER_LANES LANES
#define FILTER_MIN_HZ 10.0f
#define FILTER_MAX_OF_RATE 0.45f /* highest cutoff, of the sample rate */
#define FILTER_MIN_Q 0.5f        /* at resonance 0: both poles on one spot, no overshoot */
#define FILTER_MAX_Q 20.0f       /* at resonance 1: 26 dB at the cutoff; between them Q = 0.5 * 40 ^ resonance */

typedef enum { FILTER_LOW, FILTER_BAND, FILTER_HIGH } filter_mode; /* 12 dB, 6 and 6 dB, 12 dB an octave; band: 0 dB */

typedef struct {
    filter_mode mode;
    float cutoff_hz, resonance, rate_hz;
} filter_setting;

typedef struct {
    kernel_filter kernel;
    kernel_coefficients aim;
    filter_setting aimed[FILTER_LANES];       /* last */
    int frames_left[FILTER_LANES];            /* to the aim */
    int next_arrival;                         /* no lane arrives in fewer frames; INT_MAX where none moves */
    int frames_to_flush;
} filter_lanes;

/* Every lane silent, and open. */
void filter_init(filter_lanes *f);

/* A lane forgets its past and is set at once. resonance: 0..1. What is out of range is taken as its nearest end; with
 * what is not a number, the lane is left open. */
void filter_start(filter_lanes *f, int lane, filter_mode mode, float cutoff_hz, float resonance, float rate_hz);

/* A lane is led there in straight lines over the next `frames` frames, wherever it stands now: also from one mode to
 * another. What is not a number changes nothing. */
void filter_aim(filter_lanes *f, int lane, filter_mode mode, float cutoff_hz, float resonance, float rate_hz,
                int frames);

/* A lane with its past, from another. */
void filter_copy_lane(filter_lanes *to, int lane, const filter_lanes *from, int from_lane);

/* Filters side by side; x: [filter][frames][lanes], in place. */
void filter_render(filter_lanes *const f[2], float (*const x[2])[FILTER_LANES], int frames);

#endif
