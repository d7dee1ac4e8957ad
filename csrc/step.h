/* One time step of any cell, forward and backward: the recurrent product with the cell's gates behind it.
 *
 * A cell brings two functions on one block of units of one row (see cells/); the loops around them stand here once.
 */

typedef void (*FN(forward_block))(int activation, int recurrent, const REAL *products, REAL *slots, const REAL *h_prev,
                                  const REAL *c_prev, REAL *h, REAL *c);
typedef void (*FN(backward_block))(int activation, int recurrent, const REAL *slots, const REAL *h_prev,
                                   const REAL *c_prev, REAL *dh, REAL *dc, REAL *dgx, REAL *dgh);

typedef struct {
    const fastrnn_forward *step;
    const fastrnn_cell *cell;
    FN(forward_block) block;
} FN(gates_context);

/* The gates of a piece of the product; the activations are constants where they are the usual ones. */
INLINE void FN(gates_of_piece)(const void *context, FN(piece) piece) {
    const FN(gates_context) *x = context;
    const fastrnn_forward *s = x->step;
    const int gates = x->cell->gates, slots = x->cell->slots, has_c = x->cell->cell_state;
    const fastrnn_size blocks = (s->units + W - 1) / W, padded = blocks * W;
    const fastrnn_size first = piece.vector / gates, last = (piece.vector + piece.vectors) / gates;
    const int usual = s->activation == FASTRNN_TANH && s->recurrent_activation == FASTRNN_SIGMOID;
    for (fastrnn_size row = piece.row; row < piece.row + piece.rows; row++)
        for (fastrnn_size block = first; block < last; block++) {
            const fastrnn_size unit = row * padded + block * W;
            REAL *kept = (REAL *)s->gates + (row * blocks + block) * slots * W;
            const REAL *products = (const REAL *)s->products + (row * blocks + block) * gates * W;
            const REAL *h_prev = (const REAL *)s->h_prev + unit,
                       *c_prev = has_c ? (const REAL *)s->c_prev + unit : NULL;
            REAL *h = (REAL *)s->h + unit, *c = has_c ? (REAL *)s->c + unit : NULL;
            if (x->cell->additive) products = kept;
            if (usual) x->block(FASTRNN_TANH, FASTRNN_SIGMOID, products, kept, h_prev, c_prev, h, c);
            else x->block(s->activation, s->recurrent_activation, products, kept, h_prev, c_prev, h, c);
        }
}

/* gh (rows, G*Hp) = start + h_prev (rows, H) · w_h (H, G*Hp), then the gates, panel by panel.  Additive cells start
 * from x·w_x + b and leave the sum in the slots; the others start from the recurrent bias and keep the products apart.
 */
INLINE void FN(step_forward)(const fastrnn_forward *s, const fastrnn_cell *cell, FN(forward_block) block) {
    const FN(gates_context) context = {s, cell, block};
    const int gates = cell->gates, slots = cell->slots, panel = FN(panel_vectors)(gates);
    const fastrnn_size blocks = (s->units + W - 1) / W, padded = blocks * W;
    if (s->w_h == NULL) {
        for (fastrnn_size row = 0; row < s->rows; row++)
            FN(gates_of_piece)(&context, (FN(piece)){row, 0, 1, (int)(blocks * gates)});
        return;
    }
    const fastrnn_size out_panel = (cell->additive ? slots : gates) * (panel / gates) * W;
    const fastrnn_product product = {
        .rows = s->rows,
        .depth = s->units,
        .vectors = blocks * gates,
        .first = s->first * gates,
        .last = s->last * gates,
        .panel = panel,
        .a = s->h_prev,
        .a_stride = padded,
        .w = s->w_h,
        .start = cell->additive ? s->gates : s->b_h,
        .start_stride = cell->additive ? slots * padded : 0,
        .start_panel = cell->additive ? out_panel : panel * W,
        .out = cell->additive ? s->gates : (void *)s->products,
        .out_stride = (cell->additive ? slots : gates) * padded,
        .out_panel = out_panel,
    };
    FN(product_then)(&product, FN(gates_of_piece), &context);
}

/* Zeros behind the last `used` units of a block: an infinite input makes NaN there, which zero weights would not stop.
 */
INLINE void FN(clear_padding)(REAL *gradients, int gates, fastrnn_size used) {
    IVEC inside = {0};
    for (fastrnn_size lane = 0; lane < W; lane++) inside[lane] = lane < used ? -1 : 0;
    for (int gate = 0; gate < gates; gate++)
        STORE(gradients + gate * W, (VEC)(inside & (IVEC)LOAD(gradients + gate * W)));
}

/* The gates' gradients. */
INLINE void FN(step_backward)(const fastrnn_backward *s, const fastrnn_cell *cell, FN(backward_block) block_back) {
    const int gates = cell->gates, slots = cell->slots, has_c = cell->cell_state;
    const fastrnn_size blocks = (s->units + W - 1) / W, padded = blocks * W;
    const int usual = s->activation == FASTRNN_TANH && s->recurrent_activation == FASTRNN_SIGMOID;
    const fastrnn_size partial = s->units % W ? blocks - 1 : -1;
    for (fastrnn_size row = 0; row < s->rows; row++)
        for (fastrnn_size block = s->first; block < s->last; block++) {
            const fastrnn_size unit = row * padded + block * W, gate = (row * blocks + block) * gates * W;
            const REAL *kept = (const REAL *)s->gates + (row * blocks + block) * slots * W;
            const REAL *h_prev = (const REAL *)s->h_prev + unit,
                       *c_prev = has_c ? (const REAL *)s->c_prev + unit : NULL;
            REAL *dh = (REAL *)s->dh + unit, *dc = has_c ? (REAL *)s->dc + unit : NULL;
            REAL *dgx = (REAL *)s->dgx + gate, *dgh = (REAL *)s->dgh + gate;
            if (usual) block_back(FASTRNN_TANH, FASTRNN_SIGMOID, kept, h_prev, c_prev, dh, dc, dgx, dgh);
            else block_back(s->activation, s->recurrent_activation, kept, h_prev, c_prev, dh, dc, dgx, dgh);
            if (block == partial) {
                FN(clear_padding)(dgx, gates, s->units % W);
                if (dgh != dgx) FN(clear_padding)(dgh, gates, s->units % W);
            }
        }
}
