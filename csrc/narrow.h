/* Matrix products with weights stored in 16 or 8 bits, for steps that wait for their weights to come from memory.
 *
 *     bfloat16   the upper half of a float:                       |error| <= 2^-8·|w|
 *     float16    IEEE half of w·2^s, one s for the whole matrix:  |error| <= 2^-11·|w|, or 2^-39·max|w| if that is more
 *     int8       q·scale, scale = max|w| / 127 of the column:     |error| <= scale / 2
 *
 * The panels are those of product.h with rows of 32-bit words in place of rows of w: a word holds the same column of
 * two rows of w that follow one another (int8: four), the first in the lowest bits.  So a vector of words becomes
 * vectors of floats by shifts and masks alone, on every instruction set.  Rows behind the last are zero.
 *
 * Sums are sums of floats, and with 16 bits those of product.h with the rounded weights, bit for bit.  With 8 bits
 *     out[j] = start[j] + scale[j]·(a[0]·q[0][j] + a[1]·q[1][j] + ...)
 */
#if REAL_BITS == 32

#define NARROW_ROWS 2    /* of a tile */
#define NARROW_VECTORS 8 /* of a tile */

typedef int32_t FN(ivec_any) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(int32_t)), may_alias));

INLINE int FN(rows_per_word)(int format) { return format == FASTRNN_INT8 ? 4 : 2; }

INLINE fastrnn_size FN(words)(int format, fastrnn_size depth) {
    const int per = FN(rows_per_word)(format);
    return (depth + per - 1) / per;
}

/* One of the rows in a vector of words, int8 without its scale.  A half's sign stays where it is, exponent and fraction
 * move to their places in a float; what the exponents' biases differ by is in `factor`, with 2^-s. */
INLINE VEC FN(widen)(const int format, const int row, IVEC word, VEC factor) {
    if (format == FASTRNN_BFLOAT16) return (VEC)(row ? word & (int32_t)0xffff0000 : word << 16);
    if (format == FASTRNN_FLOAT16) {
        const IVEC bits = (row ? word : word << 16) >> 3;
        return (VEC)(bits & (int32_t)0x8fffe000) * factor;
    }
    return __builtin_convertvector((word << (24 - 8 * row)) >> 24, VEC);
}

/* sum (rows, count) += the rows of w in one row of words, each with its value of a */
INLINE void FN(add_words)(const int format, const int rows, const int vectors, const int panels, const REAL *a,
                          fastrnn_size a_stride, const int32_t *w, fastrnn_size panel_size, VEC factor,
                          VEC sum[NARROW_ROWS][NARROW_VECTORS]) {
    const int per = FN(rows_per_word)(format);
    VEC held[NARROW_ROWS][4];
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < per; i++) held[r][i] = ALL(a[r * a_stride + i]);
#pragma GCC unroll 8
    for (int v = 0; v < panels * vectors; v++) {
        const IVEC word = *(const FN(ivec_any) *)(w + (v / vectors) * panel_size + (v % vectors) * W);
#pragma GCC unroll 4
        for (int i = 0; i < per; i++) {
            const VEC column = FN(widen)(format, i, word, factor);
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++) sum[r][v] += held[r][i] * column;
        }
    }
}

/* One tile; format, rows, vectors, panels are constants where this is called.  `scales` are the tile's. */
INLINE void FN(narrow_tile)(const int format, const int rows, const int vectors, const int panels,
                            const fastrnn_product *p, const REAL *scales, const REAL *a, const int32_t *w,
                            const REAL *start, REAL *out) {
    const int per = FN(rows_per_word)(format);
    const fastrnn_size panel_size = FN(words)(format, p->depth) * vectors * W, rest = p->depth % per;
    const VEC factor = format == FASTRNN_FLOAT16 ? ALL(*scales) : ALL(0);
    VEC sum[NARROW_ROWS][NARROW_VECTORS];
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < panels * vectors; v++)
            sum[r][v] = format == FASTRNN_INT8
                            ? ALL(0)
                            : LOAD(start + r * p->start_stride + (v / vectors) * p->start_panel + (v % vectors) * W);
    for (fastrnn_size k = 0; k + per <= p->depth; k += per, w += vectors * W)
        FN(add_words)(format, rows, vectors, panels, a + k, p->a_stride, w, panel_size, factor, sum);
    if (rest) {
        REAL last[NARROW_ROWS * 4] = {0};
        for (int r = 0; r < rows; r++)
            for (fastrnn_size i = 0; i < rest; i++) last[4 * r + i] = a[r * p->a_stride + p->depth - rest + i];
        FN(add_words)(format, rows, vectors, panels, last, 4, w, panel_size, factor, sum);
    }
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < panels * vectors; v++) {
            const fastrnn_size at = (v / vectors) * p->start_panel + (v % vectors) * W;
            if (format == FASTRNN_INT8)
                sum[r][v] = LOAD(start + r * p->start_stride + at) + LOAD(scales + v * W) * sum[r][v];
            STORE(out + r * p->out_stride + (v / vectors) * p->out_panel + (v % vectors) * W, sum[r][v]);
        }
}

/* clang-format off */
#define TILE_KEY(rows, vectors, panels) ((rows) + 4 * (vectors) + 32 * (panels))
#define TILE(rows, vectors, panels) \
    case TILE_KEY(rows, vectors, panels): \
        FN(narrow_tile)(format, rows, vectors, panels, p, scales, a, w, start, out); break

INLINE void FN(run_tile_of_format)(const int format, int rows, int vectors, int panels, const fastrnn_product *p,
                                   const REAL *scales, const REAL *a, const int32_t *w, const REAL *start, REAL *out) {
    switch (TILE_KEY(rows, vectors, panels)) {
        TILE(1, 1, 1); TILE(1, 2, 1); TILE(1, 3, 1); TILE(1, 4, 1); TILE(1, 3, 2); TILE(1, 4, 2);
        TILE(2, 1, 1); TILE(2, 2, 1); TILE(2, 3, 1); TILE(2, 4, 1);
    }
}
#undef TILE
#undef TILE_KEY
/* clang-format on */

/* The tile of a format and a shape known only now. */
static void FN(run_narrow_tile)(const fastrnn_narrow *narrow, fastrnn_size vector, int rows, int vectors, int panels,
                                const fastrnn_product *p, const REAL *a, const void *w, const REAL *start, REAL *out) {
    const REAL *scales = narrow->scales;
    if (narrow->format == FASTRNN_FLOAT16)
        FN(run_tile_of_format)(FASTRNN_FLOAT16, rows, vectors, panels, p, scales, a, w, start, out);
    else if (narrow->format == FASTRNN_BFLOAT16)
        FN(run_tile_of_format)(FASTRNN_BFLOAT16, rows, vectors, panels, p, NULL, a, w, start, out);
    else FN(run_tile_of_format)(FASTRNN_INT8, rows, vectors, panels, p, scales + vector * W, a, w, start, out);
}

/* ---- storing ----------------------------------------------------------------------------------------------------- */

INLINE uint32_t FN(bits_of)(REAL value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* The nearest bfloat16, ties to even. */
INLINE uint32_t FN(to_bfloat16)(REAL value) {
    const uint32_t bits = FN(bits_of)(value);
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

/* The nearest half, ties to even, of a number below 2^15. */
INLINE uint32_t FN(to_float16)(REAL value) {
    const uint32_t bits = FN(bits_of)(value), sign = bits >> 31 << 15, size = bits & 0x7fffffff;
    const REAL positive = value < 0 ? -value : value;
    if (positive < 0x1p-14f) /* subnormal: a multiple of 2^-24, which is what the sum rounds to */
        return sign | (FN(bits_of)(positive + 0.5f) - FN(bits_of)(0.5f));
    return sign | ((size + 0xfff + ((size >> 13) & 1) - (112u << 23)) >> 13);
}

/* The nearest whole number; ties away from 0. */
INLINE uint32_t FN(to_int8)(double value) { return (uint32_t)(int32_t)(value + (value < 0 ? -0.5 : 0.5)) & 0xff; }

/* The largest |w| of `count` rows of W values, each `stride` behind the one before: of each column, or of all. */
INLINE double FN(largest)(const REAL *w, fastrnn_size count, fastrnn_size stride, fastrnn_size columns) {
    double most = 0;
    for (fastrnn_size k = 0; k < count; k++)
        for (fastrnn_size j = 0; j < columns; j++) {
            const double size = w[k * stride + j] < 0 ? -w[k * stride + j] : w[k * stride + j];
            if (size > most) most = size;
        }
    return most;
}

/* The power of 2 that brings the largest weight to between 2^14 and 2^15; 1 if all are zero. */
INLINE double FN(float16_scale)(double most) {
    double scale = 1;
    while (most > 0 && most * scale < 0x1p14) scale *= 2;
    while (most * scale >= 0x1p15) scale /= 2;
    return scale;
}

INLINE uint32_t FN(stored)(int format, REAL w, double scale) {
    if (format == FASTRNN_BFLOAT16) return FN(to_bfloat16)(w);
    if (format == FASTRNN_FLOAT16) return FN(to_float16)((REAL)(w * scale));
    return FN(to_int8)(w * scale);
}

/* Panels of w -> panels of words, and the scales: of each column for int8, one for float16. */
static void FN(narrow)(const fastrnn_narrowing *p) {
    const int per = FN(rows_per_word)(p->format), bits = 32 / per;
    const REAL *w = p->w;
    uint32_t *to = p->words;
    REAL *scales = p->scales;
    const double common = FN(float16_scale)(FN(largest)(w, 1, 0, p->depth * p->vectors * W));
    if (p->format == FASTRNN_FLOAT16) *scales = (REAL)(0x1p112 / common);
    for (fastrnn_size first = 0; first < p->vectors; first += p->panel) {
        const fastrnn_size count = p->vectors - first < p->panel ? p->vectors - first : p->panel, columns = count * W;
        double scale[4 * W];
        for (fastrnn_size j = 0; j < columns; j++) {
            const double most = p->format == FASTRNN_INT8 ? FN(largest)(w + j, p->depth, columns, 1) : 0;
            scale[j] = p->format != FASTRNN_INT8 ? common : most > 0 ? 127 / most : 0;
            if (p->format == FASTRNN_INT8) scales[first * W + j] = (REAL)(most / 127);
        }
        for (fastrnn_size k = 0; k < p->depth; k += per)
            for (fastrnn_size j = 0; j < columns; j++) {
                uint32_t word = 0;
                for (fastrnn_size i = 0; i < per && k + i < p->depth; i++)
                    word |= (FN(stored)(p->format, w[(k + i) * columns + j], scale[j]) & (0xffffffffu >> (32 - bits)))
                            << (bits * i);
                *to++ = word;
            }
        w += p->depth * columns;
    }
}

#endif
