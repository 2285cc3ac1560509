#include "engine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"
#include "chorus.h"
#include "delay.h"
#include "gesture.h"
#include "limiter.h"
#include "player.h"
#include "queue.h"
#include "ramp.h"
#include "reverb.h"
#include "swaps.h"

#define ALIGNMENT 64 /* bytes */
#define VOLUME_FOLLOW_MS 3.0f
#define MOST_SWAPPED 32            /* a block */
#define MAX_BEND_SEMITONES 96.0f   /* of MPE's two, a note's and its zone's */
#define MAX_TUNING_SEMITONES 128.0f

typedef struct {
    float first, least, most;
} range;

#define RANGE(name, first, least, most) {first, least, most},
static const range RANGES[] = {ENGINE_PARAMETER_TABLE(RANGE)};

struct engine {
    bank *bank; /* NULL: none */
    _Atomic(bank *) coming, gone;
    swaps swaps_coming, swaps_gone;
    engine_cell swapped[MOST_SWAPPED]; /* that voices may still read */
    int swapped_count;
    atomic_int limit;

    voice_world world;
    player player;
    uint64_t clock; /* frames since the engine began */
    gesture gesture;

    chorus chorus;
    delay delay;
    reverb reverb;
    bool turned; /* a parameter, since the effects were set */
    ramp volume;
    limiter limiter;

    queue queue;
    uint64_t ignored;
    struct {
        atomic_int voices, limit;
        atomic_ullong stolen, ignored;
    } meters; /* as they were at the end of the last block */
    section *sections;
    float *effects_memory;
};

/* The effects' settings, from the parameters. */
static void set_effects(engine *e) {
    const float *p = e->world.parameters;
    float beat_ms = 60000.0f / p[ENGINE_TEMPO_BPM];
    float echo_ms = p[ENGINE_DELAY_BEATS] > 0.0f ? fminf(p[ENGINE_DELAY_BEATS] * beat_ms, DELAY_MAX_MS)
                                                 : p[ENGINE_DELAY_MS];
    chorus_set(&e->chorus, &(chorus_settings){.mix = p[ENGINE_CHORUS_MIX], .rate_hz = p[ENGINE_CHORUS_RATE_HZ],
                                              .depth_ms = p[ENGINE_CHORUS_DEPTH_MS]});
    delay_set(&e->delay, &(delay_settings){.mix = p[ENGINE_DELAY_MIX], .time_ms = echo_ms,
                                           .feedback = p[ENGINE_DELAY_FEEDBACK], .tone_hz = p[ENGINE_DELAY_TONE_HZ],
                                           .ping_pong = p[ENGINE_DELAY_PING_PONG] >= 0.5f});
    reverb_set(&e->reverb, &(reverb_settings){.mix = p[ENGINE_REVERB_MIX], .decay_s = p[ENGINE_REVERB_DECAY_S],
                                              .damping_hz = p[ENGINE_REVERB_DAMPING_HZ],
                                              .predelay_ms = p[ENGINE_REVERB_PREDELAY_MS]});
    e->turned = false;
}

/* Where the widest vectors begin at whole multiples of their length. */
static engine *take_engine(void) {
    size_t bytes = (sizeof(engine) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    engine *e = aligned_alloc(ALIGNMENT, bytes);
    return e ? memset(e, 0, bytes) : NULL;
}

/* Nothing in it, sections and effects included, is taken later. */
static bool take_memory(engine *e, int polyphony) {
    float rate_hz = e->world.rate_hz;
    size_t chorus_floats = chorus_memory(rate_hz), delay_floats = delay_memory(rate_hz);
    e->sections = calloc((size_t)player_sections(polyphony), sizeof *e->sections);
    e->effects_memory = calloc(chorus_floats + delay_floats + reverb_memory(rate_hz), sizeof *e->effects_memory);
    if (!e->sections || !e->effects_memory)
        return false;
    chorus_init(&e->chorus, rate_hz, e->effects_memory);
    delay_init(&e->delay, rate_hz, e->effects_memory + chorus_floats);
    reverb_init(&e->reverb, rate_hz, e->effects_memory + chorus_floats + delay_floats);
    return true;
}

engine *engine_create(int sample_rate_hz, int polyphony) {
    if (sample_rate_hz < ENGINE_MIN_RATE_HZ || sample_rate_hz > ENGINE_MAX_RATE_HZ || polyphony < 1
        || polyphony > ENGINE_MAX_POLYPHONY)
        return NULL;
    engine *e = take_engine();
    if (!e)
        return NULL;
    e->world.rate_hz = (float)sample_rate_hz;
    if (!take_memory(e, polyphony)) {
        engine_destroy(e);
        return NULL;
    }
    for (int i = 0; i < ENGINE_PARAMETERS; i++)
        e->world.parameters[i] = RANGES[i].first;
    for (int i = 0; i < ENGINE_CHANNELS; i++)
        e->world.channels[i] = (voice_channel){.timbre = 0.5f, .expression = 1.0f};
    voice_world_turn(&e->world);
    lfo_init(&e->world.lfo, VOICE_STEER_FRAMES, e->world.rate_hz, 1);
    resampler_filters_init(&e->world.filters);
    player_init(&e->player, e->sections, polyphony, e->world.rate_hz);
    e->limit = e->meters.limit = polyphony;
    ramp_init(&e->volume, VOLUME_FOLLOW_MS, e->world.rate_hz, e->world.parameters[ENGINE_VOLUME]);
    limiter_init(&e->limiter, e->world.rate_hz);
    set_effects(e);
    return e;
}

void engine_destroy(engine *e) {
    free(e->sections);
    free(e->effects_memory);
    free(e);
}

bool engine_put(engine *e, const engine_event *event) {
    return queue_put(&e->queue, event);
}

engine_bank *engine_load(engine *e, engine_bank *bank) {
    return atomic_exchange(&e->coming, bank);
}

engine_bank *engine_unload(engine *e) {
    return atomic_exchange(&e->gone, NULL);
}

bool engine_swap_cell(engine *e, const engine_cell *cell) {
    return swaps_put(&e->swaps_coming, &(swap){.cell = *cell});
}

int engine_add_table(engine *e, engine_bank *b, const engine_table *table) {
    if (swaps_full(&e->swaps_coming))
        return EAGAIN;
    if (!bank_takes(b, table))
        return EINVAL;
    bank_table *made = bank_make_table(b, table);
    if (!made)
        return ENOMEM;
    swaps_put(&e->swaps_coming, &(swap){.cell = {.bank = b->number}, .table = made});
    return 0;
}

bool engine_swapped_cell(engine *e, engine_cell *cell) {
    const swap *first = swaps_first(&e->swaps_gone);
    if (!first)
        return false;
    *cell = first->cell;
    swaps_pop(&e->swaps_gone);
    return true;
}

void engine_limit_voices(engine *e, int voices) {
    atomic_store(&e->limit, voices);
}

bool engine_send(engine *e, const engine_event *event) {
    return queue_send(&e->queue, event);
}

/* Takes the bank that was handed over, where the one before the last has been fetched. */
static void change_bank(engine *e) {
    if (atomic_load_explicit(&e->gone, memory_order_relaxed))
        return;
    bank *coming = atomic_exchange(&e->coming, NULL);
    if (!coming)
        return;
    player_cut(&e->player, &e->world, -1);
    player_settle(&e->player, &e->world);
    atomic_store(&e->gone, e->bank);
    e->bank = coming;
}

/* Gives back what no voice reads any more of what was swapped before. */
static void give_back(engine *e) {
    int kept = 0;
    for (int i = 0; i < e->swapped_count; i++)
        if (player_reads(&e->player, e->swapped[i].sound) || !swaps_put(&e->swaps_gone, &(swap){.cell = e->swapped[i]}))
            e->swapped[kept++] = e->swapped[i];
    e->swapped_count = kept;
}

/* False where a voice is still on its way from a swap before. */
static bool swap_cell(engine *e, const engine_cell *to, bool of_this_bank) {
    const bank_table *table;
    bank_cell *cell = of_this_bank ? bank_cell_at(e->bank, to, &table) : NULL;
    engine_cell old = *to;
    if (cell) {
        old.sound = cell->sound;
        old.levels = cell->levels;
        if (!player_swap(&e->player, table, cell, to))
            return false;
    }
    e->swapped[e->swapped_count++] = old;
    return true;
}

static void take_swaps(engine *e) {
    const swap *to;
    while (e->swapped_count < MOST_SWAPPED && (to = swaps_first(&e->swaps_coming))) {
        if (!e->bank || to->cell.bank > e->bank->number) /* of one that is still to come */
            break;
        bool of_this_bank = to->cell.bank == e->bank->number;
        if (to->table && of_this_bank) {
            bank_insert(e->bank, to->table);
            player_add(&e->player, &e->world, e->bank, to->table);
            player_settle(&e->player, &e->world); /* before a sound that it still reads is given back */
        } else if (!to->table && !swap_cell(e, &to->cell, of_this_bank)) {
            break;
        }
        swaps_pop(&e->swaps_coming);
    }
    give_back(e);
}

static float clamp(float value, float low, float high) {
    return fminf(fmaxf(value, low), high);
}

static bool can_play(engine *e) {
    bool can = e->bank && e->bank->table_count > 0;
    e->ignored += !can;
    return can;
}

static void note(engine *e, int channel, int key, float velocity) {
    if (!can_play(e))
        return;
    if (velocity > 0.0f)
        player_note_on(&e->player, &e->world, e->bank, channel, key, fminf(velocity, 1.0f));
    else
        player_note_off(&e->player, &e->world, e->bank, channel, key);
}

static void set_parameter(engine *e, int which, float value) {
    if (which >= ENGINE_PARAMETERS) {
        e->ignored++;
        return;
    }
    e->world.parameters[which] = clamp(value, RANGES[which].least, RANGES[which].most);
    if (which == ENGINE_VOLUME)
        ramp_aim(&e->volume, e->world.parameters[ENGINE_VOLUME]);
    voice_world_turn(&e->world);
    e->turned = true;
}

static void apply(engine *e, const engine_event *event) {
    int channel = event->channel, key = event->key;
    float a = event->a, b = event->b;
    if (channel >= ENGINE_CHANNELS || key >= ENGINE_KEYS || !isfinite(a) || !isfinite(b)) {
        e->ignored++;
        return;
    }
    e->world.turns += event->kind != ENGINE_NOTE_ON && event->kind != ENGINE_NOTE_OFF && event->kind != ENGINE_BLEND;
    voice_channel *wheels = &e->world.channels[channel];
    bool down = a >= 0.5f;
    switch (event->kind) {
    case ENGINE_NOTE_ON: note(e, channel, key, a); break;
    case ENGINE_NOTE_OFF: note(e, channel, key, 0.0f); break;
    case ENGINE_BLEND:
        e->world.blend = (bank_point){clamp(a, 0.0f, 1.0f), clamp(b, 0.0f, 1.0f)};
        gesture_move(&e->gesture, e->clock, e->world.blend);
        break;
    case ENGINE_GESTURE:
        gesture_turn(&e->gesture, (gesture_state)clamp(a, GESTURE_OFF, GESTURE_PLAYS), e->clock, e->world.blend);
        break;
    case ENGINE_SUSTAIN:
        wheels->sustain = down;
        player_sustain(&e->player, &e->world, channel);
        break;
    case ENGINE_SOSTENUTO:
        if (down != wheels->sostenuto) /* a pedal of many steps says so again on its way */
            player_sostenuto(&e->player, &e->world, channel, down);
        wheels->sostenuto = down;
        break;
    case ENGINE_SOFT: wheels->soft = down; break;
    case ENGINE_BEND: wheels->bend_semitones = clamp(a, -MAX_BEND_SEMITONES, MAX_BEND_SEMITONES); break;
    case ENGINE_MOD_WHEEL: wheels->mod = clamp(a, 0.0f, 1.0f); break;
    case ENGINE_PRESSURE: wheels->pressure = clamp(a, 0.0f, 1.0f); break;
    case ENGINE_KEY_PRESSURE: player_key_pressure(&e->player, channel, key, clamp(a, 0.0f, 1.0f)); break;
    case ENGINE_TIMBRE: wheels->timbre = clamp(a, 0.0f, 1.0f); break;
    case ENGINE_EXPRESSION: wheels->expression = clamp(a, 0.0f, 1.0f); break;
    case ENGINE_TUNE_KEY: e->world.tuning[key] = clamp(a, -MAX_TUNING_SEMITONES, MAX_TUNING_SEMITONES); break;
    case ENGINE_PARAMETER: set_parameter(e, key, a); break;
    case ENGINE_ALL_NOTES_OFF: player_all_notes_off(&e->player, &e->world, channel); break;
    case ENGINE_ALL_SOUND_OFF: player_cut(&e->player, &e->world, channel); break;
    default: e->ignored++;
    }
}

/* Frames until all voices are steered again. */
static int until_steering(const engine *e) {
    return VOICE_STEER_FRAMES - (int)(e->clock % VOICE_STEER_FRAMES);
}

static void steer(engine *e) {
    player_settle(&e->player, &e->world); /* what was cut before now hears the blend from before now */
    gesture_at(&e->gesture, e->clock, &e->world.blend);
    lfo_next(&e->world.lfo, &e->world.swing);
    player_steer(&e->player, &e->world);
    if (e->turned)
        set_effects(e);
}

static void turn_volume(engine *e, float *stereo, int frames) {
    float volume[VOICE_MAX_FRAMES];
    ramp_render(&e->volume, volume, frames);
    for (int i = 0; i < frames; i++) {
        stereo[2 * i] *= volume[i];
        stereo[2 * i + 1] *= volume[i];
    }
}

/* Frames in which nothing happens, and no more than until the next steering. */
static void render_stretch(engine *e, float *stereo, int frames) {
    if (e->clock % VOICE_STEER_FRAMES == 0)
        steer(e);
    player_render(&e->player, &e->world, stereo, frames);
    chorus_render(&e->chorus, stereo, frames);
    delay_render(&e->delay, stereo, frames);
    reverb_render(&e->reverb, stereo, frames);
    turn_volume(e, stereo, frames);
    limiter_render(&e->limiter, stereo, frames);
    e->clock += (uint64_t)frames;
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
    change_bank(e);
    take_swaps(e);
    player_limit(&e->player, &e->world, atomic_load_explicit(&e->limit, memory_order_relaxed));
    queue_receive(&e->queue);
    for (int done = 0; done < frames;) {
        int run = frames - done < until_steering(e) ? frames - done : until_steering(e);
        run = apply_due(e, (uint32_t)done, run);
        render_stretch(e, out + 2 * done, run);
        done += run;
    }
    apply_due(e, (uint32_t)frames, 0); /* so that a block of no frames makes room in a full queue */
    player_settle(&e->player, &e->world);
    queue_advance(&e->queue, (uint32_t)frames);
    e->meters.voices = e->player.voice_count;
    e->meters.limit = e->player.limit;
    e->meters.stolen = e->player.stolen;
    e->meters.ignored = e->ignored;
}

engine_meters engine_read_meters(const engine *e) {
    return (engine_meters){.voices = e->meters.voices, .limit = e->meters.limit, .stolen = e->meters.stolen,
                           .ignored = e->meters.ignored, .dropped = e->queue.dropped};
}
