#include "bank.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#define FULL_SCALE (1.0f / 32768.0f)
#define ALONE 1e-4f /* a layer of a lesser share (-80 dB) is not worth the reading */
#define MOTIONS 4   /* numbers of a corner's motion */

static const float MOST_MOTION[MOTIONS] = {12.0f, 200.0f, 4.0f, 200.0f}; /* Hz, cents, s, dB/s: what presets hold */

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

bool bank_fits(const int *velocities, int layers, const engine_table *tables, int count, int grid) {
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

static bank_table take_table(const engine_table *from, int layers, int grid) {
    bank_table table = {.pitch = from->pitch, .grid = grid, .samples = from->samples, .loop_start = from->loop_start,
                        .loop_samples = from->loop_samples, .body_samples = from->loop_start + from->loop_samples,
                        .cycles_a_sample = cycles_a_sample(from->pitch, from->loop_samples), .cells = from->cells,
                        .levels = from->levels};
    for (int i = 0; i < layers * ENGINE_CORNERS; i++) {
        const float *motion = from->motion + (ptrdiff_t)i * MOTIONS;
        table.motion[i / ENGINE_CORNERS][i % ENGINE_CORNERS] =
            (bank_motion){motion_number(motion, 0), motion_number(motion, 1), motion_number(motion, 2),
                          motion_number(motion, 3)};
    }
    return table;
}

void bank_take(bank *b, const int *velocities, int layers, const engine_table *tables, int count, int grid) {
    b->table_count = count;
    b->layer_count = count > 0 ? layers : 0;
    for (int i = 0; i < b->layer_count; i++)
        b->velocities[i] = velocities[i];
    for (int i = 0; i < count; i++)
        b->tables[i] = take_table(&tables[i], layers, grid);
}

const bank_table *bank_nearest(const bank *b, int key) {
    const bank_table *best = &b->tables[0];
    for (int i = 1; i < b->table_count; i++)
        if (abs(b->tables[i].pitch - key) < abs(best->pitch - key))
            best = &b->tables[i];
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

/* out[n] = the four cells round (across[n], down[n]), mixed by nearness, for a stretch that stays between the same
 * four. The cells share their phase (device/synth.py), so this is a morph and no crossfade of two sounds. */
static void blend_stretch(const bank_table *table, int layer, int first, const float *across, const float *down,
                          float *out, int samples) {
    int column = cell_of(across[0], table->grid), row = cell_of(down[0], table->grid);
    const int16_t *a = table->cells + cell_index(table, layer, row, column) * table->samples + first;
    const int16_t *b = a + table->samples;
    const int16_t *c = a + (ptrdiff_t)table->grid * table->samples;
    const int16_t *d = c + table->samples;
    for (int n = 0; n < samples; n++) {
        float x = across[n] - (float)column, y = down[n] - (float)row;
        float above = a[n] + x * (float)(b[n] - a[n]);
        float below = c[n] + x * (float)(d[n] - c[n]);
        out[n] = (above + y * (below - above)) * FULL_SCALE;
    }
}

/* How many samples from the first on lie between the same four cells. */
static int stretch_length(const float *across, const float *down, int samples, int grid) {
    int n = 1;
    while (n < samples && cell_of(across[n], grid) == cell_of(across[0], grid)
           && cell_of(down[n], grid) == cell_of(down[0], grid))
        n++;
    return n;
}

static void read_layer(const bank_table *table, int layer, int first, const bank_path *path, int from, float *out,
                       int samples) {
    for (int n = 0; n < samples;) {
        const float *across = path->across + from + n, *down = path->down + from + n;
        int run = path->rests ? samples : stretch_length(across, down, samples - n, table->grid);
        blend_stretch(table, layer, first + n, across, down, out + n, run);
        n += run;
    }
}

void bank_read(const bank_table *table, bank_layers layers, int first, const bank_path *path, int from, float *out,
               int samples) {
    float high[BANK_BLOCK];
    read_layer(table, layers.low, first, path, from, out, samples);
    if (layers.share == 0.0f)
        return;
    read_layer(table, layers.high, first, path, from, high, samples);
    for (int n = 0; n < samples; n++)
        out[n] += layers.share * (high[n] - out[n]);
}

static float layer_level(const bank_table *table, int layer, bank_point point, int sample) {
    float across = point.x * (float)(table->grid - 1), down = point.y * (float)(table->grid - 1);
    int column = cell_of(across, table->grid), row = cell_of(down, table->grid);
    ptrdiff_t columns = table->samples / ENGINE_COLUMN_SAMPLES;
    const float *a = table->levels + cell_index(table, layer, row, column) * columns + sample / ENGINE_COLUMN_SAMPLES;
    const float *c = a + table->grid * columns;
    float x = across - (float)column, y = down - (float)row;
    float above = a[0] + x * (a[columns] - a[0]), below = c[0] + x * (c[columns] - c[0]);
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
