#include "knobs.h"

#include <math.h>

#define KNOB_MS 2.0        /* each of two followers in a row: 90 % of a step is done in 8 ms, without an edge */
#define KNOB_ARRIVED 1e-6f /* so near the rest of the way is a step of -120 dB */

void knobs_start(knobs *k, bank_point at, double ratio) {
    k->blend = k->slow = at;
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
    bank_point slow = k->slow, blend = k->blend;
    path->rests = same(blend, to) && same(slow, to);
    if (path->rests) {
        for (int n = 0; n < BANK_BLOCK; n++) {
            path->across[n] = to.x * cells;
            path->down[n] = to.y * cells;
        }
        return;
    }
    for (int n = 0; n < BANK_BLOCK; n++) {
        slow.x += follow * (to.x - slow.x);
        slow.y += follow * (to.y - slow.y);
        blend.x += follow * (slow.x - blend.x);
        blend.y += follow * (slow.y - blend.y);
        path->across[n] = blend.x * cells;
        path->down[n] = blend.y * cells;
    }
    bool arrived = near(slow, to) && near(blend, to);
    k->slow = arrived ? to : slow;
    k->blend = arrived ? to : blend;
}
