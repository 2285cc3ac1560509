/* Events on their way from one sending thread to the audio thread, and those that wait there for their frame. */
#ifndef TETRAD_QUEUE_H
#define TETRAD_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

#define QUEUE_RING 1024    /* between two blocks; a MIDI cable carries 3 events a block of 128 frames */
#define QUEUE_WAITING 4096 /* for later blocks */

typedef struct {
    engine_event ring[QUEUE_RING];
    atomic_uint sent;  /* written by the sender only */
    atomic_uint taken; /* written by the audio thread only */
    atomic_ullong dropped;

    engine_event waiting[QUEUE_WAITING]; /* by frame, then as sent; the audio thread's own */
    int first, end;
} queue;

/* Sender. False, and counted, where the ring is full. */
bool queue_send(queue *q, const engine_event *event);

/* Audio thread: into its place by frame, behind those of the same frame. False where there is no room. */
bool queue_put(queue *q, const engine_event *event);

/* Audio thread: takes what was sent, at the start of a block. */
void queue_receive(queue *q);

/* Audio thread: the earliest event, NULL where none waits; and away with it. */
const engine_event *queue_first(const queue *q);
void queue_pop(queue *q);

/* Audio thread: at the end of a block, stamps count from the next one. */
void queue_advance(queue *q, uint32_t frames);

#endif
