/* A number on its way to another, without an edge: two followers in a row. */
#ifndef TETRAD_RAMP_H
#define TETRAD_RAMP_H

typedef struct {
    float to;
    float slow, off; /* of the first follower and of the second, what is left of the way */
    float kept;      /* of it, a frame later */
} ramp;

/* 90 % of a step is done in four times `follow_ms`, all of it (-120 dB) in 16 times that. */
void ramp_init(ramp *r, float follow_ms, float rate_hz, float value);

void ramp_aim(ramp *r, float to);
void ramp_jump(ramp *r, float to);

/* Its next frames. */
void ramp_render(ramp *r, float *out, int frames);

#endif
