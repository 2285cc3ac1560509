#include "limiter.h"

#include <math.h>

#define KNEE 0.70794578f  /* -3 dB: below it the gain is exactly 1 */
#define FALL_MS 100.0f    /* longer than a period of the lowest note (30 ms), or the gain would follow the wave */
#define SILENCE 1e-9f     /* the peak stops here, before it gets denormal and slow */

void limiter_init(limiter *l, float rate_hz) {
    l->peak = SILENCE;
    l->peak_kept = expf(-1000.0f / (FALL_MS * rate_hz));
}

/* Above the knee a hyperbola leads from slope 1 towards 1.0, which it never passes: x = over / (1 - KNEE),
 * peak -> KNEE + (1 - KNEE) * x / (1 + x). As |sample| <= peak, |sample| * gain stays below 1 as well. */
static float gain_for(float peak) {
    float over = peak - KNEE;
    return over <= 0.0f ? 1.0f : (KNEE + (1.0f - KNEE) * over / (over + 1.0f - KNEE)) / peak;
}

void limiter_render(limiter *l, float *stereo, int frames) {
    for (int i = 0; i < frames; i++, stereo += 2) {
        float loudest = fmaxf(fabsf(stereo[0]), fabsf(stereo[1]));
        l->peak = fmaxf(fmaxf(loudest, l->peak * l->peak_kept), SILENCE);
        float gain = gain_for(l->peak);
        stereo[0] *= gain;
        stereo[1] *= gain;
    }
}
