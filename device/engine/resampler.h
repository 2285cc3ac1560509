/* From the bank's rate, times the transposition, to the card's.
 *
 * A windowed sinc in two steps. Blocks at the bank's rate are first doubled by a sharp, fixed filter (32 kHz), which
 * runs along whole blocks and so through vector units; then a short kernel in finely tabled phases reads between
 * the doubled samples, at any place. One long kernel read at any place would do the same for three times the work.
 */
#ifndef TETRAD_RESAMPLER_H
#define TETRAD_RESAMPLER_H

#include <stdint.h>

#define RESAMPLER_MAX_FRAMES 64  /* rendered at once */
#define RESAMPLER_BLOCK 32       /* bank samples fed at once: 2 ms */
#define RESAMPLER_TAPS 76        /* of the doubling filter, at the bank's rate; see resampler.c */
#define RESAMPLER_READ_TAPS 8    /* of the reading kernel, at the doubled rate */
#define RESAMPLER_PHASES 128     /* of the reading kernel, straight lines between: -94 dB of error at 8 kHz */
#define RESAMPLER_CUTOFFS 9      /* doubling filters, for transpositions that would alias */

/* The filters, one set an engine. */
typedef struct {
    float doubling[RESAMPLER_CUTOFFS][2][RESAMPLER_TAPS];              /* [cutoff][on, between a sample][tap] */
    float reading[RESAMPLER_PHASES][2][RESAMPLER_READ_TAPS];           /* [phase][value, step to the next][tap] */
} resampler_filters;

/* One voice's place in its sound. */
typedef struct {
    const resampler_filters *filters;
    int cutoff;
    uint64_t aim;      /* step when the glide is done */
    uint64_t position; /* in `doubled`, 32 bits of fraction */
    uint64_t step;     /* a frame, the same */
    uint64_t glide;    /* that the step grows by a frame; signed, as two's complement */
    float line[RESAMPLER_TAPS + RESAMPLER_BLOCK];                 /* at the bank's rate */
    float doubled[RESAMPLER_READ_TAPS + 2 * RESAMPLER_BLOCK];     /* at twice the bank's rate */
} resampler;

void resampler_filters_init(resampler_filters *filters);

/* samples_a_frame: bank samples passed for each frame put out; decides the filter against aliases. */
void resampler_start(resampler *r, const resampler_filters *filters, double samples_a_frame);

/* From now on, within `frames`, evenly to another speed; to be called anew then, with the next or the same. */
void resampler_glide(resampler *r, double samples_a_frame, int frames);

/* Takes the next RESAMPLER_BLOCK samples. To be called when resampler_render() came back short. */
void resampler_feed(resampler *r, const float *block);

/* Puts out up to `frames` (RESAMPLER_MAX_FRAMES at most), the first one on the first sample fed. Returns how many it
 * came to before it ran out of samples. */
int resampler_render(resampler *r, float *out, int frames);

#endif
