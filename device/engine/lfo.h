/* A slow oscillator that moves other things: one value a control period. */
#ifndef TETRAD_LFO_H
#define TETRAD_LFO_H

#include <stdint.h>

#define LFO_MIN_HZ 0.01
#define LFO_MAX_HZ 50.0
#define LFO_MAX_DELAY_S 60.0f

/* Sine and triangle begin at 0 and rise, the square begins at 1, random holds a new value each cycle. */
typedef enum { LFO_SINE, LFO_TRIANGLE, LFO_SQUARE, LFO_RANDOM } lfo_shape;

typedef struct {
    lfo_shape shape;
    float rate_hz; /* not a number: it stands still */
    float delay_s; /* it sets in as half a cosine, from half of that on until one and a half */
} lfo_settings;

typedef struct {
    float value;      /* given last; after lfo_start, where it begins */
    double period_s;  /* of its steps */
    float rate_hz;    /* last */
    uint32_t seed;
    uint64_t cycle;   /* whole ones since it began */
    double phase;     /* 0..1 of this cycle */
    double seconds;   /* since the note began */
    lfo_shape shape;
    float target;     /* of the shape, before its edge */
    float edge;       /* shape's value before its last jump, less that behind it: fades out */
    double edge_s;    /* since that jump */
} lfo;

/* A value each `period_frames` frames. Equal seeds give equal random values. */
void lfo_init(lfo *l, int period_frames, float rate_hz, uint32_t seed);

/* A note begins. clock: one that runs through, whose phase and random values it takes over; NULL: at phase 0. */
void lfo_start(lfo *l, const lfo_settings *settings, const lfo *clock);

/* So many periods go by unheard, at the rate that it last had: its value is 0. */
void lfo_pass(lfo *l, int periods);

/* Its value a period later, -1..1. */
float lfo_next(lfo *l, const lfo_settings *settings);

#endif
