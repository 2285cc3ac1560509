/* The decoder of train/wavenet.py, one sample at a time, for a batch of notes.
 *
 * Each layer keeps the past that its filter reaches back to, so a sample costs O(layers): Paine et al. 2016 (arXiv
 * 1611.09482). Besides, of a filter's three taps the two older ones see samples that are one and two dilations old. So
 * they are computed for several samples to come at once, as many as that, up to 32: two thirds of the filters' weights
 * are read from memory once for so many samples, and memory is what limits a large network played alone.
 */
#ifndef SAMPLING_WAVENET_H
#define SAMPLING_WAVENET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

#define WAVENET_LEVELS 256
#define WAVENET_FILTER 3
#define WAVENET_MOST_LAYERS 256

typedef struct {
    int batch, frames;     /* notes, and frames of their conditions */
    int width, skip;       /* channels */
    int layers, cycle;     /* after `cycle` layers the dilations 1, 2, 4 ... start again */
    int condition;         /* numbers a frame: the embedding and what the pitch adds */
    int hop_samples;       /* of a frame */
} wavenet_shape;

typedef struct wavenet wavenet;

/* The arrays of weights, in this order, each kernel [taps, inputs, outputs] followed by its bias [outputs]: start,
 * skip_start; of each layer dilated, condition, residual (none in the last layer), skip; condition_out, out, logits. */
int wavenet_weights(const wavenet_shape *shape);

/* How many floats are in weights array i. */
size_t wavenet_weight_floats(const wavenet_shape *shape, int i);

/* Copies weights and conditions [batch, frames, condition]. NULL where memory is short. The draws of note n follow
 * from seed and n alone. */
wavenet *wavenet_create(const wavenet_shape *shape, const float *const *weights, const float *conditions,
                        const kernels *kernels, uint64_t seed, float temperature);
void wavenet_destroy(wavenet *w);

int wavenet_samples_left(const wavenet *w);

/* The next samples of all notes, at most wavenet_samples_left(), mu-law codes [batch, samples] in -128..127: drawn from
 * the predicted distribution; or, where logits [batch, samples, 256] are wanted, read from `codes` and predicted.
 * False if a prediction was no number; codes are then without meaning. */
bool wavenet_run(wavenet *w, int16_t *codes, float *logits, int samples, int threads);

#endif
