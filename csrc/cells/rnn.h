/* Simple recurrent cell, the textbook's equation 15-2:
 *     h = phi(x·w_x + h_prev·w_h + b)
 * Slot: h, or phi's argument (a reset may overwrite h in the states).
 * Backward, from dh:  dg = dh·phi'.  No direct path to h_prev.
 */
#define CELL rnn
#define CELL_SPEC                                             \
    {.name = "rnn",                                           \
     .function = "rnn",                                       \
     .layer = "SimpleRNN",                                    \
     .summary = "Simple recurrent cell (Elman, 1990)",        \
     .equations = "h_t = phi(x_t · w_x + h_{t-1} · w_h + b)", \
     .activation = "tanh",                                    \
     .gates = 1,                                              \
     .slots = 1,                                              \
     .additive = 1,                                           \
     .bias_rows = 1,                                          \
     .recurrent = FASTRNN_PRODUCT,                            \
     .norm = FASTRNN_NORM_OF_SUM}

#ifdef CELL_KERNELS
INLINE void FN(rnn_gates)(const fastrnn_options *o, const FN(block) * b) {
    STORE(b->h, FN(gate)(&o->activation, o->clip, LOAD(b->products), b->slots));
}

INLINE void FN(rnn_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    STORE(b->dgx, FN(gate_back)(&o->activation, o->clip, LOAD(b->slots), FN(plus_outer)(b, 0, LOAD(b->dh))));
    STORE(b->dh, ALL(0));
}

#define CELL_OUTPUT NULL
#define CELL_OUTPUT_BACK NULL
#endif

#include "register.h"
