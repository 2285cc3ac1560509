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

static int run(int rate_hz, int polyphony, int grid, int samples, int pitch) {
    static float out[2 * 512];
    size_t size = (size_t)(grid * grid * samples);
    int16_t *cells = malloc(size * sizeof *cells); /* exactly as large as the table: a read beyond is seen */
    engine *e = engine_create(rate_hz, polyphony);
    if (!cells || !e)
        return 1;
    for (size_t i = 0; i < size; i++)
        cells[i] = (int16_t)((int)chance(65536) - 32768);
    engine_table table = {pitch, cells};
    int failed = !engine_set_bank(e, &table, 1, grid, samples);
    for (int block = 0; block < 300 && !failed; block++) {
        int frames = (int)chance(512);
        for (uint32_t n = chance(20); n > 0; n--) {
            engine_event event = {.frame = chance(50) ? chance(600) : UINT32_MAX - chance(3),
                                  .kind = (uint8_t)(chance(3) ? chance(2) : chance(256)),
                                  .channel = (uint8_t)(chance(10) ? chance(16) : chance(256)),
                                  .key = (uint8_t)(chance(10) ? chance(128) : chance(256)), .a = number(), .b = number()};
            engine_send(e, &event);
        }
        if (chance(40) == 0)
            failed |= !engine_set_bank(e, &table, 1, grid, samples);
        engine_render(e, out, frames);
        failed |= engine_read_meters(e).voices > polyphony;
        for (int i = 0; i < 2 * frames; i++)
            failed |= !(fabsf(out[i]) <= 1.0f);
    }
    engine_destroy(e);
    free(cells);
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

    static const int rates_hz[] = {16000, 44100, 48000, 192000}, sizes[] = {1, 2, 31, 32, 33, 700};
    for (int i = 0; i < 12; i++)
        if (run(rates_hz[i % 4], i % 5 ? 1 + (int)chance(40) : 1, 2 + (int)chance(4), sizes[i % 6], (int)chance(128))) {
            printf("run %d went wrong\n", i);
            return 1;
        }
    return 0;
}
