/* Leaky integrator (Jaeger 2001), the cell of echo state networks, with a leak a for each unit:
 *     n = phi(x·w_x + h_prev·w_h + b)
 *     h = (1 - a)∘h_prev + a∘n
 * Slot: n, or phi's argument.
 * Backward, from dh:  dn = dh∘a through phi,   da = dh∘(n - h_prev);   the direct path to h_prev is dh∘(1 - a).
 */
#define CELL leaky
#define CELL_SPEC                                                                           \
    {.name = "leaky",                                                                       \
     .function = "leaky",                                                                   \
     .layer = "EchoState",                                                                  \
     .summary = "Leaky integrator (Jaeger, 2001)",                                          \
     .equations = "h_t = (1 - leak) ∘ h_{t-1} + leak ∘ phi(x_t · w_x + h_{t-1} · w_h + b)", \
     .activation = "tanh",                                                                  \
     .gates = 1,                                                                            \
     .slots = 1,                                                                            \
     .additive = 1,                                                                         \
     .bias_rows = 1,                                                                        \
     .recurrent = FASTRNN_PRODUCT,                                                          \
     .norm = FASTRNN_NORM_OF_SUM,                                                           \
     .unit_parameters = 1,                                                                  \
     .unit_name = "leak"}

#ifdef CELL_KERNELS
INLINE void FN(leaky_gates)(const fastrnn_options *o, const FN(block) * b) {
    const VEC n = FN(gate)(&o->activation, o->clip, LOAD(b->products), b->slots);
    if (b->unit) STORE(b->h, (ALL(1) - LOAD(b->unit)) * LOAD(b->h_prev) + LOAD(b->unit) * n);
    else STORE(b->h, n);
}

INLINE void FN(leaky_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC kept = LOAD(b->slots), dy = LOAD(b->dh), a = b->unit ? LOAD(b->unit) : ALL(1);
    STORE(b->dgx, FN(gate_back)(&o->activation, o->clip, kept, FN(plus_outer)(b, 0, dy * a)));
    if (b->unit) STORE(b->dunit, dy * (FN(activation_value)(&o->activation, kept) - LOAD(b->h_prev)));
    STORE(b->dh, dy * (ALL(1) - a));
}

#define CELL_OUTPUT NULL
#define CELL_OUTPUT_BACK NULL
#endif

#include "register.h"
