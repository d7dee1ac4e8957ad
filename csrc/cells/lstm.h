/* Long short-term memory, gates i f g o (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000; peepholes
 * p_i, p_f, p_o of Gers and Schmidhuber 2000):
 *     i, f = sigma(x·w_x + h_prev·w_h + b + p∘c_prev),   g = phi(x·w_x + h_prev·w_h + b)
 *     c = f∘c_prev + i∘g
 *     o = sigma(x·w_x + h_prev·w_h + b + p_o∘c)
 *     h = o∘that(c)
 * Slots: i f g o that(c).
 * Backward, from dh and dc:
 *     do = dh∘that(c),   dc += dh∘o∘that'(c) + p_o∘do through sigma
 *     di = dc∘g,   df = dc∘c_prev,   dg = dc∘i,   dc_prev = dc∘f + p_i∘di + p_f∘df
 * and each through its activation.  No direct path to h_prev.
 */
#define CELL lstm
#define CELL_SPEC                                                            \
    {.name = "lstm",                                                         \
     .function = "lstm",                                                     \
     .layer = "LSTM",                                                        \
     .summary = "Long short-term memory (Hochreiter and Schmidhuber, 1997)", \
     .equations = "i, f, o = sigma(x_t · w_x + h_{t-1} · w_h + b)\n"         \
                  "g = phi(x_t · w_x + h_{t-1} · w_h + b)\n"                 \
                  "c_t = f ∘ c_{t-1} + i ∘ g\n"                              \
                  "h_t = o ∘ phi(c_t)",                                      \
     .activation = "tanh",                                                   \
     .gates = 4,                                                             \
     .slots = 5,                                                             \
     .cell_state = 1,                                                        \
     .additive = 1,                                                          \
     .bias_rows = 1,                                                         \
     .gated = 1,                                                             \
     .candidate = 2,                                                         \
     .recurrent = FASTRNN_PRODUCT,                                           \
     .norm = FASTRNN_NORMS_APART,                                            \
     .unit_parameters = 3,                                                   \
     .unit_name = "peephole"}

#ifdef CELL_KERNELS
INLINE void FN(lstm_gates)(const fastrnn_options *o, const FN(block) * b) {
    const VEC c_prev = LOAD(b->c_prev);
    VEC a_i = LOAD(b->products), a_f = LOAD(b->products + W);
    if (b->unit) {
        a_i += LOAD(b->unit) * c_prev;
        a_f += LOAD(b->unit + W) * c_prev;
    }
    const VEC i = FN(gate)(&o->recurrent, o->clip, a_i, b->slots);
    const VEC f = o->coupled ? ALL(1) - i : FN(gate)(&o->recurrent, o->clip, a_f, b->slots + W);
    const VEC g = FN(gate)(&o->activation, o->clip, LOAD(b->products + 2 * W), b->slots + 2 * W);
    VEC c = f * c_prev + i * g;
    if (o->cell_clip > 0) {
        c = SELECT(c > ALL(o->cell_clip), ALL(o->cell_clip), c);
        c = SELECT(c < ALL(-o->cell_clip), ALL(-o->cell_clip), c);
    }
    STORE(b->c, c);
}

INLINE void FN(lstm_output)(const fastrnn_options *o, const FN(block) * b) {
    VEC a_o = LOAD(b->products + 3 * W);
    if (b->unit) a_o += LOAD(b->unit + 2 * W) * LOAD(b->c);
    const VEC out = FN(gate)(&o->recurrent, o->clip, a_o, b->slots + 3 * W);
    STORE(b->h, out * FN(gate)(&o->output, 0, LOAD(b->shown ? b->shown : b->c), b->slots + 4 * W));
}

/* c before it was clipped */
INLINE VEC FN(lstm_raw_c)(const fastrnn_options *o, const FN(block_back) * b, VEC *i, VEC *f, VEC *g) {
    *i = FN(activation_value)(&o->recurrent, LOAD(b->slots));
    *f = o->coupled ? ALL(1) - *i : FN(activation_value)(&o->recurrent, LOAD(b->slots + W));
    *g = FN(activation_value)(&o->activation, LOAD(b->slots + 2 * W));
    return *f * LOAD(b->c_prev) + *i * *g;
}

INLINE void FN(lstm_output_back)(const fastrnn_options *o, const FN(block_back) * b) {
    const VEC dy = LOAD(b->dh), kept_o = LOAD(b->slots + 3 * W), kept_c = LOAD(b->slots + 4 * W);
    const VEC out = FN(activation_value)(&o->recurrent, kept_o), c_active = FN(activation_value)(&o->output, kept_c);
    const VEC da_o = FN(gate_back)(&o->recurrent, o->clip, kept_o, FN(plus_outer)(b, 3, dy * c_active));
    STORE(b->dgx + 3 * W, da_o);
    STORE(b->dshown, FN(activate_back)(&o->output, kept_c, dy * out));
    if (b->unit) {
        VEC i, f, g, c = FN(lstm_raw_c)(o, b, &i, &f, &g);
        if (o->cell_clip > 0) {
            c = SELECT(c > ALL(o->cell_clip), ALL(o->cell_clip), c);
            c = SELECT(c < ALL(-o->cell_clip), ALL(-o->cell_clip), c);
        }
        STORE(b->dunit + 2 * W, da_o * c);
        STORE(b->dc, LOAD(b->dc) + da_o * LOAD(b->unit + 2 * W));
    }
    STORE(b->dh, ALL(0));
}

INLINE void FN(lstm_gates_back)(const fastrnn_options *o, const FN(block_back) * b) {
    VEC i, f, g, dc = LOAD(b->dc) + LOAD(b->dshown);
    const VEC c = FN(lstm_raw_c)(o, b, &i, &f, &g), c_prev = LOAD(b->c_prev);
    if (o->cell_clip > 0) dc = SELECT((c < ALL(o->cell_clip)) & (c > ALL(-o->cell_clip)), dc, ALL(0));
    VEC df = FN(plus_outer)(b, 1, dc * c_prev), di = FN(plus_outer)(b, 0, dc * g);
    if (o->coupled) di -= df;
    const VEC da_i = FN(gate_back)(&o->recurrent, o->clip, LOAD(b->slots), di);
    const VEC da_f = o->coupled ? ALL(0) : FN(gate_back)(&o->recurrent, o->clip, LOAD(b->slots + W), df);
    STORE(b->dgx, da_i);
    STORE(b->dgx + W, da_f);
    STORE(b->dgx + 2 * W, FN(gate_back)(&o->activation, o->clip, LOAD(b->slots + 2 * W), FN(plus_outer)(b, 2, dc * i)));
    VEC dc_prev = dc * f;
    if (b->unit) {
        STORE(b->dunit, da_i * c_prev);
        STORE(b->dunit + W, da_f * c_prev);
        dc_prev += da_i * LOAD(b->unit) + da_f * LOAD(b->unit + W);
    }
    STORE(b->dc, dc_prev);
}

#define CELL_OUTPUT FN(lstm_output)
#define CELL_OUTPUT_BACK FN(lstm_output_back)
#endif

#include "register.h"
