#include "section.h"

#include <math.h>
#include <string.h>

#define AT_ONCE RESAMPLER_AT_ONCE /* frames through all stages before the next */

static bool filters(const voice_world *world) {
    return world->parameters[ENGINE_FILTER_MODE] >= ENGINE_FILTER_LOW;
}

static filter_mode mode_of(const voice_world *world) {
    return (filter_mode)((int)world->parameters[ENGINE_FILTER_MODE] - ENGINE_FILTER_LOW);
}

void section_init(section *s) {
    memset(s->sounds, 0, sizeof s->sounds);
    memset(&s->shape, 0, sizeof s->shape);
    s->clock = 0;
    s->next_end = UINT64_MAX;
    for (int lane = 0; lane < SECTION_VOICES; lane++) {
        s->ends[lane] = UINT64_MAX;
        resampler_start(&s->voices[lane].resampler, 0.0, 0.0);
    }
    filter_init(&s->filter);
}

/* The lane's envelope is that of its voice, as of now. */
static void take_envelope(section *s, int lane) {
    const envelope *e = &s->voices[lane].loudness;
    s->shape.asymptote[lane] = (float)e->asymptote;
    s->shape.distance[lane] = (float)e->distance;
    s->shape.coefficient[lane] = (float)e->coefficient;
    s->since[lane] = s->clock;
    s->ends[lane] = e->frames_left == ENVELOPE_HOLDS ? UINT64_MAX : s->clock + (uint64_t)e->frames_left;
    if (s->ends[lane] < s->next_end)
        s->next_end = s->ends[lane];
}

/* The voice's envelope is brought up to now; what the lane has lost for its single precision is made good. */
static void bring_up(section *s, int lane) {
    if (s->ends[lane] == UINT64_MAX)
        return;
    envelope_advance(&s->voices[lane].loudness, (int)(s->clock - s->since[lane]));
    take_envelope(s, lane);
}

static void pan(section *s, int lane) {
    s->shape.left[lane] = sqrtf(1.0f - s->voices[lane].note.pan); /* the same power wherever it stands */
    s->shape.right[lane] = sqrtf(1.0f + s->voices[lane].note.pan);
}

void section_start(section *s, int lane, const voice_world *world) {
    const voice *v = &s->voices[lane];
    s->sounds[lane] = true;
    take_envelope(s, lane);
    s->shape.level[lane] = v->shape.level;
    s->shape.level_step[lane] = 0.0f;
    pan(s, lane);
    filter_start(&s->filter, lane, mode_of(world), v->shape.cutoff_hz, world->parameters[ENGINE_RESONANCE],
                 world->rate_hz);
    voice_feed(&s->voices[lane], world, VOICE_STEER_FRAMES);
}

void section_follow(section *s, int lane, const bank_table *table, const voice_note *note, const voice_world *world) {
    if (voice_follow(&s->voices[lane], table, note, world)) {
        s->rising = true;
        voice_feed(&s->voices[lane], world, VOICE_STEER_FRAMES);
    }
    pan(s, lane);
}

void section_move(section *s, int lane, const bank_table *table, int frames, const voice_world *world) {
    voice_move(&s->voices[lane], table, frames, world);
    s->rising = true;
    voice_feed(&s->voices[lane], world, VOICE_STEER_FRAMES);
}

void section_release(section *s, int lane, const voice_world *world) {
    bring_up(s, lane);
    voice_release(&s->voices[lane], world);
    take_envelope(s, lane);
}

void section_end(section *s, int lane) {
    s->sounds[lane] = false;
    s->shape.level[lane] = s->shape.level_step[lane] = s->shape.distance[lane] = 0.0f; /* it would become denormal */
    s->ends[lane] = UINT64_MAX;
    resampler_start(&s->voices[lane].resampler, 0.0, 0.0); /* an unused lane is read, too */
}

void section_copy_lane(section *to, int lane, section *from, int from_lane) {
    to->rising = true;
    voice *v = &to->voices[lane];
    bring_up(from, from_lane);
    voice_copy(v, &from->voices[from_lane]);
    to->sounds[lane] = true;
    take_envelope(to, lane);
    to->shape.level[lane] = from->shape.level[from_lane];
    to->shape.level_step[lane] = 0.0f;
    resampler_stop_glide(&v->resampler);
    pan(to, lane);
    filter_copy_lane(&to->filter, lane, &from->filter, from_lane);
}

static void steer_lane(section *s, int lane, const voice_world *world) {
    voice *v = &s->voices[lane];
    float before = v->shape.level;
    bring_up(s, lane);
    if (voice_steer(v, world)) {
        s->shape.level[lane] = before;
        s->shape.level_step[lane] = (v->shape.level - before) / VOICE_STEER_FRAMES;
        if (filters(world))
            filter_aim(&s->filter, lane, mode_of(world), v->shape.cutoff_hz, world->parameters[ENGINE_RESONANCE],
                       world->rate_hz, VOICE_STEER_FRAMES);
    }
    voice_feed(v, world, VOICE_STEER_FRAMES);
}

void section_steer(section *s, const voice_world *world) {
    if (s->filtered && !filters(world))
        filter_init(&s->filter); /* or what rings in it now would be heard when it is on again */
    s->filtered = filters(world);
    for (int lane = 0; lane < SECTION_VOICES; lane++)
        if (s->sounds[lane])
            steer_lane(s, lane, world);
}

static void rise(section *s, float (*sound)[SECTION_VOICES], int frames) {
    if (!s->rising)
        return;
    s->rising = false;
    for (int lane = 0; lane < SECTION_VOICES; lane++)
        for (int i = 0; s->sounds[lane] && s->voices[lane].risen < s->voices[lane].rise_frames && i < frames; i++)
            s->rising = true, sound[i][lane] *= voice_rise(&s->voices[lane]);
}

/* Envelopes whose piece is over go on to the next. */
static void end_pieces(section *s) {
    s->next_end = UINT64_MAX;
    for (int lane = 0; lane < SECTION_VOICES; lane++) {
        if (s->ends[lane] == s->clock)
            bring_up(s, lane);
        if (s->ends[lane] < s->next_end)
            s->next_end = s->ends[lane];
    }
}

static int until_next_piece(const section *s, int frames) {
    return s->next_end - s->clock < (uint64_t)frames ? (int)(s->next_end - s->clock) : frames;
}

static bool any_sounds(const section *s) {
    for (int lane = 0; lane < SECTION_VOICES; lane++)
        if (s->sounds[lane])
            return true;
    return false;
}

typedef float frames_of_lanes[AT_ONCE][SECTION_VOICES];

/* Left and right, a lane a column: added up across once for all sections. */
typedef struct {
    frames_of_lanes left, right;
} section_mix;

/* In one order, so that sums come out the same. */
static float sum(const float x[SECTION_VOICES]) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

static void shape(section *s, float (*sound)[SECTION_VOICES], section_mix *mix, int frames) {
    for (int done = 0, run; done < frames; done += run) {
        run = until_next_piece(s, frames - done);
        kernels->shape(&s->shape, sound + done, mix->left + done, mix->right + done, run);
        s->clock += (uint64_t)run;
        if (s->clock == s->next_end)
            end_pieces(s);
    }
}

static void filter_all(section *const *sections, frames_of_lanes *sound, int count, int frames) {
    filter_lanes idle;
    frames_of_lanes silence;
    for (int i = 0; i < count; i += 2) {
        filter_lanes *filters[2] = {&sections[i]->filter, &idle};
        float (*const x[2])[SECTION_VOICES] = {sound[i], i + 1 < count ? sound[i + 1] : silence};
        if (i + 1 < count) {
            filters[1] = &sections[i + 1]->filter;
        } else {
            filter_init(&idle);
            memset(silence, 0, sizeof silence);
        }
        filter_render(filters, x, frames);
    }
}

/* Stage by stage for all sections, for what one waits for another can use. */
static void render_some(section *const *sections, kernel_places *places, int count, const voice_world *world,
                        float *stereo, int frames) {
    frames_of_lanes sound[SECTION_MOST];
    section_mix mix;
    memset(&mix, 0, sizeof mix);
    for (int i = 0; i < count; i++) {
        kernels->read(&places[i], &world->filters.reading, sound[i], frames);
        rise(sections[i], sound[i], frames);
    }
    if (filters(world))
        filter_all(sections, sound, count, frames);
    for (int i = 0; i < count; i++)
        shape(sections[i], sound[i], &mix, frames);
    for (int i = 0; i < frames; i++) {
        stereo[2 * i] = sum(mix.left[i]);
        stereo[2 * i + 1] = sum(mix.right[i]);
    }
}

/* Those in which something sounds. */
static int sounding(section *sections, int count, section *out[SECTION_MOST]) {
    int found = 0;
    for (int i = 0; i < count; i++)
        if (any_sounds(&sections[i]))
            out[found++] = &sections[i];
    return found;
}

static void resamplers_of(section *s, resampler *out[SECTION_VOICES]) {
    for (int lane = 0; lane < SECTION_VOICES; lane++)
        out[lane] = &s->voices[lane].resampler;
}

void section_render(section *sections, int count, const voice_world *world, float *stereo, int frames) {
    section *sound[SECTION_MOST];
    kernel_places places[SECTION_MOST];
    resampler *resamplers[SECTION_VOICES];
    count = sounding(sections, count, sound);
    for (int i = 0; i < count; i++) {
        resamplers_of(sound[i], resamplers);
        resampler_gather(&places[i], resamplers);
        for (int lane = 0; lane < SECTION_VOICES; lane++)
            sound[i]->voices[lane].sounded = true;
    }
    for (int done = 0; done < frames; done += AT_ONCE)
        render_some(sound, places, count, world, stereo + 2 * done, frames - done < AT_ONCE ? frames - done : AT_ONCE);
    for (int i = 0; i < count; i++) {
        resamplers_of(sound[i], resamplers);
        resampler_scatter(&places[i], resamplers);
    }
}
