/* The kernels for one instruction set: kernels.c includes this file once for each, having defined
 *   SET       the set's name, in which its functions' names end
 *   TARGET    the attribute that asks the compiler for its instructions, or nothing
 *   REGISTER  floats of a vector register, as far as LANES go: 4 or 8
 *   WIDE      floats of its widest register: 4, 8 or 16 */
#define vector NAMED(vector)
#define ints NAMED(ints)
#define unsigneds NAMED(unsigneds)

typedef float vector __attribute__((vector_size(4 * REGISTER), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * REGISTER), aligned(4), may_alias));
typedef uint32_t unsigneds __attribute__((vector_size(4 * REGISTER), aligned(4), may_alias));

#define wide NAMED(wide)
typedef float wide __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));

#define LOAD(from) (*(const vector *)(from))
#define STORE(to, x) (*(vector *)(to) = (x))

TARGET static void NAMED(blend_still)(const kernel_cells *from, float x, float y, float *restrict out, int samples) {
    const int16_t *a = from->samples[0], *b = from->samples[1], *c = from->samples[2], *d = from->samples[3];
    float of_a = (1.0f - x) * (1.0f - y) * FULL_SCALE, of_b = x * (1.0f - y) * FULL_SCALE;
    float of_c = (1.0f - x) * y * FULL_SCALE, of_d = x * y * FULL_SCALE;
    for (int n = 0; n < samples; n++)
        out[n] = (of_a * a[n] + of_b * b[n]) + (of_c * c[n] + of_d * d[n]);
}

TARGET static void NAMED(blend_moving)(const kernel_cells *from, const float *across, const float *down,
                                       float *restrict out, int samples) {
    const int16_t *a = from->samples[0], *b = from->samples[1], *c = from->samples[2], *d = from->samples[3];
    for (int n = 0; n < samples; n++) {
        float x = across[n] - (float)from->column, y = down[n] - (float)from->row;
        float above = a[n] + x * (float)(b[n] - a[n]);
        float below = c[n] + x * (float)(d[n] - c[n]);
        out[n] = (above + y * (below - above)) * FULL_SCALE;
    }
}

#if WIDE == 16
/* Each sample adds to the doubled ones that it is heard in. All sums stay in registers, and vectors are loaded from whole
 * multiples of their length: others straddle two lines of the cache, which takes twice the time. */
TARGET static void NAMED(double_rate)(float *out, const float *line, const kernel_doubling *filter) {
    wide sums[8];
    UNROLLED
    for (int v = 0; v < 8; v++)
        sums[v] = (wide){0};
    for (int s = 0; s < 8; s++) {
        UNROLLED
        for (int from = 0; from < 8; from++) {
            wide added = *(const wide *)&filter->added[s][16 * from];
            UNROLLED
            for (int v = 0; v < 8; v++)
                sums[v] += line[KERNEL_TAPS - 1 + 8 * (v - from) + s] * added;
        }
    }
    UNROLLED
    for (int v = 0; v < 8; v++)
        *(wide *)(out + 16 * v) = sums[v];
}
#else
#define ABREAST 4 /* vectors: enough sums that none waits for the one before, few enough for 16 registers */

TARGET static void NAMED(double_rate)(float *out, const float *line, const kernel_doubling *filter) {
    for (int start = 0; start < KERNEL_DOUBLED; start += ABREAST * WIDE, line += ABREAST * WIDE) {
        wide on[ABREAST], between[ABREAST];
        UNROLLED
        for (int v = 0; v < ABREAST; v++)
            on[v] = between[v] = (wide){0};
        for (int k = 0; k < KERNEL_TAPS; k++) {
            UNROLLED
            for (int v = 0; v < ABREAST; v++) {
                wide x = *(const wide *)(line + v * WIDE + k);
                IN_REGISTER(x);
                on[v] += filter->taps[0][k] * x;
                between[v] += filter->taps[1][k] * x;
            }
        }
        UNROLLED
        for (int v = 0; v < ABREAST; v++, out += 2 * WIDE) {
#if WIDE == 8
            *(wide *)out = SHUFFLE(on[v], between[v], 0, 8, 1, 9, 2, 10, 3, 11);
            *(wide *)(out + WIDE) = SHUFFLE(on[v], between[v], 4, 12, 5, 13, 6, 14, 7, 15);
#else
            *(wide *)out = SHUFFLE(on[v], between[v], 0, 4, 1, 5);
            *(wide *)(out + WIDE) = SHUFFLE(on[v], between[v], 2, 6, 3, 7);
#endif
        }
    }
}
#endif

/* Where each lane reads in a frame: phase and place in one number, for loads are what reading waits for; and the way to
 * the next phase, 0..1. Worked out before any is read: taking vectors apart takes longer. */
typedef struct {
    uint32_t place[KERNEL_READ_FRAMES][LANES];
    float way[KERNEL_READ_FRAMES][LANES];
} NAMED(frame_places);

/* Numbers of 64 bits in two halves: twice as many fit into a vector, and both are needed alone. A comparison is -1 where
 * it holds. */
TARGET static void NAMED(find_places)(kernel_places *p, NAMED(frame_places) *out, int frames) {
    const float scale = 1.0f / (1 << PART_BITS);
    UNROLLED
    for (int first = 0; first < LANES; first += REGISTER) {
        ints doubled = *(ints *)(p->doubled + first), whole = *(ints *)(p->whole + first);
        ints whole_step = *(ints *)(p->whole_step + first), whole_glide = *(ints *)(p->whole_glide + first);
        unsigneds part = *(unsigneds *)(p->part + first), part_step = *(unsigneds *)(p->part_step + first);
        unsigneds part_glide = *(unsigneds *)(p->part_glide + first);
        for (int i = 0; i < frames; i++) {
            *(unsigneds *)(out->place[i] + first) = part >> PART_BITS << PHASE_SHIFT
                                                  | (unsigneds)(doubled + whole) << AT_SHIFT;
            ints way = (ints)(part & ((1u << PART_BITS) - 1));
            STORE(out->way[i] + first, scale * __builtin_convertvector(way, vector));
            part += part_step;
            whole += whole_step - (ints)(part < part_step);
            if (!p->glides)
                continue;
            part_step += part_glide;
            whole_step += whole_glide - (ints)(part_step < part_glide);
        }
        *(ints *)(p->whole + first) = whole;
        *(ints *)(p->whole_step + first) = whole_step;
        *(unsigneds *)(p->part + first) = part;
        *(unsigneds *)(p->part_step + first) = part_step;
    }
}

/* Sums over the taps, each in its lane: step by step two vectors of part sums become one. The way to the next phase's
 * taps is gone on part sums where splitting it is cheaper than loading it. */
#if REGISTER == 8
INLINE TARGET vector NAMED(product)(const float *samples, const float *taps, float way) {
    return LOAD(samples) * (LOAD(taps) + way * LOAD(taps + KERNEL_READ_TAPS));
}

/* Halves of a, added, then those of b. */
INLINE TARGET vector NAMED(folded)(vector a, vector b) {
    return _mm256_blend_ps(a, b, 0xF0) + _mm256_permute2f128_ps(a, b, 0x21);
}

INLINE TARGET void NAMED(read_frame)(const float *base, const kernel_reading *reading, const NAMED(frame_places) *at,
                                     int frame, float *out) {
    vector x[LANES], halves[4], quarters[2];
    UNROLLED
    for (int lane = 0; lane < LANES; lane++)
        x[lane] = NAMED(product)(base + (at->place[frame][lane] >> AT_SHIFT), taps_at(reading, at->place[frame][lane]),
                                 at->way[frame][lane]);
    UNROLLED
    for (int i = 0; i < 4; i++)
        halves[i] = NAMED(folded)(x[i], x[i + 4]);
    UNROLLED
    for (int i = 0; i < 2; i++)
        quarters[i] = SHUFFLE(halves[2 * i], halves[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13)
                    + SHUFFLE(halves[2 * i], halves[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    STORE(out, SHUFFLE(quarters[0], quarters[1], 0, 2, 8, 10, 4, 6, 12, 14)
             + SHUFFLE(quarters[0], quarters[1], 1, 3, 9, 11, 5, 7, 13, 15));
}

#else
INLINE TARGET vector NAMED(product)(const float *samples, const float *taps, float way) {
    return LOAD(samples) * (LOAD(taps) + way * LOAD(taps + KERNEL_READ_TAPS))
         + LOAD(samples + 4) * (LOAD(taps + 4) + way * LOAD(taps + KERNEL_READ_TAPS + 4));
}

INLINE TARGET void NAMED(read_frame)(const float *base, const kernel_reading *reading, const NAMED(frame_places) *at,
                                     int frame, float *out) {
    UNROLLED
    for (int lane = 0; lane < LANES; lane += 4) {
        vector x[4];
        UNROLLED
        for (int i = 0; i < 4; i++)
            x[i] = NAMED(product)(base + (at->place[frame][lane + i] >> AT_SHIFT),
                                  taps_at(reading, at->place[frame][lane + i]), at->way[frame][lane + i]);
        vector first = SHUFFLE(x[0], x[1], 0, 1, 4, 5) + SHUFFLE(x[0], x[1], 2, 3, 6, 7);
        vector second = SHUFFLE(x[2], x[3], 0, 1, 4, 5) + SHUFFLE(x[2], x[3], 2, 3, 6, 7);
        STORE(out + lane, SHUFFLE(first, second, 0, 2, 4, 6) + SHUFFLE(first, second, 1, 3, 5, 7));
    }
}
#endif

TARGET static void NAMED(read)(kernel_places *p, const kernel_reading *reading, float (*out)[LANES], int frames) {
    NAMED(frame_places) places;
    NAMED(find_places)(p, &places, frames);
    for (int i = 0; i < frames; i++)
        NAMED(read_frame)(p->base, reading, &places, i, out[i]);
}

/* A filter's numbers of some lanes, in registers. */
typedef struct {
    vector s1, s2, a1, a2, a3, driven, first, second;
} NAMED(filter_lanes);

INLINE TARGET NAMED(filter_lanes) NAMED(loaded)(const kernel_filter *f, int lane) {
    const kernel_coefficients *now = &f->now;
    return (NAMED(filter_lanes)){LOAD(f->s1 + lane), LOAD(f->s2 + lane), LOAD(now->a1 + lane), LOAD(now->a2 + lane),
                                 LOAD(now->a3 + lane), LOAD(now->driven + lane), LOAD(now->first + lane),
                                 LOAD(now->second + lane)};
}

INLINE TARGET void NAMED(stored)(kernel_filter *f, int lane, const NAMED(filter_lanes) *r) {
    STORE(f->s1 + lane, r->s1), STORE(f->s2 + lane, r->s2);
    STORE(f->now.a1 + lane, r->a1), STORE(f->now.a2 + lane, r->a2), STORE(f->now.a3 + lane, r->a3);
    STORE(f->now.driven + lane, r->driven), STORE(f->now.first + lane, r->first);
    STORE(f->now.second + lane, r->second);
}

INLINE TARGET void NAMED(filtered)(NAMED(filter_lanes) *r, float *x) {
    vector driven = LOAD(x) - r->s2, band = r->s1, low = r->s2;
    STORE(x, r->driven * driven + (r->first * band + r->second * low));
    r->s1 = (band - r->a1 * band) + r->a2 * driven;
    r->s2 = (low + r->a2 * band) + r->a3 * driven;
}

INLINE TARGET void NAMED(moved)(NAMED(filter_lanes) *r, const kernel_coefficients *step, int lane) {
    r->a1 += LOAD(step->a1 + lane), r->a2 += LOAD(step->a2 + lane), r->a3 += LOAD(step->a3 + lane);
    r->driven += LOAD(step->driven + lane), r->first += LOAD(step->first + lane);
    r->second += LOAD(step->second + lane);
}

TARGET static void NAMED(filter)(kernel_filter *const f[2], float (*const x[2])[LANES], bool moves, int frames) {
    for (int lane = 0; lane < LANES; lane += REGISTER) {
        NAMED(filter_lanes) a = NAMED(loaded)(f[0], lane), b = NAMED(loaded)(f[1], lane);
        for (int n = 0; n < frames; n++) {
            NAMED(filtered)(&a, x[0][n] + lane);
            NAMED(filtered)(&b, x[1][n] + lane);
            if (!moves)
                continue;
            NAMED(moved)(&a, &f[0]->step, lane);
            NAMED(moved)(&b, &f[1]->step, lane);
        }
        NAMED(stored)(f[0], lane, &a);
        NAMED(stored)(f[1], lane, &b);
    }
}

TARGET static void NAMED(shape)(kernel_shape *shape, float (*sound)[LANES], float (*left)[LANES],
                                float (*right)[LANES], int frames) {
    UNROLLED
    for (int v = 0; v < LANES; v += REGISTER) {
        vector asymptote = LOAD(shape->asymptote + v), distance = LOAD(shape->distance + v);
        vector coefficient = LOAD(shape->coefficient + v);
        vector level = LOAD(shape->level + v), step = LOAD(shape->level_step + v);
        vector to_left = LOAD(shape->left + v), to_right = LOAD(shape->right + v);
        for (int i = 0; i < frames; i++) {
            vector shaped = LOAD(sound[i] + v) * ((asymptote + distance) * level);
            STORE(left[i] + v, LOAD(left[i] + v) + shaped * to_left);
            STORE(right[i] + v, LOAD(right[i] + v) + shaped * to_right);
            distance *= coefficient;
            level += step;
        }
        STORE(shape->distance + v, distance);
        STORE(shape->level + v, level);
    }
}

static const kernel_set SET = {STRING(SET), NAMED(blend_still), NAMED(blend_moving), NAMED(double_rate), NAMED(read),
                               NAMED(filter), NAMED(shape)};

#undef ABREAST
#undef wide
#undef WIDE
#undef vector
#undef ints
#undef unsigneds
#undef LOAD
#undef STORE
#undef SET
#undef TARGET
#undef REGISTER
