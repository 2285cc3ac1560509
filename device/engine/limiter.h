/* The last stage: keeps the sum of the voices within -1..1 by turning it down, not by cutting its tops off. */
#ifndef TETRAD_LIMITER_H
#define TETRAD_LIMITER_H

typedef struct {
    float peak;            /* of the loudest channel, rising at once, falling slowly */
    float peak_kept;       /* share of it that is left after a frame */
} limiter;

void limiter_init(limiter *l, float rate_hz);

/* stereo: interleaved, `frames` pairs, in place. Both channels get one gain, so the image stands still. */
void limiter_render(limiter *l, float *stereo, int frames);

#endif
