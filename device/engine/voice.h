/* One sounding key: a walk through the four cells round the blend point, brought to the card's rate and shaped. */
#ifndef TETRAD_VOICE_H
#define TETRAD_VOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "envelope.h"
#include "resampler.h"

#define VOICE_MAX_FRAMES RESAMPLER_MAX_FRAMES /* at most rendered at once */

/* A rendered pitch with its shape: int16 [grid (y)][grid (x)][samples]. */
typedef struct {
    const int16_t *cells;
    int grid;
    int samples;
    int pitch;
} voice_table;

/* Where the knobs stand, 0..1 each. */
typedef struct {
    float x, y;
} voice_point;

typedef struct {
    int channel, key;
    bool sounded;       /* has put out a frame */
    bool held_by_pedal; /* its key is up, the pedal down */

    voice_table table;
    int read_samples;        /* of the table */
    float gain;
    voice_point blend, slow; /* slow runs after the knobs, blend after slow */
    float follow;            /* share of the way that each goes in a bank sample */
    double samples_a_frame_unbent;
    envelope envelope;
    resampler resampler;
} voice;

/* Starts `key` from `table`. gain: linear; rate_hz: the card's. The sound begins at `point`. */
void voice_trigger(voice *v, const voice_table *table, const resampler_filters *filters, int key, float gain,
                   voice_point point, float bend_semitones, const envelope_times *times, float rate_hz);
void voice_bend(voice *v, float bend_semitones);

/* Writes up to VOICE_MAX_FRAMES; the blend moves towards `point`. */
void voice_render(voice *v, voice_point point, float *out, int frames);

/* Over: the envelope has ended, or the table. */
bool voice_done(const voice *v);

#endif
