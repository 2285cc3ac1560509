/* Cells on their way to the audio thread, and what was in their place on its way back. */
#ifndef TETRAD_SWAPS_H
#define TETRAD_SWAPS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine.h"

#define SWAPS 256

/* One thread writes, one reads. */
typedef struct {
    engine_cell cells[SWAPS];
    atomic_uint written, read;
} swaps;

bool swaps_put(swaps *s, const engine_cell *cell); /* false: full */
const engine_cell *swaps_first(swaps *s);          /* NULL: empty */
void swaps_pop(swaps *s);                          /* away with the first */

#endif
