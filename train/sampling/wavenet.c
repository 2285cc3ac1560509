/* One sample after another. Between two waits each member of the team computes its own channels of one layer's part,
 * for all notes; which weights it reads is the same at each sample. */
#include "wavenet.h"

#include <math.h>
#include <string.h>

#include "parts.h"
#include "team.h"

typedef struct {
    wavenet *wavenet;
    int16_t *codes;
    float *logits; /* NULL: draw */
    int samples;
} task;

/* out [rows, stride] = bias, in the panels of a part. */
static void fill(float *out, size_t stride, int rows, const float *bias, team_part panels) {
    for (int r = 0; r < rows; r++)
        memcpy(out + r * stride + panels.first * PANEL, bias + panels.first * PANEL,
               sizeof(float) * PANEL * (size_t)(panels.end - panels.first));
}

/* out [rows, stride] += x [rows, x_stride] m, in the panels of a part. */
static void multiply(const wavenet *w, float *out, size_t stride, int rows, const float *x, size_t x_stride,
                     const matrix *m, team_part panels) {
    w->kernels->product(out + panels.first * PANEL, stride, x, x_stride, rows,
                        m->data + (size_t)panels.first * m->inputs * PANEL, m->inputs, panels.end - panels.first);
}

static void rectify(float *x, size_t stride, int rows, team_part panels) {
    for (int r = 0; r < rows; r++)
        for (int i = panels.first * PANEL; i < panels.end * PANEL; i++)
            x[r * stride + i] = x[r * stride + i] < 0 ? 0 : x[r * stride + i];
}

static float *past_of(const wavenet *w, const layer *l, int time) {
    return l->past + (size_t)(time % l->slots) * w->shape.batch * w->width;
}

/* The conditions of a frame: note n's is x + n * stride. */
static const float *frame_of(const wavenet *w, int time) {
    return w->conditions + (size_t)(time / w->shape.hop_samples) * w->shape.condition;
}

static size_t conditions_stride(const wavenet *w) {
    return (size_t)w->shape.frames * w->shape.condition;
}

/* The sums for the samples from now on, without any tap: bias and condition of the frame. */
static void open_block(wavenet *w, layer *l, int time, team_part panels) {
    const int batch = w->shape.batch;
    if (time % w->shape.hop_samples == 0) {
        fill(l->conditioned, w->gates, batch, l->bias, panels);
        multiply(w, l->conditioned, w->gates, batch, frame_of(w, time), conditions_stride(w), &l->condition, panels);
    }
    for (int i = 0; i < l->block[0] * batch; i++)
        fill(l->ahead + (size_t)i * w->gates, w->gates, 1, l->conditioned + (size_t)(i % batch) * w->gates, panels);
}

static float *sums_of(const wavenet *w, const layer *l, int time) {
    return l->ahead + (size_t)(time % l->block[0]) * w->shape.batch * w->gates;
}

/* The older taps, each for the block of samples that begins now, if one does. */
static void look_ahead(wavenet *w, layer *l, int time, team_part panels) {
    if (time % l->block[0] == 0)
        open_block(w, l, time, panels);
    for (int tap = 0; tap < WAVENET_FILTER - 1; tap++) {
        /* One turn of the ring later, so as not to fall below zero. The block's slots lie side by side. */
        const int then = time + l->slots - (WAVENET_FILTER - 1 - tap) * l->dilation;
        if (time % l->block[tap] == 0)
            multiply(w, sums_of(w, l, time), w->gates, l->block[tap] * w->shape.batch, past_of(w, l, then), w->width,
                     &l->older[tap], panels);
    }
}

/* First half of a layer: filter and gates. */
static void filter(wavenet *w, layer *l, int time, team_part panels) {
    const int batch = w->shape.batch;
    float *sums = sums_of(w, l, time);
    look_ahead(w, l, time, panels);
    multiply(w, sums, w->gates, batch, past_of(w, l, time), w->width, &l->newest, panels);
    for (int n = 0; n < batch; n++)
        w->kernels->gate(w->gated + (size_t)n * w->width + panels.first * LANES,
                         sums + (size_t)n * w->gates + panels.first * PANEL, panels.end - panels.first);
}

/* Second half: what goes to the next layer and to the output. Both are columns of one product. */
static void pass_on(wavenet *w, layer *l, int time, team *t, int member) {
    const int batch = w->shape.batch, width = l->residual.panels;
    const team_part all = team_share(t, member, width + l->skip.panels);
    const team_part on = {all.first < width ? all.first : width, all.end < width ? all.end : width};
    const team_part out = {all.first - on.first, all.end - on.end};
    if (on.end > on.first) {
        float *next = past_of(w, l + 1, time);
        const float *now = past_of(w, l, time);
        for (int n = 0; n < batch; n++)
            for (size_t i = on.first * PANEL; i < (size_t)on.end * PANEL; i++)
                next[n * w->width + i] = now[n * w->width + i] + l->residual_bias[i];
        multiply(w, next, w->width, batch, w->gated, w->width, &l->residual, on);
    }
    multiply(w, w->skips, w->skip, batch, w->gated, w->width, &l->skip, out);
}

/* From the samples before this one to the first layer's input, and to the skips that each layer adds to. */
static void start(wavenet *w, int time, team *t, int member) {
    const int batch = w->shape.batch;
    float *first = past_of(w, &w->layers[0], time);
    team_part panels = team_share(t, member, w->start.panels);
    fill(first, w->width, batch, w->start_bias, panels);
    multiply(w, first, w->width, batch, w->inputs, WAVENET_FILTER, &w->start, panels);
    team_wait(t);
    panels = team_share(t, member, w->skip_start.panels);
    fill(w->skips, w->skip, batch, w->skip_bias, panels);
    multiply(w, w->skips, w->skip, batch, first, w->width, &w->skip_start, panels);
}

/* From the skips to the logits. */
static void finish(wavenet *w, int time, team *t, int member) {
    const int batch = w->shape.batch;
    team_part panels = team_share(t, member, w->skip / PANEL);
    rectify(w->skips, w->skip, batch, panels);
    team_wait(t);
    fill(w->hidden, w->skip, batch, w->out_bias, panels);
    multiply(w, w->hidden, w->skip, batch, frame_of(w, time), conditions_stride(w), &w->condition_out, panels);
    multiply(w, w->hidden, w->skip, batch, w->skips, w->skip, &w->out, panels);
    rectify(w->hidden, w->skip, batch, panels);
    team_wait(t);
    panels = team_share(t, member, w->logits.panels);
    fill(w->predicted, WAVENET_LEVELS, batch, w->logits_bias, panels);
    multiply(w, w->predicted, WAVENET_LEVELS, batch, w->hidden, w->skip, &w->logits, panels);
    team_wait(t);
}

/* SplitMix64 (Steele et al. 2014): the state is a counter, so a draw follows from seed, note and time alone. */
static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t seed, int note, int time) {
    const uint64_t step = 0x9e3779b97f4a7c15u;
    uint64_t stream = mixed(mixed(seed + step) + step * (uint64_t)(note + 1));
    return (double)(mixed(stream + step * (uint64_t)(time + 1)) >> 32) / 4294967296.0; /* [0, 1) */
}

/* A level 0..255 from logits, by the inverse of the cumulative distribution; -1 where they are no numbers. */
static int draw(const wavenet *w, float *logits, double place) {
    float highest = logits[0];
    for (int i = 1; i < WAVENET_LEVELS; i++)
        highest = logits[i] > highest ? logits[i] : highest;
    w->kernels->exponentials(logits, WAVENET_LEVELS, highest, w->scale);
    double total = 0, below = 0;
    for (int i = 0; i < WAVENET_LEVELS; i++)
        total += logits[i];
    if (!isfinite(total))
        return -1;
    int level = 0;
    while (level < WAVENET_LEVELS - 1 && (below += logits[level]) <= place * total)
        level++;
    return level;
}

/* Ends a sample for some of the notes: predictions go out, or a draw is made, and the sample becomes an input. */
static void conclude(task *job, int i, team_part notes) {
    wavenet *w = job->wavenet;
    for (int n = notes.first; n < notes.end; n++) {
        float *predicted = w->predicted + (size_t)n * WAVENET_LEVELS, *inputs = w->inputs + n * WAVENET_FILTER;
        const size_t at = (size_t)n * job->samples + i;
        if (job->logits) {
            memcpy(job->logits + at * WAVENET_LEVELS, predicted, sizeof(float) * WAVENET_LEVELS);
        } else {
            int level = draw(w, predicted, uniform(w->seed, n, w->time + i));
            if (level < 0)
                atomic_store(&w->failed, true);
            job->codes[at] = (int16_t)((level < 0 ? WAVENET_LEVELS / 2 : level) - WAVENET_LEVELS / 2);
        }
        memmove(inputs, inputs + 1, sizeof(float) * (WAVENET_FILTER - 1));
        inputs[WAVENET_FILTER - 1] = (float)job->codes[at] / (WAVENET_LEVELS / 2);
    }
}

static void work(void *argument, team *t, int member) {
    task *job = argument;
    wavenet *w = job->wavenet;
    const team_part gates = team_share(t, member, w->gates / PANEL), notes = team_share(t, member, w->shape.batch);
    for (int i = 0; i < job->samples; i++) {
        const int time = w->time + i;
        start(w, time, t, member);
        for (layer *l = w->layers; l < w->layers + w->shape.layers; l++) {
            filter(w, l, time, gates);
            team_wait(t);
            pass_on(w, l, time, t, member);
            team_wait(t);
        }
        finish(w, time, t, member);
        conclude(job, i, notes);
        team_wait(t);
    }
}

int wavenet_samples_left(const wavenet *w) {
    return w->shape.frames * w->shape.hop_samples - w->time;
}

bool wavenet_run(wavenet *w, int16_t *codes, float *logits, int samples, int threads) {
    task job = {w, codes, logits, samples};
    atomic_store(&w->failed, false);
    team_run(threads, work, &job);
    w->time += samples;
    return !atomic_load(&w->failed);
}
