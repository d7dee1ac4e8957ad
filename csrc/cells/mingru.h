/* Minimal gated recurrent unit, gates z n (Feng et al. 2024): the gates see the input alone.
 *     z = sigma(x·w_x + b),   n = phi(x·w_x + b)
 *     h = (1 - z)∘h_prev + z∘n
 * Slots: z n.
 * Backward, from dh:  dz = dh∘(n - h_prev),   dn = dh∘z,   dh_prev = dh∘(1 - z).
 */
#define CELL mingru
#define CELL_SPEC                                                   \
    {.name = "mingru",                                              \
     .function = "mingru",                                          \
     .layer = "MinGRU",                                             \
     .summary = "Minimal gated recurrent unit (Feng et al., 2024)", \
     .equations = "z = sigma(x_t · w_x + b)\n"                      \
                  "n = phi(x_t · w_x + b)\n"                        \
                  "h_t = (1 - z) ∘ h_{t-1} + z ∘ n",                \
     .activation = "linear",                                        \
     .gates = 2,                                                    \
     .slots = 2,                                                    \
     .additive = 1,                                                 \
     .bias_rows = 1,                                                \
     .gated = 1,                                                    \
     .candidate = 1,                                                \
     .recurrent = FASTRNN_NOTHING}

#ifdef CELL_KERNELS
INLINE void FN(mingru_gates)(const fastrnn_options *o, const FN(block) * b) {
    const VEC z = FN(gate)(&o->recurrent, o->clip, LOAD(b->products), b->slots);
    const VEC n = FN(gate)(&o->activation, o->clip, LOAD(b->products + W), b->slots + W);
    STORE(b->h, (ALL(1) - z) * LOAD(b->h_prev) + z * n);
}

INLINE void FN(mingru_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC kept_z = LOAD(b->slots), kept_n = LOAD(b->slots + W), dy = LOAD(b->dh);
    const VEC z = FN(activation_value)(&o->recurrent, kept_z), n = FN(activation_value)(&o->activation, kept_n);
    STORE(b->dgx, FN(gate_back)(&o->recurrent, o->clip, kept_z, FN(plus_outer)(b, 0, dy * (n - LOAD(b->h_prev)))));
    STORE(b->dgx + W, FN(gate_back)(&o->activation, o->clip, kept_n, FN(plus_outer)(b, 1, dy * z)));
    STORE(b->dh, dy * (ALL(1) - z));
}

#define CELL_OUTPUT NULL
#define CELL_OUTPUT_BACK NULL
#endif

#include "register.h"
