#include "delay.h"

#include <math.h>
#include <string.h>

#include "voice.h"

#define PI 3.14159265f
#define FOLLOW_MS 3.0f  /* each of two followers: 90 % of a step is done in 12 ms, all of it in 50 */
#define FADE_MS 25.0f   /* from one time to the next: no edge, and too short to be heard as two echoes */
#define TINY 1e-15f     /* -300 dB; the loop holds nothing below, or it would end in denormals, which are slow */
#define VAST 1e9f       /* beyond it, infinite or not a number: no sound */

static int frames_of(float ms, float rate_hz) {
    return (int)(0.001f * ms * rate_hz + 0.5f);
}

static int ring_frames(float rate_hz) {
    return frames_of(DELAY_MAX_MS, rate_hz) + 1;
}

size_t delay_memory(float rate_hz) {
    return 2 * (size_t)ring_frames(rate_hz);
}

/* As if nothing had sounded, and off. The line stays as it is: what was not written since is read as 0. */
static void clear(delay *d) {
    d->on = false;
    d->at = d->written = d->fade_left = 0;
    d->low[0] = d->low[1] = 0.0f;
    ramp_jump(&d->ramps[DELAY_DRY], 1.0f);
    ramp_jump(&d->ramps[DELAY_WET], 0.0f);
}

void delay_init(delay *d, float rate_hz, float *memory) {
    *d = (delay){.line = memory, .size = ring_frames(rate_hz), .fade_frames = frames_of(FADE_MS, rate_hz),
                 .rate_hz = rate_hz};
    for (int i = 0; i < DELAY_RAMPS; i++)
        ramp_init(&d->ramps[i], FOLLOW_MS, rate_hz, 0.0f);
    memset(memory, 0, delay_memory(rate_hz) * sizeof *memory); /* resident before the first sound */
    clear(d);
    delay_set(d, &(delay_settings){.mix = 0.0f, .time_ms = 375.0f, .feedback = 0.35f, .tone_hz = 5000.0f});
}

static void take(float *setting, float value, float low, float high) {
    if (!isnan(value))
        *setting = value < low ? low : value > high ? high : value;
}

static void aim(delay *d, int which, float to) {
    if (d->on)
        ramp_aim(&d->ramps[which], to);
    else
        ramp_jump(&d->ramps[which], to);
}

void delay_set(delay *d, const delay_settings *settings) {
    delay_settings *now = &d->settings;
    take(&now->mix, settings->mix, 0.0f, 1.0f);
    take(&now->time_ms, settings->time_ms, DELAY_MIN_MS, DELAY_MAX_MS);
    take(&now->feedback, settings->feedback, 0.0f, DELAY_MAX_FEEDBACK);
    take(&now->tone_hz, settings->tone_hz, DELAY_MIN_TONE_HZ, DELAY_OPEN_TONE_HZ);
    now->ping_pong = settings->ping_pong;
    d->time_wanted = frames_of(now->time_ms, d->rate_hz);
    d->time = d->on ? d->time : d->time_wanted;
    bool open = now->tone_hz >= DELAY_OPEN_TONE_HZ;
    aim(d, DELAY_TONE, open ? 1.0f : 1.0f - expf(-2.0f * PI * now->tone_hz / d->rate_hz));
    aim(d, DELAY_FEEDBACK, now->feedback);
    aim(d, DELAY_CROSS, now->ping_pong ? 1.0f : 0.0f);
    d->on = d->on || now->mix > 0.0f; /* from here on, so that the mix comes up from 0 */
    aim(d, DELAY_DRY, now->mix < 1.0f ? cosf(0.5f * PI * now->mix) : 0.0f);
    aim(d, DELAY_WET, sinf(0.5f * PI * now->mix));
}

/* out[n] = the line `time` frames before frame n; 0 from before it was turned on. frames <= time. */
static void tap(const delay *d, int time, float (*out)[2], int frames) {
    int silent = time - d->written < frames ? time - d->written : frames;
    int from = d->at - time + (d->at < time ? d->size : 0);
    for (int n = 0; n < frames; n++, from = from + 1 == d->size ? 0 : from + 1)
        for (int channel = 0; channel < 2; channel++)
            out[n][channel] = n < silent ? 0.0f : d->line[2 * from + channel];
}

/* Echoes of the next frames, on the way from one time to another where it changes. */
static void read(delay *d, float (*echoes)[2], int frames) {
    float before[VOICE_MAX_FRAMES][2];
    tap(d, d->time, echoes, frames);
    if (d->fade_left == 0)
        return;
    tap(d, d->time_before, before, frames);
    for (int n = 0; n < frames; n++, d->fade_left--) {
        float s = (float)d->fade_left / (float)d->fade_frames, share = s * s * (3.0f - 2.0f * s); /* 1 -> 0 */
        for (int channel = 0; channel < 2; channel++)
            echoes[n][channel] += share * (before[n][channel] - echoes[n][channel]);
    }
}

static float heard(float x) {
    float size = fabsf(x);
    return size > TINY && size < VAST ? x : 0.0f;
}

/* What goes round. cross 0: each channel by itself; 1: what comes in enters left, and the channels change places.
 * Between them a mean of both, so the loop's gain is the feedback at most. */
static void write(delay *d, const float *stereo, float (*echoes)[2], float (*ramps)[VOICE_MAX_FRAMES], int frames) {
    for (int n = 0; n < frames; n++) {
        float left = stereo[2 * n], right = stereo[2 * n + 1], feedback = ramps[DELAY_FEEDBACK][n];
        float cross = ramps[DELAY_CROSS][n], back = echoes[n][1] - echoes[n][0];
        float to_left = left + 0.5f * cross * (right - left) + feedback * (echoes[n][0] + cross * back);
        float to_right = right - cross * right + feedback * (echoes[n][1] - cross * back);
        d->low[0] = heard(d->low[0] + ramps[DELAY_TONE][n] * (to_left - d->low[0]));
        d->low[1] = heard(d->low[1] + ramps[DELAY_TONE][n] * (to_right - d->low[1]));
        memcpy(d->line + 2 * d->at, d->low, sizeof d->low);
        d->at = d->at + 1 == d->size ? 0 : d->at + 1;
    }
    d->written = d->written + frames < d->size ? d->written + frames : d->size;
}

/* As many frames as can be read before they are written. */
static int next_run(delay *d, int frames) {
    if (d->fade_left == 0 && d->time_wanted != d->time) {
        d->time_before = d->time;
        d->time = d->time_wanted;
        d->fade_left = d->fade_frames;
    }
    int run = frames < d->time ? frames : d->time;
    if (d->fade_left > 0) {
        run = run < d->time_before ? run : d->time_before;
        run = run < d->fade_left ? run : d->fade_left;
    }
    return run;
}

void delay_render(delay *d, float *stereo, int frames) {
    float ramps[DELAY_RAMPS][VOICE_MAX_FRAMES], echoes[VOICE_MAX_FRAMES][2];
    for (int run; d->on && frames > 0; frames -= run, stereo += 2 * run) {
        run = next_run(d, frames);
        for (int i = 0; i < DELAY_RAMPS; i++)
            ramp_render(&d->ramps[i], ramps[i], run);
        read(d, echoes, run);
        write(d, stereo, echoes, ramps, run);
        for (int n = 0; n < run; n++)
            for (int channel = 0; channel < 2; channel++)
                stereo[2 * n + channel] = ramps[DELAY_DRY][n] * stereo[2 * n + channel]
                                        + ramps[DELAY_WET][n] * echoes[n][channel];
        if (d->ramps[DELAY_WET].to == 0.0f && d->ramps[DELAY_WET].off == 0.0f && d->ramps[DELAY_DRY].off == 0.0f)
            clear(d);
    }
}
