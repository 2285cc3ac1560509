#include "swaps.h"

#include <stddef.h>

bool swaps_full(const swaps *s) {
    return atomic_load_explicit(&s->written, memory_order_relaxed) - atomic_load_explicit(&s->read, memory_order_acquire)
        == SWAPS;
}

bool swaps_put(swaps *s, const swap *next) {
    unsigned written = atomic_load_explicit(&s->written, memory_order_relaxed);
    if (swaps_full(s))
        return false;
    s->all[written % SWAPS] = *next;
    atomic_store_explicit(&s->written, written + 1, memory_order_release);
    return true;
}

const swap *swaps_first(swaps *s) {
    unsigned read = atomic_load_explicit(&s->read, memory_order_relaxed);
    return read == atomic_load_explicit(&s->written, memory_order_acquire) ? NULL : &s->all[read % SWAPS];
}

void swaps_pop(swaps *s) {
    atomic_fetch_add_explicit(&s->read, 1, memory_order_release);
}
