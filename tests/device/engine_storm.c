/* Random events, most of them malformed, in random blocks, on banks of the smallest size: for the sanitizers.
 * Ends with 0 where every sample is finite and within 1 and no more voices sound than may. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

static uint32_t state = 1;

static uint32_t chance(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(state >> 8) * below) >> 24);
}

static float number(void) {
    static const float odd[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1e30f, -1e30f, 1e-40f, NAN, INFINITY, -INFINITY, 60.0f};
    return chance(2) ? (float)chance(1000) / 1000.0f : odd[chance(sizeof odd / sizeof *odd)];
}

/* Arrays exactly as large as the table: a read beyond is seen. Levels are of any kind, as on a failing disk. */
static engine_table random_table(int pitch, int layers, int grid, int columns) {
    int cells = layers * grid * grid, samples = columns * ENGINE_COLUMN_SAMPLES;
    int16_t *sound = malloc((size_t)(cells * samples) * sizeof *sound);
    float *levels = malloc((size_t)(cells * columns) * sizeof *levels);
    float *motion = malloc((size_t)(layers * ENGINE_CORNERS * 4) * sizeof *motion);
    if (!sound || !levels || !motion)
        exit(3);
    for (int i = 0; i < cells * samples; i++)
        sound[i] = (int16_t)((int)chance(65536) - 32768);
    for (int i = 0; i < cells * columns; i++)
        levels[i] = number();
    for (int i = 0; i < layers * ENGINE_CORNERS * 4; i++)
        motion[i] = (float)chance(3) * (chance(5) ? (float)chance(1000) / 100.0f : 1e30f);
    int end = (1 + (int)chance((uint32_t)columns)) * ENGINE_COLUMN_SAMPLES;
    int loop_samples = chance(4) ? 1 + (int)chance(chance(2) ? 3 : (uint32_t)end) : 0;
    return (engine_table){.pitch = pitch, .samples = samples, .loop_start = end - loop_samples,
                          .loop_samples = loop_samples, .cells = sound, .levels = levels, .motion = motion};
}

static void free_table(engine_table *table) {
    free((void *)table->cells);
    free((void *)table->levels);
    free((void *)table->motion);
}

static bool set_bank(engine *e, engine_table tables[2], int layers, int grid) {
    static const int velocities[] = {0, 1, 64, 127};
    return engine_set_bank(e, velocities, layers, tables, 2, grid);
}

static int run(int rate_hz, int polyphony, int layers, int grid, int columns) {
    static float out[2 * 512];
    engine *e = engine_create(rate_hz, polyphony);
    engine_table tables[] = {random_table((int)chance(64), layers, grid, columns),
                             random_table(64 + (int)chance(64), layers, grid, 1 + (int)chance(4))};
    int failed = !e || !set_bank(e, tables, layers, grid);
    for (int block = 0; block < 200 && !failed; block++) {
        int frames = (int)chance(512);
        for (uint32_t n = chance(20); n > 0; n--) {
            engine_event event = {.frame = chance(50) ? chance(600) : UINT32_MAX - chance(3),
                                  .kind = (uint8_t)(chance(3) ? chance(2) : chance(chance(2) ? 9 : 256)),
                                  .channel = (uint8_t)(chance(10) ? chance(16) : chance(256)),
                                  .key = (uint8_t)(chance(10) ? chance(128) : chance(256)), .a = number(), .b = number()};
            engine_send(e, &event);
        }
        if (chance(40) == 0)
            failed |= !set_bank(e, tables, layers, grid);
        engine_render(e, out, frames);
        failed |= engine_read_meters(e).voices > polyphony;
        for (int i = 0; i < 2 * frames; i++)
            failed |= !(fabsf(out[i]) <= 1.0f);
    }
    engine_destroy(e);
    free_table(&tables[0]);
    free_table(&tables[1]);
    return failed;
}

int main(void) {
    engine *e = engine_create(48000, 1);
    float out[2];
    engine_event strange[] = {{0, ENGINE_NOTE_ON, 0, 60, NAN, 0.0f}, {0, ENGINE_BLEND, 0, 0, 0.0f, INFINITY},
                              {0, ENGINE_NOTE_ON, 16, 60, 1.0f, 0.0f}, {0, ENGINE_NOTE_OFF, 0, 128, 0.0f, 0.0f}};
    for (int i = 0; i < 4; i++)
        engine_send(e, &strange[i]);
    engine_render(e, out, 1);
    if (engine_read_meters(e).ignored != 4)
        return 2;
    engine_destroy(e);

    static const int rates_hz[] = {16000, 44100, 48000, 192000}, columns[] = {1, 2, 3, 4, 6, 9};
    for (int i = 0; i < 16; i++)
        if (run(rates_hz[i % 4], i % 5 ? 1 + (int)chance(40) : 1, 1 + i % ENGINE_MAX_LAYERS, 2 + (int)chance(4),
                columns[i % 6])) {
            printf("run %d went wrong\n", i);
            return 1;
        }
    return 0;
}
