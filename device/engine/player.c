#include "player.h"

#include <math.h>
#include <string.h>

#define VOICE_GAIN 0.5f /* a note peaks at 0.7 in the bank: 0.14 here at velocity 80, so eight stay near the knee */
#define PI 3.14159265f
#define SILENT 1e-5f          /* -100 dB */
#define FAINT 0.01f           /* -40 dB: a bass that has died away so far is not missed */
#define LOWEST_IS_WORTH 1.5f  /* to a bass, of the scores below */

static int sections_of(int polyphony) {
    return (polyphony + SECTION_VOICES - 1) / SECTION_VOICES;
}

int player_sections(int polyphony) {
    return sections_of(polyphony) + 1;
}

void player_init(player *p, section *sections, int polyphony, float rate_hz) {
    p->sections = sections;
    p->leaving = &sections[sections_of(polyphony)];
    for (int i = 0; i <= sections_of(polyphony); i++)
        section_init(&sections[i]);
    p->polyphony = p->limit = polyphony;
    p->last_semitones = NAN;
    p->fade_frames = (int)(PLAYER_FADE_MS * rate_hz / 1000.0f);
    for (int i = 0; i < p->fade_frames; i++)
        p->fade[i] = 0.5f + 0.5f * cosf(PI * (float)(i + 1) / (float)p->fade_frames);
}

static section *section_of(const player *p, int slot) {
    return &p->sections[slot / SECTION_VOICES];
}

static int lane_of(int slot) {
    return slot % SECTION_VOICES;
}

static voice *voice_at(const player *p, int place) {
    int slot = p->by_age[place];
    return &section_of(p, slot)->voices[lane_of(slot)];
}

/* A voice keeps its lane while it sounds, and lanes are summed in one order: sums of floats come out the same however
 * time is cut into blocks. */
static int free_slot(const player *p) {
    int slot = 0;
    while (section_of(p, slot)->sounds[lane_of(slot)])
        slot++;
    return slot;
}

static void end(player *p, int place) {
    int slot = p->by_age[place];
    section_end(section_of(p, slot), lane_of(slot));
    p->voice_count--;
    memmove(&p->by_age[place], &p->by_age[place + 1], (size_t)(p->voice_count - place) * sizeof *p->by_age);
}

/* Puts what the leaving voices would sound in the next 2 ms, faded, to `fading`. */
static void fade_out(player *p, const voice_world *world) {
    float stereo[VOICE_MAX_FRAMES][2];
    for (int done = 0; done < p->fade_frames && p->leaving_count > 0;) {
        int frames = p->fade_frames - done < VOICE_MAX_FRAMES ? p->fade_frames - done : VOICE_MAX_FRAMES;
        for (int lane = 0; lane < p->leaving_count; lane++)
            voice_feed(&p->leaving->voices[lane], world, frames);
        section_render(p->leaving, 1, world, stereo[0], frames);
        for (int i = 0; i < frames; i++, done++) {
            float *to = p->fading[(p->fading_at + done) % p->fade_frames];
            to[0] += stereo[i][0] * p->fade[done];
            to[1] += stereo[i][1] * p->fade[done];
        }
    }
    for (int lane = 0; lane < p->leaving_count; lane++)
        section_end(p->leaving, lane);
    p->leaving_count = 0;
}

/* Its sound fades; its slot is free for another. */
static void leave(player *p, const voice_world *world, int slot) {
    section *from = section_of(p, slot);
    if (!from->voices[lane_of(slot)].sounded)
        return;
    if (p->leaving_count == SECTION_VOICES)
        fade_out(p, world);
    section_copy_lane(p->leaving, p->leaving_count++, from, lane_of(slot));
}

/* Ends a voice without a click. */
static void cut(player *p, const voice_world *world, int place) {
    leave(p, world, p->by_age[place]);
    end(p, place);
}

static void forget(player *p, int channel, int key) {
    int kept = 0;
    for (int i = 0; i < p->held_count; i++)
        if (p->held[i].channel != channel || p->held[i].key != key)
            p->held[kept++] = p->held[i];
    p->held_count = kept;
}

/* Of a channel; -1: of all. */
static void forget_all(player *p, int channel) {
    int kept = 0;
    for (int i = 0; i < p->held_count; i++)
        if (channel >= 0 && p->held[i].channel != channel)
            p->held[kept++] = p->held[i];
    p->held_count = kept;
}

void player_settle(player *p, const voice_world *world) {
    fade_out(p, world);
}

void player_cut(player *p, const voice_world *world, int channel) {
    for (int place = p->voice_count - 1; place >= 0; place--)
        if (channel < 0 || voice_at(p, place)->note.channel == channel)
            cut(p, world, place);
    forget_all(p, channel);
}

/* How little a voice would be missed: its key is up, or only a pedal holds it; it is quiet; it is old (age 0..1). */
static float dispensable(const voice *v, float age, bool lowest) {
    float state = v->loudness.stage == ENVELOPE_RELEASE ? 4.0f : v->held_by_pedal ? 2.0f : 0.0f;
    float loudness = fminf(voice_loudness(v) / VOICE_GAIN, 1.0f);
    return state + 1.0f - loudness + age - (lowest && loudness > FAINT ? LOWEST_IS_WORTH : 0.0f);
}

static int lowest_held(const player *p) {
    int lowest = ENGINE_KEYS;
    for (int i = 0; i < p->voice_count; i++) {
        const voice *v = voice_at(p, i);
        if (v->loudness.stage != ENVELOPE_RELEASE && v->note.key < lowest)
            lowest = v->note.key;
    }
    return lowest;
}

/* Takes one voice for a new note. The newest are never the ones, unless there are no others. */
static void steal(player *p, const voice_world *world, int newest) {
    int victim = 0, others = p->voice_count - newest, lowest = lowest_held(p);
    float best = -INFINITY;
    for (int i = 0; i < others; i++) {
        const voice *v = voice_at(p, i);
        float score = dispensable(v, 1.0f - (float)i / (float)others, v->note.key == lowest);
        if (score > best) {
            best = score;
            victim = i;
        }
    }
    p->stolen++;
    cut(p, world, victim);
}

void player_limit(player *p, const voice_world *world, int voices) {
    p->limit = voices < 1 ? 1 : voices > p->polyphony ? p->polyphony : voices;
    while (p->voice_count > p->limit)
        steal(p, world, 1);
}

static int parameter(const voice_world *world, engine_parameter which) {
    return (int)(world->parameters[which] + 0.5f);
}

/* Of `count` voices of a note the n-th: -1..1 */
static float place_among(int n, int count) {
    return count > 1 ? 2.0f * (float)n / (float)(count - 1) - 1.0f : 0.0f;
}

/* Alone it stands to one side or the other by its key, next to its neighbours. */
static float pan_of(int n, int count, int key) {
    return count > 1 ? place_among(n, count) : key % 2 ? 1.0f : -1.0f;
}

static double glide_from(const player *p, const voice_world *world, int key) {
    float semitones = (float)key + world->tuning[key];
    return isnan(p->last_semitones) ? 0.0 : p->last_semitones - semitones;
}

static void begin(player *p, const voice_world *world, const bank *tables, int channel, int key, float velocity) {
    int count = parameter(world, ENGINE_UNISON);
    count = count > p->limit ? p->limit : count;
    float gain = VOICE_GAIN * powf(velocity, world->parameters[ENGINE_VELOCITY_CURVE]) / sqrtf((float)count);
    const bank_table *table = bank_nearest(tables, (float)key + world->tuning[key]);
    bank_layers layers = bank_layers_at(tables, 127.0f * velocity);
    for (int n = 0; n < count; n++) {
        if (p->voice_count == p->limit)
            steal(p, world, n > 1 ? n : 1); /* not those of the same note */
        int slot = free_slot(p);
        p->by_age[p->voice_count++] = (int16_t)slot;
        voice_note note = {.channel = channel, .key = key, .velocity = velocity,
                           .detune_semitones = 0.005f * world->parameters[ENGINE_DETUNE_CENTS] * place_among(n, count),
                           .pan = world->parameters[ENGINE_SPREAD] * pan_of(n, count, key),
                           .from_semitones = glide_from(p, world, key)};
        voice_trigger(&section_of(p, slot)->voices[lane_of(slot)], table, layers, &note, gain, world);
        section_start(section_of(p, slot), lane_of(slot), world);
    }
    p->last_semitones = (float)key + world->tuning[key];
}

static void let_go(player *p, const voice_world *world, int place) {
    int slot = p->by_age[place];
    if (voice_at(p, place)->loudness.stage < ENVELOPE_RELEASE)
        section_release(section_of(p, slot), lane_of(slot), world);
}

static bool is_of(const voice *v, int channel, int key) {
    return v->note.channel == channel && v->note.key == key;
}

static void key_up(player *p, const voice_world *world, int place) {
    voice *v = voice_at(p, place);
    if (v->loudness.stage >= ENVELOPE_RELEASE)
        return;
    if (world->channels[v->note.channel].sustain || v->caught)
        v->held_by_pedal = true;
    else
        let_go(p, world, place);
}

static void poly_on(player *p, const voice_world *world, const bank *tables, int channel, int key, float velocity) {
    for (int i = 0; i < p->voice_count; i++) /* a string that is struck again stops its old swing */
        if (is_of(voice_at(p, i), channel, key))
            let_go(p, world, i);
    begin(p, world, tables, channel, key, velocity);
}

/* Of the keys that are down, the one that sounds. NULL where none is. */
static const player_key *winner(const player *p, const voice_world *world) {
    int priority = parameter(world, ENGINE_PRIORITY);
    const player_key *best = p->held_count > 0 ? &p->held[p->held_count - 1] : NULL;
    for (int i = 0; priority != ENGINE_LAST && i < p->held_count; i++)
        if (priority == ENGINE_LOW ? p->held[i].key < best->key : p->held[i].key > best->key)
            best = &p->held[i];
    return best;
}

/* The voice goes on in the midst of its sound as another key: from the same table with its phase kept, from another
 * across 2 ms. */
static void follow(player *p, const voice_world *world, const bank_table *table, int slot, const voice_note *note) {
    section *section = section_of(p, slot);
    if (table != section->voices[lane_of(slot)].reader.table)
        leave(p, world, slot);
    section_follow(section, lane_of(slot), table, note, world);
}

static bool is_heard(const voice *v, const bank_table *table, const engine_cell *cell) {
    return v->reader.table == table && bank_uses(table, v->reader.layers, v->knobs.blend, cell);
}

bool player_swap(player *p, const bank_table *table, bank_cell *cell, const engine_cell *to) {
    for (int i = 0; i < p->voice_count; i++) {
        const reader *r = &voice_at(p, i)->reader;
        if (is_heard(voice_at(p, i), table, to) && (r->past_samples > 0 || r->past.count == BANK_PAST) && reader_crosses(r))
            return false;
    }
    for (int i = 0; i < p->voice_count; i++)
        if (is_heard(voice_at(p, i), table, to))
            reader_swap(&voice_at(p, i)->reader, cell);
    *cell = (bank_cell){to->sound, to->levels};
    return true;
}

bool player_reads(const player *p, const int16_t *sound) {
    for (int i = 0; i < p->voice_count; i++) {
        const bank_past *past = &voice_at(p, i)->reader.past;
        for (int n = 0; n < past->count; n++)
            if (past->sounds[n] == sound)
                return true;
    }
    return false;
}

/* What is let go ends where it is: its release has no loop in which to find its phase. */
void player_add(player *p, const voice_world *world, const bank *tables, const bank_table *added) {
    for (int i = 0; i < p->voice_count; i++) {
        const voice *v = voice_at(p, i);
        if (v->loudness.stage >= ENVELOPE_RELEASE
            || bank_nearest(tables, (float)v->note.key + world->tuning[v->note.key]) != added)
            continue;
        int slot = p->by_age[i];
        leave(p, world, slot);
        section_move(section_of(p, slot), lane_of(slot), added, p->fade_frames, world);
    }
}

/* All voices that are not let go take up another key. False where there is none. */
static bool follow_all(player *p, const voice_world *world, const bank *tables, const player_key *to) {
    const bank_table *table = bank_nearest(tables, (float)to->key + world->tuning[to->key]);
    double from = glide_from(p, world, to->key);
    bool any = false;
    for (int i = 0; i < p->voice_count; i++) {
        voice *v = voice_at(p, i);
        if (v->loudness.stage >= ENVELOPE_RELEASE)
            continue;
        voice_note note = v->note;
        note.channel = to->channel;
        note.key = to->key;
        note.from_semitones = from;
        v->held_by_pedal = false;
        follow(p, world, table, p->by_age[i], &note);
        any = true;
    }
    if (any)
        p->last_semitones = (float)to->key + world->tuning[to->key];
    return any;
}

static void let_all_go(player *p, const voice_world *world) {
    for (int i = 0; i < p->voice_count; i++)
        let_go(p, world, i);
}

static void mono_on(player *p, const voice_world *world, const bank *tables, int channel, int key, float velocity) {
    bool others = p->held_count > 0;
    forget(p, channel, key);
    if (p->held_count == ENGINE_KEYS)
        forget(p, p->held[0].channel, p->held[0].key);
    p->held[p->held_count++] = (player_key){(uint8_t)channel, (uint8_t)key, velocity};
    const player_key *wins = winner(p, world);
    if (wins->channel != channel || wins->key != key)
        return;
    if (others && parameter(world, ENGINE_MODE) == ENGINE_LEGATO && follow_all(p, world, tables, wins))
        return;
    let_all_go(p, world);
    for (int place = p->voice_count - 1; place >= 0; place--)
        cut(p, world, place);
    begin(p, world, tables, channel, key, velocity);
}

static void mono_off(player *p, const voice_world *world, const bank *tables, int channel, int key) {
    forget(p, channel, key);
    const player_key *next = winner(p, world);
    for (int i = 0; i < p->voice_count; i++)
        if (is_of(voice_at(p, i), channel, key)) {
            if (next)
                follow_all(p, world, tables, next);
            else
                key_up(p, world, i);
        }
}

void player_note_on(player *p, const voice_world *world, const bank *tables, int channel, int key, float velocity) {
    if (parameter(world, ENGINE_MODE) == ENGINE_POLY)
        poly_on(p, world, tables, channel, key, velocity);
    else
        mono_on(p, world, tables, channel, key, velocity);
}

void player_note_off(player *p, const voice_world *world, const bank *tables, int channel, int key) {
    if (parameter(world, ENGINE_MODE) != ENGINE_POLY) {
        mono_off(p, world, tables, channel, key);
        return;
    }
    forget(p, channel, key); /* it may have been struck in another mode */
    for (int i = 0; i < p->voice_count; i++)
        if (is_of(voice_at(p, i), channel, key))
            key_up(p, world, i);
}

void player_key_pressure(player *p, int channel, int key, float pressure) {
    for (int i = 0; i < p->voice_count; i++)
        if (is_of(voice_at(p, i), channel, key))
            voice_at(p, i)->key_pressure = pressure;
}

void player_sustain(player *p, const voice_world *world, int channel) {
    for (int i = 0; !world->channels[channel].sustain && i < p->voice_count; i++) {
        voice *v = voice_at(p, i);
        if (v->note.channel == channel && v->held_by_pedal && !v->caught)
            let_go(p, world, i);
    }
}

void player_sostenuto(player *p, const voice_world *world, int channel, bool down) {
    for (int i = 0; i < p->voice_count; i++) {
        voice *v = voice_at(p, i);
        if (v->note.channel != channel)
            continue;
        if (down) /* what is held by its key now, and nothing that comes later */
            v->caught = v->loudness.stage < ENVELOPE_RELEASE && !v->held_by_pedal;
        else if (v->caught) {
            v->caught = false;
            if (v->held_by_pedal && !world->channels[channel].sustain)
                let_go(p, world, i);
        }
    }
}

void player_all_notes_off(player *p, const voice_world *world, int channel) {
    for (int i = 0; i < p->voice_count; i++)
        if (voice_at(p, i)->note.channel == channel)
            key_up(p, world, i);
    forget_all(p, channel);
}

/* At its end, and in its filter nothing rings on. */
static bool is_over(const player *p, const voice_world *world, int place) {
    int slot = p->by_age[place];
    const kernel_filter *f = &section_of(p, slot)->filter.kernel;
    bool filtered = world->parameters[ENGINE_FILTER_MODE] >= ENGINE_FILTER_LOW;
    bool rings = filtered && fabsf(f->s1[lane_of(slot)]) + fabsf(f->s2[lane_of(slot)]) > SILENT;
    return voice_done(voice_at(p, place)) && (!rings || voice_at(p, place)->loudness.stage == ENVELOPE_DONE);
}

/* Voices end at steerings alone, so that it does not matter how time is cut into blocks. */
void player_steer(player *p, const voice_world *world) {
    for (int place = p->voice_count - 1; place >= 0; place--)
        if (is_over(p, world, place))
            end(p, place);
    for (int i = 0; i < sections_of(p->polyphony); i++)
        section_steer(&p->sections[i], world);
}

static void take_faded(player *p, float *stereo, int frames) {
    for (int i = 0; i < frames; i++) {
        float *from = p->fading[p->fading_at];
        stereo[2 * i] += from[0];
        stereo[2 * i + 1] += from[1];
        from[0] = from[1] = 0.0f;
        p->fading_at = p->fading_at + 1 == p->fade_frames ? 0 : p->fading_at + 1;
    }
}

void player_render(player *p, const voice_world *world, float *stereo, int frames) {
    fade_out(p, world);
    section_render(p->sections, sections_of(p->polyphony), world, stereo, frames);
    take_faded(p, stereo, frames);
}
