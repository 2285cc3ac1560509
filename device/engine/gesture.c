#include "gesture.h"

static void add(gesture *g, uint64_t clock, bank_point knobs) {
    if (g->count == GESTURE_POINTS)
        return;
    g->at[g->count] = clock - g->began;
    g->points[g->count++] = knobs;
}

void gesture_turn(gesture *g, gesture_state state, uint64_t clock, bank_point knobs) {
    gesture_state before = g->state;
    g->state = state;
    if (state == GESTURE_RECORDS) {
        g->count = 0;
        g->began = clock;
        add(g, clock, knobs);
    } else if (state == GESTURE_PLAYS) {
        if (before == GESTURE_RECORDS) {
            add(g, clock, knobs);
            g->length = clock - g->began;
        }
        g->began = clock;
        g->playing = 0;
        if (g->count == 0 || g->length == 0)
            g->state = GESTURE_OFF;
    }
}

void gesture_move(gesture *g, uint64_t clock, bank_point knobs) {
    if (g->state == GESTURE_RECORDS)
        add(g, clock, knobs);
    else
        g->state = GESTURE_OFF;
}

bool gesture_at(gesture *g, uint64_t clock, bank_point *at) {
    if (g->state != GESTURE_PLAYS)
        return false;
    uint64_t now = clock - g->began;
    if (now >= g->length) { /* round again */
        g->began += now / g->length * g->length;
        now = clock - g->began;
        g->playing = 0;
    }
    while (g->playing + 1 < g->count && g->at[g->playing + 1] <= now)
        g->playing++;
    bank_point here = g->points[g->playing];
    if (g->playing + 1 < g->count) {
        bank_point next = g->points[g->playing + 1];
        float part = (float)(now - g->at[g->playing]) / (float)(g->at[g->playing + 1] - g->at[g->playing]);
        here.x += part * (next.x - here.x);
        here.y += part * (next.y - here.y);
    }
    *at = here;
    return true;
}
