/* Each piece is a capacitor charging towards a voltage beyond its end, and cut when it gets there: so a piece has an
 * end, and an exponential's shape. Attack reaches 1 in attack_ms; decay goes from 1 to the sustain level in
 * decay_ms; release goes from 1 to 0 in release_ms, and from a lower level sooner. */
#include "envelope.h"

#include <math.h>

#define SHORTEST_MS 1.0   /* a steeper edge is heard as a click of its own */
#define LONGEST_MS 60000.0
#define ATTACK_BEYOND 0.3 /* of the way; the bend of an analog envelope that charges to 1.3 and is cut at 1 */
#define FALL_BEYOND 0.001 /* decay and release are cut where 60 dB of the way are done */

/* Starts a piece from the level now to `end`; the whole way `span` would last `ms` and head `beyond` * span further.
 * n(level) = log(distance now / distance at the end) / -log(coefficient) frames remain of it. */
static void begin(envelope *e, envelope_stage stage, double end, double span, double beyond, double ms) {
    double frames = fmin(fmax(ms, SHORTEST_MS), LONGEST_MS) * 0.001 * e->rate_hz;
    double rate = log((1.0 + beyond) / beyond) / frames, level = e->asymptote + e->distance;
    e->stage = stage;
    e->asymptote = end + beyond * span;
    e->distance = level - e->asymptote;
    e->coefficient = exp(-rate);
    double ratio = e->distance / (-beyond * span);
    e->frames_left = ratio > 1.0 ? (int64_t)ceil(log(ratio) / rate - 1e-9) : 0;
}

static void hold(envelope *e, envelope_stage stage, double level) {
    e->stage = stage;
    e->asymptote = level;
    e->distance = 0.0;
    e->coefficient = 1.0;
    e->frames_left = ENVELOPE_HOLDS;
}

/* What follows a piece that has come to its end. */
static void next(envelope *e) {
    double sustain = e->times.sustain;
    switch (e->stage) {
    case ENVELOPE_ATTACK:
        hold(e, ENVELOPE_SUSTAIN, 1.0);
        if (sustain < 1.0)
            begin(e, ENVELOPE_DECAY, sustain, sustain - 1.0, FALL_BEYOND, e->times.decay_ms);
        break;
    case ENVELOPE_DECAY:
        hold(e, sustain > 0.0 ? ENVELOPE_SUSTAIN : ENVELOPE_DONE, sustain);
        break;
    default:
        hold(e, ENVELOPE_DONE, 0.0);
    }
}

static void skip_ended(envelope *e) {
    while (e->frames_left == 0)
        next(e);
}

void envelope_trigger(envelope *e, const envelope_times *times, float rate_hz) {
    *e = (envelope){.times = *times, .rate_hz = rate_hz};
    begin(e, ENVELOPE_ATTACK, 1.0, 1.0, ATTACK_BEYOND, times->attack_ms);
    skip_ended(e);
}

void envelope_release(envelope *e, float release_ms) {
    if (e->stage >= ENVELOPE_RELEASE)
        return;
    begin(e, ENVELOPE_RELEASE, 0.0, -1.0, FALL_BEYOND, release_ms);
    skip_ended(e);
}

void envelope_advance(envelope *e, int frames) {
    while (frames > 0 && e->frames_left != ENVELOPE_HOLDS) {
        int run = e->frames_left < frames ? (int)e->frames_left : frames;
        e->distance *= run == 1 ? e->coefficient : pow(e->coefficient, run);
        e->frames_left -= run;
        frames -= run;
        skip_ended(e);
    }
}

float envelope_level(const envelope *e) {
    return (float)(e->asymptote + e->distance);
}
