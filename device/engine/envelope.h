/* Attack, decay, sustain, release: the loudness of one note over time, made of exponential pieces. */
#ifndef TETRAD_ENVELOPE_H
#define TETRAD_ENVELOPE_H

#include <stdint.h>

typedef struct {
    float attack_ms;
    float decay_ms;
    float sustain; /* 0..1 */
    float release_ms;
} envelope_times;

typedef enum { ENVELOPE_ATTACK, ENVELOPE_DECAY, ENVELOPE_SUSTAIN, ENVELOPE_RELEASE, ENVELOPE_DONE } envelope_stage;

/* Up to the end of the piece that it is in, level n frames from now = asymptote + distance * coefficient ^ n. */
typedef struct {
    envelope_stage stage;
    envelope_times times;
    float rate_hz;
    double asymptote;    /* where the piece would end, were it not cut */
    double distance;     /* level - asymptote */
    double coefficient;  /* of the distance, a frame */
    int64_t frames_left; /* of the piece; ENVELOPE_HOLDS where it has no end */
} envelope;

#define ENVELOPE_HOLDS INT64_MAX

void envelope_trigger(envelope *e, const envelope_times *times, float rate_hz);
void envelope_release(envelope *e, float release_ms);
void envelope_advance(envelope *e, int frames);
float envelope_level(const envelope *e);

#endif
