/* Memory for what is read in one long stream. */
#ifndef SAMPLING_MEMORY_H
#define SAMPLING_MEMORY_H

#include <stddef.h>

/* Zeros, written, so that no page is shared; on huge pages where the system has them, since a stream crosses too many
 * small ones. NULL where memory is short. */
void *memory_zeros(size_t bytes);

void memory_free(void *memory);

#endif
