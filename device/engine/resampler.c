#include "resampler.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846
#define LOOKAHEAD (RESAMPLER_TAPS / 2)
#define HALF_KERNEL (RESAMPLER_PHASES * RESAMPLER_READ_TAPS / 2)

/* Reading, at 32 kHz: what is below 8 kHz leaves images above 24 kHz, each at -93 dB or less. It is 1 dB down at
 * 7 kHz, which the doubling makes good. In cycles a doubled sample. */
#define READING_CUTOFF 0.37
#define READING_BETA 9.5
#define PART_BITS 25 /* of the 32 fraction bits, those below the phase: 2^(32 - 25) = RESAMPLER_PHASES */

/* Doubling, at 16 kHz: flat to 7 kHz and stopped by 84 dB from 8 kHz on, so that nothing of what a bank can hold
 * leaves an image (72 taps stop by 80 dB, 64 by 71 dB). In cycles a bank sample. */
#define DOUBLING_HALF_TRANSITION 0.035 /* 560 Hz, from its cutoff to where the filter stops */
#define DOUBLING_BETA 8.25
#define CUTOFFS_AN_OCTAVE 4
#define BANDS 100 /* steps of the integral over the passband: more change no level by 1 dB */

/* Modified Bessel function of the first kind, order 0, by its series. */
static double bessel_i0(double x) {
    double sum = 1.0, term = 1.0;
    for (int k = 1; k < 40; k++) {
        term *= (x / (2.0 * k)) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

/* Kaiser's window of `taps` samples at distance t from its middle. */
static double window(double t, double beta, int taps) {
    double edge = 2.0 * t / taps;
    return fabs(edge) < 1.0 ? bessel_i0(beta * sqrt(1.0 - edge * edge)) / bessel_i0(beta) : 0.0;
}

static double reading_kernel(double t) {
    double angle = 2.0 * PI * READING_CUTOFF * t;
    double sinc = fabs(angle) < 1e-9 ? 1.0 : sin(angle) / angle;
    return 2.0 * READING_CUTOFF * sinc * window(t, READING_BETA, RESAMPLER_READ_TAPS);
}

/* What the reading leaves of a tone of f cycles a bank sample: the Fourier integral of its kernel, which is even.
 * half[i] = kernel at i / RESAMPLER_PHASES. */
static double reading_gain(const double half[HALF_KERNEL], double f) {
    double sum = half[0];
    for (int i = 1; i < HALF_KERNEL; i++)
        sum += 2.0 * half[i] * cos(PI * f * i / RESAMPLER_PHASES); /* 2 PI (f / 2) t: doubling halves f */
    return sum / RESAMPLER_PHASES;
}

/* A low-pass whose passband is 1 / reading_gain: the integral of cos(2 PI f t) / gain(f) over f up to the cutoff. */
static void tabulate_doubling(float taps[2][RESAMPLER_TAPS], const double half_kernel[HALF_KERNEL], double cutoff) {
    double f[BANDS], weight[BANDS];
    for (int i = 0; i < BANDS; i++) {
        f[i] = cutoff * (i + 0.5) / BANDS;
        weight[i] = 2.0 * cutoff / BANDS / reading_gain(half_kernel, f[i]);
    }
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < RESAMPLER_TAPS; j++) {
            double t = j - (LOOKAHEAD - 1 + 0.5 * half), sum = 0.0;
            for (int i = 0; i < BANDS; i++)
                sum += weight[i] * cos(2.0 * PI * f[i] * t);
            taps[half][j] = (float)(sum * window(t, DOUBLING_BETA, RESAMPLER_TAPS));
        }
}

static void tabulate_reading(float (*phases)[2][RESAMPLER_READ_TAPS]) {
    for (int phase = 0; phase < RESAMPLER_PHASES; phase++)
        for (int j = 0; j < RESAMPLER_READ_TAPS; j++) {
            double t = j - (RESAMPLER_READ_TAPS / 2 - 1) - (double)phase / RESAMPLER_PHASES;
            phases[phase][0][j] = (float)reading_kernel(t);
            phases[phase][1][j] = (float)(reading_kernel(t - 1.0 / RESAMPLER_PHASES) - reading_kernel(t));
        }
}

void resampler_filters_init(resampler_filters *filters) {
    double half_kernel[HALF_KERNEL];
    for (int i = 0; i < HALF_KERNEL; i++)
        half_kernel[i] = reading_kernel((double)i / RESAMPLER_PHASES);
    for (int c = 0; c < RESAMPLER_CUTOFFS; c++) {
        double cutoff = 0.5 / exp2((double)c / CUTOFFS_AN_OCTAVE) - DOUBLING_HALF_TRANSITION;
        tabulate_doubling(filters->doubling[c], half_kernel, cutoff);
    }
    tabulate_reading(filters->reading);
}

/* In doubled samples, 32 bits of fraction. */
static uint64_t step_of(double samples_a_frame) {
    return (uint64_t)(samples_a_frame * 2.0 * 4294967296.0);
}

void resampler_glide(resampler *r, double samples_a_frame, int frames) {
    r->step = r->aim; /* what rounding has left of the last glide */
    r->aim = step_of(samples_a_frame);
    r->glide = (uint64_t)(((int64_t)r->aim - (int64_t)r->step) / frames);
}

void resampler_start(resampler *r, const resampler_filters *filters, double samples_a_frame) {
    memset(r, 0, sizeof *r);
    r->filters = filters;
    /* Up to 1 the bank's own limit lies below the card's. Beyond 4 the lowest cutoff has to do: some aliases. */
    double octaves = samples_a_frame > 1.0 ? log2(samples_a_frame) : 0.0;
    r->cutoff = (int)fmin(ceil(octaves * CUTOFFS_AN_OCTAVE - 1e-9), RESAMPLER_CUTOFFS - 1);
    /* The first sample, once fed, will stand LOOKAHEAD samples before the end of what is doubled. */
    r->position = (uint64_t)(RESAMPLER_READ_TAPS + 2 * RESAMPLER_BLOCK + 2 * LOOKAHEAD) << 32;
    r->step = r->aim = step_of(samples_a_frame);
}

/* out[n] = sum over k of taps[k] * line[n + k], n < RESAMPLER_BLOCK */
static void convolve(float *restrict out, const float *restrict line, const float *restrict taps) {
    float sum[RESAMPLER_BLOCK] = {0};
    for (int k = 0; k < RESAMPLER_TAPS; k++)
        for (int n = 0; n < RESAMPLER_BLOCK; n++)
            sum[n] += taps[k] * line[n + k];
    memcpy(out, sum, sizeof sum);
}

void resampler_feed(resampler *r, const float *block) {
    float on[RESAMPLER_BLOCK], between[RESAMPLER_BLOCK];
    memmove(r->line, r->line + RESAMPLER_BLOCK, RESAMPLER_TAPS * sizeof *r->line);
    memcpy(r->line + RESAMPLER_TAPS, block, RESAMPLER_BLOCK * sizeof *block);
    memmove(r->doubled, r->doubled + 2 * RESAMPLER_BLOCK, RESAMPLER_READ_TAPS * sizeof *r->doubled);

    /* line[n + LOOKAHEAD] is the sample in the middle of the taps from line[n + 1] on. */
    convolve(on, r->line + 1, r->filters->doubling[r->cutoff][0]);
    convolve(between, r->line + 1, r->filters->doubling[r->cutoff][1]);
    for (int n = 0; n < RESAMPLER_BLOCK; n++) {
        r->doubled[RESAMPLER_READ_TAPS + 2 * n] = on[n];
        r->doubled[RESAMPLER_READ_TAPS + 2 * n + 1] = between[n];
    }
    r->position -= (uint64_t)(2 * RESAMPLER_BLOCK) << 32;
}

/* Eight taps between two phases, as four sums side by side: compilers turn these loops into vector code. */
static void read_between(float *restrict sums, const float *restrict x, const float (*kernel)[RESAMPLER_READ_TAPS],
                         float part) {
    for (int j = 0; j < 4; j++)
        sums[j] = x[j] * (kernel[0][j] + part * kernel[1][j])
                + x[j + 4] * (kernel[0][j + 4] + part * kernel[1][j + 4]);
}

int resampler_render(resampler *r, float *out, int frames) {
    const uint64_t end = (uint64_t)(2 * RESAMPLER_BLOCK + RESAMPLER_READ_TAPS / 2) << 32;
    const float part_scale = 1.0f / (1 << PART_BITS);
    float sums[RESAMPLER_MAX_FRAMES][4];
    uint64_t position = r->position, step = r->step;
    int i = 0;
    for (; i < frames && position < end; i++, position += step, step += r->glide) {
        const float *x = r->doubled + (position >> 32) - (RESAMPLER_READ_TAPS / 2 - 1);
        uint32_t phase = (uint32_t)position >> PART_BITS;
        float part = (float)(int32_t)((uint32_t)position & ((1u << PART_BITS) - 1)) * part_scale;
        read_between(sums[i], x, r->filters->reading[phase], part);
    }
    for (int n = 0; n < i; n++)
        out[n] = (sums[n][0] + sums[n][2]) + (sums[n][1] + sums[n][3]);
    r->position = position;
    r->step = step;
    return i;
}
