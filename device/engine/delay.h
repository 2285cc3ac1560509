/* Echoes: a stereo line with feedback, darker each time round, straight or from side to side. */
#ifndef TETRAD_DELAY_H
#define TETRAD_DELAY_H

#include <stdbool.h>
#include <stddef.h>

#include "ramp.h"

#define DELAY_MIN_MS 1.0f
#define DELAY_MAX_MS 2000.0f
#define DELAY_MAX_FEEDBACK 0.95f
#define DELAY_MIN_TONE_HZ 100.0f
#define DELAY_OPEN_TONE_HZ 20000.0f /* from here on nothing is taken away */

typedef struct {
    float mix;      /* 0: off, 1: the echoes alone; between them at equal power */
    float time_ms;  /* to the nearest frame */
    float feedback; /* of an echo, to the next one */
    float tone_hz;  /* what a low-pass of 6 dB an octave leaves, each time round; the first echo went round once */
    bool ping_pong; /* both channels' sum comes back left, then right, then left */
} delay_settings;

enum { DELAY_DRY, DELAY_WET, DELAY_FEEDBACK, DELAY_TONE, DELAY_CROSS, DELAY_RAMPS };

typedef struct {
    float *line;          /* [size][left, right]: a ring */
    int size;             /* frames, as all below */
    int at;               /* to be written next */
    int written;          /* since it was turned on, up to size */
    int time, time_wanted, time_before;
    int fade_frames, fade_left; /* from time_before to time */
    float rate_hz;
    float low[2];         /* state of the low-pass */
    delay_settings settings;
    bool on;

    ramp ramps[DELAY_RAMPS];
} delay;

/* Floats that delay_init() is to be given. */
size_t delay_memory(float rate_hz);
void delay_init(delay *d, float rate_hz, float *memory);

/* Between two renders; what changes is ramped, the time by a crossfade. Out of range: the nearest end; not a number: as
 * it was. */
void delay_set(delay *d, const delay_settings *settings);

/* stereo: interleaved, in place, at most VOICE_MAX_FRAMES pairs. */
void delay_render(delay *d, float *stereo, int frames);

#endif
