/* Convolutions of many small groups: value by value over the filters of all groups, in the user's own layout.
 *
 *     y[r, f] = start[f] + x(r, 0, 0)[f]·w[0, f] + x(r, 0, 1)[f]·w[1, f] + ... + x(r, 1, 0)[f]·w[C, f] + ...
 *
 * x(r, k, c)[f] is what output r sees through tap k of channel c of f's own group.  Where a vector holds several
 * groups, each as large in channels as in filters, that is a vector of x with its values moved; where a group is a
 * whole vector, it is one value of x.  No lane is left over, and no sum depends on the lanes beside it.
 */

#define GROUPED_ROWS 32 /* outputs in one sum of the gradient by w: what they see stays in the nearest caches */

/* Channel c of each lane's group, from a vector of channels. */
INLINE VEC FN(channel)(VEC v, const fastrnn_size filters, const fastrnn_size c) {
    if (filters == 1) return v;
    VEC moved;
#pragma GCC unroll 16
    for (fastrnn_size lane = 0; lane < W; lane++) moved[lane] = v[lane - lane % filters + c];
    return moved;
}

/* `rows` outputs of one vector.  `filters` of a group that is less than a vector, otherwise 0; both constants. */
INLINE void FN(grouped_tile)(const int rows, const fastrnn_size filters, const fastrnn_grouped *p, const REAL *x,
                             const REAL *w, const REAL *start, REAL *y) {
    const fastrnn_size x_stride = p->x_stride, w_stride = p->w_stride, channels = filters ? filters : p->channels;
    VEC sum[8];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) sum[r] = LOAD(start);
    for (fastrnn_size tap = 0; tap < p->taps; tap++, x += p->tap_stride, w += channels * w_stride)
        if (filters) {
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const VEC seen = LOAD(x + r * x_stride);
#pragma GCC unroll 8
                for (fastrnn_size c = 0; c < filters; c++)
                    sum[r] += FN(channel)(seen, filters, c) * LOAD(w + c * w_stride);
            }
        } else {
            for (fastrnn_size c = 0; c < channels; c++) {
                const VEC column = LOAD(w + c * w_stride);
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++) sum[r] += ALL(x[r * x_stride + c]) * column;
            }
        }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) STORE(y + r * p->y_stride, sum[r]);
}

/* All outputs.  What is left over of rows or of lanes begins early and is computed again: the same bits. */
INLINE void FN(grouped_tiles)(const fastrnn_size filters, const fastrnn_grouped *p) {
    for (fastrnn_size row = 0, end; row < p->rows; row = end) {
        const fastrnn_size left = p->rows - row, rows = p->rows >= 8 ? 8 : p->rows >= 4 ? 4 : 1;
        const fastrnn_size r = left < rows ? p->rows - rows : row;
        for (fastrnn_size f = 0; f < p->width; f += W) {
            const fastrnn_size j = p->width - f < W ? p->width - W : f;
            const REAL *x = (const REAL *)p->x + r * p->x_stride + (filters ? j : j / W * p->channels);
            const REAL *w = (const REAL *)p->w + j, *start = (const REAL *)p->start + j;
            REAL *y = (REAL *)p->y + r * p->y_stride + j;
            if (rows == 8) FN(grouped_tile)(8, filters, p, x, w, start, y);
            else if (rows == 4) FN(grouped_tile)(4, filters, p, x, w, start, y);
            else FN(grouped_tile)(1, filters, p, x, w, start, y);
        }
        end = r + rows;
    }
}

/* One value in a vector.  What it is multiplied by is a vector with that value in all lanes: the compiler then sees no
 * arithmetic of single values, which it might round otherwise than that of vectors. */
INLINE VEC FN(first_lane)(REAL v) {
    VEC first = {0};
    first[0] = v;
    return first;
}

/* Less than a vector in all: filter by filter, in vectors of one value, which are rounded as the others are. */
static void FN(grouped_few)(const fastrnn_grouped *p) {
    const fastrnn_size w_stride = p->w_stride;
    for (fastrnn_size r = 0; r < p->rows; r++) {
        const REAL *group = (const REAL *)p->x + r * p->x_stride, *start = p->start;
        REAL *y = (REAL *)p->y + r * p->y_stride;
        for (fastrnn_size first = 0; first < p->width; first += p->filters, group += p->channels)
            for (fastrnn_size f = first; f < first + p->filters; f++) {
                const REAL *x = group, *w = (const REAL *)p->w + f;
                VEC sum = FN(first_lane)(start[f]);
                for (fastrnn_size tap = 0; tap < p->taps; tap++, x += p->tap_stride)
                    for (fastrnn_size c = 0; c < p->channels; c++, w += w_stride) sum += ALL(x[c]) * FN(first_lane)(*w);
                y[f] = sum[0];
            }
    }
}

static void FN(grouped)(const fastrnn_grouped *p) {
    if (p->width < W) FN(grouped_few)(p);
    else if (p->filters == W) FN(grouped_tiles)(0, p);
    else if (p->filters == 1) FN(grouped_tiles)(1, p);
    else if (p->filters == 2 && W > 2) FN(grouped_tiles)(2, p);
    else if (p->filters == 4 && W > 4) FN(grouped_tiles)(4, p);
    else if (p->filters == 8 && W > 8) FN(grouped_tiles)(8, p);
}

/* ---- the gradient by w ------------------------------------------------------------------------------------------- */

/* What `rows` outputs of one vector add to dw, through `taps` taps; those lanes alone that are `mine`. */
INLINE void FN(grouped_gram_tile)(const int taps, const fastrnn_size filters, const fastrnn_grouped *p,
                                  fastrnn_size rows, const REAL *x, const REAL *dy, REAL *dw, IVEC mine) {
    VEC sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < taps * filters; i++) sum[i] = ALL(0);
    for (fastrnn_size r = 0; r < rows; r++, x += p->x_stride, dy += p->y_stride) {
        const VEC d = LOAD(dy);
#pragma GCC unroll 8
        for (int tap = 0; tap < taps; tap++) {
            const VEC seen = LOAD(x + tap * p->tap_stride);
#pragma GCC unroll 8
            for (fastrnn_size c = 0; c < filters; c++) sum[tap * filters + c] += FN(channel)(seen, filters, c) * d;
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < taps * filters; i++)
        STORE(dw + i * p->w_stride, LOAD(dw + i * p->w_stride) + (VEC)(mine & (IVEC)sum[i]));
}

/* clang-format off */
#define GROUPED_GRAM(taps, filters)                                                                                    \
    case (taps) + 16 * (filters): FN(grouped_gram_tile)(taps, filters, p, rows, x, dy, dw, mine); break

static void FN(run_grouped_gram_tile)(int taps, const fastrnn_grouped *p, fastrnn_size rows, const REAL *x,
                                      const REAL *dy, REAL *dw, IVEC mine) {
    switch (taps + 16 * p->filters) {
        GROUPED_GRAM(1, 1); GROUPED_GRAM(2, 1); GROUPED_GRAM(3, 1); GROUPED_GRAM(4, 1);
        GROUPED_GRAM(5, 1); GROUPED_GRAM(6, 1); GROUPED_GRAM(7, 1); GROUPED_GRAM(8, 1);
#if VECTOR_BYTES * 8 / REAL_BITS > 2
        GROUPED_GRAM(1, 2); GROUPED_GRAM(2, 2); GROUPED_GRAM(3, 2); GROUPED_GRAM(4, 2);
#endif
#if VECTOR_BYTES * 8 / REAL_BITS > 4
        GROUPED_GRAM(1, 4); GROUPED_GRAM(2, 4);
#endif
#if VECTOR_BYTES * 8 / REAL_BITS > 8
        GROUPED_GRAM(1, 8);
#endif
    }
}
/* clang-format on */

/* Less than a vector in all. */
static void FN(grouped_gram_few)(const fastrnn_grouped *p, fastrnn_size row, fastrnn_size rows) {
    REAL *dw = p->w;
    for (fastrnn_size tap = 0; tap < p->taps; tap++)
        for (fastrnn_size c = 0; c < p->channels; c++, dw += p->w_stride)
            for (fastrnn_size f = 0; f < p->width; f++) {
                const REAL *x = (const REAL *)p->x + row * p->x_stride + tap * p->tap_stride;
                const REAL *seen = x + f / p->filters * p->channels + c, *dy = (const REAL *)p->y + row * p->y_stride;
                VEC sum = ALL(0);
                for (fastrnn_size r = 0; r < rows; r++)
                    sum += ALL(seen[r * p->x_stride]) * FN(first_lane)(dy[r * p->y_stride + f]);
                dw[f] += sum[0];
            }
}

/* w (taps*C, width) += the sums over the outputs of x(r, k, c)∘y[r], groups smaller than a vector.  The sums are cut
 * after every GROUPED_ROWS outputs. */
static void FN(add_grouped_gram)(const fastrnn_grouped *p) {
    const fastrnn_size most = p->filters < 8 ? 8 / p->filters : 1, tiles = (p->taps + most - 1) / most;
    const IVEC all = ~(IVEC){0}, last = p->width % W ? ~FN(inside)(W - p->width % W) : all;
    for (fastrnn_size row = 0; row < p->rows; row += GROUPED_ROWS) {
        const fastrnn_size rows = p->rows - row < GROUPED_ROWS ? p->rows - row : GROUPED_ROWS;
        if (p->width < W) {
            FN(grouped_gram_few)(p, row, rows);
            continue;
        }
        for (fastrnn_size tile = 0; tile < tiles; tile++) {
            const fastrnn_size tap = tile * p->taps / tiles, taps = (tile + 1) * p->taps / tiles - tap;
            for (fastrnn_size f = 0; f < p->width; f += W) {
                const int whole = f + W <= p->width;
                const fastrnn_size j = whole ? f : p->width - W;
                const REAL *x = (const REAL *)p->x + row * p->x_stride + tap * p->tap_stride + j;
                FN(run_grouped_gram_tile)((int)taps, p, rows, x, (const REAL *)p->y + row * p->y_stride + j,
                                          (REAL *)p->w + tap * p->filters * p->w_stride + j, whole ? all : last);
            }
        }
    }
}

#undef GROUPED_GRAM
#undef GROUPED_ROWS
