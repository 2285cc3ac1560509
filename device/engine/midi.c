#include "midi.h"

#include <math.h>
#include <string.h>

enum {
    CC_DATA = 6,
    CC_DATA_FINE = 38,
    CC_TIMBRE = 74,
    CC_INCREMENT = 96,
    CC_DECREMENT = 97,
    CC_NRPN_FINE = 98,
    CC_NRPN = 99,
    CC_RPN_FINE = 100,
    CC_RPN = 101,
    CC_ALL_SOUND_OFF = 120,
    CC_RESET = 121,
    CC_LOCAL = 122,
    CC_ALL_NOTES_OFF = 123,
    CC_MONO = 126,
    CC_POLY = 127,
    NO_CC = 0xff
};

enum { RPN_BEND_RANGE, RPN_FINE_TUNING, RPN_COARSE_TUNING, RPN_MPE = 6, RPN_NONE = 127 };

#define BEND_RANGE_CENTS 200         /* of a channel by itself, and of a zone's manager */
#define MEMBER_BEND_RANGE_CENTS 4800 /* of a zone's members */
#define MAX_BEND_RANGE_CENTS 9600
#define NO_FINE_TUNING 8192
#define NO_COARSE_TUNING 64

/* Of a zone's manager and its member, at the member's notes. */
typedef enum { LARGER, PRODUCT, SUM } joining;

static const struct {
    uint8_t kind, cc;
    float at_rest;
    joining with_manager;
    bool heeds_reset; /* by CC 121, as RP-015 lists them */
} controls[MIDI_CONTROLS] = {
    [MIDI_SUSTAIN] =    {ENGINE_SUSTAIN,    64,        0.0f, LARGER,  true},
    [MIDI_SOSTENUTO] =  {ENGINE_SOSTENUTO,  66,        0.0f, LARGER,  true},
    [MIDI_SOFT] =       {ENGINE_SOFT,       67,        0.0f, LARGER,  true},
    [MIDI_MOD_WHEEL] =  {ENGINE_MOD_WHEEL,  1,         0.0f, LARGER,  true},
    [MIDI_PRESSURE] =   {ENGINE_PRESSURE,   NO_CC,     0.0f, LARGER,  true},
    [MIDI_EXPRESSION] = {ENGINE_EXPRESSION, 11,        1.0f, PRODUCT, true},
    [MIDI_TIMBRE] =     {ENGINE_TIMBRE,     CC_TIMBRE, 0.5f, SUM,     false},
};

static float clamp(float value, float low, float high) {
    return fminf(fmaxf(value, low), high);
}

static int clamp_int(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

/* ---- Targets of controllers: parameter, curve, and two floats without their last 5 bits, in 64 bits. */

#define FLOAT_BITS 27
#define FLOAT_DROPPED (32 - FLOAT_BITS)

static uint64_t pack_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> FLOAT_DROPPED;
}

static float unpack_float(uint64_t packed) {
    uint32_t bits = (uint32_t)(packed & ((1u << FLOAT_BITS) - 1)) << FLOAT_DROPPED;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t pack(midi_target target) {
    return (uint64_t)target.parameter | (uint64_t)target.exponential << 8 | pack_float(target.low) << 9
           | pack_float(target.high) << (9 + FLOAT_BITS);
}

static midi_target unpack(uint64_t packed) {
    return (midi_target){.parameter = packed & 0xff, .exponential = packed >> 8 & 1,
                         .low = unpack_float(packed >> 9), .high = unpack_float(packed >> (9 + FLOAT_BITS))};
}

static bool target_fits(midi_target target) {
    bool within = fabsf(target.low) <= MIDI_MAX_VALUE && fabsf(target.high) <= MIDI_MAX_VALUE; /* NaN is not */
    float smallest = 1.0f / MIDI_MAX_VALUE;
    return within && (!target.exponential || (target.low >= smallest && target.high >= smallest));
}

static float scaled(midi_target target, float share) {
    float value = target.exponential ? target.low * expf(share * (float)log((double)target.high / target.low))
                                     : target.low + share * (target.high - target.low);
    return clamp(value, fminf(target.low, target.high), fmaxf(target.low, target.high));
}

/* ---- Out. */

static void emit(midi *m, int kind, int channel, int key, float a, float b) {
    engine_event event = {.kind = (uint8_t)kind, .channel = (uint8_t)channel, .key = (uint8_t)key, .a = a, .b = b};
    if (m->config.emit)
        m->config.emit(m->config.to, &event);
}

static void tell_host(midi *m, const midi_message *message) {
    if (m->config.host)
        m->config.host(m->config.to, message);
}

static void emit_target(midi *m, int channel, midi_target target, float share) {
    if (target.parameter != MIDI_NO_PARAMETER)
        emit(m, ENGINE_PARAMETER, channel, target.parameter, scaled(target, share), 0.0f);
}

/* ---- Zones. */

/* The channel itself, where it is no zone's member. */
static int manager_of(const midi *m, int channel) {
    if (channel > 0 && channel <= m->members[MIDI_LOWER])
        return 0;
    if (channel < 15 && channel >= 15 - m->members[MIDI_UPPER])
        return 15;
    return channel;
}

static bool in_zone(const midi *m, int channel) {
    return manager_of(m, channel) != channel || (channel == 0 && m->members[MIDI_LOWER] > 0)
           || (channel == 15 && m->members[MIDI_UPPER] > 0);
}

/* What is said to `from` concerns `channel`: itself, or a member of the zone that it manages. */
static bool heeds(const midi *m, int channel, int from) {
    return channel == from || manager_of(m, channel) == from;
}

static void emit_to_all(midi *m, int kind, int from) {
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++)
        if (heeds(m, channel, from))
            emit(m, kind, channel, 0, 0.0f, 0.0f);
}

/* ---- Controls that a manager's and its members' join. */

static float joined(const midi *m, int channel, midi_control control) {
    int manager = manager_of(m, channel);
    float value = m->channels[channel].controls[control], other = m->channels[manager].controls[control];
    if (manager == channel)
        return value;
    switch (controls[control].with_manager) {
    case LARGER: return fmaxf(value, other);
    case PRODUCT: return value * other;
    default: return clamp(value + other - controls[control].at_rest, 0.0f, 1.0f);
    }
}

static void emit_control(midi *m, int from, midi_control control) {
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++)
        if (heeds(m, channel, from))
            emit(m, controls[control].kind, channel, 0, joined(m, channel, control), 0.0f);
}

static void set_control(midi *m, int from, midi_control control, float value) {
    m->channels[from].controls[control] = value;
    emit_control(m, from, control);
}

static float bend_semitones(const midi_channel *c) {
    float wheel = (float)c->bend / 8192.0f * (float)c->bend_range_cents / 100.0f;
    return wheel + (float)(c->coarse_tuning - NO_COARSE_TUNING) + (float)(c->fine_tuning - NO_FINE_TUNING) / 8192.0f;
}

static void emit_bend(midi *m, int from) {
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++) {
        if (!heeds(m, channel, from))
            continue;
        int manager = manager_of(m, channel);
        float bend = bend_semitones(&m->channels[channel]);
        bend += manager == channel ? 0.0f : bend_semitones(&m->channels[manager]);
        emit(m, ENGINE_BEND, channel, 0, clamp(bend, -MIDI_MAX_BEND_SEMITONES, MIDI_MAX_BEND_SEMITONES), 0.0f);
    }
}

static void emit_all(midi *m, int from) {
    for (int control = 0; control < MIDI_CONTROLS; control++)
        emit_control(m, from, (midi_control)control);
    emit_bend(m, from);
}

/* ---- Resets. */

static void select_none(midi_channel *c) {
    c->rpn_msb = c->rpn_lsb = RPN_NONE;
}

/* As at power-on, but for the parameter that is selected. */
static void rest(midi_channel *c, int bend_range_cents) {
    c->bend = 0;
    c->bend_range_cents = bend_range_cents;
    c->fine_tuning = NO_FINE_TUNING;
    c->coarse_tuning = NO_COARSE_TUNING;
    for (int control = 0; control < MIDI_CONTROLS; control++)
        c->controls[control] = controls[control].at_rest;
}

/* CC 121. Ranges, tunings, volume and what else RP-015 names stay. */
static void reset_controllers(midi *m, int from) {
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++) {
        if (!heeds(m, channel, from))
            continue;
        midi_channel *c = &m->channels[channel];
        select_none(c);
        c->bend = 0;
        for (int control = 0; control < MIDI_CONTROLS; control++)
            if (controls[control].heeds_reset)
                c->controls[control] = controls[control].at_rest;
    }
    emit_all(m, from);
}

static void tune_key(midi *m, int key, float semitones) {
    m->tuned[key] = semitones != 0.0f;
    emit(m, ENGINE_TUNE_KEY, 0, key, semitones, 0.0f);
}

/* General MIDI on: as at power-on. Zones stay, which only their own message sets, and a scale that is not from here. */
static void reset_all(midi *m) {
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++) {
        bool member = manager_of(m, channel) != channel;
        emit(m, ENGINE_ALL_SOUND_OFF, channel, 0, 0.0f, 0.0f);
        select_none(&m->channels[channel]);
        rest(&m->channels[channel], member ? MEMBER_BEND_RANGE_CENTS : BEND_RANGE_CENTS);
    }
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++)
        if (manager_of(m, channel) == channel) /* it speaks for its members */
            emit_all(m, channel);
    for (int key = 0; key < ENGINE_KEYS; key++)
        if (m->tuned[key])
            tune_key(m, key, 0.0f);
}

/* ---- MPE's configuration. */

/* Whose member or manager a channel is; it enters or leaves MPE where this changes. */
static int role(const midi *m, int channel) {
    int manager = manager_of(m, channel);
    return !in_zone(m, channel) ? -1 : manager == channel ? ENGINE_CHANNELS : manager;
}

void midi_set_zone(midi *m, int zone, int members) {
    if (zone < 0 || zone >= MIDI_ZONES || members < 0 || members > 15)
        return;
    int before[ENGINE_CHANNELS];
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++)
        before[channel] = role(m, channel);
    int *other = &m->members[zone == MIDI_LOWER ? MIDI_UPPER : MIDI_LOWER];
    m->members[zone] = members;
    if (members > 0)
        *other = clamp_int(*other, 0, clamp_int(14 - members, 0, 14)); /* two managers take the rest of 16 */

    int manager = zone == MIDI_LOWER ? 0 : 15;
    bool moved[ENGINE_CHANNELS];
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++) {
        midi_channel *c = &m->channels[channel];
        moved[channel] = role(m, channel) != before[channel];
        if (moved[channel])
            rest(c, BEND_RANGE_CENTS);
        if (heeds(m, channel, manager))
            c->bend_range_cents = channel == manager ? BEND_RANGE_CENTS : MEMBER_BEND_RANGE_CENTS;
    }
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++)
        if (moved[channel]) { /* pedals go up first, so that the notes end */
            emit_all(m, channel);
            emit(m, ENGINE_ALL_NOTES_OFF, channel, 0, 0.0f, 0.0f);
        }
    emit_bend(m, manager);
}

/* ---- Registered parameters. */

/* All members of a zone have the same range. */
static void set_bend_range(midi *m, int from, int cents) {
    bool member = manager_of(m, from) != from;
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++)
        if (channel == from || (member && role(m, channel) == role(m, from)))
            m->channels[channel].bend_range_cents = clamp_int(cents, 0, MAX_BEND_RANGE_CENTS);
    emit_bend(m, manager_of(m, from));
}

/* The parameter that data entry goes to, or -1. */
static int selected(const midi_channel *c) {
    return c->rpn_msb == 0 ? c->rpn_lsb : -1;
}

static void set_tuning(midi *m, int channel, int fine, int coarse) {
    m->channels[channel].fine_tuning = clamp_int(fine, 0, 16383);
    m->channels[channel].coarse_tuning = clamp_int(coarse, 0, 127);
    emit_bend(m, channel);
}

/* CC 6, which clears the fine part, as any controller of two bytes does. */
static void enter_data(midi *m, int channel, int value) {
    midi_channel *c = &m->channels[channel];
    switch (selected(c)) {
    case RPN_BEND_RANGE: set_bend_range(m, channel, 100 * value); break;
    case RPN_FINE_TUNING: set_tuning(m, channel, value << 7, c->coarse_tuning); break;
    case RPN_COARSE_TUNING: set_tuning(m, channel, c->fine_tuning, value); break;
    case RPN_MPE:
        if (channel == 0 || channel == 15)
            midi_set_zone(m, channel == 0 ? MIDI_LOWER : MIDI_UPPER, value);
        break;
    default: break;
    }
}

/* CC 38. */
static void enter_fine_data(midi *m, int channel, int value) {
    midi_channel *c = &m->channels[channel];
    switch (selected(c)) {
    case RPN_BEND_RANGE:
        set_bend_range(m, channel, c->bend_range_cents / 100 * 100 + clamp_int(value, 0, 99));
        break;
    case RPN_FINE_TUNING: set_tuning(m, channel, (c->fine_tuning & ~127) | value, c->coarse_tuning); break;
    default: break;
    }
}

/* CC 96 and 97; which byte steps is RP-018's. */
static void step_data(midi *m, int channel, int step) {
    midi_channel *c = &m->channels[channel];
    switch (selected(c)) {
    case RPN_BEND_RANGE: set_bend_range(m, channel, c->bend_range_cents + step); break;
    case RPN_FINE_TUNING: set_tuning(m, channel, c->fine_tuning + step, c->coarse_tuning); break;
    case RPN_COARSE_TUNING: set_tuning(m, channel, c->fine_tuning, c->coarse_tuning + step); break;
    default: break;
    }
}

/* True where the controller selects or enters a parameter. */
static bool parameter_change(midi *m, int channel, int cc, int value) {
    midi_channel *c = &m->channels[channel];
    switch (cc) {
    case CC_DATA: enter_data(m, channel, value); return true;
    case CC_DATA_FINE: enter_fine_data(m, channel, value); return true;
    case CC_INCREMENT: step_data(m, channel, 1); return true;
    case CC_DECREMENT: step_data(m, channel, -1); return true;
    case CC_RPN: c->rpn_msb = (uint8_t)value; return true;
    case CC_RPN_FINE: c->rpn_lsb = (uint8_t)value; return true;
    case CC_NRPN:
    case CC_NRPN_FINE: select_none(c); return true;
    default: return false;
    }
}

/* ---- Controllers. */

static void change_mode(midi *m, int channel, int cc) {
    switch (cc) {
    case CC_ALL_SOUND_OFF: emit_to_all(m, ENGINE_ALL_SOUND_OFF, channel); return;
    case CC_RESET: reset_controllers(m, channel); return;
    case CC_LOCAL: return;
    default: emit_to_all(m, ENGINE_ALL_NOTES_OFF, channel);
    }
    if (cc >= CC_MONO && !in_zone(m, channel)) /* a zone is one instrument, and plays as many notes as it has members */
        emit_target(m, channel, m->config.mode, cc == CC_MONO ? 1.0f : 0.0f);
}

static void turn_blend(midi *m, int cc, float share) {
    if (cc == m->config.blend_x_cc)
        atomic_store_explicit(&m->blend_x, share, memory_order_relaxed);
    if (cc == m->config.blend_y_cc)
        atomic_store_explicit(&m->blend_y, share, memory_order_relaxed);
    emit(m, ENGINE_BLEND, 0, 0, atomic_load_explicit(&m->blend_x, memory_order_relaxed),
         atomic_load_explicit(&m->blend_y, memory_order_relaxed));
}

static void change_control(midi *m, int channel, int cc, int value) {
    float share = (float)value / 127.0f;
    if (cc >= CC_ALL_SOUND_OFF) {
        change_mode(m, channel, cc);
        return;
    }
    if (parameter_change(m, channel, cc, value))
        return;
    if (cc == CC_TIMBRE && in_zone(m, channel)) {
        set_control(m, channel, MIDI_TIMBRE, share);
        return;
    }
    midi_target target = unpack(atomic_load_explicit(&m->targets[cc], memory_order_relaxed));
    if (target.parameter != MIDI_NO_PARAMETER) {
        emit_target(m, channel, target, share);
        return;
    }
    if (cc == m->config.blend_x_cc || cc == m->config.blend_y_cc) {
        turn_blend(m, cc, share);
        return;
    }
    for (int control = 0; control < MIDI_CONTROLS; control++)
        if (controls[control].cc == cc && cc != CC_TIMBRE)
            set_control(m, channel, (midi_control)control, share);
}

/* ---- System exclusive: `s` is without 0xf0 and 0xf7. Where the length is not the message's, nothing is done. */

/* Count, then so often: key, semitone, 14 bits of a semitone. 7f 7f 7f leaves a key as it is. */
static bool tune_notes(midi *m, const uint8_t *s, int bytes) {
    if (bytes < 1 || bytes != 1 + 4 * s[0])
        return false;
    for (const uint8_t *note = s + 1; note < s + bytes; note += 4) {
        int fraction = note[2] << 7 | note[3];
        if (note[1] != 127 || fraction != 16383)
            tune_key(m, note[0], (float)(note[1] - note[0]) + (float)fraction / 16384.0f);
    }
    return true;
}

/* Three bytes of channels, then an offset for each of C .. B: one byte in cents from -64 on, or two from -100 to 100.
 * One tuning serves all channels here, so an offset is taken where at least one channel is meant. */
static bool tune_octave(midi *m, const uint8_t *s, int bytes, int offset_bytes) {
    if (bytes != 3 + 12 * offset_bytes)
        return false;
    bool meant = (s[0] & 3) || s[1] || s[2];
    for (int key = 0; meant && key < ENGINE_KEYS; key++) {
        const uint8_t *offset = s + 3 + key % 12 * offset_bytes;
        float semitones = offset_bytes == 1 ? (float)(offset[0] - 64) / 100.0f
                                            : (float)((offset[0] << 7 | offset[1]) - 8192) / 8192.0f;
        tune_key(m, key, semitones);
    }
    return true;
}

static bool set_volume(midi *m, const uint8_t *s, int bytes) {
    if (bytes != 2)
        return false;
    emit_target(m, 0, m->config.volume, (float)(s[1] << 7 | s[0]) / 16383.0f);
    return true;
}

/* False where it is not one of those that are heeded. */
static bool exclusive(midi *m, const uint8_t *s, int bytes) {
    enum { NOT_REAL_TIME = 0x7e0000, REAL_TIME = 0x7f0000 };
    if (!s || bytes < 4 || (s[1] != 0x7f && s[1] != m->config.device_id))
        return false;
    for (int i = 0; i < bytes; i++)
        if (s[i] > 127)
            return false;
    switch (s[0] << 16 | s[2] << 8 | s[3]) {
    case REAL_TIME | 0x0802: return bytes > 5 && tune_notes(m, s + 5, bytes - 5);     /* program, notes */
    case REAL_TIME | 0x0807:
    case NOT_REAL_TIME | 0x0807: return bytes > 6 && tune_notes(m, s + 6, bytes - 6); /* bank, program, notes */
    case REAL_TIME | 0x0808:
    case NOT_REAL_TIME | 0x0808: return tune_octave(m, s + 4, bytes - 4, 1);
    case REAL_TIME | 0x0809:
    case NOT_REAL_TIME | 0x0809: return tune_octave(m, s + 4, bytes - 4, 2);
    case REAL_TIME | 0x0401: return set_volume(m, s + 4, bytes - 4);
    case NOT_REAL_TIME | 0x0901: /* General MIDI on */
    case NOT_REAL_TIME | 0x0903: /* General MIDI 2 on */
        if (bytes != 4)
            return false;
        reset_all(m);
        return true;
    default: return false;
    }
}

/* ---- What the host calls. */

void midi_defaults(midi_config *config) {
    midi_target none = {.parameter = MIDI_NO_PARAMETER};
    *config = (midi_config){.blend_x_cc = 16, .blend_y_cc = 17, .volume = none, .mode = none};
}

void midi_init(midi *m, const midi_config *config) {
    memset(m, 0, sizeof *m);
    m->config = *config;
    midi_target *targets[] = {&m->config.volume, &m->config.mode};
    for (int i = 0; i < 2; i++)
        if (!target_fits(*targets[i]))
            targets[i]->parameter = MIDI_NO_PARAMETER;
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++) {
        select_none(&m->channels[channel]);
        rest(&m->channels[channel], BEND_RANGE_CENTS);
    }
    atomic_init(&m->blend_x, 0.5f);
    atomic_init(&m->blend_y, 0.5f);
    for (int cc = 0; cc < 128; cc++)
        atomic_init(&m->targets[cc], pack((midi_target){.parameter = MIDI_NO_PARAMETER}));
}

void midi_map(midi *m, int controller, midi_target target) {
    if (controller >= 0 && controller < 128 && target_fits(target))
        atomic_store_explicit(&m->targets[controller], pack(target), memory_order_relaxed);
}

void midi_set_blend(midi *m, float x, float y) {
    if (!isfinite(x) || !isfinite(y))
        return;
    atomic_store_explicit(&m->blend_x, clamp(x, 0.0f, 1.0f), memory_order_relaxed);
    atomic_store_explicit(&m->blend_y, clamp(y, 0.0f, 1.0f), memory_order_relaxed);
}

void midi_receive(void *to, const midi_message *message) {
    midi *m = to;
    int channel = message->status & 0x0f, first = message->data[0] & 0x7f, second = message->data[1] & 0x7f;
    switch (message->status & 0xf0) {
    case 0x80: emit(m, ENGINE_NOTE_OFF, channel, first, 0.0f, 0.0f); break;
    case 0x90:
        emit(m, second ? ENGINE_NOTE_ON : ENGINE_NOTE_OFF, channel, first, (float)second / 127.0f, 0.0f);
        break;
    case 0xa0: emit(m, ENGINE_KEY_PRESSURE, channel, first, (float)second / 127.0f, 0.0f); break;
    case 0xb0:
        tell_host(m, message);
        change_control(m, channel, first, second);
        break;
    case 0xc0: tell_host(m, message); break;
    case 0xd0: set_control(m, channel, MIDI_PRESSURE, (float)first / 127.0f); break;
    case 0xe0:
        m->channels[channel].bend = (second << 7 | first) - 8192;
        emit_bend(m, channel);
        break;
    case 0xf0:
        if (message->status != 0xf0 || !exclusive(m, message->sysex, message->sysex_bytes))
            tell_host(m, message);
        break;
    default: break; /* no status */
    }
}
