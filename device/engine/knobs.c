#include "knobs.h"

#include <math.h>

#define KNOB_MS 1.5        /* each of three followers in a row: 90 % of a step is done in 8 ms, without an edge */
#define KNOB_ARRIVED 1e-6f /* so near the rest of the way is a step of -120 dB */

void knobs_start(knobs *k, bank_point at, double ratio) {
    k->blend = k->slow = k->slower = at;
    knobs_pace(k, ratio);
}

void knobs_pace(knobs *k, double ratio) {
    k->follow = (float)(1.0 - exp(-1000.0 / (KNOB_MS * ENGINE_BANK_RATE_HZ * ratio)));
}

static bool same(bank_point a, bank_point b) {
    return a.x == b.x && a.y == b.y;
}

static bool near(bank_point a, bank_point b) {
    return fabsf(a.x - b.x) < KNOB_ARRIVED && fabsf(a.y - b.y) < KNOB_ARRIVED;
}

void knobs_follow(knobs *k, bank_point to, int grid, bank_path *path) {
    float cells = (float)(grid - 1), follow = k->follow;
    bank_point slower = k->slower, slow = k->slow, blend = k->blend;
    path->rests = same(blend, to) && same(slow, to) && same(slower, to);
    if (path->rests) {
        path->across[0] = to.x * cells;
        path->down[0] = to.y * cells;
        return;
    }
    for (int n = 0; n < BANK_BLOCK; n++) {
        slower.x += follow * (to.x - slower.x);
        slower.y += follow * (to.y - slower.y);
        slow.x += follow * (slower.x - slow.x);
        slow.y += follow * (slower.y - slow.y);
        blend.x += follow * (slow.x - blend.x);
        blend.y += follow * (slow.y - blend.y);
        path->across[n] = blend.x * cells;
        path->down[n] = blend.y * cells;
    }
    bool stands = same(slower, k->slower) && same(slow, k->slow) && same(blend, k->blend); /* for want of precision */
    bool arrived = stands || (near(slower, to) && near(slow, to) && near(blend, to));
    k->slower = arrived ? to : slower;
    k->slow = arrived ? to : slow;
    k->blend = arrived ? to : blend;
}
