#include "swaps.h"

#include <stddef.h>

bool swaps_put(swaps *s, const engine_cell *cell) {
    unsigned written = atomic_load_explicit(&s->written, memory_order_relaxed);
    if (written - atomic_load_explicit(&s->read, memory_order_acquire) == SWAPS)
        return false;
    s->cells[written % SWAPS] = *cell;
    atomic_store_explicit(&s->written, written + 1, memory_order_release);
    return true;
}

const engine_cell *swaps_first(swaps *s) {
    unsigned read = atomic_load_explicit(&s->read, memory_order_relaxed);
    return read == atomic_load_explicit(&s->written, memory_order_acquire) ? NULL : &s->cells[read % SWAPS];
}

void swaps_pop(swaps *s) {
    atomic_fetch_add_explicit(&s->read, 1, memory_order_release);
}
