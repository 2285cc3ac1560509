/* The bank as the voices see it: the table of a key, the layers of a velocity, and what a table holds at a place. */
#ifndef TETRAD_BANK_H
#define TETRAD_BANK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

#define BANK_BLOCK 32 /* samples read at once, at most: 2 ms */

/* Where the knobs stand, 0..1 each. */
typedef struct {
    float x, y;
} bank_point;

/* Where the blend stands at each sample of a block, in cells: 0..grid-1. */
typedef struct {
    float across[BANK_BLOCK], down[BANK_BLOCK];
    bool rests; /* they are all one place */
} bank_path;

/* Between which layers a velocity lies. */
typedef struct {
    int low, high;
    float share; /* of high; where it is 0, low alone is read */
} bank_layers;

/* How the recorded notes move. */
typedef struct {
    float rate_hz, depth_cents, delay_s; /* of the vibrato */
    float decay_db_per_s;                /* from loop_start on */
} bank_motion;

typedef struct {
    int pitch, grid, samples;
    int loop_start, loop_samples;
    int body_samples;       /* loop_start + loop_samples: behind it stands the release */
    double cycles_a_sample; /* of the fundamental */
    const int16_t *cells;   /* [layer][y][x][sample] */
    const float *levels;    /* [layer][y][x][column] */
    bank_motion motion[ENGINE_MAX_LAYERS][ENGINE_CORNERS];
} bank_table;

typedef struct {
    int layer_count, table_count;
    int velocities[ENGINE_MAX_LAYERS];
    bank_table tables[ENGINE_KEYS];
} bank;

/* Whether these are what engine_set_bank() describes. */
bool bank_fits(const int *velocities, int layers, const engine_table *tables, int count, int grid);
void bank_take(bank *b, const int *velocities, int layers, const engine_table *tables, int count, int grid);

/* The table nearest in pitch; of two the lower: read faster it stays bright, the higher read slower turns dull. */
const bank_table *bank_nearest(const bank *b, int key);

/* velocity: 0..127. Outside the layers, the nearest. */
bank_layers bank_layers_at(const bank *b, float velocity);

/* out[n] = sample first + n of the table, blended where the path stands at from + n, and between the layers. */
void bank_read(const bank_table *table, bank_layers layers, int first, const bank_path *path, int from, float *out,
               int samples);

/* RMS of the column that a sample lies in, blended as the sound is. */
float bank_level(const bank_table *table, bank_layers layers, bank_point point, int sample);

/* The corners' motions at a point: rate and delay count by their depth, for without depth they mean nothing. */
bank_motion bank_motion_at(const bank_table *table, bank_layers layers, bank_point point);

#endif
