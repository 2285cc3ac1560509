#include "shift.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* A sinc under a raised cosine; on a sample (part 0) it is 1 and nothing else. */
void shift_start(shift *s, double part, const float past[SHIFT_TAPS - 1]) {
    for (int k = 0; k < SHIFT_TAPS; k++) {
        double t = k - SHIFT_BEFORE - part;
        double window = 0.5 + 0.5 * cos(2.0 * PI * t / SHIFT_TAPS);
        s->taps[k] = (float)(fabs(t) < 1e-9 ? 1.0 : window * sin(PI * t) / (PI * t));
    }
    memcpy(s->past, past, sizeof s->past);
}

void shift_render(shift *s, float *block) {
    float line[SHIFT_TAPS - 1 + BANK_BLOCK], sum[BANK_BLOCK] = {0};
    memcpy(line, s->past, sizeof s->past);
    memcpy(line + SHIFT_TAPS - 1, block, BANK_BLOCK * sizeof *block);
    memcpy(s->past, line + BANK_BLOCK, sizeof s->past);
    for (int k = 0; k < SHIFT_TAPS; k++)
        for (int n = 0; n < BANK_BLOCK; n++)
            sum[n] += s->taps[k] * line[n + k];
    memcpy(block, sum, sizeof sum);
}
