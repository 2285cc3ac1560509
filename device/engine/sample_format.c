/* Dither: two uniform numbers of one step each, subtracted, make a triangle (TPDF), after which the error's mean and
 * power do not depend on the signal (S. P. Lipshitz, R. A. Wannamaker, J. Vanderkooy, "Quantization and Dither: A
 * Theoretical Survey", JAES 40(5), 1992). Both are halves of a hash of the sample's number (the constants are those of
 * C. Wellons' search for 32-bit functions of least bias, 2018): no sample waits for the one before. */
#include "sample_format.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the cards' little-endian formats are taken for the processor's own"
#endif

#define CHUNK_FRAMES 64

const int sample_bytes[SAMPLE_FORMATS] = {
    [SAMPLE_S32] = 4, [SAMPLE_S24] = 4, [SAMPLE_S24_3] = 3, [SAMPLE_FLOAT] = 4, [SAMPLE_S16] = 2,
};

static inline uint32_t hash(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* In steps, -1..1. */
static inline float triangle(uint32_t sample) {
    uint32_t random = hash(sample);
    return (float)((int32_t)(random & 0xffff) - (int32_t)(random >> 16)) * (1.0f / 65536.0f);
}

static inline float clip(float x) {
    x = x == x ? x : 0.0f;
    x = x < 1.0f ? x : 1.0f;
    return x > -1.0f ? x : -1.0f;
}

/* Exact for all that an int32 holds; adding a half first would round 0.49999997 up. */
static inline int32_t nearest(float x) {
    int32_t whole = (int32_t)x;
    float rest = x - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

static void mix(const float *restrict stereo, int frames, int lanes, float *restrict out) {
    if (lanes == 2)
        for (int i = 0; i < 2 * frames; i++)
            out[i] = clip(stereo[i]);
    else
        for (int i = 0; i < frames; i++)
            out[i] = clip(0.5f * (stereo[2 * i] + stereo[2 * i + 1]));
}

static void to_32_bits(const float *restrict in, int count, int32_t *restrict out) {
    for (int i = 0; i < count; i++) {
        float x = in[i] * 2147483648.0f;
        int32_t whole = nearest(x < 2147483648.0f ? x : 0.0f);
        out[i] = x < 2147483648.0f ? whole : INT32_MAX;
    }
}

static void to_24_bits(const float *restrict in, int count, int32_t *restrict out) {
    for (int i = 0; i < count; i++) {
        float x = in[i] * 8388608.0f;
        out[i] = nearest(x < 8388607.0f ? x : 8388607.0f);
    }
}

static void to_16_bits(const float *restrict in, int count, uint32_t sample, int32_t *restrict out) {
    for (int i = 0; i < count; i++) {
        float x = in[i] * 32768.0f + triangle(sample + (uint32_t)i);
        x = x < 32767.0f ? x : 32767.0f;
        out[i] = nearest(x > -32768.0f ? x : -32768.0f);
    }
}

static void quantize(sample_format format, const float *in, int count, uint32_t sample, int32_t *out) {
    switch (format) {
    case SAMPLE_S32: to_32_bits(in, count, out); break;
    case SAMPLE_S24:
    case SAMPLE_S24_3: to_24_bits(in, count, out); break;
    case SAMPLE_S16: to_16_bits(in, count, sample, out); break;
    default: memcpy(out, in, (size_t)count * sizeof *out);
    }
}

/* Into the first lanes of each frame. */
#define STORE(type) \
    for (int frame = 0; frame < frames; frame++) \
        for (int lane = 0; lane < lanes; lane++) \
            ((type *)out)[frame * channels + lane] = (type)in[frame * lanes + lane]

static void store_3_bytes(const int32_t *restrict in, int frames, int lanes, int channels, uint8_t *restrict out) {
    for (int frame = 0; frame < frames; frame++)
        for (int lane = 0; lane < lanes; lane++)
            for (int byte = 0; byte < 3; byte++)
                out[3 * (frame * channels + lane) + byte] = (uint8_t)((uint32_t)in[frame * lanes + lane] >> 8 * byte);
}

static void store(sample_format format, const int32_t *restrict in, int frames, int lanes, int channels,
                  void *restrict out) {
    if (channels > lanes)
        memset(out, 0, (size_t)(frames * channels * sample_bytes[format]));
    else { /* one run of samples, which is quicker */
        frames *= lanes;
        lanes = channels = 1;
    }
    switch (sample_bytes[format]) {
    case 2: STORE(int16_t); break;
    case 3: store_3_bytes(in, frames, lanes, channels, out); break;
    default: STORE(int32_t);
    }
}

void sample_convert(sample_format format, int channels, const float *stereo, int frames, void *out,
                    sample_dither *dither) {
    int lanes = channels == 1 ? 1 : 2;
    uint8_t *to = out;
    for (int done = 0; done < frames; done += CHUNK_FRAMES) {
        float mixed[2 * CHUNK_FRAMES];
        int32_t whole[2 * CHUNK_FRAMES];
        int run = frames - done < CHUNK_FRAMES ? frames - done : CHUNK_FRAMES;
        mix(stereo + 2 * done, run, lanes, mixed);
        quantize(format, mixed, run * lanes, dither->sample, whole);
        dither->sample += (uint32_t)(run * lanes);
        store(format, whole, run, lanes, channels, to);
        to += run * channels * sample_bytes[format];
    }
}
