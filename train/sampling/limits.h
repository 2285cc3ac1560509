/* What the machine can do at most, to hold the sampler against. */
#ifndef SAMPLING_LIMITS_H
#define SAMPLING_LIMITS_H

/* Bytes a second that so many threads read from memory together, from arrays of floats too long for any cache near a
 * core; 0 where memory is short. */
double limits_read(int threads);

/* Multiply-adds of float32 a second. */
double limits_multiply_add(int threads);

#endif
