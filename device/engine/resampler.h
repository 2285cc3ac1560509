/* From the bank's rate, times the transposition, to the card's.
 *
 * A windowed sinc in two steps. Blocks at the bank's rate are first doubled by a sharp, fixed filter (32 kHz), which
 * runs along whole blocks and so through vector units; then a short kernel in finely tabled phases reads between
 * the doubled samples, at any place, for eight voices at once. One long kernel read at any place would do the same for
 * three times the work.
 */
#ifndef TETRAD_RESAMPLER_H
#define TETRAD_RESAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "doubling_filters.h"
#include "kernels.h"

#define RESAMPLER_MAX_FRAMES 64  /* that are fed for at once */
#define RESAMPLER_AT_ONCE KERNEL_READ_FRAMES
#define RESAMPLER_BLOCK KERNEL_DOUBLED /* bank samples fed at once: 4 ms */
#define RESAMPLER_TAPS KERNEL_TAPS     /* of the doubling filter, at the bank's rate */
#define RESAMPLER_REACH (RESAMPLER_TAPS / 2 + RESAMPLER_READ_TAPS / 4)
#define RESAMPLER_READ_TAPS KERNEL_READ_TAPS /* of the reading kernel, at the doubled rate */
#define RESAMPLER_FASTEST 8      /* bank samples a frame */
#define RESAMPLER_LINE (1 + RESAMPLER_TAPS + 2 * RESAMPLER_BLOCK)
#define RESAMPLER_DOUBLED (2 * (RESAMPLER_FASTEST * RESAMPLER_MAX_FRAMES + RESAMPLER_BLOCK + RESAMPLER_READ_TAPS))

/* One voice's place in its sound. */
typedef struct {
    int cutoff;        /* which doubling filter */
    int fed, filled;   /* of `line` and `doubled` */
    uint64_t aim;      /* step when the glide is done */
    uint64_t position; /* in `doubled`, 32 bits of fraction */
    uint64_t step;     /* a frame, the same */
    uint64_t glide;    /* that the step grows by a frame; signed, as two's complement */
    float line[RESAMPLER_LINE];       /* at the bank's rate */
    float doubled[RESAMPLER_DOUBLED]; /* at twice the bank's rate */
} resampler;

typedef struct {
    kernel_doubling doubling[RESAMPLER_CUTOFFS];
    kernel_reading reading;
} resampler_filters;

void resampler_filters_init(resampler_filters *filters);

/* samples_a_frame: bank samples passed for each frame put out, RESAMPLER_FASTEST at most; in_the_end, after a glide,
 * decides the filter against aliases. The first frame will stand on the first sample fed. */
void resampler_start(resampler *r, double samples_a_frame, double in_the_end);

/* From now on, within `frames`, evenly to another speed; to be called anew then, with the next or the same. */
void resampler_glide(resampler *r, double samples_a_frame, int frames);

/* Before the next frames are rendered, RESAMPLER_MAX_FRAMES at most and none beyond a glide's end, samples are to be fed
 * until they do. */
bool resampler_lacks(const resampler *r, int frames);

/* Takes the next RESAMPLER_BLOCK samples. */
void resampler_feed(resampler *r, const resampler_filters *filters, const float *block);

/* Bank samples that were fed and have not been heard yet, without those of the filters' length. */
int resampler_ahead(const resampler *r);

/* From the place of the next frame to the next sample that is fed, in bank samples. */
double resampler_behind(const resampler *r);

/* After resampler_start(): the first frame stands so many samples behind the first one fed. From RESAMPLER_REACH on
 * nothing is missing before it. */
void resampler_skip(resampler *r, double samples);

/* From here on it stays at the speed that it has come to. */
void resampler_stop_glide(resampler *r);

/* Copies what is needed to go on. */
void resampler_copy(resampler *to, const resampler *from);

/* To be read all at once by kernels->read(), and where they are after that. They are parts of one array, the first one
 * first. */
void resampler_gather(kernel_places *places, resampler *const from[LANES]);
void resampler_scatter(const kernel_places *places, resampler *const to[LANES]);

#endif
