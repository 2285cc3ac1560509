/* A voice's walk through its table, block by block at the bank's rate: the body, round and round its loop while the
 * note is held, then across into the release. */
#ifndef TETRAD_READER_H
#define TETRAD_READER_H

#include "bank.h"
#include "shift.h"

typedef struct {
    const bank_table *table;
    bank_layers layers;
    int body_at;        /* next sample of the body */
    double decayed_db;  /* in the loop, so far */
    float decay_gain;   /* the same, linear */

    bool released;      /* on the way into the release part, or in it */
    int release_at;     /* of the table: next sample for `shift` */
    int crossed;        /* samples of the crossfade done */
    float release_gain; /* brings the release to the body's level */
    double release_part;
    shift shift;

    bank_past past;     /* of cells that were swapped under it */
    int past_samples;   /* of the way from there that are done */

    int silence;        /* samples of nothing that were read in the end */
} reader;

/* From sample `start` of the body on, or from its loop where it is shorter. */
void reader_start(reader *r, const bank_table *table, bank_layers layers, int start);

/* Goes on in another table, as far into the note as now. */
void reader_follow(reader *r, const bank_table *table);

/* Goes on in another table where the fundamental stands as it was heard so many samples before the next, as far into the
 * note or in the loop; so many samples earlier, where there are. Returns by how much the next lies before that place. */
double reader_move(reader *r, const bank_table *table, double behind, int earlier);

/* The note is let go, with the knobs at a point. Without a release part it goes on as before. */
void reader_release(reader *r, bank_point point);

/* A cell that it reads is to be swapped: it goes on with what the cell is now, and goes over to what it becomes within
 * 4 ms. Until then the old sound must last. Not while it is under way from a swap before. */
void reader_swap(reader *r, const bank_cell *cell);
bool reader_crosses(const reader *r);

/* The next BANK_BLOCK samples; nothing but zeros behind the end. */
void reader_read(reader *r, const bank_path *path, float decay_db_per_s, float *block);

/* So many samples of nothing have been read, behind the end or behind the decay. */
bool reader_done(const reader *r, int samples);

#endif
