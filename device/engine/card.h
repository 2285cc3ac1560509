/* A sound card that the engine plays on, by ALSA; or none, then the engine goes on by the clock.
 *
 * Two threads: one renders and writes, and keeps to engine.h's real-time rules; the other opens and closes cards, which
 * takes memory and time, and hands them over. A card that goes away comes back by itself. Nothing is printed: what
 * happens is counted, and stands in card_problem(). */
#ifndef TETRAD_CARD_H
#define TETRAD_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"
#include "sample_format.h"

#define CARD_MIN_PERIOD 16 /* frames */
#define CARD_MAX_PERIOD 8192
#define CARD_MAX_PERIODS 32
#define CARD_MAX_CHANNELS 64
#define CARD_RATES 9 /* 16000..192000 Hz, those that cards have */
#define CARD_NAME_BYTES 96
#define CARD_PROBLEM_BYTES 256

typedef struct card card;

/* The engine's functions, which may lie in another library than this one. */
typedef struct {
    void (*render)(engine *e, float *out, int frames);
    bool (*put)(engine *e, const engine_event *event);
    engine_meters (*read_meters)(const engine *e);
    void (*limit_voices)(engine *e, int voices);
} card_calls;

#define CARD_CALLS {engine_render, engine_put, engine_read_meters, engine_limit_voices}

typedef struct {
    const char *device; /* as ALSA names it, hw:CARD=…; NULL and "null" are no card: by the clock */
    int rate_hz;        /* the engine's */
    int channels, period_frames, periods; /* the nearest that the card has */
    int priority;       /* of SCHED_FIFO; 0: as other threads have */
    bool lock_memory;   /* all of the process's, so that nothing that sounds must be fetched from a disk */
} card_options;

typedef enum {
    CARD_STOPPED,
    CARD_CLOCK,   /* none asked for */
    CARD_RUNNING,
    CARD_ABSENT,  /* by the clock; tried again each second, see card_problem() */
} card_state;

typedef struct {
    card_state state;
    sample_format format; /* of the card, as the next four */
    int channels, period_frames, periods;
    bool mapped;          /* written to where the card reads */
    bool real_time, locked; /* as asked; false where it was not allowed */
    uint64_t blocks, frames;
    uint64_t xruns, suspends, losses; /* losses: of the card itself */
    uint64_t late;        /* blocks that took longer to render than to play */
    uint64_t dropped;     /* events of card_send() that found no room */
    uint64_t sounds_since_ns; /* of CLOCK_MONOTONIC: the latest block that sounds, after one of zeros, was handed to the
                               * card, or rendered where there is none; 0: none has */
    float load, worst_load; /* time to render a block / time that it plays: of the last block, and the greatest */
    int voices;           /* the limit: what is asked for, or less where the processor has no more time */
    bool strained;        /* it is less */
} card_meters;

/* When the block that is being rendered began, without the chance in when its thread woke, and the number of its first
 * frame since card_start(). */
typedef struct {
    uint64_t ns; /* of CLOCK_MONOTONIC */
    uint64_t frame;
} card_clock;

typedef struct {
    char device[CARD_NAME_BYTES], name[CARD_NAME_BYTES];
    int error; /* of errno, as EBUSY; 0: the rest is known */
    int rates_hz[CARD_RATES], rates;
    bool formats[SAMPLE_FORMATS];
    int least_channels, most_channels;
    int least_period, most_period; /* frames */
} card_description;

/* NULL where memory is short. The engine must outlive it. */
card *card_create(engine *e, const card_calls *calls);
void card_destroy(card *c); /* stops it first */

/* 0; or an errno: EINVAL where a number is out of range, EALREADY where it plays, and what starting a thread may say.
 * That a card cannot be opened is no error: see state and card_problem(). From then on nobody else renders. */
int card_start(card *c, const card_options *options);

/* Within 100 ms: fades out, lets the card play what it has, and closes it. The engine is the caller's again. */
void card_stop(card *c);

/* One thread: an event (its frame does not count) that arrived at a time of CLOCK_MONOTONIC. It is applied one period
 * after that, to the frame, and not before those sent earlier. False where there is no room. */
bool card_send(card *c, uint64_t arrival_ns, const engine_event *event);

/* In place of engine_limit_voices(), which it calls with this or less. */
void card_limit_voices(card *c, int voices);

card_meters card_read_meters(const card *c);
card_clock card_read_clock(const card *c);

/* A new start for worst_load. */
void card_forget_worst(card *c);

/* Why there is no card, in words; empty where there is one. Not for the audio thread. */
void card_problem(card *c, char text[CARD_PROBLEM_BYTES]);

const char *card_format_name(sample_format format);
card_description card_describe(const char *device);
void card_list(void (*tell)(void *to, const card_description *description), void *to);

#endif
