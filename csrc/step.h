/* One time step of any cell, forward and backward: the recurrent product with the cell's gates behind it.
 *
 * A cell brings functions on one block of units of one row (see cells/); the loops around them stand here once.  A cell
 * whose output waits for something that spans the row (the cell state's norm, a second product) brings two for each
 * direction: `gates` and `output`, `output_back` and `gates_back`.  The others have empty outputs.
 */

/* What a cell's functions see of one block of one row; gates, slots and unit parameters lie W values apart. */
typedef struct {
    const REAL *products; /* h_prev·w_h + b_h, additive cells: all of the sum */
    REAL *slots;          /* on entry x·w_x + b */
    const REAL *h_prev, *input, *c_prev;
    const REAL *unit;  /* NULL: the cell goes without */
    const REAL *shown; /* what h sees of c, NULL: c itself */
    REAL *second;      /* what the second product takes */
    REAL *h, *c;
} FN(block);

typedef struct {
    const REAL *slots, *h_prev, *input, *c_prev, *unit;
    const REAL *dgates; /* NULL: zero */
    REAL *dh, *dc, *dshown, *dinput;
    REAL *dgx, *dgh, *dsecond, *second, *dunit;
} FN(block_back);

typedef void (*FN(block_function))(const fastrnn_options *, const FN(block) *);
typedef void (*FN(block_back_function))(const fastrnn_options *, const FN(block_back) *);

/* y = phi(a), and what the backward step wants of it. */
INLINE VEC FN(gate)(const fastrnn_activation *phi, double clip, VEC a, REAL *slot) {
    if (clip > 0) {
        a = SELECT(a > ALL(clip), ALL(clip), a);
        a = SELECT(a < ALL(-clip), ALL(-clip), a);
    }
    const VEC y = FN(activate)(phi, a);
    STORE(slot, FN(kept)(phi, a, y));
    return y;
}

/* The gradient by gate `gate`, with what comes from outside. */
INLINE VEC FN(plus_outer)(const FN(block_back) * b, int gate, VEC d) {
    return b->dgates ? d + LOAD(b->dgates + gate * W) : d;
}

/* da = dy·phi'(a), nothing where a was clipped; clipping keeps arguments. */
INLINE VEC FN(gate_back)(const fastrnn_activation *phi, double clip, VEC kept, VEC dy) {
    const VEC da = FN(activate_back)(phi, kept, dy);
    if (clip > 0) return SELECT((kept < ALL(clip)) & (kept > ALL(-clip)), da, ALL(0));
    return da;
}

/* The usual activations become constants of the code; nothing else is looked at then. */
static const fastrnn_options FN(usual) = {
    .activation = {FASTRNN_TANH, 0, 0, 0}, .recurrent = {FASTRNN_SIGMOID, 0, 0, 0}, .output = {FASTRNN_TANH, 0, 0, 0}};

/* ---- forward ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const fastrnn_forward *step;
    const fastrnn_cell *cell;
    FN(block_function) gates, output; /* NULL: not now */
} FN(gates_context);

INLINE void FN(gates_of_block)(const FN(gates_context) * x, const fastrnn_options *o, fastrnn_size row,
                               fastrnn_size block, int with_unit) {
    const fastrnn_forward *s = x->step;
    const int gates = x->cell->gates - x->cell->second, has_c = x->cell->cell_state;
    const fastrnn_size blocks = (s->units + W - 1) / W, at = row * blocks + block, unit = at * W;
    FN(block)
    b = {
        .slots = (REAL *)s->gates + at * x->cell->slots * W,
        .h_prev = (const REAL *)s->h_prev + unit,
        .input = (const REAL *)s->input + row * s->input_stride + block * W,
        .c_prev = has_c ? (const REAL *)s->c_prev + unit : NULL,
        .unit = with_unit ? (const REAL *)s->unit + block * x->cell->unit_parameters * W : NULL,
        .shown = s->part == FASTRNN_OUTPUT_PART ? (const REAL *)s->shown + unit : NULL,
        .second = x->cell->second ? (REAL *)s->second + unit : NULL,
        .h = (REAL *)s->h + unit,
        .c = has_c ? (REAL *)s->c + unit : NULL,
    };
    b.products = x->cell->additive ? b.slots : (const REAL *)s->products + at * gates * W;
    if (x->gates) x->gates(o, &b);
    if (x->cell->second) b.products = (const REAL *)s->products + at * x->cell->second * W;
    if (x->output) x->output(o, &b);
}

/* The gates of a piece of the product. */
INLINE void FN(gates_of_piece)(const void *context, FN(piece) piece) {
    const FN(gates_context) *x = context;
    const int gates = x->gates ? x->cell->gates - x->cell->second : x->cell->second;
    const fastrnn_size first = piece.vector / gates, last = (piece.vector + piece.vectors) / gates;
    const int usual = x->step->options->usual, with_unit = x->step->unit != NULL;
    for (fastrnn_size row = piece.row; row < piece.row + piece.rows; row++)
        for (fastrnn_size block = first; block < last; block++) {
            if (usual && !with_unit) FN(gates_of_block)(x, &FN(usual), row, block, 0);
            else if (usual) FN(gates_of_block)(x, &FN(usual), row, block, 1);
            else FN(gates_of_block)(x, x->step->options, row, block, with_unit);
        }
}

/* gh (rows, gates*Hp) = start + a (rows, depth) · w, then the gates, panel by panel.  Additive cells start from
 * x·w_x + b and leave the sum in the slots; the others start from the recurrent bias and keep the products apart. */
INLINE void FN(product_and_gates)(const FN(gates_context) * context, int gates, const void *a, fastrnn_size a_stride,
                                  fastrnn_size depth, const void *w, const fastrnn_narrow *narrow) {
    const fastrnn_forward *s = context->step;
    const int additive = context->cell->additive, slots = additive ? context->cell->slots : gates;
    const int panel = FN(panel_vectors)(gates);
    const fastrnn_size blocks = (s->units + W - 1) / W, padded = blocks * W;
    const fastrnn_size out_panel = slots * (panel / gates) * W;
    const fastrnn_product product = {
        .rows = s->rows,
        .depth = depth,
        .vectors = blocks * gates,
        .first = s->first * gates,
        .last = s->last * gates,
        .panel = panel,
        .a = a,
        .a_stride = a_stride,
        .w = w,
        .start = additive ? s->gates : s->b_h,
        .start_stride = additive ? slots * padded : 0,
        .start_panel = additive ? out_panel : panel * W,
        .out = additive ? s->gates : s->products,
        .out_stride = slots * padded,
        .out_panel = out_panel,
    };
    FN(product_then)(&product, narrow, FN(gates_of_piece), context);
}

INLINE void FN(step_forward)(const fastrnn_forward *s, const fastrnn_cell *cell, FN(block_function) gates,
                             FN(block_function) output) {
    const fastrnn_size blocks = (s->units + W - 1) / W;
    const int first = cell->gates - cell->second;
    if (cell->second) { /* the output waits for a product of its own */
        const FN(gates_context) begin = {s, cell, gates, NULL}, end = {s, cell, NULL, output};
        FN(product_and_gates)(&begin, first, s->input, s->input_stride, s->depth, s->w_h, s->narrow_h);
        FN(product_and_gates)(&end, cell->second, s->second, blocks * W, s->units, s->w_second, s->narrow_second);
        return;
    }
    if (s->part == FASTRNN_WHOLE) {
        const FN(gates_context) all = {s, cell, gates, output};
        if (s->w_h) FN(product_and_gates)(&all, first, s->input, s->input_stride, s->depth, s->w_h, s->narrow_h);
        else
            for (fastrnn_size row = 0; row < s->rows; row++)
                FN(gates_of_piece)(&all, (FN(piece)){row, s->first * first, 1, (int)((s->last - s->first) * first)});
        return;
    }
    const int begins = s->part == FASTRNN_GATES_PART;
    const FN(gates_context) one = {s, cell, begins ? gates : NULL, begins ? NULL : output};
    for (fastrnn_size row = 0; row < s->rows; row++)
        for (fastrnn_size block = 0; block < blocks; block++) {
            if (s->options->usual) FN(gates_of_block)(&one, &FN(usual), row, block, s->unit != NULL);
            else FN(gates_of_block)(&one, s->options, row, block, s->unit != NULL);
        }
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* Zeros behind the last `used` units of a block: an infinite input makes NaN there, which zero weights would not stop.
 */
INLINE void FN(clear_padding)(REAL *gradients, int vectors, fastrnn_size used) {
    const IVEC inside = FN(inside)(used);
    for (int v = 0; v < vectors; v++) STORE(gradients + v * W, (VEC)(inside & (IVEC)LOAD(gradients + v * W)));
}

INLINE void FN(block_backward)(const fastrnn_backward *s, const fastrnn_cell *cell, const fastrnn_options *o,
                               FN(block_back_function) output, FN(block_back_function) gates, fastrnn_size row,
                               fastrnn_size block, int with_unit, int with_gates) {
    const int apart = !cell->additive, first = cell->gates - cell->second;
    const fastrnn_size blocks = (s->units + W - 1) / W, at = row * blocks + block, unit = at * W;
    REAL dshown[W];
    const FN(block_back) b = {
        .slots = (const REAL *)s->gates + at * cell->slots * W,
        .h_prev = (const REAL *)s->h_prev + unit,
        .input = (const REAL *)s->input + row * s->input_stride + block * W,
        .c_prev = cell->cell_state ? (const REAL *)s->c_prev + unit : NULL,
        .unit = with_unit ? (const REAL *)s->unit + block * cell->unit_parameters * W : NULL,
        .dgates = with_gates ? (const REAL *)s->dgates + at * cell->gates * W : NULL,
        .dh = (REAL *)s->dh + unit,
        .dc = cell->cell_state ? (REAL *)s->dc + unit : NULL,
        .dshown = s->dshown ? (REAL *)s->dshown + unit : dshown,
        .dinput = (REAL *)s->dinput + unit,
        .dgx = (REAL *)s->dgx + at * cell->gates * W,
        .dgh = apart ? (REAL *)s->dgh + at * first * W : NULL,
        .dsecond = cell->second ? (REAL *)s->dsecond + unit : NULL,
        .second = cell->second ? (REAL *)s->second + unit : NULL,
        .dunit = with_unit ? (REAL *)s->dunit + row * s->dunit_stride + block * cell->unit_parameters * W : NULL,
    };
    if (output) output(o, &b);
    if (gates) gates(o, &b);
    if (s->units % W && block == blocks - 1) {
        const fastrnn_size used = s->units % W;
        FN(clear_padding)(b.dgx, cell->gates, used);
        if (apart) FN(clear_padding)(b.dgh, first, used);
        if (cell->second) FN(clear_padding)(b.dsecond, cell->second, used);
        if (s->dshown) FN(clear_padding)(b.dshown, 1, used);
    }
}

INLINE void FN(blocks_backward)(const fastrnn_backward *s, const fastrnn_cell *cell, FN(block_back_function) output,
                                FN(block_back_function) gates) {
    const int usual = s->options->usual && s->dgates == NULL, with_unit = s->unit != NULL;
    for (fastrnn_size row = 0; row < s->rows; row++)
        for (fastrnn_size block = s->first; block < s->last; block++) {
            if (usual && !with_unit) FN(block_backward)(s, cell, &FN(usual), output, gates, row, block, 0, 0);
            else if (usual) FN(block_backward)(s, cell, &FN(usual), output, gates, row, block, 1, 0);
            else FN(block_backward)(s, cell, s->options, output, gates, row, block, with_unit, s->dgates != NULL);
        }
}

INLINE void FN(step_backward)(const fastrnn_backward *s, const fastrnn_cell *cell, FN(block_back_function) output,
                              FN(block_back_function) gates) {
    if (cell->second) {
        const fastrnn_size blocks = (s->units + W - 1) / W, padded = blocks * W;
        const int panel = FN(panel_vectors)(1);
        /* dsecond's product: the gradient by what the second product took */
        const fastrnn_product product = {
            .rows = s->rows,
            .depth = cell->second * padded,
            .vectors = blocks,
            .first = 0,
            .last = blocks,
            .panel = panel,
            .a = s->dsecond,
            .a_stride = cell->second * padded,
            .w = s->w_second,
            .start = s->zeros,
            .start_stride = 0,
            .start_panel = panel * W,
            .out = s->second,
            .out_stride = padded,
            .out_panel = panel * W,
        };
        FN(blocks_backward)(s, cell, output, NULL);
        FN(product)(&product);
        FN(blocks_backward)(s, cell, NULL, gates);
    } else if (s->part == FASTRNN_WHOLE) FN(blocks_backward)(s, cell, output, gates);
    else if (s->part == FASTRNN_OUTPUT_PART) FN(blocks_backward)(s, cell, output, NULL);
    else FN(blocks_backward)(s, cell, NULL, gates);
}
