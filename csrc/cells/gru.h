/* Gated recurrent unit, gates z r n, reset after the product (Cho et al. 2014; Keras' and cuDNN's form):
 *     z, r = sigma(x·w_x + b + h_prev·w_h + b_h)
 *     n = phi(x·w_x + b + r∘m)   with m = h_prev·w_h + b_h of the third gate
 *     h = z∘h_prev + (1 - z)∘n
 * Slots: z r n m.
 * Backward, from dh:
 *     dz = dh∘(h_prev - n),   dn = dh∘(1 - z) through phi,   dr = dn∘m,   dm = dn∘r
 * dgx is (dz, dr, dn), dgh is (dz, dr, dm); the direct path to h_prev is dh∘z.
 */
#define CELL gru
#define CELL_SPEC                                                                   \
    {.name = "gru",                                                                 \
     .function = "gru",                                                             \
     .layer = "GRU",                                                                \
     .summary = "Gated recurrent unit, reset after the product (Cho et al., 2014)", \
     .equations = "z, r = sigma(x_t · w_x + b[0] + h_{t-1} · w_h + b[1])\n"         \
                  "n = phi(x_t · w_x + b[0] + r ∘ (h_{t-1} · w_h + b[1]))\n"        \
                  "h_t = z ∘ h_{t-1} + (1 - z) ∘ n",                                \
     .activation = "tanh",                                                          \
     .gates = 3,                                                                    \
     .slots = 4,                                                                    \
     .bias_rows = 2,                                                                \
     .gated = 1,                                                                    \
     .candidate = 2,                                                                \
     .recurrent = FASTRNN_PRODUCT,                                                  \
     .norm = FASTRNN_NORMS_APART}

#ifdef CELL_KERNELS
INLINE void FN(gru_gates)(const fastrnn_options *o, const FN(block) * b) {
    const VEC z = FN(gate)(&o->recurrent, o->clip, LOAD(b->slots) + LOAD(b->products), b->slots);
    const VEC r = FN(gate)(&o->recurrent, o->clip, LOAD(b->slots + W) + LOAD(b->products + W), b->slots + W);
    const VEC m = LOAD(b->products + 2 * W);
    const VEC n = FN(gate)(&o->activation, o->clip, LOAD(b->slots + 2 * W) + r * m, b->slots + 2 * W);
    STORE(b->slots + 3 * W, m);
    STORE(b->h, z * LOAD(b->h_prev) + (ALL(1) - z) * n);
}

INLINE void FN(gru_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC kept_z = LOAD(b->slots), kept_r = LOAD(b->slots + W), kept_n = LOAD(b->slots + 2 * W);
    const VEC z = FN(activation_value)(&o->recurrent, kept_z), r = FN(activation_value)(&o->recurrent, kept_r);
    const VEC n = FN(activation_value)(&o->activation, kept_n), m = LOAD(b->slots + 3 * W), dy = LOAD(b->dh);
    const VEC dz = FN(gate_back)(&o->recurrent, o->clip, kept_z, FN(plus_outer)(b, 0, dy * (LOAD(b->h_prev) - n)));
    const VEC dn = FN(gate_back)(&o->activation, o->clip, kept_n, FN(plus_outer)(b, 2, dy * (ALL(1) - z)));
    const VEC dr = FN(gate_back)(&o->recurrent, o->clip, kept_r, FN(plus_outer)(b, 1, dn * m));
    STORE(b->dgx, dz);
    STORE(b->dgx + W, dr);
    STORE(b->dgx + 2 * W, dn);
    STORE(b->dgh, dz);
    STORE(b->dgh + W, dr);
    STORE(b->dgh + 2 * W, dn * r);
    STORE(b->dh, dy * z);
}

#define CELL_OUTPUT NULL
#define CELL_OUTPUT_BACK NULL
#endif

#include "register.h"
