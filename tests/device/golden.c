/* Short scenes played by the engine alone, on tables made by whole numbers only, so that they are the same on every
 * machine: `golden SCENE` writes its frames to stdout, float32, left and right in turn, for test_golden.py.
 * GOLDEN_KERNELS in the environment names the set of kernels; ends with 77 where it does not run here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "kernels.h"

#define NO_SUCH_KERNELS 77
#define BLOCK_FRAMES 240
#define SECONDS 0.25

#define GRID 3
#define LAYERS 2
#define PITCHES 3
#define LOOP_START 1024 /* samples */
#define LOOP_SAMPLES 1024
#define RELEASE_SAMPLES 1536
#define SAMPLES (LOOP_START + LOOP_SAMPLES + RELEASE_SAMPLES)
#define COLUMNS (SAMPLES / ENGINE_COLUMN_SAMPLES)
#define ATTACK_SAMPLES 128
#define HARMONICS 5

typedef struct {
    int16_t cells[LAYERS][GRID][GRID][SAMPLES];
    float levels[LAYERS][GRID][GRID][COLUMNS];
    float motion[LAYERS][ENGINE_CORNERS][4];
} table_memory;

/* Two parabolas in place of a sine: phase in 65536ths of a cycle, -32768..32768. */
static int wave(int phase) {
    int half = phase & 32767, height = (half * (32768 - half)) >> 13;
    return phase & 32768 ? -height : height;
}

/* Of a harmonic, 0..255: each cell has its own, the layer above is brighter. */
static int strength(int layer, int row, int column, int harmonic) {
    int size = 255 / harmonic;
    if (harmonic > 1)
        size = size * (1 + layer) / 2 * (1 + (harmonic * (1 + row) + 2 * column) % GRID) / GRID;
    return size;
}

/* The same in every cell; sharp, so that all of the spectrum is there. */
static int noise(int sample) {
    uint32_t state = (uint32_t)sample * 2654435761u;
    state = (state ^ state >> 15) * 2246822519u;
    return (int)((state ^ state >> 13) >> 16) - 32768;
}

/* As loud as it is there, 0..256: rises at first, falls in the release. */
static int loudness(int sample) {
    int in_release = sample - LOOP_START - LOOP_SAMPLES;
    if (in_release >= 0)
        return 256 * (RELEASE_SAMPLES - in_release) / RELEASE_SAMPLES;
    return sample < ATTACK_SAMPLES ? 256 * sample / ATTACK_SAMPLES : 256;
}

static int16_t sample_of(int layer, int row, int column, int cycles_a_loop, int sample) {
    int at = sample < LOOP_START + LOOP_SAMPLES ? sample : sample - LOOP_START - LOOP_SAMPLES;
    int sum = (24 * row + 8 * column) * noise(sample) / 256;
    for (int harmonic = 1; harmonic <= HARMONICS; harmonic++) {
        int phase = at * cycles_a_loop * harmonic * (65536 / LOOP_SAMPLES);
        sum += strength(layer, row, column, harmonic) * wave(phase) / 512;
    }
    return (int16_t)(sum * loudness(sample) / 512);
}

/* Division and square root are exactly rounded everywhere. */
static float level_of(const int16_t *column) {
    int64_t sum = 0;
    for (int n = 0; n < ENGINE_COLUMN_SAMPLES; n++)
        sum += column[n] * column[n];
    return sqrtf((float)(sum / ENGINE_COLUMN_SAMPLES)) / 32768.0f;
}

static void fill_cell(table_memory *memory, int layer, int row, int column, int cycles_a_loop) {
    int16_t *cell = memory->cells[layer][row][column];
    for (int n = 0; n < SAMPLES; n++)
        cell[n] = sample_of(layer, row, column, cycles_a_loop, n);
    for (int i = 0; i < COLUMNS; i++)
        memory->levels[layer][row][column][i] = level_of(cell + i * ENGINE_COLUMN_SAMPLES);
}

static engine_table make_table(table_memory *memory, int pitch, int cycles_a_loop) {
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int cell = 0; cell < GRID * GRID; cell++)
            fill_cell(memory, layer, cell / GRID, cell % GRID, cycles_a_loop);
        for (int corner = 0; corner < ENGINE_CORNERS; corner++) {
            const float motion[4] = {5.0f + (float)corner, 12.0f * (float)corner, 0.0625f, 4.0f};
            memcpy(memory->motion[layer][corner], motion, sizeof motion);
        }
    }
    return (engine_table){.pitch = pitch, .samples = SAMPLES, .loop_start = LOOP_START, .loop_samples = LOOP_SAMPLES,
                          .cells = memory->cells[0][0][0], .levels = memory->levels[0][0][0],
                          .motion = memory->motion[0][0]};
}

static engine_bank *make_bank(void) {
    static table_memory memory[PITCHES];
    static const int pitches[] = {48, 60, 72}, cycles_a_loop[] = {8, 17, 33}, velocities[] = {40, 110};
    engine_table tables[PITCHES];
    for (int i = 0; i < PITCHES; i++)
        tables[i] = make_table(&memory[i], pitches[i], cycles_a_loop[i]);
    return engine_bank_create(velocities, LAYERS, tables, PITCHES, GRID);
}

#define ON(frame, key, velocity) {frame, ENGINE_NOTE_ON, 0, key, velocity, 0.0f}
#define OFF(frame, key) {frame, ENGINE_NOTE_OFF, 0, key, 0.0f, 0.0f}
#define BLEND(frame, x, y) {frame, ENGINE_BLEND, 0, 0, x, y}
#define SET(frame, name, value) {frame, ENGINE_PARAMETER, 0, ENGINE_##name, value, 0.0f}
#define TURN(frame, kind, value) {frame, ENGINE_##kind, 0, 0, value, 0.0f}

/* Layers alone and mixed, far transpositions, knobs in motion, releases. */
static const engine_event chord[] = {
    SET(0, ATTACK_MS, 3), SET(0, DECAY_MS, 80), SET(0, SUSTAIN_LEVEL, 0.6f), SET(0, RELEASE_MS, 60),
    BLEND(0, 0.1f, 0.2f), ON(0, 45, 0.9f), ON(0, 60, 0.6f), ON(97, 64, 0.3f), ON(200, 67, 1), ON(700, 96, 0.8f),
    ON(1500, 101, 0.5f), BLEND(2000, 0.9f, 0.3f), BLEND(2600, 0.9f, 0.9f), BLEND(4000, 0.2f, 0.75f),
    SET(4500, TRANSPOSE_SEMITONES, 2), ON(4501, 110, 0.7f), OFF(6000, 60), OFF(6000, 45), BLEND(6500, 1, 1),
    OFF(7000, 101), SET(7500, RELEASE_MS, 20), OFF(8000, 64), OFF(8000, 67), OFF(8500, 96), ON(9000, 84, 0.9f),
    SET(9500, VOLUME, 0.5f), OFF(10500, 110),
};

/* One voice that is bent, glides and follows, through a filter that is swept by all that can sweep it. */
static const engine_event legato[] = {
    SET(0, MODE, ENGINE_LEGATO), SET(0, GLIDE_MS, 40), SET(0, FILTER_MODE, ENGINE_FILTER_LOW), SET(0, CUTOFF_HZ, 700),
    SET(0, RESONANCE, 0.6f), SET(0, FILTER_KEY, 0.5f), SET(0, FILTER_ENVELOPE_SEMITONES, 30),
    SET(0, FILTER_DECAY_MS, 90), SET(0, FILTER_SUSTAIN_LEVEL, 0.3f), SET(0, LFO_RATE_HZ, 13),
    SET(0, LFO_FILTER_SEMITONES, 14), SET(0, LFO_PITCH_CENTS, 40), SET(0, LFO_BLEND_X, 0.5f), BLEND(0, 0.4f, 0.6f),
    ON(10, 50, 0.8f), ON(1800, 62, 0.5f), ON(3000, 43, 1), TURN(3500, BEND, 3), OFF(4400, 43),
    SET(5000, FILTER_MODE, ENGINE_FILTER_BAND), SET(5500, LFO_SHAPE, 1), TURN(6000, BEND, -1), OFF(6300, 50),
    SET(7000, CUTOFF_HZ, 400), SET(7600, FILTER_MODE, ENGINE_FILTER_HIGH), SET(8000, RESONANCE, 0.2f),
    TURN(8200, TIMBRE, 0.7f), SET(8800, GLIDE_MS, 0), ON(9000, 74, 0.9f), OFF(10000, 62), OFF(10000, 74),
};

/* More voices than there are, three to a note, some of them held by pedals, each with its own filter. */
static const engine_event crowd[] = {
    SET(0, UNISON, 3), SET(0, DETUNE_CENTS, 25), SET(0, SPREAD, 0.8f), SET(0, ATTACK_MS, 4), SET(0, RELEASE_MS, 80),
    SET(0, LFO_LEVEL_DB, 6), SET(0, LFO_SHAPE, 3), SET(0, LFO_RATE_HZ, 20), SET(0, FILTER_MODE, ENGINE_FILTER_LOW),
    SET(0, CUTOFF_HZ, 500), SET(0, FILTER_KEY, 1), SET(0, FILTER_VELOCITY_SEMITONES, 12),
    SET(0, FILTER_ENVELOPE_SEMITONES, 24), BLEND(0, 0.7f, 0.2f), TURN(0, SUSTAIN, 1), ON(5, 48, 0.9f),
    ON(900, 55, 0.7f), OFF(1500, 48), ON(2000, 63, 0.8f), ON(3000, 70, 0.6f),
    TURN(3300, BEND, 1.5f), OFF(3600, 55), ON(4000, 40, 1), TURN(5000, BEND, -2), ON(5500, 67, 0.5f),
    TURN(5600, SOSTENUTO, 1), OFF(6000, 63), OFF(6000, 67), TURN(6500, SUSTAIN, 0), TURN(7000, SOFT, 1),
    ON(7200, 58, 0.9f), ON(7900, 75, 0.7f), TURN(8500, SOSTENUTO, 0), TURN(9000, EXPRESSION, 0.6f), OFF(9500, 58),
    ON(10000, 52, 0.8f), TURN(11000, ALL_SOUND_OFF, 0),
};

/* Struck notes through chorus, delay and reverb, which are turned meanwhile. */
static const engine_event effects[] = {
    SET(0, VOLUME, 2), SET(0, ATTACK_MS, 1), SET(0, DECAY_MS, 40), SET(0, SUSTAIN_LEVEL, 0.2f),
    SET(0, RELEASE_MS, 30), SET(0, CHORUS_MIX, 0.5f), SET(0, CHORUS_RATE_HZ, 2), SET(0, DELAY_MIX, 0.4f),
    SET(0, DELAY_MS, 45), SET(0, DELAY_FEEDBACK, 0.6f), SET(0, DELAY_TONE_HZ, 4000), SET(0, DELAY_PING_PONG, 1),
    SET(0, REVERB_MIX, 0.3f), SET(0, REVERB_DECAY_S, 1), SET(0, REVERB_PREDELAY_MS, 5), BLEND(0, 0.3f, 0),
    ON(3, 60, 1), OFF(1500, 60), ON(2000, 67, 0.8f), SET(3000, CHORUS_DEPTH_MS, 1), OFF(3500, 67),
    SET(4500, DELAY_MS, 30), ON(5000, 76, 0.9f), SET(6000, REVERB_DAMPING_HZ, 3000), OFF(6500, 76),
    SET(7500, REVERB_MIX, 0.8f), ON(8000, 53, 0.9f), SET(9000, DELAY_MIX, 0), SET(10000, CHORUS_MIX, 0),
    OFF(10500, 53),
};

#define SCENE(name, rate_hz, polyphony) {#name, rate_hz, polyphony, name, sizeof name / sizeof *name}

static const struct {
    const char *name;
    int rate_hz, polyphony;
    const engine_event *events;
    size_t count;
} scenes[] = {SCENE(chord, 48000, 16), SCENE(legato, 44100, 8), SCENE(crowd, 48000, 12), SCENE(effects, 48000, 16)};

static int play(size_t scene) {
    static float out[2 * BLOCK_FRAMES];
    engine *e = engine_create(scenes[scene].rate_hz, scenes[scene].polyphony);
    engine_bank *bank = make_bank();
    if (!e || !bank)
        return 1;
    engine_load(e, bank);
    for (size_t i = 0; i < scenes[scene].count; i++)
        if (!engine_send(e, &scenes[scene].events[i]))
            return 1;
    int frames = (int)(SECONDS * scenes[scene].rate_hz);
    for (int done = 0, now; done < frames; done += now) {
        now = frames - done < BLOCK_FRAMES ? frames - done : BLOCK_FRAMES;
        engine_render(e, out, now);
        if (fwrite(out, 2 * sizeof *out, (size_t)now, stdout) != (size_t)now)
            return 1;
    }
    bool failed = engine_read_meters(e).ignored > 0;
    engine_destroy(e);
    engine_bank_destroy(bank);
    return failed;
}

int main(int count, char **arguments) {
    const char *wanted = getenv("GOLDEN_KERNELS");
    if (wanted)
        kernels = kernels_named(wanted);
    if (!kernels)
        return NO_SUCH_KERNELS;
    for (size_t i = 0; count == 2 && i < sizeof scenes / sizeof *scenes; i++)
        if (!strcmp(scenes[i].name, arguments[1]))
            return play(i);
    fprintf(stderr, "golden SCENE\n");
    return 2;
}
