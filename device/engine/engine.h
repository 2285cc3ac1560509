/* The contract of Tetrad's engine: events in, stereo sound out.
 *
 * Real-time rules: all memory is taken in engine_create() and engine_bank_create(); engine_render() allocates nothing,
 * takes no lock, opens no file and prints nothing. One thread is in engine_render(); beside it one may be in
 * engine_send(), and one in the functions of banks and meters. Nothing is thrown or logged: what cannot be done is
 * counted.
 */
#ifndef TETRAD_ENGINE_H
#define TETRAD_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "parameters.h"

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
typedef struct engine_bank engine_bank;

/* kind                        channel key        a                   b */
typedef enum {
    ENGINE_NOTE_ON,         /* channel key        velocity 0..1 (0 is a note off) */
    ENGINE_NOTE_OFF,        /* channel key */
    ENGINE_BLEND,           /*                    x 0..1 to the right y 0..1 down */
    ENGINE_SUSTAIN,         /* channel            >= 0.5 is down */
    ENGINE_BEND,            /* channel            semitones */
    ENGINE_PARAMETER,       /*         parameter  value, brought into its range (parameters.h) */
    ENGINE_ALL_NOTES_OFF,   /* channel */
    ENGINE_ALL_SOUND_OFF,   /* channel */
    ENGINE_MOD_WHEEL,       /* channel            0..1 */
    ENGINE_PRESSURE,        /* channel            0..1 */
    ENGINE_KEY_PRESSURE,    /* channel key        0..1 */
    ENGINE_TIMBRE,          /* channel            0..1: the third dimension of an MPE key, 0.5 at rest */
    ENGINE_EXPRESSION,      /* channel            0..1, 1 at first */
    ENGINE_SOSTENUTO,       /* channel            >= 0.5 is down */
    ENGINE_SOFT,            /* channel            >= 0.5 is down */
    ENGINE_GESTURE,         /*                    0: off, 1: record the blend's moves, 2: play them round and round */
    ENGINE_TUNE_KEY,        /*         key        semitones off equal temperament */
    ENGINE_EVENT_KINDS
} engine_event_kind;

#define ENGINE_PARAMETER_NAME(name, first, least, most) ENGINE_##name,
typedef enum { ENGINE_PARAMETER_TABLE(ENGINE_PARAMETER_NAME) ENGINE_PARAMETERS } engine_parameter;

enum { ENGINE_POLY, ENGINE_MONO, ENGINE_LEGATO };   /* of MODE */
enum { ENGINE_FILTER_OFF, ENGINE_FILTER_LOW, ENGINE_FILTER_BAND, ENGINE_FILTER_HIGH };
enum { ENGINE_LAST, ENGINE_LOW, ENGINE_HIGH };      /* of PRIORITY */

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
    bool alike;           /* cells and levels are of one cell a layer, which stands in all places: [layers][samples] */
    const int16_t *cells; /* [layers][grid (y)][grid (x)][samples] */
    const float *levels;  /* [layers][grid (y)][grid (x)][columns]: RMS of each */
    const float *motion;  /* [layers][corners: left and right above, then below][vibrato's rate in Hz, depth in cents to
                             either side, delay in s; decay from loop_start on in dB/s], clipped to what a preset holds */
} engine_table;

/* A cell's sound, as long as its table says, in place of another. */
typedef struct {
    uint64_t bank;        /* engine_bank_number() */
    int pitch, layer, row, column;
    const int16_t *sound; /* [samples] */
    const float *levels;  /* [columns] */
} engine_cell;

typedef struct {
    int voices;       /* sounding now, at most the limit */
    int limit;        /* of voices, at most the polyphony */
    uint64_t stolen;  /* voices cut short for newer notes */
    uint64_t ignored; /* events of unknown kind, channel, key or parameter, not finite, or notes without a bank */
    uint64_t dropped; /* events that found the queue full */
} engine_meters;

/* NULL where a number is out of range or memory is short. polyphony: 1..ENGINE_MAX_POLYPHONY. */
engine *engine_create(int sample_rate_hz, int polyphony);
void engine_destroy(engine *e);

/* A bank of `count` tables of ascending pitch, with a layer for each of `layers` ascending velocities (0..127). What the
 * tables borrow is made resident. NULL where velocities and tables do not fit the description, or memory is short. */
engine_bank *engine_bank_create(const int *velocities, int layers, const engine_table *tables, int count, int grid);
void engine_bank_destroy(engine_bank *bank);

/* No two banks of a process have the same. */
uint64_t engine_bank_number(const engine_bank *bank);

/* Hands a bank over (one of no tables is silence); from the next block on it is played, and what sounds fades out within
 * 2 ms. Returns the bank handed over before, where it has not come to be played: it is the caller's again. */
engine_bank *engine_load(engine *e, engine_bank *bank);

/* A bank that is not played any more, the caller's again; NULL where there is none. To be asked after each engine_load();
 * a third bank waits until the first has been fetched. */
engine_bank *engine_unload(engine *e);

/* Samples of a cell of a bank; 0 where it has no such cell. */
int engine_bank_samples(const engine_bank *bank, const engine_cell *cell);

/* Hands a cell over, to be played from the next block on; voices in which it is heard go over to it within 8 ms. False
 * where too many are on their way. */
bool engine_swap_cell(engine *e, const engine_cell *cell);

/* Adds a table to a bank that was handed over. From the next block on it is played, and what is held of keys to which it
 * is nearer goes over to it within 2 ms, in phase. 0; EINVAL where it does not fit or the bank has one of its pitch;
 * ENOMEM; EAGAIN where too much is on its way. */
int engine_add_table(engine *e, engine_bank *bank, const engine_table *table);

/* A cell that was handed over and has been dealt with, with the sound that was there before, the caller's again; or with
 * its own, where the bank is no longer played or has no such cell. False where there is none. */
bool engine_swapped_cell(engine *e, engine_cell *cell);

/* No more voices than that from the next block on. */
void engine_limit_voices(engine *e, int voices);

/* False where the queue is full. Events of one frame are applied in the order they were sent. */
bool engine_send(engine *e, const engine_event *event);

/* The same for the thread that renders, between two blocks. */
bool engine_put(engine *e, const engine_event *event);

/* Writes `frames` interleaved stereo frames, |sample| <= 1. However a stretch is cut into blocks, it gives the same
 * samples. No frames are a block as well: what was sent for frame 0 is done. */
void engine_render(engine *e, float *out, int frames);

engine_meters engine_read_meters(const engine *e);

#endif
