/* Reverb: a network of eight delay lines fed back through a matrix that loses nothing, so that the lines' own gains
 * say how long it sounds. */
#ifndef TETRAD_REVERB_H
#define TETRAD_REVERB_H

#include <stdbool.h>
#include <stddef.h>

#include "ramp.h"

#define REVERB_LINES 8
#define REVERB_DIFFUSERS 4 /* a channel */
#define REVERB_MIN_DECAY_S 0.2f
#define REVERB_MAX_DECAY_S 20.0f
#define REVERB_MIN_DAMPING_HZ 200.0f
#define REVERB_MAX_DAMPING_OF_RATE 0.45f
#define REVERB_MAX_PREDELAY_MS 250.0f

typedef struct {
    float mix;         /* 0: off, 1: the room alone; between them at equal power */
    float decay_s;     /* until low tones are 60 dB down */
    float damping_hz;  /* a tone of this pitch is down in half of that time */
    float predelay_ms; /* to the nearest frame */
} reverb_settings;

/* A delay of as many frames as it holds: what comes in takes the place of what goes out. */
typedef struct {
    float *samples;
    int frames, at;
} reverb_ring;

/* Of each line's low-pass, out = kept * out + passed * in, and of what comes in. */
typedef struct {
    float passed[REVERB_LINES], kept[REVERB_LINES], input;
} reverb_losses;

/* A pair of lines, turned by an angle that swings to and fro. */
typedef struct {
    double swing[2]; /* cosine, sine of where in its swing it will be at the next setting */
    float cosine, sine, cosine_step, sine_step; /* of the angle at the last one; a frame */
} reverb_turn;

enum { REVERB_DRY, REVERB_WET, REVERB_RAMPS };

typedef struct {
    reverb_ring lines[REVERB_LINES], diffusers[2][REVERB_DIFFUSERS];
    float low[REVERB_LINES]; /* states of the low-passes */
    reverb_losses losses, losses_past, losses_aim;
    int losses_left; /* frames from past to aim */

    reverb_turn turns[REVERB_LINES / 2];
    double swing_step[REVERB_LINES / 2][2];
    int turn_left; /* frames to its next setting */

    float *before; /* [before_frames][left, right]: what has not yet entered */
    int before_frames, before_at;
    int predelay, predelay_wanted, predelay_past, predelay_left; /* frames; left: of the crossfade from past */

    float *memory;
    size_t memory_floats;
    int fade_frames;
    float rate_hz;
    reverb_settings settings;
    bool on;

    ramp ramps[REVERB_RAMPS];
} reverb;

/* Floats that reverb_init() is to be given. */
size_t reverb_memory(float rate_hz);
void reverb_init(reverb *r, float rate_hz, float *memory);

/* Between two renders; what changes is ramped, the pre-delay by a crossfade. Out of range: the nearest end; not a
 * number: as it was. */
void reverb_set(reverb *r, const reverb_settings *settings);

/* stereo: interleaved, in place, at most VOICE_MAX_FRAMES pairs. */
void reverb_render(reverb *r, float *stereo, int frames);

#endif
