#define _DEFAULT_SOURCE
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *memory_zeros(size_t bytes) {
    size_t unit = bytes < HUGE_PAGE ? 4096 : HUGE_PAGE, whole = (bytes + unit - 1) / unit * unit;
    void *memory = whole < bytes ? NULL : aligned_alloc(unit, whole);
#ifdef MADV_HUGEPAGE
    if (memory && unit == HUGE_PAGE)
        madvise(memory, whole, MADV_HUGEPAGE);
#endif
    return memory ? memset(memory, 0, whole) : NULL;
}

void memory_free(void *memory) {
    free(memory);
}
