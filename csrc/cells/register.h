/* The end of every cell's header: what the registry makes of the cell, by what cells.h is included for. */
#define CELL_FN(what) FN(PASTE(CELL, what))

#if defined(CELL_SPECS) /* the entries of fastrnn_cells */
CELL_SPEC,
#elif defined(CELL_KERNELS) /* the cell's steps */
static void CELL_FN(_step_forward)(const fastrnn_forward *s) {
    static const fastrnn_cell cell = CELL_SPEC;
    FN(step_forward)(s, &cell, CELL_FN(_gates), CELL_OUTPUT);
}
static void CELL_FN(_step_backward)(const fastrnn_backward *s) {
    static const fastrnn_cell cell = CELL_SPEC;
    FN(step_backward)(s, &cell, CELL_OUTPUT_BACK, CELL_FN(_gates_back));
}
#elif defined(CELL_FORWARD_TABLE)
CELL_FN(_step_forward),
#elif defined(CELL_BACKWARD_TABLE)
CELL_FN(_step_backward),
#endif

#undef CELL_FN
#undef CELL_SPEC
#undef CELL_OUTPUT
#undef CELL_OUTPUT_BACK
#undef CELL
