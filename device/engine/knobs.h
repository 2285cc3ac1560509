/* The blend of one voice on its way after the knobs, without an edge. */
#ifndef TETRAD_KNOBS_H
#define TETRAD_KNOBS_H

#include "bank.h"

typedef struct {
    bank_point blend, slow, slower; /* slower runs after the knobs, slow after that, blend after slow */
    float follow;                   /* share of the way that each goes in a bank sample */
} knobs;

/* ratio: of the transposition; the knobs take the same time for every key. */
void knobs_start(knobs *k, bank_point at, double ratio);

/* After another table was taken. */
void knobs_pace(knobs *k, double ratio);

/* The next BANK_BLOCK samples of the way to `to`. */
void knobs_follow(knobs *k, bank_point to, int grid, bank_path *path);

#endif
