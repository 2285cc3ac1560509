#include "chorus.h"

#include <math.h>
#include <string.h>

#include "voice.h"

#define PI 3.14159265358979323846
#define FOLLOW_MS 3.0f        /* each of two followers: 90 % of a step is done in 12 ms, all of it in 50 */
#define SWING_FOLLOW_MS 60.0f /* of rate and depth: slow, as they move the pitch */
#define VAST 1e9f             /* beyond it, infinite or not a number: no sound */

/* Where the voices' delays begin. The two of a channel differ, so that they never fall into one and sound as none. */
static const float SHORTEST_MS[2] = {5.0f, 8.5f};
#define LONGEST_MS (8.5f + CHORUS_MAX_DEPTH_MS)
#define VOICE_GAIN 0.70710678f /* two voices that are not alike: together as loud as one */

/* The reading kernel errs least, in the mean square, up to the first of these, in cycles a sample, and a thousandfold
 * less up to the second, where most of the sound is: -72 dB there, -36 dB and 0.2 dB up to 0.3. As its place moves, an
 * error becomes tones beside the tone that is read. */
static const struct {
    double width, weight;
} BANDS[2] = {{0.35, 1.0}, {0.15, 1000.0}};

/* What two taps `apart` samples from one another have in common over the bands. */
static double common(double apart) {
    double sum = 0.0;
    for (int b = 0; b < 2; b++) {
        double angle = 2.0 * PI * BANDS[b].width * apart;
        sum += 2.0 * BANDS[b].width * BANDS[b].weight * (fabs(angle) < 1e-9 ? 1.0 : sin(angle) / angle);
    }
    return sum;
}

/* The kernel of least squares between samples: its normal equations, which are positive definite, by elimination. */
static void tabulate_row(double row[CHORUS_TAPS], double phase) {
    double left[CHORUS_TAPS][CHORUS_TAPS];
    for (int j = 0; j < CHORUS_TAPS; j++) {
        row[j] = common(j - CHORUS_TAPS / 2 + phase);
        for (int k = 0; k < CHORUS_TAPS; k++)
            left[j][k] = common(j - k);
    }
    for (int pivot = 0; pivot < CHORUS_TAPS; pivot++)
        for (int j = pivot + 1; j < CHORUS_TAPS; j++) {
            double times = left[j][pivot] / left[pivot][pivot];
            row[j] -= times * row[pivot];
            for (int k = pivot; k < CHORUS_TAPS; k++)
                left[j][k] -= times * left[pivot][k];
        }
    for (int j = CHORUS_TAPS - 1; j >= 0; j--) {
        for (int k = j + 1; k < CHORUS_TAPS; k++)
            row[j] -= left[j][k] * row[k];
        row[j] /= left[j][j];
    }
}

static void tabulate(float (*kernel)[2][CHORUS_TAPS]) {
    double row[CHORUS_TAPS], next[CHORUS_TAPS];
    for (int phase = 0; phase < CHORUS_PHASES; phase++) {
        tabulate_row(row, (double)phase / CHORUS_PHASES);
        tabulate_row(next, (phase + 1.0) / CHORUS_PHASES);
        for (int j = 0; j < CHORUS_TAPS; j++) {
            kernel[phase][0][j] = (float)row[j];
            kernel[phase][1][j] = (float)(next[j] - row[j]);
        }
    }
}

static uint32_t ring_frames(float rate_hz) {
    uint32_t frames = 1;
    while ((float)frames < 0.001f * LONGEST_MS * rate_hz + CHORUS_TAPS + VOICE_MAX_FRAMES)
        frames *= 2;
    return frames;
}

size_t chorus_memory(float rate_hz) {
    return 2 * (size_t)(ring_frames(rate_hz) + CHORUS_TAPS);
}

/* As if nothing had sounded, and off. */
static void clear(chorus *c) {
    memset(c->lines[0], 0, chorus_memory(c->rate_hz) * sizeof *c->lines[0]);
    c->on = false;
    c->written = c->turn = 0;
    ramp_jump(&c->ramps[CHORUS_DRY], 1.0f);
    ramp_jump(&c->ramps[CHORUS_WET], 0.0f);
}

void chorus_init(chorus *c, float rate_hz, float *memory) {
    *c = (chorus){.rate_hz = rate_hz, .frames_a_ms = 0.001f * rate_hz, .mask = ring_frames(rate_hz) - 1};
    c->lines[0] = memory;
    c->lines[1] = memory + c->mask + 1 + CHORUS_TAPS;
    for (int i = 0; i < CHORUS_RAMPS; i++)
        ramp_init(&c->ramps[i], i == CHORUS_RATE || i == CHORUS_DEPTH ? SWING_FOLLOW_MS : FOLLOW_MS, rate_hz, 0.0f);
    tabulate(c->kernel);
    clear(c);
    chorus_set(c, &(chorus_settings){.mix = 0.0f, .rate_hz = 0.8f, .depth_ms = 3.0f});
}

static void take(float *setting, float value, float low, float high) {
    if (!isnan(value))
        *setting = value < low ? low : value > high ? high : value;
}

static void aim(chorus *c, int which, float to) {
    if (c->on)
        ramp_aim(&c->ramps[which], to);
    else
        ramp_jump(&c->ramps[which], to);
}

void chorus_set(chorus *c, const chorus_settings *settings) {
    chorus_settings *now = &c->settings;
    take(&now->mix, settings->mix, 0.0f, 1.0f);
    take(&now->rate_hz, settings->rate_hz, CHORUS_MIN_HZ, CHORUS_MAX_HZ);
    take(&now->depth_ms, settings->depth_ms, 0.0f, CHORUS_MAX_DEPTH_MS);
    aim(c, CHORUS_RATE, now->rate_hz);
    aim(c, CHORUS_DEPTH, now->depth_ms);
    c->on = c->on || now->mix > 0.0f; /* from here on, so that the mix comes up from 0 */
    aim(c, CHORUS_DRY, now->mix < 1.0f ? cosf(0.5f * (float)PI * now->mix) : 0.0f);
    aim(c, CHORUS_WET, sinf(0.5f * (float)PI * now->mix));
}

static void write(chorus *c, const float *stereo, int frames) {
    for (int channel = 0; channel < 2; channel++)
        for (int n = 0; n < frames; n++) {
            uint32_t place = (c->written + (uint32_t)n) & c->mask;
            float x = stereo[2 * n + channel];
            x = fabsf(x) < VAST ? x : 0.0f;
            c->lines[channel][place] = x;
            if (place < CHORUS_TAPS)
                c->lines[channel][c->mask + 1 + place] = x;
        }
}

/* How far a voice's swing has come, 1..0..1: a sine, as a polynomial (3e-07 off at most). */
static float swing(uint32_t turn) {
    float saw = (float)(int32_t)turn * 0x1p-31f;          /* -1..1 a cycle */
    float t = 1.0f - 2.0f * fabsf(saw), square = t * t;   /* -1..1..-1 */
    return 0.5f + t * (0.7853955f + square * (-0.3229464f + square * (0.0397172f + square * -0.00216655f)));
}

/* A line at `delay` frames before the frame at `place`. */
static float read(const chorus *c, const float *line, uint32_t place, float delay) {
    uint32_t whole = (uint32_t)(int32_t)delay;
    float phase = (delay - (float)(int32_t)whole) * CHORUS_PHASES;
    int row = (int)phase;
    const float *x = line + ((place - whole - CHORUS_TAPS / 2) & c->mask);
    const float *value = c->kernel[row][0], *step = c->kernel[row][1];
    float part = phase - (float)row, sum[4] = {0};
    for (int j = 0; j < 4; j++)
        sum[j] = (value[j] + part * step[j]) * x[j] + (value[j + 4] + part * step[j + 4]) * x[j + 4];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* Where the swing stands in the next frames. */
static void advance(chorus *c, const float *rates_hz, uint32_t *turns, int frames) {
    float turn_a_cycle = 4294967296.0f / c->rate_hz;
    for (int n = 0; n < frames; n++) {
        turns[n] = c->turn;
        c->turn += (uint32_t)(int32_t)(rates_hz[n] * turn_a_cycle + 0.5f);
    }
}

/* Both voices of a channel: a quarter of a cycle apart, and the right channel's against the left one's. */
static void sing(const chorus *c, int channel, const float *depths_ms, const uint32_t *turns, float *wet, int frames) {
    float delays[VOICE_MAX_FRAMES];
    memset(wet, 0, (size_t)frames * sizeof *wet);
    for (int v = 0; v < 2; v++) {
        uint32_t ahead = (uint32_t)(2 * channel + v) << 30;
        for (int n = 0; n < frames; n++)
            delays[n] = c->frames_a_ms * (SHORTEST_MS[v] + depths_ms[n] * swing(turns[n] + ahead));
        for (int n = 0; n < frames; n++)
            wet[n] += VOICE_GAIN * read(c, c->lines[channel], c->written + (uint32_t)n, delays[n]);
    }
}

void chorus_render(chorus *c, float *stereo, int frames) {
    if (!c->on)
        return;
    float ramps[CHORUS_RAMPS][VOICE_MAX_FRAMES], wet[VOICE_MAX_FRAMES];
    uint32_t turns[VOICE_MAX_FRAMES];
    for (int i = 0; i < CHORUS_RAMPS; i++)
        ramp_render(&c->ramps[i], ramps[i], frames);
    advance(c, ramps[CHORUS_RATE], turns, frames);
    write(c, stereo, frames);
    for (int channel = 0; channel < 2; channel++) {
        sing(c, channel, ramps[CHORUS_DEPTH], turns, wet, frames);
        for (int n = 0; n < frames; n++)
            stereo[2 * n + channel] = ramps[CHORUS_DRY][n] * stereo[2 * n + channel] + ramps[CHORUS_WET][n] * wet[n];
    }
    c->written += (uint32_t)frames;
    if (c->ramps[CHORUS_WET].to == 0.0f && c->ramps[CHORUS_WET].off == 0.0f && c->ramps[CHORUS_DRY].off == 0.0f)
        clear(c);
}
