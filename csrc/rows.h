/* What options do to rows, whatever the cell: layer norm, masks, mixing of old and new states.
 *
 * The order of a row's sums follows from its length alone.
 */

/* All lanes of the last block that belong to units. */
INLINE IVEC FN(inside)(fastrnn_size used) {
    IVEC lanes = {0};
    for (fastrnn_size lane = 0; lane < W; lane++) lanes[lane] = lane < used ? -1 : 0;
    return lanes;
}

#define SUMS 4 /* that run side by side: one alone would wait for each of its additions */

/* The sum of all lanes of all sums: halves onto halves. */
INLINE REAL FN(total)(const VEC *sums) {
    REAL lanes[W];
    STORE(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
#pragma GCC unroll 4
    for (fastrnn_size half = W / 2; half; half /= 2)
        for (fastrnn_size lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

/* Vector j of a row, zero in the padding, which fills up the vectors from `whole` on. */
INLINE VEC FN(true_values)(const REAL *v, fastrnn_size j, fastrnn_size whole, IVEC inside) {
    return j < whole ? LOAD(v + j * W) : (VEC)(inside & (IVEC)LOAD(v + j * W));
}

INLINE REAL FN(root)(REAL x) {
#if REAL_BITS == 32
    return __builtin_sqrtf(x);
#else
    return __builtin_sqrt(x);
#endif
}

/* The mean of a row, and its scale 1 / sqrt(variance + epsilon).  The variance is that of v - mean: no cancellation. */
INLINE REAL FN(mean_of)(const REAL *v, fastrnn_size vectors, fastrnn_size whole, IVEC inside, REAL count) {
    VEC sums[SUMS] = {ALL(0), ALL(0), ALL(0), ALL(0)};
    fastrnn_size j = 0;
    for (; j + SUMS <= whole; j += SUMS)
#pragma GCC unroll 4
        for (int k = 0; k < SUMS; k++) sums[k] += LOAD(v + (j + k) * W);
    for (; j < vectors; j++) sums[0] += FN(true_values)(v, j, whole, inside);
    return FN(total)(sums) / count;
}

INLINE REAL FN(scale_of)(const REAL *v, VEC mean, fastrnn_size vectors, fastrnn_size whole, IVEC inside, REAL count,
                         REAL epsilon) {
    VEC squares[SUMS] = {ALL(0), ALL(0), ALL(0), ALL(0)};
    fastrnn_size j = 0;
    for (; j + SUMS <= whole; j += SUMS)
#pragma GCC unroll 4
        for (int k = 0; k < SUMS; k++) {
            const VEC away = LOAD(v + (j + k) * W) - mean;
            squares[k] += away * away;
        }
    for (; j < vectors; j++) {
        const VEC away = LOAD(v + j * W) - mean, counted = j < whole ? away : (VEC)(inside & (IVEC)away);
        squares[0] += counted * counted;
    }
    return 1 / FN(root)(FN(total)(squares) / count + epsilon);
}

/* hat = (v - mean)·scale,  out = (out or add) + hat∘gain */
static void FN(norm)(const fastrnn_norm *p) {
    const fastrnn_size blocks = (p->units + W - 1) / W, vectors = blocks * p->gates;
    const fastrnn_size whole = p->units % W ? vectors - p->gates : vectors;
    const IVEC inside = FN(inside)(p->units % W);
    const REAL count = (REAL)(p->units * p->gates);
    for (fastrnn_size r = 0; r < p->rows; r++) {
        const REAL *v = (const REAL *)p->v + r * vectors * W, *gain = p->gain, *add = p->add;
        REAL *hat = (REAL *)p->hat + r * vectors * W, *out = (REAL *)p->out + r * blocks * p->slots * W;
        const VEC mean = ALL(FN(mean_of)(v, vectors, whole, inside, count));
        const REAL scale = FN(scale_of)(v, mean, vectors, whole, inside, count, (REAL)p->epsilon);
        ((REAL *)p->scale)[r] = scale;
        for (fastrnn_size block = 0; block < blocks; block++, out += p->slots * W)
            for (int gate = 0; gate < p->gates; gate++) {
                const fastrnn_size j = block * p->gates + gate;
                VEC normal = (LOAD(v + j * W) - mean) * ALL(scale);
                if (j >= whole) normal = (VEC)(inside & (IVEC)normal);
                STORE(hat + j * W, normal);
                const VEC from = p->accumulate ? LOAD(out + gate * W) : add ? LOAD(add + j * W) : ALL(0);
                STORE(out + gate * W, from + normal * LOAD(gain + j * W));
            }
    }
}

/* out[r] = start + a[r] (depth,) · w (depth,).  The last values of a row come by a load that ends with the row. */
static void FN(dots)(const fastrnn_product *p) {
    const fastrnn_size depth = p->depth, whole = depth / W, left = depth % W;
    const REAL *w = p->w;
    IVEC last = {0};
    for (fastrnn_size lane = 0; lane < left; lane++) last[W - left + lane] = -1;
    for (fastrnn_size r = 0; r < p->rows; r++) {
        const REAL *a = (const REAL *)p->a + r * p->a_stride;
        VEC sums[SUMS] = {ALL(0), ALL(0), ALL(0), ALL(0)};
        fastrnn_size j = 0;
        for (; j + SUMS <= whole; j += SUMS)
#pragma GCC unroll 4
            for (int k = 0; k < SUMS; k++) sums[k] += LOAD(a + (j + k) * W) * LOAD(w + (j + k) * W);
        for (; j < whole; j++) sums[0] += LOAD(a + j * W) * LOAD(w + j * W);
        if (left && whole) sums[1] += (VEC)(last & (IVEC)LOAD(a + depth - W)) * (VEC)(last & (IVEC)LOAD(w + depth - W));
        else if (left) sums[1] += FN(load_part)(a, left) * FN(load_part)(w, left);
        ((REAL *)p->out)[r * p->out_stride] = *(const REAL *)p->start + FN(total)(sums);
    }
}

/* With e = d∘gain:  dv = scale·(e - mean(e) - hat·mean(e∘hat)),  dgain = d∘hat,  dadd = d */
static void FN(norm_back)(const fastrnn_norm_back *p) {
    const fastrnn_size blocks = (p->units + W - 1) / W, vectors = blocks * p->gates;
    const fastrnn_size whole = p->units % W ? vectors - p->gates : vectors;
    const IVEC inside = FN(inside)(p->units % W);
    const REAL count = (REAL)(p->units * p->gates), *gain = p->gain;
    for (fastrnn_size r = 0; r < p->rows; r++) {
        const REAL *hat = (const REAL *)p->hat + r * vectors * W, *d = (const REAL *)p->d + r * vectors * W;
        REAL *dv = (REAL *)p->dv + r * vectors * W;
        REAL *dgain = p->dgain ? (REAL *)p->dgain + r * p->extra_stride : NULL;
        VEC sums[SUMS] = {ALL(0), ALL(0), ALL(0), ALL(0)}, along[SUMS] = {ALL(0), ALL(0), ALL(0), ALL(0)};
        fastrnn_size j = 0;
        for (; j < vectors; j += SUMS) /* hat and gain are zero in the padding, d is finite there */
#pragma GCC unroll 4
            for (int k = 0; k < SUMS; k++)
                if (j + k < vectors) {
                    const VEC dj = LOAD(d + (j + k) * W), hat_j = LOAD(hat + (j + k) * W);
                    const VEC e = dj * LOAD(gain + (j + k) * W);
                    sums[k] += e;
                    along[k] += e * hat_j;
                    if (dgain) STORE(dgain + (j + k) * W, dj * hat_j);
                }
        if (p->dadd) memcpy((REAL *)p->dadd + r * p->extra_stride, d, (size_t)(vectors * W) * sizeof(REAL));
        const VEC scale = ALL(((const REAL *)p->scale)[r]);
        const VEC mean = ALL(FN(total)(sums) / count), mean_along = ALL(FN(total)(along) / count);
        for (j = 0; j < vectors; j++) {
            const VEC e = LOAD(d + j * W) * LOAD(gain + j * W);
            const VEC v = scale * (e - mean - LOAD(hat + j * W) * mean_along);
            STORE(dv + j * W, j < whole ? v : (VEC)(inside & (IVEC)v));
        }
    }
}

/* ---- value by value: rows of n values, of any n -------------------------------------------------------------------
 */

/* The vectors of y, the last one perhaps in part: `body` sees `LOADED(p)` of any array and gives y through `RESULT`. */
#define EACH_VECTOR(n, body)                \
    fastrnn_size i = 0;                     \
    for (; i + W <= (n); i += W) {          \
        const fastrnn_size count = W;       \
        body                                \
    }                                       \
    if (i < (n)) {                          \
        const fastrnn_size count = (n) - i; \
        body                                \
    }
#define PUT(p, v)                                       \
    do {                                                \
        if (count == W) STORE((REAL *)(p) + i, v);      \
        else FN(store_part)((REAL *)(p) + i, v, count); \
    } while (0)
#define GET(p) (count == W ? LOAD((const REAL *)(p) + i) : FN(load_part)((const REAL *)(p) + i, count))

static void FN(multiply)(const void *a, const void *m, void *y, fastrnn_size n) {
    EACH_VECTOR(n, { PUT(y, GET(a) * GET(m)); })
}

static void FN(multiply_add)(const void *a, const void *m, void *y, fastrnn_size n) {
    EACH_VECTOR(n, { PUT(y, GET(y) + GET(a) * GET(m)); })
}

static void FN(add)(const void *a, void *y, fastrnn_size n) {
    EACH_VECTOR(n, { PUT(y, GET(y) + GET(a)); })
}

/* y = m∘a + (1 - m)∘y */
static void FN(blend)(const void *a, const void *m, fastrnn_size m_step, void *y, fastrnn_size n) {
    const VEC constant = ALL(*(const REAL *)m);
    EACH_VECTOR(n, {
        const VEC share = m_step ? GET(m) : constant;
        PUT(y, share * GET(a) + (ALL(1) - share) * GET(y));
    })
}

/* kept = m∘d,  d = (1 - m)∘d */
static void FN(blend_back)(const void *m, fastrnn_size m_step, void *d, void *kept, fastrnn_size n) {
    const VEC constant = ALL(*(const REAL *)m);
    EACH_VECTOR(n, {
        const VEC share = m_step ? GET(m) : constant;
        const VEC all = GET(d);
        PUT(kept, share * all);
        PUT(d, (ALL(1) - share) * all);
    })
}

/* dx = dy∘phi' */
static void FN(activate_array_back)(const fastrnn_activation *phi, const void *kept, const void *dy, void *dx,
                                    fastrnn_size n) {
    EACH_VECTOR(n, { PUT(dx, FN(activate_back)(phi, GET(kept), GET(dy))); })
}

#undef SUMS
#undef EACH_VECTOR
#undef PUT
#undef GET
