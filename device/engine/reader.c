#include "reader.h"

#include <math.h>
#include <string.h>

#define END_FADE_SAMPLES 80    /* 5 ms before the end of what does not go round, for it may be cut at any level */
#define CROSSFADE_SAMPLES 240  /* 15 ms from the body into the release */
#define HOLD_SAMPLES (4 * ENGINE_COLUMN_SAMPLES) /* of the release part, before it begins to fall (device/sustain.py) */
#define SILENT_DB 90.0         /* a voice that has decayed so far is over */
#define OCTAVES_A_DB 0.16609640474 /* log2(10) / 20: gain = 2^(dB * this) */
#define MAX_RELEASE_GAIN 4.0f
#define SWAP_SAMPLES BANK_BLOCK /* from what a cell was to what it is: 4 ms */

static int place_in_body(const bank_table *table, int at) {
    if (at < table->body_samples)
        return at;
    return table->loop_samples > 0 ? table->loop_start + (at - table->loop_start) % table->loop_samples
                                   : table->body_samples;
}

void reader_start(reader *r, const bank_table *table, bank_layers layers, int start) {
    *r = (reader){.table = table, .layers = layers, .body_at = place_in_body(table, start), .decay_gain = 1.0f};
}

void reader_follow(reader *r, const bank_table *table) {
    r->table = table;
    r->body_at = place_in_body(table, r->body_at);
    r->released = false;
    r->crossed = r->silence = 0;
}

double reader_move(reader *r, const bank_table *table, double behind, int earlier) {
    double heard = fmax((r->body_at - behind) * r->table->cycles_a_sample / table->cycles_a_sample, 0.0);
    double place = fmax(floor(heard) - earlier, 0.0);
    r->table = table;
    r->body_at = place_in_body(table, (int)place);
    r->past.count = r->past_samples = r->silence = 0;
    return heard - place;
}

/* Where in the release part the fundamental stands as it does at body_at: the last such place from which a crossfade
 * is over when the hold is, so that every key falls off as soon after it is let go. In samples, broken. */
static double place_in_release(const reader *r) {
    int samples = r->table->samples - r->table->body_samples;
    double cycles = r->table->cycles_a_sample;
    double latest = fmin(HOLD_SAMPLES - CROSSFADE_SAMPLES, samples / 2);
    double beyond = (latest - r->body_at) * cycles;
    double place = latest - (beyond - floor(beyond)) / cycles;
    if (place < SHIFT_BEFORE)
        place += 1.0 / cycles;
    return place < samples ? place : latest;
}

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* RMS of a stretch of the table; what of it lies behind `end` is taken from `again` on. */
static float level_of(const reader *r, bank_point point, int start, int samples, int end, int again) {
    float power = 0.0f;
    for (int at = start, left = samples; left > 0;) {
        int run = smaller(smaller(left, end - at), ENGINE_COLUMN_SAMPLES - at % ENGINE_COLUMN_SAMPLES);
        float level = bank_level(r->table, r->layers, point, at);
        power += level * level * (float)run;
        left -= run;
        at = at + run == end ? again : at + run;
    }
    return sqrtf(power / (float)samples);
}

/* Body over release, both over the whole periods that the hold has room for: columns alone hold now one pulse of a low
 * note, now two. Not a number where both are silent. */
static float level_ratio(const reader *r, bank_point point) {
    const bank_table *table = r->table;
    int body = table->body_samples, release = table->samples - body;
    double periods = floor(HOLD_SAMPLES * table->cycles_a_sample);
    int samples = periods > 0.0 ? (int)(periods / table->cycles_a_sample + 0.5) : HOLD_SAMPLES;
    int start = r->body_at > samples / 2 ? r->body_at - samples / 2 : 0;
    float here = level_of(r, point, start, table->loop_samples ? samples : smaller(samples, body - start), body,
                          table->loop_start);
    return here / level_of(r, point, body, smaller(samples, release), table->samples, body);
}

void reader_release(reader *r, bank_point point) {
    const bank_table *table = r->table;
    if (r->released || table->samples == table->body_samples || r->body_at == table->body_samples)
        return;
    double place = place_in_release(r), whole = floor(place);
    r->released = true;
    r->release_at = table->body_samples + (int)whole - SHIFT_BEFORE;
    r->release_part = place - whole;
    r->release_gain = fminf(fmaxf(level_ratio(r, point), 0.0f), MAX_RELEASE_GAIN); /* no number gives 0 */
}

/* The samples from `at` on of a part that ends at `end`: faded there, then zeros. */
static void read_part(const reader *r, int at, int end, const bank_path *path, float *out, int samples) {
    int left = end - at, sounding = smaller(left, samples);
    bank_read(r->table, r->layers, &r->past, at, path, 0, out, sounding);
    for (int n = sounding > 0 ? sounding : 0; n < samples; n++)
        out[n] = 0.0f;
    for (int n = left > END_FADE_SAMPLES ? left - END_FADE_SAMPLES : 0; n < sounding; n++) {
        float rest = (float)(left - n) / END_FADE_SAMPLES;
        out[n] *= rest * rest * (3.0f - 2.0f * rest); /* no corner at either end */
    }
}

static void read_loop(reader *r, const bank_path *path, float *block) {
    for (int n = 0; n < BANK_BLOCK;) {
        int run = smaller(r->table->body_samples - r->body_at, BANK_BLOCK - n);
        bank_read(r->table, r->layers, &r->past, r->body_at, path, n, block + n, run);
        r->body_at += run;
        if (r->body_at == r->table->body_samples)
            r->body_at = r->table->loop_start;
        n += run;
    }
}

/* `at` a block later, not beyond the end; what is beyond it counts as silence. */
static int advance(reader *r, int at, int end) {
    int left = end - at;
    if (left >= BANK_BLOCK)
        return at + BANK_BLOCK;
    r->silence += BANK_BLOCK - left;
    return end;
}

static void read_body(reader *r, const bank_path *path, float *block) {
    if (r->table->loop_samples > 0) {
        read_loop(r, path, block);
    } else {
        read_part(r, r->body_at, r->table->body_samples, path, block, BANK_BLOCK);
        r->body_at = advance(r, r->body_at, r->table->body_samples);
    }
}

static void read_release(reader *r, const bank_path *path, float *block) {
    int end = r->table->samples;
    if (r->crossed == 0) {
        float past[SHIFT_TAPS - 1];
        read_part(r, r->release_at, end, path, past, SHIFT_TAPS - 1);
        shift_start(&r->shift, r->release_part, past);
        r->release_at += SHIFT_TAPS - 1;
    }
    read_part(r, r->release_at, end, path, block, BANK_BLOCK);
    r->release_at = advance(r, r->release_at, end);
    shift_render(&r->shift, block);
    for (int n = 0; n < BANK_BLOCK; n++)
        block[n] *= r->release_gain;
}

/* Equal gain: both are in phase. */
static void cross(reader *r, const bank_path *path, float *block) {
    float release[BANK_BLOCK];
    read_body(r, path, block);
    read_release(r, path, release);
    r->silence = 0; /* one of them may be at its end, the other is not */
    for (int n = 0; n < BANK_BLOCK; n++) {
        float part = fminf((float)(r->crossed + n) / CROSSFADE_SAMPLES, 1.0f);
        block[n] += part * part * (3.0f - 2.0f * part) * (release[n] - block[n]);
    }
    r->crossed += BANK_BLOCK;
}

/* Takes the decay of the block that begins at body_at into account; returns the gain at its end, 0 where that is all. */
static float decay(reader *r, float decay_db_per_s) {
    int looped = r->body_at + BANK_BLOCK - r->table->loop_start;
    if (r->released || r->table->loop_samples == 0 || looped <= 0 || decay_db_per_s <= 0.0f)
        return r->decay_gain;
    r->decayed_db += (double)decay_db_per_s * smaller(looped, BANK_BLOCK) / ENGINE_BANK_RATE_HZ;
    return r->decayed_db > SILENT_DB ? 0.0f : exp2f((float)(-OCTAVES_A_DB * r->decayed_db));
}

static void read_block(reader *r, const bank_path *path, float decay_db_per_s, float *block) {
    float start = r->decay_gain;
    if (start == 0.0f) {
        memset(block, 0, BANK_BLOCK * sizeof *block);
        r->silence += BANK_BLOCK;
        return;
    }
    r->decay_gain = decay(r, decay_db_per_s);
    if (!r->released)
        read_body(r, path, block);
    else if (r->crossed < CROSSFADE_SAMPLES)
        cross(r, path, block);
    else
        read_release(r, path, block);
    float fall = (r->decay_gain - start) / BANK_BLOCK;
    if (r->decay_gain < 1.0f)
        for (int n = 0; n < BANK_BLOCK; n++)
            block[n] *= start + fall * (float)n;
}

void reader_swap(reader *r, const bank_cell *cell) {
    if (r->past.count == BANK_PAST)
        return;
    r->past.cells[r->past.count] = cell;
    r->past.sounds[r->past.count++] = cell->sound;
    r->past_samples = 0;
}

bool reader_crosses(const reader *r) {
    return r->past.count > 0;
}

void reader_read(reader *r, const bank_path *path, float decay_db_per_s, float *block) {
    if (!reader_crosses(r)) {
        read_block(r, path, decay_db_per_s, block);
        return;
    }
    float was[BANK_BLOCK];
    reader before = *r;
    read_block(&before, path, decay_db_per_s, was);
    r->past.count = 0;
    read_block(r, path, decay_db_per_s, block);
    for (int n = 0; n < BANK_BLOCK; n++) {
        float rest = 1.0f - (float)(r->past_samples + n) / SWAP_SAMPLES;
        block[n] += rest * rest * (3.0f - 2.0f * rest) * (was[n] - block[n]);
    }
    r->past_samples += BANK_BLOCK;
    if (r->past_samples < SWAP_SAMPLES)
        r->past = before.past;
}

bool reader_done(const reader *r, int samples) {
    return r->silence > samples;
}
