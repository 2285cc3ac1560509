#include "resampler.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define PI 3.14159265358979323846
#define LOOKAHEAD (RESAMPLER_TAPS / 2)
#define BEHIND (RESAMPLER_READ_TAPS / 2 - 1) /* doubled samples that the kernel reaches back */

/* Reading, at 32 kHz: what is below 8 kHz leaves images above 24 kHz, each at -93 dB or less. It is 1 dB down at
 * 7 kHz, which the doubling makes good (doubling_filters.py). In cycles a doubled sample. */
#define READING_CUTOFF 0.37
#define READING_BETA 9.5
#define KEPT RESAMPLER_TAPS /* samples before a block that doubling reads */

/* Modified Bessel function of the first kind, order 0, by its series. */
static double bessel_i0(double x) {
    double sum = 1.0, term = 1.0;
    for (int k = 1; k < 40; k++) {
        term *= (x / (2.0 * k)) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

/* A sinc under Kaiser's window, at a distance of t doubled samples. */
static double reading_kernel(double t) {
    double angle = 2.0 * PI * READING_CUTOFF * t, edge = 2.0 * t / RESAMPLER_READ_TAPS;
    if (fabs(edge) >= 1.0)
        return 0.0;
    double sinc = fabs(angle) < 1e-9 ? 1.0 : sin(angle) / angle;
    return 2.0 * READING_CUTOFF * sinc * bessel_i0(READING_BETA * sqrt(1.0 - edge * edge)) / bessel_i0(READING_BETA);
}

/* In finely tabled phases; straight lines between them are off by -94 dB at 8 kHz. */
static void tabulate_reading(kernel_reading *reading) {
    const int phases = 1 << KERNEL_PHASE_BITS;
    for (int phase = 0; phase < phases; phase++)
        for (int j = 0; j < RESAMPLER_READ_TAPS; j++) {
            double t = j - BEHIND - (double)phase / phases;
            (*reading)[phase][0][j] = (float)reading_kernel(t);
            (*reading)[phase][1][j] = (float)(reading_kernel(t - 1.0 / phases) - reading_kernel(t));
        }
}

static void take_doubling(kernel_doubling *filter, const float taps[2][RESAMPLER_TAPS]) {
    memset(filter, 0, sizeof *filter);
    memcpy(filter->taps, taps, sizeof filter->taps);
    for (int s = 0; s < 8; s++)
        for (int k = 0; k < RESAMPLER_TAPS; k++)
            for (int half = 0; half < 2; half++)
                filter->added[s][2 * (s + RESAMPLER_TAPS - 1 - k) + half] = taps[half][k];
}

void resampler_filters_init(resampler_filters *filters) {
    tabulate_reading(&filters->reading);
    for (int cutoff = 0; cutoff < RESAMPLER_CUTOFFS; cutoff++)
        take_doubling(&filters->doubling[cutoff], DOUBLING_FILTERS[cutoff]);
}

/* In doubled samples, 32 bits of fraction. */
static uint64_t step_of(double samples_a_frame) {
    return (uint64_t)(samples_a_frame * 2.0 * 4294967296.0);
}

void resampler_glide(resampler *r, double samples_a_frame, int frames) {
    r->step = r->aim; /* what rounding has left of the last glide */
    r->aim = step_of(samples_a_frame);
    r->glide = r->aim == r->step ? 0 : (uint64_t)(((int64_t)r->aim - (int64_t)r->step) / frames);
}

void resampler_stop_glide(resampler *r) {
    r->aim = r->step;
    r->glide = 0;
}

void resampler_start(resampler *r, double samples_a_frame, double in_the_end) {
    /* Up to 1 the bank's own limit lies below the card's. Beyond 4 the lowest cutoff has to do: some aliases. */
    double octaves = in_the_end > 1.0 ? log2(in_the_end) : 0.0;
    r->cutoff = (int)fmin(ceil(octaves * RESAMPLER_CUTOFFS_AN_OCTAVE - 1e-9), RESAMPLER_CUTOFFS - 1);
    r->step = r->aim = step_of(samples_a_frame);
    r->glide = 0;
    memset(r->line, 0, KEPT * sizeof *r->line);
    memset(r->doubled, 0, BEHIND * sizeof *r->doubled);
    r->fed = KEPT;
    r->filled = BEHIND;
    r->position = (uint64_t)(BEHIND + 2 * LOOKAHEAD) << 32; /* the filter's length is skipped */
}

/* Where it will stand so many frames on. */
static uint64_t position_after(const resampler *r, int frames) {
    uint64_t n = (uint64_t)frames;
    return r->position + n * r->step + n * (n - 1) / 2 * r->glide;
}

bool resampler_lacks(const resampler *r, int frames) {
    return (int)(position_after(r, frames - 1) >> 32) + RESAMPLER_READ_TAPS - BEHIND > r->filled;
}

int resampler_ahead(const resampler *r) {
    return (r->filled - (int)(r->position >> 32)) / 2;
}

double resampler_behind(const resampler *r) {
    return LOOKAHEAD + ((double)r->filled - (double)r->position / 4294967296.0) / 2.0;
}

void resampler_skip(resampler *r, double samples) {
    r->position += step_of(samples);
}

/* Only every other time, for what has just been moved is slow to be read. */
static void make_room_in_line(resampler *r) {
    if (r->fed + RESAMPLER_BLOCK <= RESAMPLER_LINE)
        return;
    memmove(r->line, r->line + r->fed - KEPT, KEPT * sizeof *r->line);
    r->fed = KEPT;
}

static void forget_passed(resampler *r) {
    int passed = (int)(r->position >> 32) - BEHIND;
    passed = passed < r->filled ? passed : r->filled;
    memmove(r->doubled, r->doubled + passed, (size_t)(r->filled - passed) * sizeof *r->doubled);
    r->filled -= passed;
    r->position -= (uint64_t)passed << 32;
}

void resampler_feed(resampler *r, const resampler_filters *filters, const float *block) {
    make_room_in_line(r);
    forget_passed(r);
    memcpy(r->line + r->fed, block, RESAMPLER_BLOCK * sizeof *block);
    kernels->double_rate(r->doubled + r->filled, r->line + r->fed - (RESAMPLER_TAPS - 1),
                         &filters->doubling[r->cutoff]);
    r->fed += RESAMPLER_BLOCK;
    r->filled += 2 * RESAMPLER_BLOCK;
}

void resampler_copy(resampler *to, const resampler *from) {
    memcpy(to, from, offsetof(resampler, doubled));
    memcpy(to->doubled, from->doubled, (size_t)from->filled * sizeof *from->doubled);
}

void resampler_gather(kernel_places *places, resampler *const from[LANES]) {
    places->base = from[0]->doubled - BEHIND;
    places->glides = false;
    for (int lane = 0; lane < LANES; lane++) {
        const resampler *r = from[lane];
        places->doubled[lane] = (int32_t)(r->doubled - from[0]->doubled);
        places->whole[lane] = (int32_t)(r->position >> 32);
        places->whole_step[lane] = (int32_t)(r->step >> 32);
        places->whole_glide[lane] = (int32_t)(r->glide >> 32);
        places->part[lane] = (uint32_t)r->position;
        places->part_step[lane] = (uint32_t)r->step;
        places->part_glide[lane] = (uint32_t)r->glide;
        places->glides = places->glides || r->glide != 0;
    }
}

static uint64_t joined(int32_t whole, uint32_t part) {
    return (uint64_t)(uint32_t)whole << 32 | part;
}

void resampler_scatter(const kernel_places *places, resampler *const to[LANES]) {
    for (int lane = 0; lane < LANES; lane++) {
        to[lane]->position = joined(places->whole[lane], places->part[lane]);
        to[lane]->step = joined(places->whole_step[lane], places->part_step[lane]);
    }
}
