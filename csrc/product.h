/* Matrix products with packed weights: out (rows, n) = start + a (rows, depth) · w (depth, n).
 *
 * Packed w: panels of `panel` vectors (the last may hold fewer); within a panel row k of w is [vector][W], and the rows
 * follow one another, so that the innermost loop reads memory from end to end.  A tile of out stays in registers while
 * k runs from 0 to depth: out[j] = (start[j] + a[0]·w[0][j]) + a[1]·w[1][j] + ..., for every tile shape alike.
 */

/* Tile rows for panels of 1, 2, 3, 4 vectors: as many sums as leave room for w and a in the registers. */
#if VECTOR_BYTES == 64
static const int FN(tile_rows)[5] = {0, 8, 8, 8, 6};
#else
static const int FN(tile_rows)[5] = {0, 8, 6, 4, 3};
#endif
#define TILE_PANELS 3 /* side by side for a single row, which alone could not keep the multipliers busy */

/* One tile: `rows` rows times `panels` panels of `vectors` vectors; all three are constants where this is called. */
INLINE void FN(tile)(const int rows, const int vectors, const int panels, const fastrnn_product *p, const REAL *a,
                     const REAL *w, const REAL *start, REAL *out) {
    const fastrnn_size depth = p->depth, a_stride = p->a_stride, panel_size = depth * vectors * W;
    VEC sum[8][TILE_PANELS * 4];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < panels * vectors; v++)
            sum[r][v] = LOAD(start + r * p->start_stride + (v / vectors) * p->start_panel + (v % vectors) * W);
    for (fastrnn_size k = 0; k < depth; k++) {
        /* The shorter side is held in registers, the longer one passes through a single one: with the sums just 16. */
        VEC held[8];
        if (rows <= panels * vectors) {
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) held[r] = ALL(a[r * a_stride + k]);
#pragma GCC unroll 12
            for (int v = 0; v < panels * vectors; v++) {
                VEC column = LOAD(w + (v / vectors) * panel_size + (v % vectors) * W);
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++) sum[r][v] += held[r] * column;
            }
        } else {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) held[v] = LOAD(w + v * W);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                VEC x = ALL(a[r * a_stride + k]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) sum[r][v] += x * held[v];
            }
        }
        w += vectors * W;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 12
        for (int v = 0; v < panels * vectors; v++)
            STORE(out + r * p->out_stride + (v / vectors) * p->out_panel + (v % vectors) * W, sum[r][v]);
}

/* The tile of a shape known only now. */
/* clang-format off */
#define TILE_KEY(rows, vectors, panels) ((rows) + 16 * (vectors) + 128 * (panels))
#define TILE(rows, vectors, panels) \
    case TILE_KEY(rows, vectors, panels): FN(tile)(rows, vectors, panels, p, a, w, start, out); break
#define TILES_1_TO_3(vectors) TILE(1, vectors, 1); TILE(2, vectors, 1); TILE(3, vectors, 1)

static void FN(run_tile)(int rows, int vectors, int panels, const fastrnn_product *p, const REAL *a, const REAL *w,
                         const REAL *start, REAL *out) {
    switch (TILE_KEY(rows, vectors, panels)) {
        TILES_1_TO_3(1); TILE(4, 1, 1); TILE(5, 1, 1); TILE(6, 1, 1); TILE(7, 1, 1); TILE(8, 1, 1);
        TILES_1_TO_3(2); TILE(4, 2, 1); TILE(5, 2, 1); TILE(6, 2, 1);
        TILES_1_TO_3(3); TILE(4, 3, 1); TILE(1, 3, 2); TILE(1, 3, 3);
        TILES_1_TO_3(4); TILE(1, 4, 2); TILE(1, 4, 3);
#if VECTOR_BYTES == 64
        TILE(7, 2, 1); TILE(8, 2, 1);
        TILE(5, 3, 1); TILE(6, 3, 1); TILE(7, 3, 1); TILE(8, 3, 1);
        TILE(4, 4, 1); TILE(5, 4, 1); TILE(6, 4, 1);
#endif
    }
}
/* clang-format on */

/* A piece of the result: rows from `row`, vectors from `vector`, counted over the whole width. */
typedef struct {
    fastrnn_size row, vector;
    int rows, vectors;
} FN(piece);

/* Most rows of a tile, and the bytes of a column, by how w is stored. */
INLINE fastrnn_size FN(most_rows)(const fastrnn_narrow *narrow, int vectors) {
#if REAL_BITS == 32
    if (narrow) return NARROW_ROWS;
#endif
    (void)narrow;
    return FN(tile_rows)[vectors];
}

INLINE fastrnn_size FN(column_bytes)(const fastrnn_narrow *narrow, fastrnn_size depth) {
#if REAL_BITS == 32
    if (narrow) return FN(words)(narrow->format, depth) * (fastrnn_size)sizeof(int32_t);
#endif
    (void)narrow;
    return depth * (fastrnn_size)sizeof(REAL);
}

/* All tiles, panel by panel; `finish` is called behind each, while its results are in the nearest cache.  `narrow` is
 * NULL for a w of REALs. */
INLINE void FN(product_then)(const fastrnn_product *p, const fastrnn_narrow *narrow,
                             void (*finish)(const void *, FN(piece)), const void *context) {
    const fastrnn_size full_panels = p->last / p->panel; /* a last panel that is not full ends at p->vectors */
    for (fastrnn_size done = p->first; done < p->last;) {
        const fastrnn_size panel = done / p->panel, left = p->vectors - done;
        const int vectors = (int)(left < p->panel ? left : p->panel);
        int panels = 1;
        if (p->rows == 1 && vectors >= 3 && panel < full_panels) {
            const fastrnn_size most = narrow ? TILE_PANELS - 1 : TILE_PANELS;
            panels = (int)(full_panels - panel < most ? full_panels - panel : most);
        }
        const char *w = (const char *)p->w + done * W * FN(column_bytes)(narrow, p->depth);
        for (fastrnn_size row = 0; row < p->rows;) {
            /* even shares: 4 rows are 2 + 2, not 3 + 1 */
            const fastrnn_size rows_left = p->rows - row, most = FN(most_rows)(narrow, vectors);
            const fastrnn_size tiles = (rows_left + most - 1) / most;
            const int rows = (int)((rows_left + tiles - 1) / tiles);
            const REAL *a = (const REAL *)p->a + row * p->a_stride;
            const REAL *start = (const REAL *)p->start + row * p->start_stride + panel * p->start_panel;
            REAL *out = (REAL *)p->out + row * p->out_stride + panel * p->out_panel;
#if REAL_BITS == 32
            if (narrow) FN(run_narrow_tile)(narrow, done, rows, vectors, panels, p, a, w, start, out);
            else
#endif
                FN(run_tile)(rows, vectors, panels, p, a, (const REAL *)w, start, out);
            finish(context, (FN(piece)){row, done, rows, panels * vectors});
            row += rows;
        }
        done += panels * vectors;
    }
}

INLINE void FN(nothing_more)(const void *context, FN(piece) piece) { (void)context, (void)piece; }

static void FN(product)(const fastrnn_product *p) { FN(product_then)(p, NULL, FN(nothing_more), NULL); }

#if REAL_BITS == 32
static void FN(product_narrow)(const fastrnn_product *p, const fastrnn_narrow *narrow) {
    FN(product_then)(p, narrow, FN(nothing_more), NULL);
}
#endif

/* out (n,) = start (n,) + a (depth,) · w (depth, n) with w as the user holds it: one pass over w from end to end,
 * four rows of w at a time so that out is loaded and stored once for each four. */
INLINE void FN(add_rows)(const int count, const REAL *a, const REAL *w, REAL *out, fastrnn_size n) {
    fastrnn_size j = 0;
    for (; j + W <= n; j += W) {
        VEC sum = LOAD(out + j);
#pragma GCC unroll 4
        for (int k = 0; k < count; k++) sum += ALL(a[k]) * LOAD(w + k * n + j);
        STORE(out + j, sum);
    }
    if (j < n) {
        VEC sum = FN(load_part)(out + j, n - j);
        for (int k = 0; k < count; k++) sum += ALL(a[k]) * FN(load_part)(w + k * n + j, n - j);
        FN(store_part)(out + j, sum, n - j);
    }
}

static void FN(product_row)(const void *a, const void *w, const void *start, void *out, fastrnn_size depth,
                            fastrnn_size n) {
    fastrnn_size k = 0;
    if (out != start) memcpy(out, start, (size_t)n * sizeof(REAL));
    for (; k + 4 <= depth; k += 4) FN(add_rows)(4, (const REAL *)a + k, (const REAL *)w + k * n, out, n);
    for (; k < depth; k++) FN(add_rows)(1, (const REAL *)a + k, (const REAL *)w + k * n, out, n);
}

#undef TILE
#undef TILE_KEY
#undef TILES_1_TO_3
#undef TILE_PANELS
