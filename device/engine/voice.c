#include "voice.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "engine.h"

#define PI 3.14159265f
#define SEMITONES 12.0
#define OCTAVES_A_DB 0.1660964f /* log2(10) / 20 */
#define MIDDLE_KEY 60         /* from which the filter tracks the keys */
#define SOFT_PEDAL_LEVEL 0.7f /* -3 dB */
#define LOWEST_HZ 10.0f       /* of a cutoff, whatever moves it */
#define SLOWEST 1e-4          /* samples a frame: all that moves the pitch may add up, and time for it is short */
#define WHEEL_ARRIVED 0.001f
#define START_FADE_MS 3.0f    /* of a sound that does not begin at its beginning */

_Static_assert(BANK_BLOCK == RESAMPLER_BLOCK, "what is read at once is fed at once");

static float parameter(const voice_world *world, engine_parameter which) {
    return world->parameters[which];
}

static const voice_channel *channel_of(const voice *v, const voice_world *world) {
    return &world->channels[v->note.channel];
}

static float wheel(const voice *v, const voice_world *world) {
    const voice_channel *channel = channel_of(v, world);
    return fminf(channel->mod + fmaxf(channel->pressure, v->key_pressure), 1.0f);
}

void voice_world_turn(voice_world *world) {
    float beats = parameter(world, ENGINE_LFO_BEATS);
    world->swing = (lfo_settings){.shape = (lfo_shape)parameter(world, ENGINE_LFO_SHAPE),
                                  .rate_hz = beats > 0.0f ? parameter(world, ENGINE_TEMPO_BPM) / (60.0f * beats)
                                                          : parameter(world, ENGINE_LFO_RATE_HZ),
                                  .delay_s = 0.001f * parameter(world, ENGINE_LFO_DELAY_MS)};
    world->swings = parameter(world, ENGINE_LFO_PITCH_CENTS) != 0.0f
                 || parameter(world, ENGINE_LFO_FILTER_SEMITONES) != 0.0f
                 || parameter(world, ENGINE_LFO_BLEND_X) != 0.0f || parameter(world, ENGINE_LFO_BLEND_Y) != 0.0f
                 || parameter(world, ENGINE_LFO_LEVEL_DB) != 0.0f;
}

/* Off the table's pitch, with everything that moves it. */
static double semitones_of(const voice *v, const voice_world *world, float vibrato_cents) {
    float opened = 1.0f - parameter(world, ENGINE_LFO_WHEEL) * (1.0f - wheel(v, world));
    double cents = vibrato_cents + parameter(world, ENGINE_TUNE_CENTS)
                 + opened * parameter(world, ENGINE_LFO_PITCH_CENTS) * v->lfo.value;
    return v->note.key - v->reader.table->pitch + (double)world->tuning[v->note.key]
         + parameter(world, ENGINE_TRANSPOSE_SEMITONES) + v->note.detune_semitones
         + channel_of(v, world)->bend_semitones + v->glide_semitones + cents / 100.0;
}

/* Samples of the table for each frame. */
static double speed(double semitones, const voice_world *world) {
    double wanted = exp2(semitones / SEMITONES) * ENGINE_BANK_RATE_HZ / world->rate_hz;
    return fmin(fmax(wanted, SLOWEST), RESAMPLER_FASTEST);
}

static float level(const voice *v, const voice_world *world) {
    const voice_channel *channel = channel_of(v, world);
    float depth_db = parameter(world, ENGINE_LFO_LEVEL_DB);
    float gain = v->gain * channel->expression * channel->expression * (channel->soft ? SOFT_PEDAL_LEVEL : 1.0f);
    return depth_db > 0.0f ? gain * exp2f(-0.5f * OCTAVES_A_DB * depth_db * (1.0f - v->lfo.value)) : gain;
}

static void steer_filter(voice *v, const voice_world *world) {
    float semitones = parameter(world, ENGINE_FILTER_KEY) * (float)(v->note.key - MIDDLE_KEY)
                    + parameter(world, ENGINE_FILTER_VELOCITY_SEMITONES) * v->note.velocity
                    + parameter(world, ENGINE_FILTER_ENVELOPE_SEMITONES) * envelope_level(&v->sweep)
                    + parameter(world, ENGINE_FILTER_TIMBRE_SEMITONES) * (2.0f * channel_of(v, world)->timbre - 1.0f)
                    + parameter(world, ENGINE_LFO_FILTER_SEMITONES) * v->lfo.value;
    float open_hz = parameter(world, ENGINE_CUTOFF_HZ);
    if (semitones == v->shape.semitones && open_hz == v->shape.open_hz)
        return;
    v->shape.semitones = semitones;
    v->shape.open_hz = open_hz;
    v->shape.cutoff_hz = fmaxf(open_hz * exp2f(semitones / (float)SEMITONES), LOWEST_HZ);
}

static void steer_pitch(voice *v, const voice_world *world, float vibrato_cents) {
    double semitones = semitones_of(v, world, vibrato_cents);
    if (semitones == v->semitones && v->resampler.glide == 0)
        return;
    v->semitones = semitones;
    resampler_glide(&v->resampler, speed(semitones, world), VOICE_STEER_FRAMES);
}

static void start_pitch(voice *v, const voice_world *world) {
    v->semitones = semitones_of(v, world, 0.0f);
    resampler_start(&v->resampler, speed(v->semitones, world), speed(v->semitones - v->glide_semitones, world));
}

static envelope_times times(const voice_world *world, engine_parameter attack) {
    const float *p = world->parameters + attack; /* attack, decay, sustain, release stand in a row */
    return (envelope_times){p[0], p[1], p[2], p[3]};
}

/* Glides take the same time whatever the way. */
static void start_glide(voice *v, const voice_world *world) {
    double steerings = 0.001 * parameter(world, ENGINE_GLIDE_MS) * world->rate_hz / VOICE_STEER_FRAMES;
    v->glide_semitones = steerings < 1.0 ? 0.0 : v->note.from_semitones;
    v->glide_step = steerings < 1.0 ? 0.0 : v->note.from_semitones / steerings;
}

static void glide(voice *v) {
    double left = v->glide_semitones - v->glide_step;
    v->glide_semitones = left * v->glide_semitones <= 0.0 ? 0.0 : left;
}

void voice_trigger(voice *v, const bank_table *table, bank_layers layers, const voice_note *note, float gain,
                   const voice_world *world) {
    double ratio = exp2((note->key - table->pitch) / SEMITONES);
    int start = (int)(0.001f * parameter(world, ENGINE_START_MS) * ENGINE_BANK_RATE_HZ);
    envelope_times shape = times(world, ENGINE_ATTACK_MS), sweep = times(world, ENGINE_FILTER_ATTACK_MS);
    if (start > 0)
        shape.attack_ms = fmaxf(shape.attack_ms, START_FADE_MS);
    v->note = *note;
    v->sounded = v->held_by_pedal = v->caught = false;
    v->key_pressure = 0.0f;
    v->gain = gain;
    v->born = world->blend;
    start_glide(v, world);
    v->motion = bank_motion_at(table, layers, v->born);
    knobs_start(&v->knobs, v->born, ratio);
    reader_start(&v->reader, table, layers, start);
    vibrato_start(&v->vibrato, VOICE_STEER_FRAMES / world->rate_hz, wheel(v, world));
    lfo_init(&v->lfo, VOICE_STEER_FRAMES, world->rate_hz, (uint32_t)note->key);
    lfo_start(&v->lfo, &world->swing, parameter(world, ENGINE_LFO_RETRIGGER) >= 0.5f ? NULL : &world->lfo);
    envelope_trigger(&v->loudness, &shape, world->rate_hz);
    envelope_trigger(&v->sweep, &sweep, world->rate_hz / VOICE_STEER_FRAMES);
    start_pitch(v, world);
    v->shape = (voice_shape){.level = level(v, world)};
    steer_filter(v, world);
    v->rise_frames = v->risen = 0;
    v->rests = false;
    v->waited = 0;
}

bool voice_follow(voice *v, const bank_table *table, const voice_note *note, const voice_world *world) {
    bool same = table == v->reader.table;
    double stands = v->glide_semitones + v->note.key + (double)world->tuning[v->note.key]; /* maybe in a glide */
    v->note = *note;
    v->note.from_semitones = stands - note->key - (double)world->tuning[note->key];
    v->rests = false;
    start_glide(v, world);
    if (same)
        return false;
    reader_follow(&v->reader, table);
    start_pitch(v, world);
    v->rise_frames = (int)(0.001f * VOICE_RISE_MS * world->rate_hz);
    v->risen = 0;
    return true;
}

void voice_move(voice *v, const bank_table *table, int rise_frames, const voice_world *world) {
    v->semitones += v->reader.table->pitch - table->pitch;
    double within = reader_move(&v->reader, table, resampler_behind(&v->resampler), RESAMPLER_REACH);
    v->motion = bank_motion_at(table, v->reader.layers, v->knobs.blend);
    v->rests = false;
    knobs_pace(&v->knobs, exp2((v->note.key - table->pitch) / SEMITONES));
    resampler_start(&v->resampler, speed(v->semitones, world), speed(v->semitones - v->glide_semitones, world));
    resampler_skip(&v->resampler, within);
    v->rise_frames = rise_frames;
    v->risen = 1; /* both together are always one: what leaves is in its first frame already on its way */
}

void voice_release(voice *v, const voice_world *world) {
    v->held_by_pedal = v->caught = v->rests = false;
    envelope_release(&v->loudness, parameter(world, ENGINE_RELEASE_MS));
    envelope_release(&v->sweep, parameter(world, ENGINE_FILTER_RELEASE_MS));
    reader_release(&v->reader, v->knobs.blend);
}

void voice_copy(voice *to, const voice *from) {
    memcpy(to, from, offsetof(voice, resampler));
    resampler_copy(&to->resampler, &from->resampler);
}

static bool comes_to_rest(const voice *v, const voice_world *world, float level_before) {
    return !world->swings && v->motion.depth_cents <= 0.0f && fabsf(v->vibrato.wheel - wheel(v, world)) < WHEEL_ARRIVED
        && v->glide_semitones == 0.0 && v->resampler.glide == 0 && v->sweep.frames_left == ENVELOPE_HOLDS
        && v->shape.level == level_before;
}

/* What went on while it rested. */
static void catch_up(voice *v) {
    lfo_pass(&v->lfo, v->waited);
    vibrato_pass(&v->vibrato, v->waited);
    v->waited = 0;
}

bool voice_steer(voice *v, const voice_world *world) {
    if (v->rests && v->turns == world->turns) {
        v->waited++;
        return false;
    }
    catch_up(v);
    float level_before = v->shape.level;
    glide(v);
    lfo_next(&v->lfo, &world->swing);
    envelope_advance(&v->sweep, 1);
    steer_pitch(v, world, vibrato_next(&v->vibrato, &v->motion, wheel(v, world)));
    steer_filter(v, world);
    v->shape.level = level(v, world);
    v->rests = comes_to_rest(v, world, level_before);
    v->turns = world->turns;
    return true;
}

float voice_loudness(const voice *v) {
    return v->shape.level * v->reader.decay_gain
         * (v->loudness.stage == ENVELOPE_ATTACK ? 1.0f : envelope_level(&v->loudness));
}

bool voice_done(const voice *v) {
    /* Nothing was read for as long as the filters are, and all before it has been heard. */
    return v->loudness.stage == ENVELOPE_DONE
        || reader_done(&v->reader, SHIFT_TAPS + RESAMPLER_TAPS + resampler_ahead(&v->resampler));
}

static float within_square(float place) {
    return place < 0.0f ? 0.0f : place > 1.0f ? 1.0f : place;
}

/* Where its blend is to go. */
static bank_point wanted(const voice *v, const voice_world *world) {
    bank_point at = parameter(world, ENGINE_KEEP_BLEND) >= 0.5f ? v->born : world->blend;
    return (bank_point){within_square(at.x + v->lfo.value * parameter(world, ENGINE_LFO_BLEND_X)),
                        within_square(at.y + v->lfo.value * parameter(world, ENGINE_LFO_BLEND_Y))};
}

/* The next RESAMPLER_BLOCK samples of the table, to the resampler. */
static void feed_block(voice *v, const voice_world *world) {
    bank_path path;
    float block[RESAMPLER_BLOCK];
    knobs_follow(&v->knobs, wanted(v, world), v->reader.table->grid, &path);
    if (!path.rests) {
        v->motion = bank_motion_at(v->reader.table, v->reader.layers, v->knobs.blend);
        v->rests = false;
    }
    reader_read(&v->reader, &path, v->motion.decay_db_per_s, block);
    resampler_feed(&v->resampler, &world->filters, block);
}

void voice_feed(voice *v, const voice_world *world, int frames) {
    while (resampler_lacks(&v->resampler, frames))
        feed_block(v, world);
}

float voice_rise(voice *v) {
    return v->risen >= v->rise_frames ? 1.0f
                                      : 0.5f - 0.5f * cosf(PI * (float)v->risen++ / (float)v->rise_frames);
}
