/* A wavenet's memory, and its weights in the order in which they are read. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "parts.h"

#define MOST_BLOCK_SAMPLES 32 /* more would save little, and cost memory */

static int rounded_up(int n, int unit) {
    return (n + unit - 1) / unit * unit;
}

static int greatest_common_divisor(int a, int b) {
    return b ? greatest_common_divisor(b, a % b) : a;
}

/* For how many samples a tap that reaches `back` samples can be computed at once. Blocks begin with frames, too. */
static int block_samples(const wavenet_shape *s, int back) {
    return greatest_common_divisor(s->hop_samples, greatest_common_divisor(back, MOST_BLOCK_SAMPLES));
}

/* ---- Weights ---- */

/* Inputs, outputs and taps of kernel i (weights 2 i and 2 i + 1). */
static void kernel_shape(const wavenet_shape *s, int i, int *taps, int *inputs, int *outputs) {
    enum { START, SKIP_START, LAYERS, DILATED = 0, CONDITION, RESIDUAL, SKIP, A_LAYER };
    const int after = LAYERS + A_LAYER * s->layers - 1; /* the last layer has no residual */
    *taps = 1;
    if (i == START) {
        *taps = WAVENET_FILTER, *inputs = 1, *outputs = s->width;
    } else if (i == SKIP_START) {
        *inputs = s->width, *outputs = s->skip;
    } else if (i >= after) {
        *inputs = i == after ? s->condition : s->skip;
        *outputs = i == after + 2 ? WAVENET_LEVELS : s->skip;
    } else {
        int part = i == after - 1 ? SKIP : (i - LAYERS) % A_LAYER;
        *taps = part == DILATED ? WAVENET_FILTER : 1;
        *inputs = part == CONDITION ? s->condition : s->width;
        *outputs = part == RESIDUAL ? s->width : part == SKIP ? s->skip : 2 * s->width;
    }
}

int wavenet_weights(const wavenet_shape *s) {
    return 2 * (2 + 4 * s->layers - 1 + 3);
}

size_t wavenet_weight_floats(const wavenet_shape *s, int i) {
    int taps, inputs, outputs;
    kernel_shape(s, i / 2, &taps, &inputs, &outputs);
    return (size_t)outputs * (i % 2 ? 1 : (size_t)taps * inputs);
}

/* Row [outputs] into panel order, data [panels][stride][PANEL] at its place. */
static void pack_row(float *data, size_t stride, const float *row, int outputs, int panels, bool gated) {
    for (int p = 0; p < panels; p++)
        for (int i = 0; i < PANEL; i++) {
            int channel = gated ? p * LANES + i % LANES : p * PANEL + i, channels = gated ? outputs / 2 : outputs;
            int from = channel + (gated && i >= LANES ? channels : 0);
            data[p * stride * PANEL + i] += channel < channels ? row[from] : 0;
        }
}

static void pack(matrix *m, const float *kernel, int outputs, bool gated) {
    for (int k = 0; k < m->inputs; k++)
        pack_row(m->data + (size_t)k * PANEL, m->inputs, kernel + (size_t)k * outputs, outputs, m->panels, gated);
}

static void pack_layer(wavenet *w, layer *l, const float *const **weights, bool last) {
    const wavenet_shape *s = &w->shape;
    const float *const *from = *weights;
    const size_t tap = (size_t)s->width * 2 * s->width;
    matrix *taps[] = {&l->older[0], &l->older[1], &l->newest};
    for (int i = 0; i < WAVENET_FILTER; i++)
        pack(taps[i], from[0] + i * tap, 2 * s->width, true);
    pack_row(l->bias, 1, from[1], 2 * s->width, w->gates / PANEL, true);
    pack(&l->condition, from[2], 2 * s->width, true);
    pack_row(l->bias, 1, from[3], 2 * s->width, w->gates / PANEL, true);
    from += 4;
    if (!last) {
        pack(&l->residual, from[0], s->width, false);
        pack_row(l->residual_bias, 1, from[1], s->width, w->width / PANEL, false);
        from += 2;
    }
    pack(&l->skip, from[0], s->skip, false);
    pack_row(w->skip_bias, 1, from[1], s->skip, w->skip / PANEL, false); /* all layers' together */
    *weights = from + 2;
}

static void pack_all(wavenet *w, const float *const *from) {
    const wavenet_shape *s = &w->shape;
    pack(&w->start, from[0], s->width, false);
    pack_row(w->start_bias, 1, from[1], s->width, w->width / PANEL, false);
    pack(&w->skip_start, from[2], s->skip, false);
    pack_row(w->skip_bias, 1, from[3], s->skip, w->skip / PANEL, false);
    from += 4;
    for (int i = 0; i < s->layers; i++)
        pack_layer(w, &w->layers[i], &from, i == s->layers - 1);
    pack(&w->condition_out, from[0], s->skip, false);
    pack_row(w->out_bias, 1, from[1], s->skip, w->skip / PANEL, false);
    pack(&w->out, from[2], s->skip, false);
    pack_row(w->out_bias, 1, from[3], s->skip, w->skip / PANEL, false);
    pack(&w->logits, from[4], WAVENET_LEVELS, false);
    pack_row(w->logits_bias, 1, from[5], WAVENET_LEVELS, WAVENET_LEVELS / PANEL, false);
}

/* ---- Memory ---- */

/* `used` floats are given away of `base`; without a base they are only counted. */
typedef struct {
    float *base;
    size_t used;
} arena;

static float *take(arena *a, size_t floats) {
    float *taken = a->base ? a->base + a->used : NULL;
    a->used += (floats + PANEL - 1) / PANEL * PANEL;
    return taken;
}

static matrix take_matrix(arena *a, int inputs, int outputs) {
    matrix m = {inputs, outputs / PANEL, NULL};
    m.data = take(a, (size_t)inputs * outputs);
    return m;
}

static void lay_out_layer(wavenet *w, arena *a, layer *l, bool last) {
    const size_t batch = w->shape.batch;
    l->older[0] = take_matrix(a, w->shape.width, w->gates);
    l->older[1] = take_matrix(a, w->shape.width, w->gates);
    l->newest = take_matrix(a, w->shape.width, w->gates);
    l->residual = take_matrix(a, w->shape.width, last ? 0 : w->width);
    l->skip = take_matrix(a, w->shape.width, w->skip);
    l->condition = take_matrix(a, w->shape.condition, w->gates);
    l->bias = take(a, w->gates);
    l->residual_bias = take(a, w->width);
    l->conditioned = take(a, batch * w->gates);
    l->past = take(a, l->slots * batch * w->width);
    l->ahead = take(a, l->block[0] * batch * w->gates);
}

static size_t lay_out(wavenet *w, float *base) {
    const size_t batch = w->shape.batch;
    arena a = {base, 0};
    w->start = take_matrix(&a, WAVENET_FILTER, w->width);
    w->skip_start = take_matrix(&a, w->shape.width, w->skip);
    for (int i = 0; i < w->shape.layers; i++)
        lay_out_layer(w, &a, &w->layers[i], i == w->shape.layers - 1);
    w->condition_out = take_matrix(&a, w->shape.condition, w->skip);
    w->out = take_matrix(&a, w->shape.skip, w->skip);
    w->logits = take_matrix(&a, w->shape.skip, WAVENET_LEVELS);
    w->start_bias = take(&a, w->width);
    w->skip_bias = take(&a, w->skip);
    w->out_bias = take(&a, w->skip);
    w->logits_bias = take(&a, WAVENET_LEVELS);
    w->conditions = take(&a, batch * w->shape.frames * w->shape.condition);
    w->inputs = take(&a, batch * WAVENET_FILTER);
    w->gated = take(&a, batch * w->width);
    w->skips = take(&a, batch * w->skip);
    w->hidden = take(&a, batch * w->skip);
    w->predicted = take(&a, batch * WAVENET_LEVELS);
    return a.used * sizeof(float);
}

wavenet *wavenet_create(const wavenet_shape *shape, const float *const *weights, const float *conditions,
                        const kernels *kernels, uint64_t seed, float temperature) {
    wavenet *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->shape = *shape;
    w->kernels = kernels;
    w->width = rounded_up(shape->width, PANEL);
    w->skip = rounded_up(shape->skip, PANEL);
    w->gates = 2 * rounded_up(shape->width, LANES);
    w->seed = seed;
    w->scale = 1 / temperature;
    for (int i = 0; i < shape->layers; i++) {
        layer *l = &w->layers[i];
        l->dilation = 1 << (i % shape->cycle);
        for (int tap = 0; tap < WAVENET_FILTER - 1; tap++)
            l->block[tap] = block_samples(shape, (WAVENET_FILTER - 1 - tap) * l->dilation);
        l->slots = 2 * l->dilation + l->block[0];
    }
    if (!(w->memory = memory_zeros(lay_out(w, NULL)))) {
        free(w);
        return NULL;
    }
    lay_out(w, w->memory);
    pack_all(w, weights);
    memcpy(w->conditions, conditions, sizeof(float) * shape->batch * shape->frames * shape->condition);
    return w;
}

void wavenet_destroy(wavenet *w) {
    memory_free(w->memory);
    free(w);
}
