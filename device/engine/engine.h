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

/* One rendered pitch: int16 [grid (y)] [grid (x)] [samples], borrowed: it must outlive its use by the engine. */
typedef struct {
    int pitch; /* MIDI key */
    const int16_t *cells;
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

/* Takes `count` tables of ascending pitch; the sounding voices fade out within 3 ms and no longer read the bank
 * before. count 0 is no bank. False, and nothing changed, where the tables do not fit the description. */
bool engine_set_bank(engine *e, const engine_table *tables, int count, int grid, int samples);

/* False where the queue is full. Events of one frame are applied in the order they were sent. */
bool engine_send(engine *e, const engine_event *event);

/* Writes `frames` interleaved stereo frames, |sample| <= 1. However a stretch is cut into blocks, it gives the same
 * samples. No frames are a block as well: what was sent for frame 0 is done. */
void engine_render(engine *e, float *out, int frames);

engine_meters engine_read_meters(const engine *e);

#endif
