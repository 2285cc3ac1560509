#include "lfo.h"

#include <math.h>
#include <stdbool.h>

#define PI 3.14159265f
#define EDGE_S 0.005 /* a jump becomes half a cosine of that length, or it would click */

/* -1..1 from seed and cycle alone, so that what takes over a clock's cycle takes over its values. Mixed by the finisher
 * of SplitMix64 (Steele, Lea and Flood, 2014). */
static float random_value(uint32_t seed, uint64_t cycle) {
    uint64_t z = ((uint64_t)seed << 32 ^ cycle) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)(int32_t)(z >> 32) * 0x1p-31f;
}

static float shape_at(const lfo *l, lfo_shape shape) {
    float phase = (float)l->phase;
    switch (shape) {
    case LFO_TRIANGLE: return 1.0f - 4.0f * fabsf(phase - 0.25f - floorf(phase + 0.25f));
    case LFO_SQUARE: return phase < 0.5f ? 1.0f : -1.0f;
    case LFO_RANDOM: return random_value(l->seed, l->cycle);
    default: return sinf(2.0f * PI * phase);
    }
}

/* 0 -> 1, as a recorded vibrato sets in. */
static float set_in(float seconds, float delay_s) {
    delay_s = fminf(delay_s, LFO_MAX_DELAY_S);
    if (!(seconds < 1.5f * delay_s)) /* also where the delay is not a number */
        return 1.0f;
    return seconds <= 0.5f * delay_s ? 0.0f : 0.5f - 0.5f * cosf(PI * (seconds / delay_s - 0.5f));
}

void lfo_init(lfo *l, int period_frames, float rate_hz, uint32_t seed) {
    *l = (lfo){.period_s = period_frames / (double)rate_hz, .seed = seed, .edge_s = EDGE_S};
}

void lfo_start(lfo *l, const lfo_settings *settings, const lfo *clock) {
    l->seed = clock ? clock->seed : l->seed;
    l->cycle = clock ? clock->cycle : 0;
    l->phase = clock ? clock->phase : 0.0;
    l->seconds = 0.0;
    l->rate_hz = settings->rate_hz;
    l->shape = settings->shape;
    l->target = shape_at(l, l->shape);
    l->edge_s = EDGE_S;
    l->value = l->target * set_in(0.0f, settings->delay_s);
}

static void advance(lfo *l, int periods) {
    double seconds = periods * l->period_s;
    l->seconds += seconds;
    l->edge_s += seconds;
    if (isnan(l->rate_hz))
        return;
    l->phase += fmin(fmax((double)l->rate_hz, LFO_MIN_HZ), LFO_MAX_HZ) * seconds;
    uint64_t whole = (uint64_t)l->phase;
    l->cycle += whole;
    l->phase -= (double)whole;
}

/* What is left of the way to where the shape jumped to. */
static float rest_of_edge(const lfo *l) {
    return l->edge_s >= EDGE_S ? 0.0f : l->edge * (0.5f + 0.5f * cosf(PI * (float)(l->edge_s / EDGE_S)));
}

void lfo_pass(lfo *l, int periods) {
    advance(l, periods);
    l->value = 0.0f;
}

float lfo_next(lfo *l, const lfo_settings *settings) {
    float before = l->target + rest_of_edge(l);
    l->rate_hz = settings->rate_hz;
    advance(l, 1);
    float target = shape_at(l, settings->shape);
    bool jumps = settings->shape != l->shape || (settings->shape >= LFO_SQUARE && target != l->target);
    if (jumps) {
        l->edge = before - target;
        l->edge_s = 0.0;
    }
    l->shape = settings->shape;
    l->target = target;
    float value = fminf(fmaxf(target + rest_of_edge(l), -1.0f), 1.0f);
    return l->value = value * set_in((float)l->seconds, settings->delay_s);
}
