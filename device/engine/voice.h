/* One sounding key: a walk through its table, brought to the card's rate, moved in pitch and shaped. */
#ifndef TETRAD_VOICE_H
#define TETRAD_VOICE_H

#include <stdbool.h>

#include "bank.h"
#include "envelope.h"
#include "knobs.h"
#include "reader.h"
#include "resampler.h"
#include "vibrato.h"

#define VOICE_MAX_FRAMES RESAMPLER_MAX_FRAMES /* at most rendered at once */

/* Where the two wheels of a channel stand. */
typedef struct {
    float bend_semitones;
    float mod; /* 0..1 */
} voice_wheels;

typedef struct {
    int channel, key;
    bool sounded;       /* has put out a frame */
    bool held_by_pedal; /* its key is up, the pedal down */

    float gain;
    knobs knobs;
    reader reader;
    bank_motion motion; /* where the blend stands */
    vibrato vibrato;
    voice_wheels wheels;
    double samples_a_frame_unbent, samples_a_frame;
    int steered_frames; /* that its speed is set for */
    envelope envelope;
    resampler resampler;
} voice;

/* Starts `key` from `table`. gain: linear; rate_hz: the card's. The sound begins at `point`. */
void voice_trigger(voice *v, const bank_table *table, bank_layers layers, const resampler_filters *filters, int key,
                   float gain, bank_point point, voice_wheels wheels, const envelope_times *times, float rate_hz);
void voice_release(voice *v, float release_ms);
void voice_turn(voice *v, voice_wheels wheels);

/* Writes up to VOICE_MAX_FRAMES; the blend moves towards `point`. */
void voice_render(voice *v, bank_point point, float *out, int frames);

/* How loud it is now, of what it would be at its loudest; while it rises, what it rises to. */
float voice_loudness(const voice *v);

/* Over: the envelope has ended, or the table, or the decay. */
bool voice_done(const voice *v);

#endif
