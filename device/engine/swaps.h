/* Cells and tables on their way to the audio thread, and the cells that were in their place on their way back. */
#ifndef TETRAD_SWAPS_H
#define TETRAD_SWAPS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bank.h"

#define SWAPS 256

typedef struct {
    engine_cell cell;  /* where `table` is not NULL only its `bank` counts: */
    bank_table *table; /* one that is added to it; to be looked at by no one while that bank is not the one that plays */
} swap;

/* One thread writes, one reads. */
typedef struct {
    swap all[SWAPS];
    atomic_uint written, read;
} swaps;

bool swaps_full(const swaps *s);             /* for the one that writes */
bool swaps_put(swaps *s, const swap *next);  /* false: full */
const swap *swaps_first(swaps *s);           /* NULL: empty */
void swaps_pop(swaps *s);                    /* away with the first */

#endif
