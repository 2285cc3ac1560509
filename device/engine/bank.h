/* The bank as the voices see it: the table of a key, the layers of a velocity, and what a table holds at a place.
 *
 * It is made and freed by the control thread, and read by the audio thread alone (see engine_load). */
#ifndef TETRAD_BANK_H
#define TETRAD_BANK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

#define BANK_BLOCK 64 /* samples read at once, at most: 4 ms */

/* Where the knobs stand, 0..1 each. */
typedef struct {
    float x, y;
} bank_point;

/* Where the blend stands at each sample of a block, in cells: 0..grid-1. */
typedef struct {
    float across[BANK_BLOCK], down[BANK_BLOCK];
    bool rests; /* at the first of them: the others are not there */
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

/* One sound of a table. */
typedef struct {
    const int16_t *sound; /* [sample] */
    const float *levels;  /* [column] */
} bank_cell;

#define BANK_PAST 8 /* a voice reads four cells of two layers */

/* Cells as they were before they were swapped. */
typedef struct {
    int count;
    const bank_cell *cells[BANK_PAST];
    const int16_t *sounds[BANK_PAST];
} bank_past;

typedef struct {
    int pitch, grid, samples;
    int loop_start, loop_samples;
    int body_samples;       /* loop_start + loop_samples: behind it stands the release */
    double cycles_a_sample; /* of the fundamental */
    bank_motion motion[ENGINE_MAX_LAYERS][ENGINE_CORNERS];
    bank_cell cells[];      /* [layer][y][x] */
} bank_table;

typedef struct engine_bank {
    uint64_t number;
    int layer_count, grid;
    int velocities[ENGINE_MAX_LAYERS];
    int table_count;
    bank_table *tables[ENGINE_KEYS]; /* ascending; from when it is handed over on the audio thread's own */
    bank_table *made[ENGINE_KEYS];   /* by pitch: the control thread's own */
} bank;

/* The control thread's: whether a further table fits, and one made of it; NULL where memory is short. */
bool bank_takes(const bank *b, const engine_table *table);
bank_table *bank_make_table(bank *b, const engine_table *from);

/* Puts it among the others. */
void bank_insert(bank *b, bank_table *table);

/* The cell of a table where the description says; NULL where there is none. */
bank_cell *bank_cell_at(bank *b, const engine_cell *cell, const bank_table **table);

/* Whether a sound blended at a point, of these layers, has something of a cell in it. */
bool bank_uses(const bank_table *table, bank_layers layers, bank_point point, const engine_cell *cell);

/* The table nearest in pitch; of two the lower: read faster it stays bright, the higher read slower turns dull. */
const bank_table *bank_nearest(const bank *b, float semitones);

/* velocity: 0..127. Outside the layers, the nearest. */
bank_layers bank_layers_at(const bank *b, float velocity);

/* out[n] = sample first + n of the table, blended where the path stands at from + n, and between the layers; with some
 * cells as they were. */
void bank_read(const bank_table *table, bank_layers layers, const bank_past *past, int first, const bank_path *path,
               int from, float *out, int samples);

/* RMS of the column that a sample lies in, blended as the sound is. */
float bank_level(const bank_table *table, bank_layers layers, bank_point point, int sample);

/* The corners' motions at a point: rate and delay count by their depth, for without depth they mean nothing. */
bank_motion bank_motion_at(const bank_table *table, bank_layers layers, bank_point point);

#endif
