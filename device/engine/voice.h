/* One sounding key: a walk through its table, brought to the card's rate and moved in pitch. Loudness, filter and place
 * in the room, which it only steers, are put on it beside seven others (section.h). */
#ifndef TETRAD_VOICE_H
#define TETRAD_VOICE_H

#include <stdbool.h>

#include "bank.h"
#include "envelope.h"
#include "filter.h"
#include "knobs.h"
#include "lfo.h"
#include "reader.h"
#include "resampler.h"
#include "vibrato.h"

#define VOICE_MAX_FRAMES RESAMPLER_MAX_FRAMES /* at most rendered at once */
#define VOICE_RISE_MS 3.0f
#define VOICE_STEER_FRAMES VOICE_MAX_FRAMES /* from one steering to the next, straight lines between: 1.3 ms at 48 kHz */

/* How a channel's wheels and pedals stand. */
typedef struct {
    float bend_semitones;
    float mod, pressure, timbre; /* 0..1 */
    float expression;            /* 0..1 */
    bool sustain, sostenuto, soft; /* pedals that are down */
} voice_channel;

/* What all voices hear of the engine. */
typedef struct {
    float rate_hz;
    float parameters[ENGINE_PARAMETERS];
    float tuning[ENGINE_KEYS];  /* semitones off equal temperament */
    bank_point blend;           /* where the knobs stand */
    lfo lfo;                    /* the clock of those that run through */
    lfo_settings swing;         /* of all LFOs; voice_world_turn() */
    bool swings;                /* something listens to them */
    uint32_t turns;             /* of parameters, wheels and tunings so far */
    voice_channel channels[ENGINE_CHANNELS];
    resampler_filters filters;
} voice_world;

typedef struct {
    int channel, key;
    float velocity;      /* 0..1 */
    float detune_semitones, pan; /* -1..1: left, right */
    double from_semitones; /* of the key that it glides from, above its own */
} voice_note;

/* What is put on its sound, led there from one steering to the next. */
typedef struct {
    float level;                       /* linear */
    float open_hz, semitones;          /* of the filter, and what moves it */
    float cutoff_hz;                   /* both together */
} voice_shape;

typedef struct {
    voice_note note;
    bool sounded;       /* has been rendered */
    bool held_by_pedal; /* its key is up, the pedal down */
    bool caught;        /* by the sostenuto pedal */
    float key_pressure;

    float gain;         /* of its velocity */
    double glide_semitones, glide_step; /* a steering */
    knobs knobs;
    bank_point born;    /* where the blend stood when it began */
    reader reader;
    bank_motion motion; /* where the blend stands */
    vibrato vibrato;
    lfo lfo;
    envelope loudness, sweep; /* as of its last steering or change; sweep, of the filter, has steerings for frames */
    voice_shape shape;
    double semitones;   /* off the table's pitch, with everything that moves it */
    bool rests;         /* nothing moves it, until something is turned */
    uint32_t turns;     /* of the world, when it was steered last */
    int waited;         /* steerings since then in which it rested */
    int rise_frames, risen; /* of a note that follows another; frames of that done */
    resampler resampler; /* last: it is not copied whole */
} voice;

/* After a parameter was set. */
void voice_world_turn(voice_world *world);

/* Starts a note from `table`. gain: linear. */
void voice_trigger(voice *v, const bank_table *table, bank_layers layers, const voice_note *note, float gain,
                   const voice_world *world);

/* Goes on in the midst of its sound as another key: loudness, filter and motion stay. From another table than before it
 * begins at nothing, rises within VOICE_RISE_MS, and is to be fed: true. */
bool voice_follow(voice *v, const bank_table *table, const voice_note *note, const voice_world *world);

/* Goes on in another table with the same note, its fundamental where it was; begins at nothing, rises within so many
 * frames, and is to be fed. */
void voice_move(voice *v, const bank_table *table, int rise_frames, const voice_world *world);

/* Its loudness is brought up to now before (section_release). */
void voice_release(voice *v, const voice_world *world);

/* Copies what is needed to go on. */
void voice_copy(voice *to, const voice *from);

/* Every VOICE_STEER_FRAMES of the engine's clock: pitch, cutoff and level move towards what all wheels say. False where
 * it rests. */
bool voice_steer(voice *v, const voice_world *world);

/* The resampler gets what it needs for so many frames. */
void voice_feed(voice *v, const voice_world *world, int frames);

/* Of a voice that rises after another: 0..1 for the next frame. */
float voice_rise(voice *v);

/* How loud it is now, of what it would be at its loudest; while it rises, what it rises to. */
float voice_loudness(const voice *v);

/* Over: the envelope has ended, or the table, or the decay. */
bool voice_done(const voice *v);

#endif
