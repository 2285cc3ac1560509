/* A MIDI cable's bytes -> messages (MIDI 1.0 Detailed Specification 4.2), from DIN or raw USB. */
#ifndef TETRAD_MIDI_PARSER_H
#define TETRAD_MIDI_PARSER_H

#include <stdbool.h>
#include <stdint.h>

#define MIDI_SYSEX_BYTES 520 /* between 0xf0 and 0xf7. The longest that means something here retunes 127 keys: 515 */

typedef struct {
    uint8_t status;       /* 0x80..0xff; 0xf0 is a SysEx */
    uint8_t data[2];      /* 0 where the message has fewer */
    int sysex_bytes;
    const uint8_t *sysex; /* what is between 0xf0 and 0xf7, until the next byte is given; NULL for other messages */
} midi_message;

typedef struct {
    uint32_t orphans;  /* data bytes that belonged to no message */
    uint32_t cut;      /* SysEx that another message cut short */
    uint32_t too_long; /* SysEx that did not fit */

    uint8_t status; /* of the message under way, or the running one; 0: none */
    uint8_t have;   /* of its data */
    uint8_t data[2];
    int sysex_bytes;
    uint8_t sysex[MIDI_SYSEX_BYTES];
} midi_parser;

void midi_parser_init(midi_parser *p);

/* True where the byte completes a message. A real-time byte is one by itself, and what it interrupts goes on. */
bool midi_parser_byte(midi_parser *p, uint8_t byte, midi_message *message);

/* A run of bytes, however a cable's are cut into runs. */
void midi_parser_bytes(midi_parser *p, const uint8_t *bytes, int count,
                       void (*deliver)(void *to, const midi_message *message), void *to);

#endif
