/* Two integrators in a loop, discretised by the trapezoidal rule without a delay in the loop (V. Zavalishin, "The Art
 * of VA Filter Design"; A. Simper, "Solving the continuous SVF equations using trapezoidal integration", 2013):
 * magnitude and phase are those of the analog filter at tan(pi f / rate). With g = tan(pi cutoff / rate) and k = 1 / Q
 *
 *     a1 = 1 / (1 + g (g + k)),  a2 = g a1,  a3 = g a2
 *     band = a1 s1 + a2 (x - s2),           s1' = 2 band - s1
 *     low  = s2 + a2 s1 + a3 (x - s2),      s2' = 2 low - s2
 *     high = x - k band - low
 *
 * Here a1, a2 and a3 hold 2 - 2 a1, 2 a2 and 2 a3, what is added to the states: that saves work, and small numbers stay
 * exact at low cutoffs. All three outputs are sums of x - s2 (what drives the lane), s1 and s2, so that a mode is three
 * weights and every lane runs the same code.
 *
 * It is stable however it is steered. Without input each step takes 4 g k band^2 from s1^2 + s2^2, whatever g and k
 * are, so the matrix from (s1, s2) to (s1', s2') lengthens no vector. That matrix is affine in a1, a2 and a3: on the
 * straight line between two of their settings stands a weighted mean of two such matrices, which lengthens none
 * either. */
#include "filter.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define FLUSH_FRAMES 64 /* states are looked at so often: silence must not leave denormals, which are slow */
#define TINY 1e-15f     /* -300 dB */
#define VAST 1e15f

typedef struct {
    float a1, a2, a3, driven, first, second;
} coefficients;

/* sin(pi t) for t in 0..0.5: a polynomial of least relative error, 5e-9 before rounding. */
static float sin_pi(float t) {
    float u = t * t;
    return t * (3.14159264f + u * (-5.16770971f + u * (2.55006972f + u * (-0.598242108f + u * 0.0775603462f))));
}

/* tan(pi t) for t in 0..0.45, off by 3e-7 of it at most. */
static float tan_pi(float t) {
    return sin_pi(t) / sin_pi(0.5f - t);
}

static float clamp(float value, float low, float high) {
    return value < low ? low : value > high ? high : value;
}

static coefficients design(filter_mode mode, float cutoff_hz, float resonance, float rate_hz) {
    float g = tan_pi(clamp(cutoff_hz, FILTER_MIN_HZ, FILTER_MAX_OF_RATE * rate_hz) / rate_hz);
    float k = exp2f(-5.32192809f * clamp(resonance, 0.0f, 1.0f)) / FILTER_MIN_Q; /* log2(20 / 0.5) */
    float a1 = 1.0f / (1.0f + g * (g + k)), a2 = g * a1, a3 = g * a2;
    coefficients c = {.a1 = 2.0f * g * (g + k) * a1, .a2 = 2.0f * a2, .a3 = 2.0f * a3};
    switch (mode) {
    case FILTER_BAND: c.driven = k * a2, c.first = k * a1; break;
    case FILTER_HIGH: c.driven = a1, c.first = -(k * a1 + a2); break; /* 1 - k a2 - a3 = a1 */
    default: c.driven = a3, c.first = a2, c.second = 1.0f;
    }
    return c;
}

static void put(kernel_coefficients *all, int lane, coefficients c) {
    all->a1[lane] = c.a1, all->a2[lane] = c.a2, all->a3[lane] = c.a3;
    all->driven[lane] = c.driven, all->first[lane] = c.first, all->second[lane] = c.second;
}

static coefficients get(const kernel_coefficients *all, int lane) {
    return (coefficients){.a1 = all->a1[lane], .a2 = all->a2[lane], .a3 = all->a3[lane], .driven = all->driven[lane],
                          .first = all->first[lane], .second = all->second[lane]};
}

static coefficients slope(coefficients from, coefficients to, int frames) {
    float part = 1.0f / (float)frames;
    return (coefficients){.a1 = part * (to.a1 - from.a1), .a2 = part * (to.a2 - from.a2),
                          .a3 = part * (to.a3 - from.a3), .driven = part * (to.driven - from.driven),
                          .first = part * (to.first - from.first), .second = part * (to.second - from.second)};
}

static void arrive(filter_lanes *f, int lane) {
    put(&f->kernel.now, lane, get(&f->aim, lane));
    put(&f->kernel.step, lane, (coefficients){0});
    f->frames_left[lane] = 0;
}

static void open_lane(filter_lanes *f, int lane) {
    put(&f->aim, lane, (coefficients){.driven = 1.0f, .second = 1.0f}); /* (x - s2) + s2 */
    arrive(f, lane);
    f->aimed[lane] = (filter_setting){.rate_hz = 0.0f}; /* no other is the same */
}

void filter_init(filter_lanes *f) {
    *f = (filter_lanes){.next_arrival = INT_MAX, .frames_to_flush = FLUSH_FRAMES};
    for (int lane = 0; lane < FILTER_LANES; lane++)
        open_lane(f, lane);
}

void filter_start(filter_lanes *f, int lane, filter_mode mode, float cutoff_hz, float resonance, float rate_hz) {
    f->kernel.s1[lane] = f->kernel.s2[lane] = 0.0f;
    open_lane(f, lane);
    filter_aim(f, lane, mode, cutoff_hz, resonance, rate_hz, 0);
}

void filter_aim(filter_lanes *f, int lane, filter_mode mode, float cutoff_hz, float resonance, float rate_hz,
                int frames) {
    const filter_setting *last = &f->aimed[lane];
    bool same = mode == last->mode && cutoff_hz == last->cutoff_hz && resonance == last->resonance
             && rate_hz == last->rate_hz;
    if (isnan(cutoff_hz) || isnan(resonance) || (same && f->frames_left[lane] == 0))
        return;
    f->aimed[lane] = (filter_setting){mode, cutoff_hz, resonance, rate_hz};
    coefficients to = design(mode, cutoff_hz, resonance, rate_hz);
    put(&f->aim, lane, to);
    if (frames <= 0) {
        arrive(f, lane);
        return;
    }
    put(&f->kernel.step, lane, slope(get(&f->kernel.now, lane), to, frames));
    f->frames_left[lane] = frames;
    f->next_arrival = f->next_arrival < frames ? f->next_arrival : frames;
}

void filter_copy_lane(filter_lanes *to, int lane, const filter_lanes *from, int from_lane) {
    to->kernel.s1[lane] = from->kernel.s1[from_lane];
    to->kernel.s2[lane] = from->kernel.s2[from_lane];
    put(&to->kernel.now, lane, get(&from->kernel.now, from_lane));
    put(&to->kernel.step, lane, get(&from->kernel.step, from_lane));
    put(&to->aim, lane, get(&from->aim, from_lane));
    to->aimed[lane] = from->aimed[from_lane];
    to->frames_left[lane] = from->frames_left[from_lane];
    if (to->frames_left[lane] > 0 && to->frames_left[lane] < to->next_arrival)
        to->next_arrival = to->frames_left[lane];
}

/* Silence and what no filter should hold become 0: |state| outside TINY..VAST, infinite, not a number. */
static void flush(float state[FILTER_LANES]) {
    for (int l = 0; l < FILTER_LANES; l++) {
        float size = fabsf(state[l]);
        state[l] = size > TINY && size < VAST ? state[l] : 0.0f;
    }
}

/* Lanes that have come to their aim stay there. */
static void arrive_all(filter_lanes *f, int frames) {
    f->next_arrival = INT_MAX;
    for (int l = 0; l < FILTER_LANES; l++) {
        if (f->frames_left[l] > 0 && (f->frames_left[l] -= frames) == 0)
            arrive(f, l);
        if (f->frames_left[l] > 0 && f->frames_left[l] < f->next_arrival)
            f->next_arrival = f->frames_left[l];
    }
}

/* Up to when the next lane arrives or states are flushed. */
static int next_run(const filter_lanes *f, int frames) {
    int run = frames < f->frames_to_flush ? frames : f->frames_to_flush;
    return run < f->next_arrival ? run : f->next_arrival;
}

static void pass(filter_lanes *f, int frames) {
    if (f->next_arrival < INT_MAX)
        arrive_all(f, frames);
    if ((f->frames_to_flush -= frames) > 0)
        return;
    flush(f->kernel.s1);
    flush(f->kernel.s2);
    f->frames_to_flush = FLUSH_FRAMES;
}

void filter_render(filter_lanes *const f[2], float (*const x[2])[FILTER_LANES], int frames) {
    kernel_filter *const both[2] = {&f[0]->kernel, &f[1]->kernel};
    for (int done = 0, now; done < frames; done += now) {
        float (*const from[2])[FILTER_LANES] = {x[0] + done, x[1] + done};
        bool moves = f[0]->next_arrival < INT_MAX || f[1]->next_arrival < INT_MAX;
        now = next_run(f[1], next_run(f[0], frames - done));
        kernels->filter(both, from, moves, now);
        pass(f[0], now);
        pass(f[1], now);
    }
}
