/* Simple recurrent cell, the textbook's equation 15-2:
 *     h = phi(x·w_x + h_prev·w_h + b)
 * Slot: h (a reset may overwrite it in the states).
 * Backward, from dh:  dg = dh·phi'.  No direct path to h_prev.
 */
#define CELL rnn
#define CELL_SPEC {.name = "rnn", .gates = 1, .slots = 1, .cell_state = 0, .additive = 1, .gated = 0}

#ifdef CELL_KERNELS
INLINE void FN(rnn_forward)(int activation, int recurrent, const REAL *products, REAL *slots, const REAL *h_prev,
                            const REAL *c_prev, REAL *h, REAL *c) {
    (void)recurrent, (void)h_prev, (void)c_prev, (void)c;
    VEC y = FN(activate)(activation, LOAD(products));
    STORE(slots, y);
    STORE(h, y);
}

INLINE void FN(rnn_backward)(int activation, int recurrent, const REAL *slots, const REAL *h_prev, const REAL *c_prev,
                             REAL *dh, REAL *dc, REAL *dgx, REAL *dgh) {
    (void)recurrent, (void)h_prev, (void)c_prev, (void)dc, (void)dgh;
    STORE(dgx, FN(activate_back)(activation, LOAD(slots), LOAD(dh)));
    STORE(dh, ALL(0));
}
#endif

#include "register.h"
