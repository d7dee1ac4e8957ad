/* Between a user's arrays and fastrnn's: block order, packed panels, padded rows (fastrnn.h says what these are). */

/* Vectors in a panel: all gates of one block, or four blocks of a single gate. */
static int FN(panel_vectors)(int gates) { return gates * (4 / gates > 1 ? 4 / gates : 1); }

/* The W values of one gate and one block of a user's row; units past the end are zero. */
INLINE VEC FN(load_units)(const REAL *row, fastrnn_size units, int gate, fastrnn_size block) {
    const REAL *from = row + gate * units + block * W;
    const fastrnn_size left = units - block * W;
    return left >= W ? LOAD(from) : FN(load_part)(from, left);
}

/* w (rows, gates*units of row_size) -> panels, depth = rows */
static void FN(pack)(const fastrnn_pack *p) {
    const int gates = p->gates, panel = FN(panel_vectors)(gates);
    const fastrnn_size vectors = (p->units + W - 1) / W * gates;
    REAL *to = p->packed;
    for (fastrnn_size first = 0; first < vectors; first += panel) {
        const int count = (int)(vectors - first < panel ? vectors - first : panel);
        for (fastrnn_size k = 0; k < p->rows; k++) {
            const REAL *row = (const REAL *)p->w + k * p->row_size;
            for (int v = 0; v < count; v++, to += W)
                STORE(to, FN(load_units)(row, p->units, (int)((first + v) % gates), (first + v) / gates));
        }
    }
}

/* to (W, width) = the first `columns` rows of from, W values of each, transposed; what lies past `units` or `columns`
 * is 0. Rows of `from` are read from end to end: to is small enough to stay in the nearest cache. */
INLINE void FN(transpose_tile)(const REAL *from, fastrnn_size from_stride, fastrnn_size columns, fastrnn_size units,
                               REAL *to, fastrnn_size width) {
    const fastrnn_size used = units < W ? units : W;
    if (used < W || columns < width) memset(to, 0, (size_t)(W * width) * sizeof(REAL));
    if (used == W)
        for (fastrnn_size j = 0; j < columns; j++)
#pragma GCC unroll 16
            for (fastrnn_size lane = 0; lane < W; lane++) to[lane * width + j] = from[j * from_stride + lane];
    else
        for (fastrnn_size j = 0; j < columns; j++)
            for (fastrnn_size lane = 0; lane < used; lane++) to[lane * width + j] = from[j * from_stride + lane];
}

/* w (rows, gates*units of row_size) -> panels of its transpose: depth = gates*units in block order, columns = rows */
static void FN(pack_transposed)(const fastrnn_pack *p) {
    const int gates = p->gates, panel = FN(panel_vectors)(1);
    const fastrnn_size row_size = p->row_size, blocks = (p->units + W - 1) / W, vectors = (p->rows + W - 1) / W;
    REAL *to = p->packed;
    for (fastrnn_size first = 0; first < vectors; first += panel) {
        const fastrnn_size width = (vectors - first < panel ? vectors - first : panel) * W;
        const fastrnn_size columns = p->rows - first * W < width ? p->rows - first * W : width;
        const REAL *from = (const REAL *)p->w + first * W * row_size;
        for (fastrnn_size block = 0; block < blocks; block++)
            for (int gate = 0; gate < gates; gate++, to += W * width)
                FN(transpose_tile)(from + gate * p->units + block * W, row_size, columns, p->units - block * W, to,
                                   width);
    }
}

/* A user's row (gates*units,) into block order with `slots` vectors from block to block. */
static void FN(to_blocks)(const void *row, void *blocks, fastrnn_size units, int gates, int slots) {
    for (fastrnn_size block = 0; block * W < units; block++)
        for (int gate = 0; gate < gates; gate++)
            STORE((REAL *)blocks + (block * slots + gate) * W, FN(load_units)(row, units, gate, block));
}

/* Rows in block order into a user's w. */
static void FN(from_blocks)(const fastrnn_pack *p) {
    const REAL *from = p->packed;
    for (fastrnn_size k = 0; k < p->rows; k++)
        for (fastrnn_size block = 0; block * W < p->units; block++)
            for (int gate = 0; gate < p->gates; gate++, from += W) {
                const fastrnn_size left = p->units - block * W;
                REAL *to = (REAL *)p->w + k * p->row_size + gate * p->units + block * W;
                if (left >= W) STORE(to, LOAD(from));
                else FN(store_part)(to, LOAD(from), left);
            }
}

static void FN(gather)(const fastrnn_rows *p) {
    for (fastrnn_size r = 0; r < p->rows; r++) {
        const REAL *from = (const REAL *)p->user + (p->origin[r] + p->shift) * p->width;
        REAL *to = (REAL *)p->padded + r * p->stride;
        for (fastrnn_size j = 0; j < p->columns; j++) to[j] = from[j];
        for (fastrnn_size j = p->columns; j < p->stride; j++) to[j] = 0;
    }
}

static void FN(gather_add)(const fastrnn_rows *p) {
    for (fastrnn_size r = 0; r < p->rows; r++) {
        const REAL *from = (const REAL *)p->user + (p->origin[r] + p->shift) * p->width;
        REAL *to = (REAL *)p->padded + r * p->stride;
        for (fastrnn_size j = 0; j < p->columns; j++) to[j] += from[j];
    }
}

static void FN(scatter)(const fastrnn_rows *p) {
    for (fastrnn_size r = 0; r < p->rows; r++)
        memcpy((REAL *)p->user + (p->origin[r] + p->shift) * p->width, (const REAL *)p->padded + r * p->stride,
               (size_t)p->columns * sizeof(REAL));
}
