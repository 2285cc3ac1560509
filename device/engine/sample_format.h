/* The engine's sound -> a sound card's interleaved frames, in the card's own format and number of channels. */
#ifndef TETRAD_SAMPLE_FORMAT_H
#define TETRAD_SAMPLE_FORMAT_H

#include <stdint.h>

/* The best for 24 bits of mantissa first. */
typedef enum {
    SAMPLE_S32,   /* S32_LE */
    SAMPLE_S24,   /* S24_LE: in 4 bytes, the highest repeats the sign */
    SAMPLE_S24_3, /* S24_3LE: in 3 bytes */
    SAMPLE_FLOAT, /* FLOAT_LE */
    SAMPLE_S16,   /* S16_LE, with dither */
    SAMPLE_FORMATS
} sample_format;

/* Noise by the number of the sample, so that the same samples come out however they are cut into blocks. */
typedef struct {
    uint32_t sample;
} sample_dither;

extern const int sample_bytes[SAMPLE_FORMATS];

/* Interleaved stereo -> `frames` frames of `channels`: stereo in the first two and silence in the others; one channel
 * has the mean. 1.0 is 2^(bits - 1), rounded to the nearest (halves away from 0); what is beyond the format's ends is
 * its end, and NaN is 0. `out` is aligned to a sample, S24_3's to nothing. */
void sample_convert(sample_format format, int channels, const float *stereo, int frames, void *out,
                    sample_dither *dither);

#endif
