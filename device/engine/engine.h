/* The contract of Tetrad's engine: events in, stereo sound out.
 *
 * Real-time rules: all memory is taken in engine_create(); engine_render() allocates nothing, takes no lock, opens
 * no file and prints nothing. engine_send() may be called by one thread while another one is in engine_render();
 * every other function must have the engine to itself. Nothing is thrown or logged: what cannot be done is counted.
 */
#ifndef TETRAD_ENGINE_H
#define TETRAD_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#define ENGINE_BANK_RATE_HZ 16000 /* of the tables; NSynth's rate, see SAMPLE_RATE_HZ in preset.py */
#define ENGINE_CHANNELS 16
#define ENGINE_KEYS 128
#define ENGINE_MAX_POLYPHONY 256
#define ENGINE_MAX_GRID 33
#define ENGINE_MAX_LAYERS 4 /* of velocity */
#define ENGINE_CORNERS 4
#define ENGINE_COLUMN_SAMPLES 256 /* of a table, to a level */
#define ENGINE_MIN_RATE_HZ 16000
#define ENGINE_MAX_RATE_HZ 192000

typedef struct engine engine;

/* kind                        channel key        a                   b */
typedef enum {
    ENGINE_NOTE_ON,         /* channel key        velocity 0..1 (0 is a note off) */
    ENGINE_NOTE_OFF,        /* channel key */
    ENGINE_BLEND,           /*                    x 0..1 to the right y 0..1 down */
    ENGINE_SUSTAIN,         /* channel            >= 0.5 is down */
    ENGINE_BEND,            /* channel            semitones */
    ENGINE_PARAMETER,       /*         parameter  value */
    ENGINE_ALL_NOTES_OFF,   /* channel */
    ENGINE_ALL_SOUND_OFF,   /* (every channel) */
    ENGINE_MOD_WHEEL,       /* channel            0..1 */
    ENGINE_EVENT_KINDS
} engine_event_kind;

typedef enum {
    ENGINE_ATTACK_MS,       /* 1..60000, notes that begin later */
    ENGINE_DECAY_MS,        /* 1..60000, notes that begin later */
    ENGINE_SUSTAIN_LEVEL,   /* 0..1,     notes that begin later */
    ENGINE_RELEASE_MS,      /* 1..60000, notes that are released later */
    ENGINE_VOLUME,          /* 0..2, ramped */
    ENGINE_PARAMETERS
} engine_parameter;

typedef struct {
    uint32_t frame; /* counted from the start of the next block; may lie beyond it */
    uint8_t kind;
    uint8_t channel;
    uint8_t key;    /* MIDI key, or the parameter */
    float a, b;
} engine_event;

/* One rendered pitch. cells and levels are borrowed: they must outlive their use by the engine; motion is copied.
 *
 * A cell is a body of loop_start + loop_samples (whole columns), of which the last loop_samples go round while the note
 * is held (0: it ends there), and behind it the release, which may be empty. Body and release begin where the
 * fundamental's phase is 0; where there is a loop, the fundamental has whole cycles in it. */
typedef struct {
    int pitch;            /* MIDI key */
    int samples;          /* of a cell, whole columns */
    int loop_start, loop_samples;
    const int16_t *cells; /* [layers][grid (y)][grid (x)][samples] */
    const float *levels;  /* [layers][grid (y)][grid (x)][columns]: RMS of each */
    const float *motion;  /* [layers][corners: left and right above, then below][vibrato's rate in Hz, depth in cents to
                             either side, delay in s; decay from loop_start on in dB/s], clipped to what a preset holds */
} engine_table;

typedef struct {
    int voices;       /* sounding now, at most the polyphony */
    uint64_t stolen;  /* voices cut short for newer notes */
    uint64_t ignored; /* events of unknown kind, channel, key or parameter, not finite, or notes without a bank */
    uint64_t dropped; /* events that found the queue full */
} engine_meters;

/* NULL where a number is out of range or memory is short. polyphony: 1..ENGINE_MAX_POLYPHONY. */
engine *engine_create(int sample_rate_hz, int polyphony);
void engine_destroy(engine *e);

/* Takes `count` tables of ascending pitch, with a layer for each of `layers` ascending velocities (0..127); the sounding
 * voices fade out within 3 ms and no longer read the bank before. count 0 is no bank. False, and nothing changed, where
 * velocities and tables do not fit the description. */
bool engine_set_bank(engine *e, const int *velocities, int layers, const engine_table *tables, int count, int grid);

/* False where the queue is full. Events of one frame are applied in the order they were sent. */
bool engine_send(engine *e, const engine_event *event);

/* Writes `frames` interleaved stereo frames, |sample| <= 1. However a stretch is cut into blocks, it gives the same
 * samples. No frames are a block as well: what was sent for frame 0 is done. */
void engine_render(engine *e, float *out, int frames);

engine_meters engine_read_meters(const engine *e);

#endif
