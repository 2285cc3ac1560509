#include "bank.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kernels.h"

#define ALONE 1e-4f /* a layer of a lesser share (-80 dB) is not worth the reading */
#define PAGE_BYTES 4096
#define MOTIONS 4   /* numbers of a corner's motion */

static const float MOST_MOTION[MOTIONS] = {12.0f, 200.0f, 4.0f, 200.0f}; /* Hz, cents, s, dB/s: what presets hold */

static atomic_ullong banks; /* made so far */

static bool motion_fits(const float *motion, int layers) {
    for (int i = 0; i < layers * ENGINE_CORNERS * MOTIONS; i++)
        if (!isfinite(motion[i]))
            return false;
    return true;
}

static bool table_fits(const engine_table *table, int layers) {
    return table->pitch >= 0 && table->pitch < ENGINE_KEYS && table->cells && table->levels && table->motion
        && table->samples > 0 && table->samples % ENGINE_COLUMN_SAMPLES == 0 && table->loop_start >= 0
        && table->loop_samples >= 0 && table->loop_start <= table->samples
        && table->loop_samples <= table->samples - table->loop_start && table->loop_start + table->loop_samples > 0
        && (table->loop_start + table->loop_samples) % ENGINE_COLUMN_SAMPLES == 0
        && motion_fits(table->motion, layers);
}

static bool fits(const int *velocities, int layers, const engine_table *tables, int count, int grid) {
    if (count < 0 || count > ENGINE_KEYS)
        return false;
    if (count > 0 && (layers < 1 || layers > ENGINE_MAX_LAYERS || grid < 2 || grid > ENGINE_MAX_GRID))
        return false;
    for (int i = 0; count > 0 && i < layers; i++)
        if (velocities[i] < 0 || velocities[i] > 127 || (i > 0 && velocities[i] <= velocities[i - 1]))
            return false;
    for (int i = 0; i < count; i++)
        if (!table_fits(&tables[i], layers) || (i > 0 && tables[i].pitch <= tables[i - 1].pitch))
            return false;
    return true;
}

/* As the decoder sets it: where there is a loop, whole cycles go into it. */
static double cycles_a_sample(int pitch, int loop_samples) {
    double cycles = 440.0 * exp2((pitch - 69) / 12.0) / ENGINE_BANK_RATE_HZ;
    double in_loop = floor(cycles * loop_samples + 0.5);
    return in_loop > 0.0 ? in_loop / loop_samples : cycles;
}

static float motion_number(const float *motion, int i) {
    return fminf(fmaxf(motion[i], 0.0f), MOST_MOTION[i]);
}

static void take_shape(bank_table *table, const engine_table *from, int layers, int grid) {
    *table = (bank_table){.pitch = from->pitch, .grid = grid, .samples = from->samples, .loop_start = from->loop_start,
                          .loop_samples = from->loop_samples, .body_samples = from->loop_start + from->loop_samples,
                          .cycles_a_sample = cycles_a_sample(from->pitch, from->loop_samples)};
    for (int i = 0; i < layers * ENGINE_CORNERS; i++) {
        const float *motion = from->motion + (ptrdiff_t)i * MOTIONS;
        table->motion[i / ENGINE_CORNERS][i % ENGINE_CORNERS] =
            (bank_motion){motion_number(motion, 0), motion_number(motion, 1), motion_number(motion, 2),
                          motion_number(motion, 3)};
    }
}

/* Reads a byte of each page, so that no voice waits for a disk; where the system allows it, they stay. */
static void make_resident(const void *from, size_t bytes) {
    volatile char sum = 0;
    for (size_t at = 0; at < bytes; at += PAGE_BYTES)
        sum = (char)(sum + ((const char *)from)[at]);
    mlock(from, bytes);
}

static void take_cells(bank_table *table, const engine_table *from, int layers) {
    int columns = from->samples / ENGINE_COLUMN_SAMPLES, a_layer = table->grid * table->grid;
    int given = from->alike ? layers : layers * a_layer;
    for (ptrdiff_t i = 0; i < layers * a_layer; i++) {
        ptrdiff_t at = from->alike ? i / a_layer : i;
        table->cells[i] = (bank_cell){from->cells + at * from->samples, from->levels + at * columns};
    }
    make_resident(from->cells, (size_t)given * (size_t)from->samples * sizeof *from->cells);
    make_resident(from->levels, (size_t)given * (size_t)columns * sizeof *from->levels);
}

bool bank_takes(const bank *b, const engine_table *table) {
    return b->layer_count > 0 && table_fits(table, b->layer_count) && !b->made[table->pitch];
}

bank_table *bank_make_table(bank *b, const engine_table *from) {
    size_t cells = (size_t)(b->layer_count * b->grid * b->grid);
    bank_table *table = calloc(1, sizeof *table + cells * sizeof *table->cells);
    if (!table)
        return NULL;
    take_shape(table, from, b->layer_count, b->grid);
    take_cells(table, from, b->layer_count);
    b->made[from->pitch] = table;
    return table;
}

void bank_insert(bank *b, bank_table *table) {
    int at = b->table_count++;
    for (; at > 0 && b->tables[at - 1]->pitch > table->pitch; at--)
        b->tables[at] = b->tables[at - 1];
    b->tables[at] = table;
}

engine_bank *engine_bank_create(const int *velocities, int layers, const engine_table *tables, int count, int grid) {
    if (!fits(velocities, layers, tables, count, grid))
        return NULL;
    bank *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->number = atomic_fetch_add(&banks, 1) + 1;
    b->layer_count = count > 0 ? layers : 0;
    b->grid = grid;
    for (int i = 0; i < b->layer_count; i++)
        b->velocities[i] = velocities[i];
    for (int i = 0; i < count; i++) {
        bank_table *table = bank_make_table(b, &tables[i]);
        if (!table) {
            engine_bank_destroy(b);
            return NULL;
        }
        bank_insert(b, table);
    }
    return b;
}

uint64_t engine_bank_number(const engine_bank *b) {
    return b->number;
}

void engine_bank_destroy(engine_bank *b) {
    for (int pitch = 0; b && pitch < ENGINE_KEYS; pitch++)
        free(b->made[pitch]);
    free(b);
}

const bank_table *bank_nearest(const bank *b, float semitones) {
    const bank_table *best = b->tables[0];
    for (int i = 1; i < b->table_count; i++)
        if (fabsf((float)b->tables[i]->pitch - semitones) < fabsf((float)best->pitch - semitones))
            best = b->tables[i];
    return best;
}

bank_layers bank_layers_at(const bank *b, float velocity) {
    int high = 0;
    while (high < b->layer_count && (float)b->velocities[high] < velocity)
        high++;
    if (high == 0)
        return (bank_layers){0, 0, 0.0f};
    if (high == b->layer_count)
        return (bank_layers){high - 1, high - 1, 0.0f};
    float below = (float)b->velocities[high - 1];
    float share = (velocity - below) / ((float)b->velocities[high] - below);
    if (share > 1.0f - ALONE)
        return (bank_layers){high, high, 0.0f};
    return (bank_layers){high - 1, high, share < ALONE ? 0.0f : share};
}

/* The cell at or before a place, such that there is one behind it too. */
static int cell_of(float place, int grid) {
    int cell = (int)place;
    return cell > grid - 2 ? grid - 2 : cell;
}

/* Which cell of all that is in a table. */
static ptrdiff_t cell_index(const bank_table *table, int layer, int row, int column) {
    return ((ptrdiff_t)layer * table->grid + row) * table->grid + column;
}

static bool has_place(const bank *b, const engine_cell *cell) {
    return cell->layer >= 0 && cell->layer < b->layer_count && cell->row >= 0 && cell->row < b->grid && cell->column >= 0
        && cell->column < b->grid;
}

bank_cell *bank_cell_at(bank *b, const engine_cell *cell, const bank_table **table) {
    for (int i = 0; i < b->table_count && has_place(b, cell); i++)
        if (b->tables[i]->pitch == cell->pitch) {
            *table = b->tables[i];
            return b->tables[i]->cells + cell_index(*table, cell->layer, cell->row, cell->column);
        }
    return NULL;
}

int engine_bank_samples(const engine_bank *b, const engine_cell *cell) {
    bool there = cell->pitch >= 0 && cell->pitch < ENGINE_KEYS && b->made[cell->pitch] && has_place(b, cell);
    return there ? b->made[cell->pitch]->samples : 0;
}

bool bank_uses(const bank_table *table, bank_layers layers, bank_point point, const engine_cell *cell) {
    float across = point.x * (float)(table->grid - 1), down = point.y * (float)(table->grid - 1);
    return (cell->layer == layers.low || cell->layer == layers.high) && fabsf((float)cell->column - across) < 1.0f
        && fabsf((float)cell->row - down) < 1.0f;
}

static const int16_t *sound_of(const bank_cell *cell, const bank_past *past) {
    for (int i = 0; i < past->count; i++)
        if (past->cells[i] == cell)
            return past->sounds[i];
    return cell->sound;
}

/* The four cells round a place. They share their phase (device/synth.py), so that mixed they are a morph and no
 * crossfade of two sounds. */
static kernel_cells cells_round(const bank_table *table, int layer, const bank_past *past, int first, float across,
                                float down) {
    int column = cell_of(across, table->grid), row = cell_of(down, table->grid);
    const bank_cell *cell = table->cells + cell_index(table, layer, row, column), *under = cell + table->grid;
    return (kernel_cells){{sound_of(&cell[0], past) + first, sound_of(&cell[1], past) + first,
                           sound_of(&under[0], past) + first, sound_of(&under[1], past) + first}, column, row};
}

/* How many samples from the first on lie between the same four cells. */
static int stretch_length(const float *across, const float *down, int samples, int grid) {
    int n = 1;
    while (n < samples && cell_of(across[n], grid) == cell_of(across[0], grid)
           && cell_of(down[n], grid) == cell_of(down[0], grid))
        n++;
    return n;
}

static void read_moving(const bank_table *table, int layer, const bank_past *past, int first, const float *across,
                        const float *down, float *out, int samples) {
    for (int n = 0, run; n < samples; n += run) {
        run = stretch_length(across + n, down + n, samples - n, table->grid);
        kernel_cells from = cells_round(table, layer, past, first + n, across[n], down[n]);
        kernels->blend_moving(&from, across + n, down + n, out + n, run);
    }
}

static void read_layer(const bank_table *table, int layer, const bank_past *past, int first, const bank_path *path,
                       int from, float *out, int samples) {
    if (!path->rests) {
        read_moving(table, layer, past, first, path->across + from, path->down + from, out, samples);
        return;
    }
    float across = path->across[0], down = path->down[0];
    kernel_cells cells = cells_round(table, layer, past, first, across, down);
    kernels->blend_still(&cells, across - (float)cells.column, down - (float)cells.row, out, samples);
    for (int i = 0; i < 4; i++) { /* read in 4 ms; other voices' cells come between */
        __builtin_prefetch(cells.samples[i] + samples + BANK_BLOCK / 2 - 1);
        __builtin_prefetch(cells.samples[i] + samples + BANK_BLOCK - 1);
    }
}

void bank_read(const bank_table *table, bank_layers layers, const bank_past *past, int first, const bank_path *path,
               int from, float *out, int samples) {
    float high[BANK_BLOCK];
    read_layer(table, layers.low, past, first, path, from, out, samples);
    if (layers.share == 0.0f)
        return;
    read_layer(table, layers.high, past, first, path, from, high, samples);
    for (int n = 0; n < samples; n++)
        out[n] += layers.share * (high[n] - out[n]);
}

static float layer_level(const bank_table *table, int layer, bank_point point, int sample) {
    float across = point.x * (float)(table->grid - 1), down = point.y * (float)(table->grid - 1);
    int column = cell_of(across, table->grid), row = cell_of(down, table->grid);
    const bank_cell *cell = table->cells + cell_index(table, layer, row, column), *under = cell + table->grid;
    int at = sample / ENGINE_COLUMN_SAMPLES;
    float x = across - (float)column, y = down - (float)row;
    float above = cell[0].levels[at] + x * (cell[1].levels[at] - cell[0].levels[at]);
    float below = under[0].levels[at] + x * (under[1].levels[at] - under[0].levels[at]);
    return above + y * (below - above);
}

float bank_level(const bank_table *table, bank_layers layers, bank_point point, int sample) {
    float low = layer_level(table, layers.low, point, sample);
    return layers.share == 0.0f
        ? low : low + layers.share * (layer_level(table, layers.high, point, sample) - low);
}

/* Adds a layer's motion by its share; rate and delay times depth. */
static void add_motion(bank_motion *sum, const bank_motion corners[ENGINE_CORNERS], bank_point point, float share) {
    const float weights[ENGINE_CORNERS] = {(1.0f - point.x) * (1.0f - point.y), point.x * (1.0f - point.y),
                                           (1.0f - point.x) * point.y, point.x * point.y};
    for (int i = 0; i < ENGINE_CORNERS; i++) {
        float weight = weights[i] * share, depth = weight * corners[i].depth_cents;
        sum->depth_cents += depth;
        sum->rate_hz += depth * corners[i].rate_hz;
        sum->delay_s += depth * corners[i].delay_s;
        sum->decay_db_per_s += weight * corners[i].decay_db_per_s;
    }
}

bank_motion bank_motion_at(const bank_table *table, bank_layers layers, bank_point point) {
    bank_motion sum = {0};
    add_motion(&sum, table->motion[layers.low], point, 1.0f - layers.share);
    if (layers.share > 0.0f)
        add_motion(&sum, table->motion[layers.high], point, layers.share);
    if (sum.depth_cents > 0.0f) {
        sum.rate_hz /= sum.depth_cents;
        sum.delay_s /= sum.depth_cents;
    }
    return sum;
}
