#include "midi_parser.h"

#include <stddef.h>

enum {
    NONE = 0,
    SYSEX = 0xf0,
    TUNE_REQUEST = 0xf6,
    END_OF_SYSEX = 0xf7,
    FIRST_REAL_TIME = 0xf8
};

static const int8_t system_data_bytes[16] = {
    [0x0] = 0,  /* SysEx, which has its own buffer */
    [0x1] = 1,  /* MIDI time code quarter frame */
    [0x2] = 2,  /* song position */
    [0x3] = 1,  /* song select */
    [0x4] = -1, /* undefined */
    [0x5] = -1, /* undefined */
    [0x6] = 0,  /* tune request */
    [0x7] = -1, /* end of SysEx: no message of its own */
    [0x8] = 0,  /* clock */
    [0x9] = -1, /* undefined */
    [0xa] = 0,  /* start */
    [0xb] = 0,  /* continue */
    [0xc] = 0,  /* stop */
    [0xd] = -1, /* undefined */
    [0xe] = 0,  /* active sensing */
    [0xf] = 0,  /* reset */
};

static int data_bytes(uint8_t status) {
    if (status >= SYSEX)
        return system_data_bytes[status & 0x0f];
    return (status & 0xf0) == 0xc0 || (status & 0xf0) == 0xd0 ? 1 : 2; /* program change, channel pressure */
}

void midi_parser_init(midi_parser *p) {
    *p = (midi_parser){.status = NONE};
}

static bool end_sysex(midi_parser *p, midi_message *message) {
    p->status = NONE;
    if (p->sysex_bytes > MIDI_SYSEX_BYTES)
        return false;
    *message = (midi_message){.status = SYSEX, .sysex = p->sysex, .sysex_bytes = p->sysex_bytes};
    return true;
}

static bool take_status(midi_parser *p, uint8_t status, midi_message *message) {
    if (p->status == SYSEX) {
        if (status == END_OF_SYSEX)
            return end_sysex(p, message);
        p->cut += p->sysex_bytes <= MIDI_SYSEX_BYTES; /* the others are counted already */
    }
    p->have = 0;
    p->sysex_bytes = 0;
    p->status = status == TUNE_REQUEST || data_bytes(status) < 0 ? NONE : status;
    *message = (midi_message){.status = status};
    return status == TUNE_REQUEST;
}

static bool take_data(midi_parser *p, uint8_t byte, midi_message *message) {
    if (p->status == NONE) {
        p->orphans++;
        return false;
    }
    if (p->status == SYSEX) {
        if (p->sysex_bytes < MIDI_SYSEX_BYTES)
            p->sysex[p->sysex_bytes++] = byte;
        else if (p->sysex_bytes == MIDI_SYSEX_BYTES) {
            p->sysex_bytes++;
            p->too_long++;
        }
        return false;
    }
    p->data[p->have++] = byte;
    int needed = data_bytes(p->status);
    if (p->have < needed)
        return false;
    *message = (midi_message){.status = p->status, .data = {p->data[0], needed == 2 ? p->data[1] : 0}};
    p->have = 0;
    if (p->status > SYSEX)
        p->status = NONE; /* only messages to a channel have a running status */
    return true;
}

bool midi_parser_byte(midi_parser *p, uint8_t byte, midi_message *message) {
    if (byte >= FIRST_REAL_TIME) {
        *message = (midi_message){.status = byte};
        return data_bytes(byte) == 0;
    }
    return byte & 0x80 ? take_status(p, byte, message) : take_data(p, byte, message);
}

void midi_parser_bytes(midi_parser *p, const uint8_t *bytes, int count,
                       void (*deliver)(void *to, const midi_message *message), void *to) {
    midi_message message;
    for (int i = 0; i < count; i++)
        if (midi_parser_byte(p, bytes[i], &message))
            deliver(to, &message);
}
