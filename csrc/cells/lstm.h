/* Long short-term memory, gates i f g o (Hochreiter and Schmidhuber 1997, forget gate of Gers et al. 2000):
 *     i, f, o = sigma(x·w_x + h_prev·w_h + b),   g = phi(x·w_x + h_prev·w_h + b)
 *     c = f∘c_prev + i∘g
 *     h = o∘phi(c)
 * Slots: i f g o phi(c).
 * Backward, from dh and dc:
 *     do = dh∘phi(c),   dc += dh∘o∘phi'(c)
 *     di = dc∘g,   df = dc∘c_prev,   dg = dc∘i,   dc_prev = dc∘f
 * and each through its activation.  No direct path to h_prev.
 */
#define CELL lstm
#define CELL_SPEC {.name = "lstm", .gates = 4, .slots = 5, .cell_state = 1, .additive = 1, .gated = 1}

#ifdef CELL_KERNELS
INLINE void FN(lstm_forward)(int activation, int recurrent, const REAL *products, REAL *slots, const REAL *h_prev,
                             const REAL *c_prev, REAL *h, REAL *c) {
    (void)h_prev;
    VEC i = FN(activate)(recurrent, LOAD(products));
    VEC f = FN(activate)(recurrent, LOAD(products + W));
    VEC g = FN(activate)(activation, LOAD(products + 2 * W));
    VEC o = FN(activate)(recurrent, LOAD(products + 3 * W));
    VEC c_new = f * LOAD(c_prev) + i * g;
    VEC c_active = FN(activate)(activation, c_new);
    STORE(slots, i);
    STORE(slots + W, f);
    STORE(slots + 2 * W, g);
    STORE(slots + 3 * W, o);
    STORE(slots + 4 * W, c_active);
    STORE(c, c_new);
    STORE(h, o * c_active);
}

INLINE void FN(lstm_backward)(int activation, int recurrent, const REAL *slots, const REAL *h_prev, const REAL *c_prev,
                              REAL *dh, REAL *dc, REAL *dgx, REAL *dgh) {
    (void)h_prev, (void)dgh;
    const VEC i = LOAD(slots), f = LOAD(slots + W), g = LOAD(slots + 2 * W), o = LOAD(slots + 3 * W);
    const VEC c_active = LOAD(slots + 4 * W), dy = LOAD(dh);
    const VEC dc_all = LOAD(dc) + FN(activate_back)(activation, c_active, dy * o);
    STORE(dgx, FN(activate_back)(recurrent, i, dc_all * g));
    STORE(dgx + W, FN(activate_back)(recurrent, f, dc_all * LOAD(c_prev)));
    STORE(dgx + 2 * W, FN(activate_back)(activation, g, dc_all * i));
    STORE(dgx + 3 * W, FN(activate_back)(recurrent, o, dy * c_active));
    STORE(dc, dc_all * f);
    STORE(dh, ALL(0));
}
#endif

#include "register.h"
