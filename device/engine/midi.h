/* MIDI messages -> the engine's events: notes, controllers, registered parameters, MPE, tuning.
 *
 * Sources: MIDI 1.0 Detailed Specification 4.2; RP-015 (reset all controllers); RP-018 (data increment); RP-053 (MPE);
 * CA-020 and CA-021 (MIDI Tuning Standard's extensions).
 *
 * One thread receives; midi_map() and midi_set_blend() may be called by another one meanwhile. No memory is taken. */
#ifndef TETRAD_MIDI_H
#define TETRAD_MIDI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine.h"
#include "midi_parser.h"

#define MIDI_NO_PARAMETER 0xff
#define MIDI_MAX_BEND_SEMITONES 96.0f /* the widest range that MPE allows; the sum of all that bends a channel, too */
#define MIDI_MAX_VALUE 1e9f           /* of a target's low and high, either way */

/* What a controller sets: an ENGINE_PARAMETER event, low at 0 and high at 127 (which may be the lower number). */
typedef struct {
    uint8_t parameter; /* of engine.h, or MIDI_NO_PARAMETER */
    bool exponential;  /* equal ratios for equal steps, as times and frequencies want; low and high above 0 */
    float low, high;   /* kept to 18 bits of mantissa by midi_map() */
} midi_target;

typedef struct {
    void (*emit)(void *to, const engine_event *event); /* frame is 0: the callback stamps it */
    /* The host's own: every controller change as it came (for learn, bank select), program change, system common and
     * real-time messages, SysEx that is not understood here. May be NULL. */
    void (*host)(void *to, const midi_message *message);
    void *to;
    uint8_t blend_x_cc, blend_y_cc;
    uint8_t device_id;  /* of universal SysEx that is heeded, beside 0x7f (all devices) */
    midi_target volume; /* of the universal master volume */
    midi_target mode;   /* of CC 126 (mono: high) and 127 (poly: low) */
} midi_config;

enum { MIDI_LOWER, MIDI_UPPER, MIDI_ZONES }; /* of MPE; their managers are channels 1 and 16 */

typedef enum {
    MIDI_SUSTAIN, MIDI_SOSTENUTO, MIDI_SOFT, MIDI_MOD_WHEEL, MIDI_PRESSURE, MIDI_EXPRESSION, MIDI_TIMBRE, MIDI_CONTROLS
} midi_control;

typedef struct {
    uint8_t rpn_msb, rpn_lsb; /* 127, 127: none, or one that is not registered */
    int bend;                 /* -8192..8191 */
    int bend_range_cents;
    int fine_tuning;          /* 0..16383; 8192 is none, 8192 steps a semitone */
    int coarse_tuning;        /* 0..127 semitones; 64 is none */
    float controls[MIDI_CONTROLS];
} midi_channel;

typedef struct {
    midi_config config;
    midi_channel channels[ENGINE_CHANNELS];
    int members[MIDI_ZONES]; /* 0: no such zone */
    bool tuned[ENGINE_KEYS]; /* by a message */
    _Atomic float blend_x, blend_y;
    _Atomic uint64_t targets[128]; /* by controller, packed so that one read sees all of a target */
} midi;

/* No callbacks, nothing mapped, the blend on CC 16 and 17, device 0. */
void midi_defaults(midi_config *config);

/* Emits nothing: an engine starts with the same values. */
void midi_init(midi *m, const midi_config *config);

/* Any thread. A target takes a controller from what else it would do; those that select and enter parameters (6, 38,
 * 96..101), the modes (120..127) and CC 74 in an MPE zone keep to it. Ignored where a number is not one. */
void midi_map(midi *m, int controller, midi_target target);

/* Any thread: where other knobs have moved the blend, so that one coordinate by CC leaves the other. */
void midi_set_blend(midi *m, float x, float y);

/* MPE without a configuration message; members 0..15, 0 is off. The other zone gives way. Receiving thread. */
void midi_set_zone(midi *m, int zone, int members);

/* A message, from midi_parser or elsewhere. `to` is a midi: this is a callback as midi_parser_bytes() wants it. */
void midi_receive(void *to, const midi_message *message);

#endif
