/* MIDI in: from ALSA's sequencer, where keyboards are plugged in and out, and from a DIN cable's bytes; to the card's
 * engine, without passing through Python, and a copy to a ring that Python polls.
 *
 * A thread of its own, which takes the time of what arrives: card_send() delays all by the same. */
#ifndef TETRAD_KEYBOARD_H
#define TETRAD_KEYBOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "card.h"
#include "midi.h"

#define KEYBOARD_SOURCES 32    /* ports that are heard at a time; one of them is the DIN cable */
#define KEYBOARD_RING 65536    /* bytes of copies; a power of 2 */
#define KEYBOARD_MESSAGE_BYTES (MIDI_SYSEX_BYTES + 2)
#define KEYBOARD_EVENT_BYTES 12 /* of the longest event that is no SysEx: a registered parameter's four controllers */

typedef struct keyboard keyboard;

typedef struct {
    bool connect; /* to every keyboard that there is and that is plugged in; else the host's or the player's business */
    int din_fd;   /* of a UART, raw and at MIDI's speed; stays the caller's to close. -1: none */
    int priority; /* of SCHED_FIFO, over the card's: what it does is short, and its clock must not wait; 0: none */
    midi_config midi; /* but its callbacks, which are the keyboard's own */
} keyboard_options;

typedef enum {
    KEYBOARD_MESSAGE,  /* a whole MIDI message */
    KEYBOARD_HOST,     /* one that is the host's own too, see midi_config */
    KEYBOARD_PLUGGED,  /* a port's name */
    KEYBOARD_UNPLUGGED
} keyboard_kind;

typedef struct {
    uint64_t arrival_ns; /* of CLOCK_MONOTONIC */
    keyboard_kind kind;
    int bytes;
    uint8_t data[KEYBOARD_MESSAGE_BYTES]; /* a SysEx with its 0xf0 and 0xf7 */
} keyboard_message;

typedef struct {
    bool sequencer;      /* ALSA's is there; it is asked for each second */
    bool din;            /* the DIN cable's device is there */
    bool real_time;      /* as asked */
    int sources;         /* ports that are heard */
    uint64_t messages;
    uint64_t overruns;   /* of the sequencer's queue: what was lost could be a note's end, so all notes were ended */
    uint64_t ignored;    /* events of ports beyond KEYBOARD_SOURCES, or that are no MIDI message */
    uint64_t malformed;  /* bytes of no message, SysEx cut short or too long */
    uint64_t not_copied; /* messages that the ring had no room for */
} keyboard_meters;

/* NULL where memory or a thread is short (errno says which). The card must outlive it; nobody else may card_send(). */
keyboard *keyboard_start(card *c, const keyboard_options *options);

/* Ends what is held, and its thread. */
void keyboard_stop(keyboard *k);

/* The next copy; false where there is none. One thread. */
bool keyboard_poll(keyboard *k, keyboard_message *message);

/* As in midi.h, from any thread. */
void keyboard_map(keyboard *k, int controller, midi_target target);
void keyboard_set_blend(keyboard *k, float x, float y);
void keyboard_set_zone(keyboard *k, int zone, int members);

keyboard_meters keyboard_read_meters(const keyboard *k);

/* The bytes of a sequencer's event but a SysEx, out of range numbers brought into it; 0 where it is no MIDI message. */
struct snd_seq_event;
int keyboard_event_bytes(const struct snd_seq_event *event, uint8_t bytes[KEYBOARD_EVENT_BYTES]);

#endif
