/* The kernels for one instruction set: kernels.c includes this file once for each, having defined
 *   SET        the set's name, in which its functions' names end
 *   TARGET     the attribute that asks the compiler for its instructions, or nothing
 *   REGISTER   floats of a vector register
 *   MOST_ROWS  rows whose sums its registers hold: 8 where there are 32 registers of 16 floats, else 2 */
#define VECTORS (PANEL / REGISTER) /* of one row of a panel */
#define vector NAMED(vector)

typedef float vector __attribute__((vector_size(4 * REGISTER), aligned(4), may_alias));

/* out [rows, PANEL * panels] += x * weights with all sums in registers; rows and panels are constants. */
INLINE TARGET void NAMED(tile)(float *out, size_t out_stride, const float *x, size_t x_stride, const float *weights,
                               int k, const int rows, const int panels) {
    vector sums[MOST_ROWS][VECTORS * 4]; /* of both: at most MOST_ROWS * VECTORS are used */
    const int across = VECTORS * panels;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < across; v++)
            sums[r][v] = *(const vector *)(out + r * out_stride + v * REGISTER);
    for (int i = 0; i < k; i++)
        for (int p = 0; p < panels; p++) {
            const float *row = weights + ((size_t)p * k + i) * PANEL;
            for (int ahead = 0; ahead < PANEL; ahead += LINE_FLOATS)
                PREFETCH(row + PREFETCH_FLOATS / panels + ahead);
            for (int v = 0; v < VECTORS; v++) {
                vector w = *(const vector *)(row + v * REGISTER);
                for (int r = 0; r < rows; r++)
                    sums[r][VECTORS * p + v] += x[r * x_stride + i] * w;
            }
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < across; v++)
            *(vector *)(out + r * out_stride + v * REGISTER) = sums[r][v];
}

/* Weights are read once for MOST_ROWS rows. One row alone takes several panels at a time, or each addition would wait
 * for the one before it. */
TARGET static void NAMED(product)(float *out, size_t out_stride, const float *x, size_t x_stride, int rows,
                                  const float *weights, int k, int panels) {
    const size_t panel = (size_t)k * PANEL;
    const int abreast = MOST_ROWS == 8 ? 4 : 2;
    int p = 0;
    if (rows == 1)
        for (; p + abreast <= panels; p += abreast)
            NAMED(tile)(out + p * PANEL, out_stride, x, x_stride, weights + p * panel, k, 1, abreast);
    for (; p < panels; p++) {
        float *to = out + p * PANEL;
        const float *from = x, *w = weights + p * panel;
        int left = rows;
#if MOST_ROWS == 8
        for (; left >= 8; left -= 8, to += 8 * out_stride, from += 8 * x_stride)
            NAMED(tile)(to, out_stride, from, x_stride, w, k, 8, 1);
        for (; left >= 4; left -= 4, to += 4 * out_stride, from += 4 * x_stride)
            NAMED(tile)(to, out_stride, from, x_stride, w, k, 4, 1);
#endif
        for (; left >= 2; left -= 2, to += 2 * out_stride, from += 2 * x_stride)
            NAMED(tile)(to, out_stride, from, x_stride, w, k, 2, 1);
        if (left)
            NAMED(tile)(to, out_stride, from, x_stride, w, k, 1, 1);
    }
}

/* Both functions over one denominator: (1 - e^-2|b|) / ((1 + e^-a) (1 + e^-2|b|)), with the sign of b. */
TARGET static void NAMED(gate)(float *gated, const float *x, int panels) {
    for (; panels--; gated += LANES, x += PANEL)
        for (int i = 0; i < LANES; i++) {
            float a = exponential(clamped(-x[i], -80, 80));
            float b = exponential(clamped(-2 * fabsf(x[LANES + i]), -80, 0));
            gated[i] = copysignf((1 - b) / ((1 + a) * (1 + b)), x[LANES + i]);
        }
}

TARGET static void NAMED(exponentials)(float *x, int n, float highest, float scale) {
    for (int i = 0; i < n; i++)
        x[i] = exponential(clamped((x[i] - highest) * scale, -80, 0));
}

TARGET static float NAMED(sum)(const float *x, size_t n) {
    vector sums[VECTORS] = {{0}};
    for (size_t i = 0; i < n; i += PANEL) {
        for (int ahead = 0; ahead < PANEL; ahead += LINE_FLOATS)
            PREFETCH(x + i + PREFETCH_FLOATS + ahead);
        for (int v = 0; v < VECTORS; v++)
            sums[v] += *(const vector *)(x + i + v * REGISTER);
    }
    float total = 0;
    for (int v = 0; v < VECTORS; v++)
        for (int i = 0; i < REGISTER; i++)
            total += sums[v][i];
    return total;
}

TARGET static float NAMED(multiply_adds)(int rounds) {
    enum { CHAINS = MULTIPLY_ADDS_FLOATS / REGISTER };
    vector sums[CHAINS], factor = {0};
    for (int i = 0; i < REGISTER; i++)
        factor[i] = 0.5f + 0.01f * (float)i;
    for (int v = 0; v < CHAINS; v++)
        sums[v] = factor * (float)(v + 1); /* chains that are alike would be computed once */
    for (int i = 0; i < rounds; i++)
        for (int v = 0; v < CHAINS; v++)
            sums[v] = sums[v] * factor + factor;
    float total = 0;
    for (int v = 0; v < CHAINS; v++)
        total += sums[v][v % REGISTER];
    return total;
}

static const kernels SET = {STRING(SET), NAMED(product), NAMED(gate), NAMED(exponentials), NAMED(sum),
                            NAMED(multiply_adds), MULTIPLY_ADDS_FLOATS};

#undef MULTIPLY_ADDS_FLOATS
#undef MOST_ROWS
#undef REGISTER
#undef TARGET
#undef SET
#undef VECTORS
#undef vector
