/* Independently recurrent cell (Li et al. 2018): each unit sees its own past alone, by a weight u:
 *     h = phi(x·w_x + u∘h_prev + b)
 * Slot: h, or phi's argument.  What meets u may be a masked h_prev ("input").
 * Backward, from dh:  dg = dh·phi',   du = dg∘h_prev,   dh_prev = dg∘u.
 */
#define CELL indrnn
#define CELL_SPEC                                                 \
    {.name = "indrnn",                                            \
     .function = "indrnn",                                        \
     .layer = "IndRNN",                                           \
     .summary = "Independently recurrent cell (Li et al., 2018)", \
     .equations = "h_t = phi(x_t · w_x + w_h ∘ h_{t-1} + b)",     \
     .activation = "relu",                                        \
     .gates = 1,                                                  \
     .slots = 1,                                                  \
     .additive = 1,                                               \
     .bias_rows = 1,                                              \
     .recurrent = FASTRNN_ELEMENTWISE,                            \
     .unit_parameters = 1,                                        \
     .unit_name = "w_h"}

#ifdef CELL_KERNELS
INLINE void FN(indrnn_gates)(const fastrnn_options *o, const FN(block) * b) {
    const VEC a = LOAD(b->products) + LOAD(b->unit) * LOAD(b->input);
    STORE(b->h, FN(gate)(&o->activation, o->clip, a, b->slots));
}

INLINE void FN(indrnn_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC dg = FN(gate_back)(&o->activation, o->clip, LOAD(b->slots), FN(plus_outer)(b, 0, LOAD(b->dh)));
    STORE(b->dgx, dg);
    STORE(b->dunit, dg * LOAD(b->input));
    STORE(b->dh, ALL(0));
    STORE(b->dinput, LOAD(b->dinput) + dg * LOAD(b->unit));
}

#define CELL_OUTPUT NULL
#define CELL_OUTPUT_BACK NULL
#endif

#include "register.h"
