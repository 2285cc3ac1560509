/* Random events, most of them malformed, in random blocks, on banks of the smallest size: for the sanitizers.
 * Ends with 0 where every sample is finite and within 1 and no more voices sound than may. */
#include <math.h>
#include <stddef.h>
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

static engine_bank *banks[3]; /* that were handed over and did not come back; the newest first */

static void destroy(engine_bank *bank) {
    for (int i = 0; i < 3; i++)
        if (bank && banks[i] == bank) {
            engine_bank_destroy(bank);
            banks[i] = NULL;
            return;
        }
}

static bool set_bank(engine *e, engine_table tables[2], int layers, int grid) {
    static const int velocities[] = {0, 1, 64, 127};
    engine_bank *bank = engine_bank_create(velocities, layers, tables, 2, grid);
    if (!bank)
        return false;
    destroy(engine_unload(e));
    destroy(engine_load(e, bank));
    for (int i = 2; i > 0; i--)
        if (!banks[i]) {
            banks[i] = banks[i - 1];
            banks[i - 1] = NULL;
        }
    banks[0] = bank;
    return true;
}

/* A cell's sound in place of another's, most of them such as there are. */
static void swap(engine *e, const engine_table tables[2], int layers, int grid) {
    const engine_table *table = &tables[chance(2)];
    int cells = layers * grid * grid, columns = table->samples / ENGINE_COLUMN_SAMPLES, from = (int)chance((uint32_t)cells);
    engine_cell cell = {.bank = engine_bank_number(banks[0]) - (chance(5) == 0), .pitch = table->pitch + (chance(9) == 0),
                        .layer = (int)chance((uint32_t)layers) - (chance(20) == 0),
                        .row = (int)chance((uint32_t)grid + (chance(20) == 0)),
                        .column = (int)chance((uint32_t)grid) - (chance(20) == 0),
                        .sound = table->cells + (ptrdiff_t)from * table->samples,
                        .levels = table->levels + (ptrdiff_t)from * columns};
    engine_swap_cell(e, &cell);
    while (chance(2) && engine_swapped_cell(e, &cell))
        ;
}

#define MOST_ADDED 16

static engine_table added[MOST_ADDED]; /* to banks since the start; freed at the end */
static int added_count;

/* A further table for the newest bank, alike or not, often of a pitch that it has. */
static void add(engine *e, int layers, int grid) {
    if (added_count == MOST_ADDED)
        return;
    engine_table *table = &added[added_count++];
    bool alike = chance(2);
    *table = random_table((int)chance(128), layers, alike ? 1 : grid, 1 + (int)chance(6));
    table->alike = alike;
    engine_add_table(e, banks[0], table);
}

static void limit(engine *e, int polyphony) {
    engine_limit_voices(e, chance(2) ? polyphony : (int)chance(300) - 10);
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
                                  .kind = (uint8_t)(chance(3) ? chance(2) : chance(chance(2) ? ENGINE_EVENT_KINDS : 256)),
                                  .channel = (uint8_t)(chance(10) ? chance(16) : chance(256)),
                                  .key = (uint8_t)(chance(10) ? chance(128) : chance(256)), .a = number(), .b = number()};
            engine_send(e, &event);
        }
        if (chance(40) == 0)
            failed |= !set_bank(e, tables, layers, grid);
        if (chance(20) == 0)
            limit(e, polyphony);
        if (chance(10) == 0)
            add(e, layers, grid);
        for (uint32_t n = chance(4); n > 0; n--)
            swap(e, tables, layers, grid);
        engine_render(e, out, frames);
        failed |= engine_read_meters(e).voices > polyphony;
        for (int i = 0; i < 2 * frames; i++)
            failed |= !(fabsf(out[i]) <= 1.0f);
    }
    engine_destroy(e);
    for (int i = 0; i < 3; i++)
        destroy(banks[i]);
    free_table(&tables[0]);
    free_table(&tables[1]);
    while (added_count > 0)
        free_table(&added[--added_count]);
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
