#include "vibrato.h"

#include <math.h>

#define PI 3.14159265f
#define WHEEL_GAIN 2.0f    /* more depth at the wheel's end */
#define WHEEL_FOLLOW_S 0.01f /* a wheel comes in 128 steps, and seldom */

void vibrato_start(vibrato *v, float period_s, float wheel) {
    *v = (vibrato){.period_s = period_s, .wheel = wheel};
}

/* 0 -> 1 as half a cosine, from half the delay on until one and a half. */
static float set_in(float seconds, float delay_s) {
    if (seconds >= 1.5f * delay_s)
        return 1.0f;
    return seconds <= 0.5f * delay_s ? 0.0f : 0.5f - 0.5f * cosf(PI * (seconds / delay_s - 0.5f));
}

void vibrato_pass(vibrato *v, int periods) {
    v->seconds += (double)v->period_s * periods;
}

float vibrato_next(vibrato *v, const bank_motion *motion, float wheel) {
    v->seconds += v->period_s;
    v->cycles += motion->rate_hz * v->period_s;
    v->cycles -= v->cycles >= 1.0 ? 1.0 : 0.0; /* 12 Hz at most: less than a cycle a period */
    v->wheel += fminf(v->period_s / WHEEL_FOLLOW_S, 1.0f) * (wheel - v->wheel);
    if (motion->depth_cents <= 0.0f)
        return 0.0f;
    float depth = motion->depth_cents * (1.0f + WHEEL_GAIN * v->wheel);
    return depth * set_in((float)v->seconds, motion->delay_s) * sinf(2.0f * PI * (float)v->cycles);
}
