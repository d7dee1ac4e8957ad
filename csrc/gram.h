/* Sums over rows, for the gradients of weights and bias: c += aᵀ·b, and the sums of columns.
 *
 * The sums are cut where the number of rows says so and nowhere else, so that they are the same whoever computes them.
 */

/* Rows that add_gram takes at once: their part of b, side by side, stays in the nearest caches. */
#define GRAM_ROWS 256
#define GRAM_PACK_FROM 32 /* rows of c from which on it pays to lay b side by side */

/* One tile of c (m, n) += aᵀ (m, rows) · b (rows, n): `count` rows of c times `vectors` vectors. */
INLINE void FN(gram_tile)(const int count, const int vectors, const fastrnn_gram *p, fastrnn_size rows, const REAL *a,
                          const REAL *b, fastrnn_size b_stride, REAL *c) {
    VEC sum[8][4];
#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[i][v] = ALL(0);
    for (fastrnn_size r = 0; r < rows; r++) {
        VEC held[8]; /* as in FN(tile) */
        if (count <= vectors) {
#pragma GCC unroll 8
            for (int i = 0; i < count; i++) held[i] = ALL(a[i]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                VEC column = LOAD(b + v * W);
#pragma GCC unroll 8
                for (int i = 0; i < count; i++) sum[i][v] += held[i] * column;
            }
        } else {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) held[v] = LOAD(b + v * W);
#pragma GCC unroll 8
            for (int i = 0; i < count; i++) {
                VEC x = ALL(a[i]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) sum[i][v] += x * held[v];
            }
        }
        a += p->a_stride;
        b += b_stride;
    }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) STORE(c + i * p->stride + v * W, LOAD(c + i * p->stride + v * W) + sum[i][v]);
}

/* clang-format off */
#define GRAM(count, vectors)                                                                                           \
    case (count) + 16 * (vectors): FN(gram_tile)(count, vectors, p, rows, a, b, b_stride, c); break
#define GRAM_1_TO_3(vectors) GRAM(1, vectors); GRAM(2, vectors); GRAM(3, vectors)

static void FN(run_gram_tile)(int count, int vectors, const fastrnn_gram *p, fastrnn_size rows, const REAL *a,
                              const REAL *b, fastrnn_size b_stride, REAL *c) {
    switch (count + 16 * vectors) {
        GRAM_1_TO_3(1); GRAM(4, 1); GRAM(5, 1); GRAM(6, 1); GRAM(7, 1); GRAM(8, 1);
        GRAM_1_TO_3(2); GRAM(4, 2); GRAM(5, 2); GRAM(6, 2);
        GRAM_1_TO_3(3); GRAM(4, 3);
        GRAM_1_TO_3(4);
#if VECTOR_BYTES == 64
        GRAM(7, 2); GRAM(8, 2);
        GRAM(5, 3); GRAM(6, 3); GRAM(7, 3); GRAM(8, 3);
        GRAM(4, 4); GRAM(5, 4); GRAM(6, 4);
#endif
    }
}
/* clang-format on */

/* c (m, n) += aᵀ (m, rows) · b (rows, n).  Each element gains the sum over the first GRAM_ROWS rows, in their order,
 * then that over the next, and so on: the order depends on nothing but the number of rows. */
static void FN(add_gram)(const fastrnn_gram *p) {
    REAL beside[GRAM_ROWS * 4 * W];
    const fastrnn_size all = p->n / W;
    for (fastrnn_size row = 0; row < p->rows; row += GRAM_ROWS) {
        const fastrnn_size rows = p->rows - row < GRAM_ROWS ? p->rows - row : GRAM_ROWS;
        const REAL *a = (const REAL *)p->a + row * p->a_stride;
        for (fastrnn_size j = 0; j < all;) {
            const int vectors = (int)(all - j < 4 ? all - j : 4);
            const REAL *b = (const REAL *)p->b + row * p->stride + j * W;
            fastrnn_size b_stride = p->stride;
            if (p->m >= GRAM_PACK_FROM) {
                for (fastrnn_size r = 0; r < rows; r++)
                    for (int v = 0; v < vectors; v++)
                        STORE(beside + (r * vectors + v) * W, LOAD(b + r * p->stride + v * W));
                b = beside;
                b_stride = vectors * W;
            }
            const fastrnn_size most = FN(tile_rows)[vectors];
            for (fastrnn_size i = 0; i < p->m;) {
                const fastrnn_size left = p->m - i, tiles = (left + most - 1) / most;
                const int count = (int)((left + tiles - 1) / tiles);
                FN(run_gram_tile)(count, vectors, p, rows, a + i, b, b_stride, (REAL *)p->c + i * p->stride + j * W);
                i += count;
            }
            j += vectors;
        }
    }
}

/* c (n,) += the columns of b (rows, n), of any n, in the same order */
static void FN(add_column_sums)(const fastrnn_gram *p) {
    for (fastrnn_size row = 0; row < p->rows; row += GRAM_ROWS) {
        const fastrnn_size end = p->rows - row < GRAM_ROWS ? p->rows : row + GRAM_ROWS;
        for (fastrnn_size j = 0; j < p->n; j += W) {
            const REAL *b = (const REAL *)p->b + j;
            REAL *c = (REAL *)p->c + j;
            const fastrnn_size left = p->n - j;
            VEC sum = ALL(0);
            if (left >= W) {
                for (fastrnn_size r = row; r < end; r++) sum += LOAD(b + r * p->stride);
                STORE(c, LOAD(c) + sum);
            } else {
                for (fastrnn_size r = row; r < end; r++) sum += FN(load_part)(b + r * p->stride, left);
                FN(store_part)(c, FN(load_part)(c, left) + sum, left);
            }
        }
    }
}

/* c (n,) += the columns of a∘b, both (rows, n) */
static void FN(add_product_sums)(const fastrnn_gram *p) {
    for (fastrnn_size row = 0; row < p->rows; row += GRAM_ROWS) {
        const fastrnn_size end = p->rows - row < GRAM_ROWS ? p->rows : row + GRAM_ROWS;
        for (fastrnn_size j = 0; j < p->n; j += W) {
            VEC sum = ALL(0);
            for (fastrnn_size r = row; r < end; r++)
                sum += LOAD((const REAL *)p->a + r * p->a_stride + j) * LOAD((const REAL *)p->b + r * p->stride + j);
            STORE((REAL *)p->c + j, LOAD((REAL *)p->c + j) + sum);
        }
    }
}

#undef GRAM
#undef GRAM_1_TO_3
#undef GRAM_ROWS
#undef GRAM_PACK_FROM
