/* J.-M. Jot and A. Chaigne, "Digital delay networks for designing artificial reverberators", AES 1991: a network that
 * loses nothing, and for a line of m frames a gain of 10 ^ (-3 m / (decay * rate)), so that every way through the lines
 * decays alike. The matrix is Hadamard's times a turn of each pair of lines by an angle that swings slowly: a matrix
 * that varies and still loses nothing (S. J. Schlecht and E. A. P. Habets, "Time-varying feedback matrices in feedback
 * delay networks and their application in artificial reverberation", JASA 2015). Its modes never stand still, so none
 * rings; no line is read between its samples, so nothing is lost to that either. Before the lines, all-passes in a row
 * (M. R. Schroeder, 1962), other ones left and right, make a stroke dense at once. */
#include "reverb.h"

#include <math.h>
#include <string.h>

#include "voice.h"

#define PI 3.14159265358979323846
#define FOLLOW_MS 3.0f    /* each of two followers: 90 % of a step is done in 12 ms, all of it in 50 */
#define FADE_MS 25.0f     /* from one pre-delay to the next; twice that from one decay or damping to the next */
#define TURN_FRAMES 64    /* between two settings of the angles, straight lines between */
#define TINY 1e-15f       /* -300 dB; no loop holds anything below, or it would end in denormals, which are slow */
#define VAST 1e9f         /* beyond it, infinite or not a number: no sound */
#define HADAMARD_GAIN 0.35355339f /* 1 / sqrt(8): the matrix of 1 and -1 becomes one that loses nothing */

/* In geometric steps, and then made prime in frames: ways of other lines do not come in at the same time. */
static const float LINE_MS[REVERB_LINES] = {29.3f, 34.3f, 40.1f, 47.1f, 55.3f, 64.7f, 75.7f, 88.7f};
static const float DIFFUSER_MS[2][REVERB_DIFFUSERS] = {{4.1f, 5.3f, 7.3f, 9.7f}, {4.6f, 5.9f, 6.7f, 10.7f}};
#define DIFFUSION 0.65f
static const double TURN_HZ[REVERB_LINES / 2] = {0.61, 0.89, 1.27, 1.63};
#define TURN_RADIANS 0.35f /* more spreads the modes further, and makes a steady tone waver */

/* Lines of even number hear the left channel, the others the right; left and right hear either kind with signs that are
 * orthogonal, and so not alike. */
static const float IN[REVERB_LINES] = {0.5f, 0.5f, -0.5f, 0.5f, 0.5f, -0.5f, -0.5f, -0.5f};
static const float OUT[2][REVERB_LINES] = {{1, 1, 1, 1, -1, -1, 1, -1}, {1, -1, -1, 1, 1, -1, 1, 1}};
#define OUT_GAIN 0.70710678f /* an undamped room is as loud as the sound itself */

static int frames_of(float ms, float rate_hz) {
    return (int)(0.001f * ms * rate_hz + 0.5f);
}

static int prime_from(int n) {
    for (int divisor = 2; divisor * divisor <= n; divisor++)
        if (n % divisor == 0) {
            n++;
            divisor = 1;
        }
    return n;
}

static int before_frames(float rate_hz) {
    return frames_of(REVERB_MAX_PREDELAY_MS, rate_hz) + VOICE_MAX_FRAMES;
}

/* Hands out memory to the rings, where there is one; returns how many floats they take. */
static size_t lay_out(reverb *r, float rate_hz, float *memory) {
    size_t used = 0;
    for (int i = 0; i < REVERB_LINES + 2 * REVERB_DIFFUSERS; i++) {
        int d = i - REVERB_LINES;
        float ms = d < 0 ? LINE_MS[i] : DIFFUSER_MS[d % 2][d / 2];
        int frames = prime_from(frames_of(ms, rate_hz));
        if (memory)
            *(d < 0 ? &r->lines[i] : &r->diffusers[d % 2][d / 2]) = (reverb_ring){memory + used, frames, 0};
        used += (size_t)frames;
    }
    if (memory) {
        r->before = memory + used;
        r->before_frames = before_frames(rate_hz);
    }
    return used + 2 * (size_t)before_frames(rate_hz);
}

size_t reverb_memory(float rate_hz) {
    return lay_out(NULL, rate_hz, NULL);
}

/* As if nothing had sounded, and off. */
static void clear(reverb *r) {
    memset(r->memory, 0, r->memory_floats * sizeof *r->memory);
    memset(r->low, 0, sizeof r->low);
    for (int pair = 0; pair < REVERB_LINES / 2; pair++)
        r->turns[pair] = (reverb_turn){.swing = {1.0, 0.0}};
    r->on = false;
    r->turn_left = r->before_at = r->predelay_left = r->losses_left = 0;
    r->losses = r->losses_aim;
    ramp_jump(&r->ramps[REVERB_DRY], 1.0f);
    ramp_jump(&r->ramps[REVERB_WET], 0.0f);
}

void reverb_init(reverb *r, float rate_hz, float *memory) {
    *r = (reverb){.rate_hz = rate_hz, .memory = memory};
    for (int i = 0; i < REVERB_RAMPS; i++)
        ramp_init(&r->ramps[i], FOLLOW_MS, rate_hz, 0.0f);
    for (int pair = 0; pair < REVERB_LINES / 2; pair++) {
        double angle = 2.0 * PI * TURN_HZ[pair] * TURN_FRAMES / rate_hz;
        r->swing_step[pair][0] = cos(angle);
        r->swing_step[pair][1] = sin(angle);
    }
    r->fade_frames = frames_of(FADE_MS, rate_hz);
    r->memory_floats = lay_out(r, rate_hz, memory);
    clear(r);
    reverb_set(r, &(reverb_settings){.mix = 0.0f, .decay_s = 2.0f, .damping_hz = 5000.0f, .predelay_ms = 10.0f});
}

/* A low-pass of gain g at 0 Hz and g^2 at the damping's pitch, w = 2 pi damping / rate: for kept = p its gain
 * (1 - p) / |1 - p e^-jw| is to be g there, which is a quadratic equation in p. */
static void aim_losses(reverb *r, float decay_s, float damping_hz) {
    double cosine = cos(2.0 * PI * damping_hz / r->rate_hz), energy = 0.0;
    for (int i = 0; i < REVERB_LINES; i++) {
        double gain = pow(10.0, -3.0 * r->lines[i].frames / ((double)decay_s * r->rate_hz));
        double a = 1.0 - gain * gain, b = 1.0 - gain * gain * cosine;
        double kept = a / (b + sqrt(b * b - a * a));
        r->losses_aim.kept[i] = (float)kept;
        r->losses_aim.passed[i] = (float)(gain * (1.0 - kept));
        energy += gain * gain / REVERB_LINES;
    }
    r->losses_aim.input = (float)sqrt(1.0 - energy); /* the lines hold as much of a steady sound in every room */
}

static void take(float *setting, float value, float low, float high) {
    if (!isnan(value))
        *setting = value < low ? low : value > high ? high : value;
}

static void aim(reverb *r, int which, float to) {
    if (r->on)
        ramp_aim(&r->ramps[which], to);
    else
        ramp_jump(&r->ramps[which], to);
}

void reverb_set(reverb *r, const reverb_settings *settings) {
    reverb_settings *now = &r->settings, past = *now;
    take(&now->mix, settings->mix, 0.0f, 1.0f);
    take(&now->decay_s, settings->decay_s, REVERB_MIN_DECAY_S, REVERB_MAX_DECAY_S);
    take(&now->damping_hz, settings->damping_hz, REVERB_MIN_DAMPING_HZ, REVERB_MAX_DAMPING_OF_RATE * r->rate_hz);
    take(&now->predelay_ms, settings->predelay_ms, 0.0f, REVERB_MAX_PREDELAY_MS);
    r->predelay_wanted = frames_of(now->predelay_ms, r->rate_hz);
    r->predelay = r->on ? r->predelay : r->predelay_wanted;
    if (now->decay_s != past.decay_s || now->damping_hz != past.damping_hz) {
        r->losses_past = r->losses;
        r->losses_left = r->on ? 2 * r->fade_frames : 0;
        aim_losses(r, now->decay_s, now->damping_hz);
        r->losses = r->on ? r->losses : r->losses_aim;
    }
    r->on = r->on || now->mix > 0.0f; /* from here on, so that the mix comes up from 0 */
    aim(r, REVERB_DRY, now->mix < 1.0f ? cosf(0.5f * (float)PI * now->mix) : 0.0f);
    aim(r, REVERB_WET, sinf(0.5f * (float)PI * now->mix));
}

static float heard(float x) {
    float size = fabsf(x);
    return size > TINY && size < VAST ? x : 0.0f;
}

/* frames <= the ring's. */
static void ring_read(const reverb_ring *ring, float *out, int frames) {
    int first = ring->frames - ring->at < frames ? ring->frames - ring->at : frames;
    memcpy(out, ring->samples + ring->at, (size_t)first * sizeof *out);
    memcpy(out + first, ring->samples, (size_t)(frames - first) * sizeof *out);
}

static void ring_write(reverb_ring *ring, const float *in, int frames) {
    int first = ring->frames - ring->at < frames ? ring->frames - ring->at : frames;
    memcpy(ring->samples + ring->at, in, (size_t)first * sizeof *in);
    memcpy(ring->samples, in + first, (size_t)(frames - first) * sizeof *in);
    ring->at = first < frames ? frames - first : (ring->at + frames) % ring->frames;
}

/* 1 -> 0 without an edge. */
static float share_left(int left, int frames) {
    float s = (float)left / (float)frames;
    return s * s * (3.0f - 2.0f * s);
}

static void tap_before(const reverb *r, int predelay, int n, float out[2]) {
    int from = r->before_at + n - predelay;
    from += from < 0 ? r->before_frames : from >= r->before_frames ? -r->before_frames : 0;
    out[0] = r->before[2 * from];
    out[1] = r->before[2 * from + 1];
}

/* The sound as late as the pre-delay wants it, on the way from one to another where it changes. */
static void enter(reverb *r, const float *stereo, float (*in)[VOICE_MAX_FRAMES], int frames) {
    for (int n = 0, at = r->before_at; n < frames; n++, at = at + 1 == r->before_frames ? 0 : at + 1) {
        r->before[2 * at] = heard(stereo[2 * n]);
        r->before[2 * at + 1] = heard(stereo[2 * n + 1]);
    }
    for (int n = 0; n < frames; n++) {
        if (r->predelay_left == 0 && r->predelay_wanted != r->predelay) {
            r->predelay_past = r->predelay;
            r->predelay = r->predelay_wanted;
            r->predelay_left = r->fade_frames;
        }
        float now[2], past[2];
        tap_before(r, r->predelay, n, now);
        if (r->predelay_left > 0) {
            tap_before(r, r->predelay_past, n, past);
            float share = share_left(r->predelay_left--, r->fade_frames);
            now[0] += share * (past[0] - now[0]);
            now[1] += share * (past[1] - now[1]);
        }
        in[0][n] = now[0];
        in[1][n] = now[1];
    }
    r->before_at = (r->before_at + frames) % r->before_frames;
}

static void diffuse(reverb_ring *ring, float *x, int frames) {
    float past[VOICE_MAX_FRAMES], fresh[VOICE_MAX_FRAMES];
    ring_read(ring, past, frames);
    for (int n = 0; n < frames; n++) {
        fresh[n] = heard(x[n] - DIFFUSION * past[n]);
        x[n] = past[n] + DIFFUSION * fresh[n];
    }
    ring_write(ring, fresh, frames);
}

/* One frame on the way from the losses before to those aimed at. */
static void move_losses(reverb *r) {
    float share = share_left(--r->losses_left, 2 * r->fade_frames);
    const reverb_losses *past = &r->losses_past, *aim = &r->losses_aim;
    for (int i = 0; i < REVERB_LINES; i++) {
        r->losses.kept[i] = aim->kept[i] + share * (past->kept[i] - aim->kept[i]);
        r->losses.passed[i] = aim->passed[i] + share * (past->passed[i] - aim->passed[i]);
    }
    r->losses.input = aim->input + share * (past->input - aim->input);
}

/* Each line's loss, and `input` on its way along. */
static void lose(reverb *r, float (*lines)[VOICE_MAX_FRAMES], float *input, int frames) {
    const reverb_losses *now = &r->losses;
    for (int n = 0; n < frames; n++) {
        if (r->losses_left > 0)
            move_losses(r);
        for (int i = 0; i < REVERB_LINES; i++)
            lines[i][n] = r->low[i] = now->kept[i] * r->low[i] + now->passed[i] * lines[i][n];
        input[n] = now->input;
    }
}

/* From the angle that was aimed at to the next one. */
static void aim_turn(reverb_turn *t, const double swing_step[2]) {
    double swing[2] = {t->swing[0] * swing_step[0] - t->swing[1] * swing_step[1],
                       t->swing[1] * swing_step[0] + t->swing[0] * swing_step[1]};
    float from = TURN_RADIANS * (float)t->swing[1], to = TURN_RADIANS * (float)swing[1];
    t->cosine = cosf(from);
    t->sine = sinf(from);
    t->cosine_step = (cosf(to) - t->cosine) / TURN_FRAMES;
    t->sine_step = (sinf(to) - t->sine) / TURN_FRAMES;
    memcpy(t->swing, swing, sizeof swing);
}

/* Up to when the angles are set anew. */
static int next_run(reverb *r, int frames) {
    if (r->turn_left == 0) {
        r->turn_left = TURN_FRAMES;
        for (int pair = 0; pair < REVERB_LINES / 2; pair++)
            aim_turn(&r->turns[pair], r->swing_step[pair]);
        for (int i = 0; i < REVERB_LINES; i++)
            r->low[i] = heard(r->low[i]);
    }
    return frames < r->turn_left ? frames : r->turn_left;
}

/* Each pair of lines turned by its angle: a chord of the circle between two settings, 1e-4 shorter at most. */
static void turn(reverb *r, float (*lines)[VOICE_MAX_FRAMES], int frames) {
    float gone = (float)(TURN_FRAMES - r->turn_left);
    for (int pair = 0; pair < REVERB_LINES / 2; pair++) {
        const reverb_turn *t = &r->turns[pair];
        float *a = lines[2 * pair], *b = lines[2 * pair + 1];
        for (int n = 0; n < frames; n++) {
            float c = t->cosine + (gone + (float)n) * t->cosine_step, s = t->sine + (gone + (float)n) * t->sine_step;
            float turned = c * a[n] - s * b[n];
            b[n] = s * a[n] + c * b[n];
            a[n] = turned;
        }
    }
    r->turn_left -= frames;
}

/* Hadamard's matrix of 8, in three steps of sums and differences. */
static void mix_lines(float (*lines)[VOICE_MAX_FRAMES], int frames) {
    for (int apart = 1; apart < REVERB_LINES; apart *= 2)
        for (int i = 0; i < REVERB_LINES; i++) {
            if (i & apart)
                continue;
            float *a = lines[i], *b = lines[i + apart];
            for (int n = 0; n < frames; n++) {
                float sum = a[n] + b[n];
                b[n] = a[n] - b[n];
                a[n] = sum;
            }
        }
}

/* Once through the lines; in becomes what is heard. */
static void go_round(reverb *r, float (*in)[VOICE_MAX_FRAMES], int frames) {
    float lines[REVERB_LINES][VOICE_MAX_FRAMES], input[VOICE_MAX_FRAMES], out[2][VOICE_MAX_FRAMES] = {0};
    for (int i = 0; i < REVERB_LINES; i++)
        ring_read(&r->lines[i], lines[i], frames);
    for (int channel = 0; channel < 2; channel++)
        for (int i = 0; i < REVERB_LINES; i++)
            for (int n = 0; n < frames; n++)
                out[channel][n] += OUT_GAIN * OUT[channel][i] * lines[i][n];
    lose(r, lines, input, frames);
    turn(r, lines, frames);
    mix_lines(lines, frames);
    for (int i = 0; i < REVERB_LINES; i++) {
        for (int n = 0; n < frames; n++)
            lines[i][n] = heard(HADAMARD_GAIN * lines[i][n] + IN[i] * input[n] * in[i % 2][n]);
        ring_write(&r->lines[i], lines[i], frames);
    }
    memcpy(in, out, sizeof out);
}

void reverb_render(reverb *r, float *stereo, int frames) {
    float ramps[REVERB_RAMPS][VOICE_MAX_FRAMES], wet[2][VOICE_MAX_FRAMES];
    for (int run; r->on && frames > 0; frames -= run, stereo += 2 * run) {
        run = next_run(r, frames);
        for (int i = 0; i < REVERB_RAMPS; i++)
            ramp_render(&r->ramps[i], ramps[i], run);
        enter(r, stereo, wet, run);
        for (int i = 0; i < 2 * REVERB_DIFFUSERS; i++)
            diffuse(&r->diffusers[i % 2][i / 2], wet[i % 2], run);
        go_round(r, wet, run);
        for (int n = 0; n < run; n++)
            for (int channel = 0; channel < 2; channel++)
                stereo[2 * n + channel] = ramps[REVERB_DRY][n] * stereo[2 * n + channel]
                                        + ramps[REVERB_WET][n] * wet[channel][n];
        if (r->ramps[REVERB_WET].to == 0.0f && r->ramps[REVERB_WET].off == 0.0f && r->ramps[REVERB_DRY].off == 0.0f)
            clear(r);
    }
}
