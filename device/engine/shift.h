/* A sound read between its samples, always at the same place between two. */
#ifndef TETRAD_SHIFT_H
#define TETRAD_SHIFT_H

#include "bank.h"

#define SHIFT_TAPS 24   /* off by -70 dB to 4.5 kHz, by -45 dB to 7 kHz */
#define SHIFT_BEFORE 11 /* samples that it needs before its place, and one more behind it */

typedef struct {
    float taps[SHIFT_TAPS];
    float past[SHIFT_TAPS - 1]; /* samples before the next one */
} shift;

/* part: 0..1 of a sample. past: from SHIFT_BEFORE samples before the first place on. */
void shift_start(shift *s, double part, const float past[SHIFT_TAPS - 1]);

/* BANK_BLOCK samples, in place: in goes what follows `past`, out comes what stands SHIFT_BEFORE + 1 - part earlier. */
void shift_render(shift *s, float *block);

#endif
