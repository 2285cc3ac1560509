/* What a wavenet holds; weights.c makes it, wavenet.c steps it. */
#ifndef SAMPLING_PARTS_H
#define SAMPLING_PARTS_H

#include <stdatomic.h>

#include "wavenet.h"

/* Channels are padded to whole panels, with weights of zero: those of a layer's gates to panels of LANES of the
 * sigmoid and LANES of the tanh, all others to panels of PANEL. */
typedef struct {
    int inputs, panels;
    float *data; /* [panels][inputs][PANEL] */
} matrix;

typedef struct {
    int dilation;                     /* samples */
    int block[WAVENET_FILTER - 1];    /* samples that each of the older taps is computed for at once; the second
                                         divides the first */
    int slots;                        /* of the past: 2 dilation + block[0], so that none is overwritten while read */
    matrix older[WAVENET_FILTER - 1]; /* the tap 2 dilations back, and the one a dilation back */
    matrix newest, condition, residual, skip;
    float *bias;          /* [gates], of filter and condition */
    float *residual_bias; /* [width] */
    float *conditioned;   /* [batch][gates], bias and condition of this frame */
    float *past;          /* [slots][batch][width], the layer's inputs */
    float *ahead;         /* [block[0]][batch][gates], sums for these samples, of the taps that are done */
} layer;

struct wavenet {
    wavenet_shape shape;
    const kernels *kernels;
    int width, skip, gates; /* padded */
    uint64_t seed;
    float scale; /* 1 / temperature */
    int time;    /* samples done */
    atomic_bool failed;
    matrix start, skip_start, condition_out, out, logits;
    float *start_bias, *skip_bias, *out_bias, *logits_bias;
    layer layers[WAVENET_MOST_LAYERS];
    float *conditions; /* [batch][frames][condition] */
    float *inputs;     /* [batch][FILTER], the samples before this one, the newest last */
    float *gated;      /* [batch][width] */
    float *skips;      /* [batch][skip] */
    float *hidden;     /* [batch][skip] */
    float *predicted;  /* [batch][LEVELS] */
    float *memory;
};

#endif
