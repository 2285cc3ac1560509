/* Random bytes of a MIDI cable, most of them malformed, through parser and translation: for the sanitizers.
 * `midi_storm BYTES SEED` ends with 0 where every event is in range; prints a digest of the events. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "midi.h"

static uint32_t state;
static uint64_t digest = 14695981039346656037u; /* FNV-1a */
static unsigned long counts[ENGINE_EVENT_KINDS], told;
static int failed;

static uint32_t chance(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(state >> 8) * below) >> 24);
}

static void sum(const void *data, size_t bytes) {
    for (const uint8_t *at = data; bytes > 0; at++, bytes--)
        digest = (digest ^ *at) * 1099511628211u;
}

static const struct {
    float low, high;
} ranges[ENGINE_EVENT_KINDS] = {
    [ENGINE_NOTE_ON] = {1.0f / 127.0f, 1.0f}, [ENGINE_BLEND] = {0.0f, 1.0f},        [ENGINE_SUSTAIN] = {0.0f, 1.0f},
    [ENGINE_BEND] = {-96.0f, 96.0f},          [ENGINE_PARAMETER] = {-3.0f, 20e3f},  [ENGINE_MOD_WHEEL] = {0.0f, 1.0f},
    [ENGINE_PRESSURE] = {0.0f, 1.0f},         [ENGINE_KEY_PRESSURE] = {0.0f, 1.0f}, [ENGINE_TIMBRE] = {0.0f, 1.0f},
    [ENGINE_EXPRESSION] = {0.0f, 1.0f},       [ENGINE_SOSTENUTO] = {0.0f, 1.0f},    [ENGINE_SOFT] = {0.0f, 1.0f},
    [ENGINE_TUNE_KEY] = {-128.0f, 128.0f},
};

static void emit(void *to, const engine_event *event) {
    (void)to;
    bool fits = event->kind < ENGINE_EVENT_KINDS && event->channel < ENGINE_CHANNELS && event->key < ENGINE_KEYS
                && event->frame == 0 && event->a >= ranges[event->kind].low && event->a <= ranges[event->kind].high
                && event->b >= 0.0f && event->b <= (event->kind == ENGINE_BLEND ? 1.0f : 0.0f)
                && (event->kind != ENGINE_PARAMETER || event->key < ENGINE_PARAMETERS);
    if (!fits && !failed++)
        printf("kind %d channel %d key %d a %g b %g\n", event->kind, event->channel, event->key, event->a, event->b);
    if (fits)
        counts[event->kind]++;
    sum(&event->kind, 3);
    sum(&event->a, sizeof event->a);
    sum(&event->b, sizeof event->b);
}

static void host(void *to, const midi_message *message) {
    (void)to;
    told++;
    failed += message->status < 0x80 || message->sysex_bytes < 0 || message->sysex_bytes > MIDI_SYSEX_BYTES
              || (message->sysex_bytes > 0 && message->status != 0xf0);
    if (message->sysex)
        sum(message->sysex, (size_t)message->sysex_bytes);
}

/* Bytes that reach far: parameters selected and entered, zones, tunings; often with one byte wrong. */
static int phrase(uint8_t *out) {
    static const uint8_t parts[][16] = {
        {6, 0xb0, 101, 0, 100, 6, 6},  {6, 0xbf, 101, 0, 100, 6, 6}, {6, 0xb3, 101, 0, 100, 0, 6},
        {6, 0xb0, 101, 0, 100, 1, 6},  {6, 0xb4, 101, 0, 100, 2, 96}, {1, 0xe0},
        {7, 0xf0, 0x7f, 0x7f, 8, 2, 0, 1}, {8, 0xf0, 0x7e, 0x7f, 8, 7, 0, 0, 2}, {5, 0xf0, 0x7f, 0x7f, 4, 1},
        {8, 0xf0, 0x7f, 0x7f, 8, 8, 3, 127, 127}, {8, 0xf0, 0x7e, 0x7f, 8, 9, 3, 127, 127},
        {6, 0xf0, 0x7e, 0x7f, 9, 1, 0xf7}, {2, 0xb0, 121}, {2, 0xb0, 74}, {2, 0xbf, 64}, {2, 0xb0, 126}, {2, 0xb0, 16},
    };
    const uint8_t *part = parts[chance(sizeof parts / sizeof *parts)];
    int bytes = 0;
    for (; bytes < part[0]; bytes++)
        out[bytes] = chance(60) ? part[bytes + 1] : (uint8_t)chance(256);
    for (uint32_t data = chance(32); data > 0; data--)
        out[bytes++] = (uint8_t)chance(128);
    if (chance(2))
        out[bytes++] = 0xf7;
    return bytes;
}

/* Bytes of any kind; or data without end, as SysEx has that does not fit. */
static int garbage(uint8_t *out) {
    uint32_t below = chance(8) ? 256 : 128, bytes = chance(below == 128 ? 1000 : 64);
    for (uint32_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)chance(below);
    return (int)bytes;
}

static float number(void) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 1e-40f, 2e9f};
    return odd[chance(sizeof odd / sizeof *odd)];
}

/* What another thread would do meanwhile. */
static void meddle(midi *m) {
    midi_target target = {.parameter = (uint8_t)(chance(8) ? chance(ENGINE_PARAMETERS) : MIDI_NO_PARAMETER),
                          .exponential = chance(2), .low = chance(2) ? -3.0f : 20.0f, .high = 20e3f};
    if (chance(4) == 0)
        target.low = number();
    if (chance(4) == 0)
        target.high = number();
    midi_map(m, (int)chance(200) - 30, target);
    float x = chance(2) ? number() : 0.5f;
    midi_set_blend(m, x, chance(2) ? number() : 0.5f);
    int zone = (int)chance(5) - 1;
    midi_set_zone(m, zone, (int)chance(20) - 2);
}

int main(int count, char **arguments) {
    long bytes = count > 1 ? atol(arguments[1]) : 0;
    state = count > 2 ? (uint32_t)atol(arguments[2]) : 1;
    static midi translation; /* large; a midi_parser on the stack is guarded on both sides */
    midi_parser parser;
    midi_config config;
    midi_defaults(&config);
    config.emit = emit;
    config.host = host;
    config.volume = (midi_target){.parameter = ENGINE_VOLUME, .low = 0.0f, .high = 2.0f};
    config.mode = (midi_target){.parameter = ENGINE_MODE, .low = ENGINE_POLY, .high = ENGINE_MONO};
    midi_init(&translation, &config);
    midi_parser_init(&parser);
    while (bytes > 0) {
        uint8_t run[1000];
        int length = chance(3) ? phrase(run) : garbage(run);
        midi_parser_bytes(&parser, run, length, midi_receive, &translation);
        bytes -= length;
        if (chance(50) == 0)
            meddle(&translation);
    }
    for (int kind = 0; kind < ENGINE_EVENT_KINDS; kind++)
        if (counts[kind] == 0 && kind != ENGINE_GESTURE) /* which no message is for */
            failed += printf("no event of kind %d\n", kind) > 0;
    failed += !told || !parser.orphans || !parser.cut || !parser.too_long;
    printf("%016llx %lu %u %u %u\n", (unsigned long long)digest, told, parser.orphans, parser.cut, parser.too_long);
    return failed > 0;
}
