/* Gated recurrent unit, gates z r n, reset before the product (Cho et al. 2014, the original form):
 *     z, r = sigma(x·w_x + b + h_prev·w_h)
 *     n = phi(x·w_x + b + (r∘h_prev)·w_h)
 *     h = z∘h_prev + (1 - z)∘n
 * The candidate's product waits for r.  Slots: z r n.  What enters the products may be a masked h_prev ("input").
 * Backward, from dh:
 *     dz = dh∘(h_prev - n),   dn = dh∘(1 - z) through phi
 *     with e = dn·w_hᵀ:   dr = e∘h_prev through sigma,   and e∘r goes to h_prev
 * dgx is (dz, dr, dn), dgh is (dz, dr), dsecond is dn; the direct path to h_prev is dh∘z.
 */
#define CELL gru_reset_before
#define CELL_SPEC                                                                    \
    {.name = "gru_reset_before",                                                     \
     .function = "gru",                                                              \
     .layer = "GRU",                                                                 \
     .summary = "Gated recurrent unit, reset before the product (Cho et al., 2014)", \
     .equations = "z, r = sigma(x_t · w_x + h_{t-1} · w_h + b)\n"                    \
                  "n = phi(x_t · w_x + (r ∘ h_{t-1}) · w_h + b)\n"                   \
                  "h_t = z ∘ h_{t-1} + (1 - z) ∘ n",                                 \
     .activation = "tanh",                                                           \
     .gates = 3,                                                                     \
     .slots = 3,                                                                     \
     .bias_rows = 1,                                                                 \
     .gated = 1,                                                                     \
     .candidate = 2,                                                                 \
     .recurrent = FASTRNN_PRODUCT,                                                   \
     .second = 1}

#ifdef CELL_KERNELS
INLINE void FN(gru_reset_before_gates)(const fastrnn_options *o, const FN(block) * b) {
    (void)FN(gate)(&o->recurrent, o->clip, LOAD(b->slots) + LOAD(b->products), b->slots);
    const VEC r = FN(gate)(&o->recurrent, o->clip, LOAD(b->slots + W) + LOAD(b->products + W), b->slots + W);
    STORE(b->second, r * LOAD(b->input));
}

INLINE void FN(gru_reset_before_output)(const fastrnn_options *o, const FN(block) * b) {
    const VEC z = FN(activation_value)(&o->recurrent, LOAD(b->slots));
    const VEC n = FN(gate)(&o->activation, o->clip, LOAD(b->slots + 2 * W) + LOAD(b->products), b->slots + 2 * W);
    STORE(b->h, z * LOAD(b->h_prev) + (ALL(1) - z) * n);
}

INLINE void FN(gru_reset_before_output_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC kept_z = LOAD(b->slots), kept_n = LOAD(b->slots + 2 * W), dy = LOAD(b->dh);
    const VEC z = FN(activation_value)(&o->recurrent, kept_z), n = FN(activation_value)(&o->activation, kept_n);
    const VEC dz = FN(gate_back)(&o->recurrent, o->clip, kept_z, FN(plus_outer)(b, 0, dy * (LOAD(b->h_prev) - n)));
    const VEC dn = FN(gate_back)(&o->activation, o->clip, kept_n, FN(plus_outer)(b, 2, dy * (ALL(1) - z)));
    STORE(b->dgx, dz);
    STORE(b->dgx + W, ALL(0));
    STORE(b->dgx + 2 * W, dn);
    STORE(b->dgh, dz);
    STORE(b->dgh + W, ALL(0));
    STORE(b->dsecond, dn);
    STORE(b->dh, dy * z);
}

/* On entry `second` holds e, on exit r∘input, which the weights' gradient needs. */
INLINE void FN(gru_reset_before_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC kept_r = LOAD(b->slots + W), r = FN(activation_value)(&o->recurrent, kept_r);
    const VEC e = LOAD(b->second), input = LOAD(b->input);
    const VEC dr = FN(gate_back)(&o->recurrent, o->clip, kept_r, FN(plus_outer)(b, 1, e * input));
    STORE(b->dgx + W, dr);
    STORE(b->dgh + W, dr);
    STORE(b->dinput, LOAD(b->dinput) + e * r);
    STORE(b->second, r * input);
}

#define CELL_OUTPUT FN(gru_reset_before_output)
#define CELL_OUTPUT_BACK FN(gru_reset_before_output_back)
#endif

#include "register.h"
