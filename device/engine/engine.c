#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"
#include "limiter.h"
#include "queue.h"
#include "voice.h"

#define VOICE_GAIN 0.5f /* a note peaks at 0.7 in the bank: 0.14 here at velocity 80, so eight stay near the knee */
#define STOLEN_FADE_MS 3.0f
#define VOLUME_FOLLOW_MS 5.0f
#define VOLUME_ARRIVED 1e-6f
#define MAX_VOLUME 2.0f
#define MAX_BEND_SEMITONES 48.0f /* the widest that MPE asks for */
#define MAX_FADE_FRAMES (3 * ENGINE_MAX_RATE_HZ / 1000)

struct engine {
    float rate_hz;
    resampler_filters filters;

    bank bank;

    bank_point blend;
    envelope_times times;
    bool pedal_down[ENGINE_CHANNELS];
    voice_wheels wheels[ENGINE_CHANNELS];

    /* What stolen voices still have to sound: they are rendered to their end at once and added here, so that their
     * slots are free and no number of them is too many. fading[fading_at] belongs to the next frame. */
    float fading[MAX_FADE_FRAMES];
    float fade[MAX_FADE_FRAMES]; /* 1 -> 0 */
    int fade_frames, fading_at;

    float volume, volume_now, volume_follow;
    limiter limiter;

    queue queue;
    uint64_t stolen, ignored;
    int polyphony, voice_count;
    voice *by_age[ENGINE_MAX_POLYPHONY]; /* every slot: the voice_count that sound, oldest first, then the free ones */
    voice slots[];
};

engine *engine_create(int sample_rate_hz, int polyphony) {
    if (sample_rate_hz < ENGINE_MIN_RATE_HZ || sample_rate_hz > ENGINE_MAX_RATE_HZ || polyphony < 1
        || polyphony > ENGINE_MAX_POLYPHONY)
        return NULL;
    engine *e = calloc(1, sizeof *e + (size_t)polyphony * sizeof(voice));
    if (!e)
        return NULL;
    e->rate_hz = (float)sample_rate_hz;
    e->polyphony = polyphony;
    for (int i = 0; i < polyphony; i++)
        e->by_age[i] = &e->slots[i];
    e->times = (envelope_times){.attack_ms = 5.0f, .decay_ms = 500.0f, .sustain = 1.0f, .release_ms = 200.0f};
    e->volume = e->volume_now = 1.0f;
    e->volume_follow = 1.0f - expf(-1000.0f / (VOLUME_FOLLOW_MS * e->rate_hz));
    e->fade_frames = (int)(STOLEN_FADE_MS * e->rate_hz / 1000.0f);
    for (int i = 0; i < e->fade_frames; i++)
        e->fade[i] = 0.5f + 0.5f * cosf(3.14159265f * (float)(i + 1) / (float)e->fade_frames);
    resampler_filters_init(&e->filters);
    limiter_init(&e->limiter, e->rate_hz);
    return e;
}

void engine_destroy(engine *e) {
    free(e);
}

/* Frees a slot. The others stay in their order: sums of floats come out the same however time is cut into blocks. */
static void free_slot(engine *e, int place) {
    voice *freed = e->by_age[place];
    e->voice_count--;
    memmove(&e->by_age[place], &e->by_age[place + 1], (size_t)(e->voice_count - place) * sizeof *e->by_age);
    e->by_age[e->voice_count] = freed;
}

/* Ends a voice without a click: its next 3 ms, faded, go to `fading`. */
static void cut(engine *e, int place) {
    voice *v = e->by_age[place];
    float out[VOICE_MAX_FRAMES];
    for (int done = 0; v->sounded && done < e->fade_frames;) {
        int frames = e->fade_frames - done < VOICE_MAX_FRAMES ? e->fade_frames - done : VOICE_MAX_FRAMES;
        voice_render(v, e->blend, out, frames);
        for (int i = 0; i < frames; i++, done++)
            e->fading[(e->fading_at + done) % e->fade_frames] += out[i] * e->fade[done];
    }
    free_slot(e, place);
}

static void cut_all(engine *e) {
    while (e->voice_count > 0)
        cut(e, e->voice_count - 1);
}

bool engine_set_bank(engine *e, const int *velocities, int layers, const engine_table *tables, int count, int grid) {
    if (!bank_fits(velocities, layers, tables, count, grid))
        return false;
    cut_all(e);
    bank_take(&e->bank, velocities, layers, tables, count, grid);
    return true;
}

bool engine_send(engine *e, const engine_event *event) {
    return queue_send(&e->queue, event);
}

/* How little a voice would be missed: its key is up, or only the pedal holds it; it is quiet; it is old (age 0..1). */
static float dispensable(const voice *v, float age) {
    float state = v->envelope.stage == ENVELOPE_RELEASE ? 4.0f : v->held_by_pedal ? 2.0f : 0.0f;
    return state + 1.0f - voice_loudness(v) / VOICE_GAIN + age;
}

/* Takes one voice for a new note. The newest is never the one, unless it is the only one. */
static void steal(engine *e) {
    int victim = 0, newest = e->voice_count - 1;
    float best = dispensable(e->by_age[0], 1.0f);
    for (int i = 1; i < newest; i++) {
        float score = dispensable(e->by_age[i], 1.0f - (float)i / (float)newest);
        if (score > best) {
            best = score;
            victim = i;
        }
    }
    e->stolen++;
    cut(e, victim);
}

static void let_go(engine *e, voice *v) {
    v->held_by_pedal = false;
    voice_release(v, e->times.release_ms);
}

static void key_up(engine *e, voice *v) {
    if (v->envelope.stage == ENVELOPE_RELEASE)
        return;
    if (e->pedal_down[v->channel])
        v->held_by_pedal = true;
    else
        let_go(e, v);
}

static void note_off(engine *e, int channel, int key) {
    for (int i = 0; i < e->voice_count; i++)
        if (e->by_age[i]->channel == channel && e->by_age[i]->key == key)
            key_up(e, e->by_age[i]);
}

static void all_notes_off(engine *e, int channel) {
    for (int i = 0; i < e->voice_count; i++)
        if (e->by_age[i]->channel == channel)
            key_up(e, e->by_age[i]);
}

static void note_on(engine *e, int channel, int key, float velocity) {
    if (e->bank.table_count == 0) {
        e->ignored++;
        return;
    }
    for (int i = 0; i < e->voice_count; i++) /* a string that is struck again stops its old swing */
        if (e->by_age[i]->channel == channel && e->by_age[i]->key == key)
            let_go(e, e->by_age[i]);
    if (e->voice_count == e->polyphony)
        steal(e);
    voice *v = e->by_age[e->voice_count++];
    v->channel = channel;
    voice_trigger(v, bank_nearest(&e->bank, key), bank_layers_at(&e->bank, 127.0f * velocity), &e->filters, key,
                  VOICE_GAIN * velocity * velocity, e->blend, e->wheels[channel], &e->times, e->rate_hz);
}

static void pedal(engine *e, int channel, bool down) {
    e->pedal_down[channel] = down;
    for (int i = 0; !down && i < e->voice_count; i++)
        if (e->by_age[i]->channel == channel && e->by_age[i]->held_by_pedal)
            let_go(e, e->by_age[i]);
}

static void turn_wheels(engine *e, int channel, voice_wheels wheels) {
    e->wheels[channel] = wheels;
    for (int i = 0; i < e->voice_count; i++)
        if (e->by_age[i]->channel == channel)
            voice_turn(e->by_age[i], wheels);
}

static float clamp(float value, float low, float high) {
    return fminf(fmaxf(value, low), high);
}

static void set_parameter(engine *e, int parameter, float value) {
    switch (parameter) {
    case ENGINE_ATTACK_MS: e->times.attack_ms = value; break;
    case ENGINE_DECAY_MS: e->times.decay_ms = value; break;
    case ENGINE_SUSTAIN_LEVEL: e->times.sustain = clamp(value, 0.0f, 1.0f); break;
    case ENGINE_RELEASE_MS: e->times.release_ms = value; break;
    case ENGINE_VOLUME: e->volume = clamp(value, 0.0f, MAX_VOLUME); break;
    default: e->ignored++;
    }
}

static void apply(engine *e, const engine_event *event) {
    int channel = event->channel, key = event->key;
    if (channel >= ENGINE_CHANNELS || !isfinite(event->a) || !isfinite(event->b)
        || (event->kind <= ENGINE_NOTE_OFF && key >= ENGINE_KEYS)) {
        e->ignored++;
        return;
    }
    voice_wheels wheels = e->wheels[channel];
    switch (event->kind) {
    case ENGINE_NOTE_ON:
        if (event->a > 0.0f)
            note_on(e, channel, key, fminf(event->a, 1.0f));
        else
            note_off(e, channel, key);
        break;
    case ENGINE_NOTE_OFF: note_off(e, channel, key); break;
    case ENGINE_BLEND: e->blend = (bank_point){clamp(event->a, 0.0f, 1.0f), clamp(event->b, 0.0f, 1.0f)}; break;
    case ENGINE_SUSTAIN: pedal(e, channel, event->a >= 0.5f); break;
    case ENGINE_BEND:
        wheels.bend_semitones = clamp(event->a, -MAX_BEND_SEMITONES, MAX_BEND_SEMITONES);
        turn_wheels(e, channel, wheels);
        break;
    case ENGINE_MOD_WHEEL:
        wheels.mod = clamp(event->a, 0.0f, 1.0f);
        turn_wheels(e, channel, wheels);
        break;
    case ENGINE_PARAMETER: set_parameter(e, key, event->a); break;
    case ENGINE_ALL_NOTES_OFF: all_notes_off(e, channel); break;
    case ENGINE_ALL_SOUND_OFF: cut_all(e); break;
    default: e->ignored++;
    }
}

/* Up to VOICE_MAX_FRAMES in which nothing happens. */
static void render_stretch(engine *e, float *out, int frames) {
    float mix[VOICE_MAX_FRAMES], one[VOICE_MAX_FRAMES];
    for (int i = 0; i < frames; i++) {
        mix[i] = e->fading[e->fading_at];
        e->fading[e->fading_at] = 0.0f;
        e->fading_at = e->fading_at + 1 == e->fade_frames ? 0 : e->fading_at + 1;
    }
    for (int place = 0; place < e->voice_count;) {
        voice_render(e->by_age[place], e->blend, one, frames);
        for (int i = 0; i < frames; i++)
            mix[i] += one[i];
        if (voice_done(e->by_age[place]))
            free_slot(e, place);
        else
            place++;
    }
    for (int i = 0; i < frames; i++) {
        float way = e->volume - e->volume_now;
        e->volume_now = fabsf(way) < VOLUME_ARRIVED ? e->volume : e->volume_now + e->volume_follow * way;
        out[2 * i] = out[2 * i + 1] = mix[i] * e->volume_now;
    }
    limiter_render(&e->limiter, out, frames);
}

/* Applies what is due at frame `now` of the block; returns how many of the next `frames` nothing happens in. */
static int apply_due(engine *e, uint32_t now, int frames) {
    const engine_event *event;
    while ((event = queue_first(&e->queue)) && event->frame <= now) {
        apply(e, event);
        queue_pop(&e->queue);
    }
    return event && event->frame - now < (uint32_t)frames ? (int)(event->frame - now) : frames;
}

void engine_render(engine *e, float *out, int frames) {
    queue_receive(&e->queue);
    for (int done = 0; done < frames;) {
        int run = frames - done < VOICE_MAX_FRAMES ? frames - done : VOICE_MAX_FRAMES;
        run = apply_due(e, (uint32_t)done, run);
        render_stretch(e, out + 2 * done, run);
        done += run;
    }
    apply_due(e, (uint32_t)frames, 0); /* so that a block of no frames makes room in a full queue */
    queue_advance(&e->queue, (uint32_t)frames);
}

engine_meters engine_read_meters(const engine *e) {
    return (engine_meters){.voices = e->voice_count, .stolen = e->stolen, .ignored = e->ignored,
                           .dropped = atomic_load_explicit(&e->queue.dropped, memory_order_relaxed)};
}
