/* Chorus: two voices a channel, read from the last milliseconds at delays that swing, beside the sound itself. */
#ifndef TETRAD_CHORUS_H
#define TETRAD_CHORUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ramp.h"

#define CHORUS_MIN_HZ 0.05f
#define CHORUS_MAX_HZ 8.0f
#define CHORUS_MAX_DEPTH_MS 10.0f
#define CHORUS_TAPS 8     /* of the reading kernel: within 0.2 dB to 0.3 of the sample rate, see chorus.c */
#define CHORUS_PHASES 128 /* of it, straight lines between */

typedef struct {
    float mix;      /* 0: off, 1: the voices alone; between them at equal power */
    float rate_hz;
    float depth_ms; /* of the delay, from end to end of its swing */
} chorus_settings;

enum { CHORUS_DRY, CHORUS_WET, CHORUS_RATE, CHORUS_DEPTH, CHORUS_RAMPS };

typedef struct {
    float kernel[CHORUS_PHASES][2][CHORUS_TAPS]; /* [phase][value, step to the next][tap] */
    float *lines[2];    /* [left, right]: a ring, and its first samples once more behind it */
    uint32_t mask;      /* frames of a ring - 1 */
    uint32_t written;   /* frames */
    float frames_a_ms, rate_hz;
    chorus_settings settings;
    bool on;
    uint32_t turn; /* of the swing, 2^32 a cycle */

    ramp ramps[CHORUS_RAMPS];
} chorus;

/* Floats that chorus_init() is to be given. */
size_t chorus_memory(float rate_hz);
void chorus_init(chorus *c, float rate_hz, float *memory);

/* Between two renders; what changes is ramped. Out of range: the nearest end; not a number: as it was. */
void chorus_set(chorus *c, const chorus_settings *settings);

/* stereo: interleaved, in place, at most VOICE_MAX_FRAMES pairs. */
void chorus_render(chorus *c, float *stereo, int frames);

#endif
