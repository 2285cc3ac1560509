/* A move of the knobs, recorded and played again, round and round. */
#ifndef TETRAD_GESTURE_H
#define TETRAD_GESTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "bank.h"

#define GESTURE_POINTS 4096

typedef enum { GESTURE_OFF, GESTURE_RECORDS, GESTURE_PLAYS } gesture_state;

typedef struct {
    gesture_state state;
    uint64_t began;         /* by the engine's clock, in frames: recording, or playing */
    uint64_t length;        /* frames, of what is played */
    int count;
    uint64_t at[GESTURE_POINTS]; /* frames since it began */
    bank_point points[GESTURE_POINTS];
    int playing;            /* the point at or before now */
} gesture;

/* Begins a record with the knobs at a point, ends it and begins to play it, or ends that. */
void gesture_turn(gesture *g, gesture_state state, uint64_t clock, bank_point knobs);

/* The knobs have moved: that is recorded, and ends what plays. Full, the record keeps what it has. */
void gesture_move(gesture *g, uint64_t clock, bank_point knobs);

/* Where it stands now, on straight lines between its points; false where nothing plays. */
bool gesture_at(gesture *g, uint64_t clock, bank_point *at);

#endif
