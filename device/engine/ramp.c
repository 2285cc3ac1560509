#include "ramp.h"

#include <math.h>
#include <stdbool.h>

#define ARRIVED 1e-6f /* the rest of the way is a step of -120 dB */

void ramp_init(ramp *r, float follow_ms, float rate_hz, float value) {
    *r = (ramp){.to = value, .kept = expf(-1000.0f / (follow_ms * rate_hz))};
}

void ramp_aim(ramp *r, float to) {
    float way = r->to - to;
    r->slow += way;
    r->off += way;
    r->to = to;
}

void ramp_jump(ramp *r, float to) {
    r->to = to;
    r->slow = r->off = 0.0f;
}

void ramp_render(ramp *r, float *out, int frames) {
    float slow = r->slow, off = r->off;
    bool rests = slow == 0.0f && off == 0.0f;
    for (int n = 0; rests && n < frames; n++)
        out[n] = r->to;
    for (int n = 0; !rests && n < frames; n++) {
        slow *= r->kept;
        off += (1.0f - r->kept) * (slow - off);
        if (fabsf(slow) < ARRIVED && fabsf(off) < ARRIVED)
            slow = off = 0.0f;
        out[n] = r->to + off;
    }
    r->slow = slow;
    r->off = off;
}
