/* The recorded vibrato, played again: a sine on the pitch that sets in after a while, in real seconds for every key. */
#ifndef TETRAD_VIBRATO_H
#define TETRAD_VIBRATO_H

#include "bank.h"

typedef struct {
    double cycles, seconds; /* since the note began; cycles without the whole ones */
    float period_s;         /* of its steps */
    float wheel;            /* runs after the wheel */
} vibrato;

void vibrato_start(vibrato *v, float period_s, float wheel);

/* So many periods go by without depth. */
void vibrato_pass(vibrato *v, int periods);

/* Cents off the pitch, a period later. wheel: 0 is the recording's own depth, 1 three times that. */
float vibrato_next(vibrato *v, const bank_motion *motion, float wheel);

#endif
