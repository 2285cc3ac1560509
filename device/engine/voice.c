#include "voice.h"

#include <math.h>
#include <stddef.h>

#include "engine.h"

#define FULL_SCALE (1.0f / 32768.0f)
#define KNOB_MS 2.0        /* each of two followers in a row: 90 % of a step is done in 8 ms, without an edge */
#define KNOB_ARRIVED 1e-6f /* so near the rest of the way is a step of -120 dB */
#define END_FADE_SAMPLES 80 /* 5 ms before the end of the table, where recordings are cut at any level */

void voice_trigger(voice *v, const voice_table *table, const resampler_filters *filters, int key, float gain,
                   voice_point point, float bend_semitones, const envelope_times *times, float rate_hz) {
    double ratio = exp2((key - table->pitch) / 12.0);
    v->key = key;
    v->sounded = v->held_by_pedal = false;
    v->table = *table;
    v->read_samples = 0;
    v->gain = gain;
    v->blend = v->slow = point;
    v->follow = (float)(1.0 - exp(-1000.0 / (KNOB_MS * ENGINE_BANK_RATE_HZ * ratio)));
    v->samples_a_frame_unbent = ratio * ENGINE_BANK_RATE_HZ / rate_hz;
    resampler_start(&v->resampler, filters, v->samples_a_frame_unbent * exp2(bend_semitones / 12.0));
    envelope_trigger(&v->envelope, times, rate_hz);
}

void voice_bend(voice *v, float bend_semitones) {
    resampler_bend(&v->resampler, v->samples_a_frame_unbent * exp2(bend_semitones / 12.0));
}

bool voice_done(const voice *v) {
    /* RESAMPLER_TAPS and two blocks of nothing fed behind the table: its last sample has left both filters. */
    return v->envelope.stage == ENVELOPE_DONE
        || v->read_samples > v->table.samples + RESAMPLER_TAPS + 2 * RESAMPLER_BLOCK;
}

static bool same(voice_point a, voice_point b) {
    return a.x == b.x && a.y == b.y;
}

static bool near(voice_point a, voice_point b) {
    return fabsf(a.x - b.x) < KNOB_ARRIVED && fabsf(a.y - b.y) < KNOB_ARRIVED;
}

/* Where the blend stands at each of the next samples, in cells: across[n], down[n] in 0..grid-1. True: it rests. */
static bool follow_knobs(voice *v, voice_point to, float *across, float *down) {
    float cells = (float)(v->table.grid - 1), follow = v->follow;
    voice_point slow = v->slow, blend = v->blend;
    if (same(blend, to) && same(slow, to)) {
        for (int n = 0; n < RESAMPLER_BLOCK; n++) {
            across[n] = to.x * cells;
            down[n] = to.y * cells;
        }
        return true;
    }
    for (int n = 0; n < RESAMPLER_BLOCK; n++) {
        slow.x += follow * (to.x - slow.x);
        slow.y += follow * (to.y - slow.y);
        blend.x += follow * (slow.x - blend.x);
        blend.y += follow * (slow.y - blend.y);
        across[n] = blend.x * cells;
        down[n] = blend.y * cells;
    }
    bool arrived = near(slow, to) && near(blend, to);
    v->slow = arrived ? to : slow;
    v->blend = arrived ? to : blend;
    return false;
}

/* The cell at or before a place, such that there is one behind it too. */
static int cell_of(float place, int grid) {
    int cell = (int)place;
    return cell > grid - 2 ? grid - 2 : cell;
}

/* out[n] = the four cells round (across[n], down[n]), mixed by nearness, for a stretch that stays between the same
 * four. The cells share their phase (device/synth.py), so this is a morph and no crossfade of two sounds. */
static void blend_stretch(const voice_table *table, int first_sample, const float *across, const float *down,
                          float *out, int samples) {
    int column = cell_of(across[0], table->grid), row = cell_of(down[0], table->grid);
    const int16_t *a = table->cells + ((ptrdiff_t)row * table->grid + column) * table->samples + first_sample;
    const int16_t *b = a + table->samples;
    const int16_t *c = a + (ptrdiff_t)table->grid * table->samples;
    const int16_t *d = c + table->samples;
    for (int n = 0; n < samples; n++) {
        float x = across[n] - (float)column, y = down[n] - (float)row;
        float above = a[n] + x * (float)(b[n] - a[n]);
        float below = c[n] + x * (float)(d[n] - c[n]);
        out[n] = (above + y * (below - above)) * FULL_SCALE;
    }
}

/* How many samples from the first on lie between the same four cells. */
static int stretch_length(const float *across, const float *down, int samples, int grid) {
    int n = 1;
    while (n < samples && cell_of(across[n], grid) == cell_of(across[0], grid)
           && cell_of(down[n], grid) == cell_of(down[0], grid))
        n++;
    return n;
}

/* The next RESAMPLER_BLOCK samples of the blend; nothing but zeros behind the table's end. */
static void read_block(voice *v, voice_point to, float *block) {
    float across[RESAMPLER_BLOCK], down[RESAMPLER_BLOCK];
    bool rests = follow_knobs(v, to, across, down);
    int left = v->table.samples - v->read_samples;
    int samples = left < 0 ? 0 : left < RESAMPLER_BLOCK ? left : RESAMPLER_BLOCK;
    for (int n = 0; n < samples;) {
        int run = rests ? samples : stretch_length(across + n, down + n, samples - n, v->table.grid);
        blend_stretch(&v->table, v->read_samples + n, across + n, down + n, block + n, run);
        n += run;
    }
    for (int n = samples; n < RESAMPLER_BLOCK; n++)
        block[n] = 0.0f;
    for (int n = left > END_FADE_SAMPLES ? left - END_FADE_SAMPLES : 0; n < samples; n++) {
        float rest = (float)(left - n) / END_FADE_SAMPLES;
        block[n] *= rest * rest * (3.0f - 2.0f * rest); /* no corner at either end */
    }
    v->read_samples += RESAMPLER_BLOCK;
}

void voice_render(voice *v, voice_point point, float *out, int frames) {
    float loudness[VOICE_MAX_FRAMES], block[RESAMPLER_BLOCK];
    int done = resampler_render(&v->resampler, out, frames);
    while (done < frames) {
        read_block(v, point, block);
        resampler_feed(&v->resampler, block);
        done += resampler_render(&v->resampler, out + done, frames - done);
    }
    envelope_render(&v->envelope, loudness, frames);
    for (int i = 0; i < frames; i++)
        out[i] *= v->gain * loudness[i];
    v->sounded = true;
}
