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
#define CELL_SPEC {.name = "gru", .gates = 3, .slots = 4, .cell_state = 0, .additive = 0, .gated = 1}

#ifdef CELL_KERNELS
INLINE void FN(gru_forward)(int activation, int recurrent, const REAL *products, REAL *slots, const REAL *h_prev,
                            const REAL *c_prev, REAL *h, REAL *c) {
    (void)c_prev, (void)c;
    VEC z = FN(activate)(recurrent, LOAD(slots) + LOAD(products));
    VEC r = FN(activate)(recurrent, LOAD(slots + W) + LOAD(products + W));
    VEC m = LOAD(products + 2 * W);
    VEC n = FN(activate)(activation, LOAD(slots + 2 * W) + r * m);
    STORE(slots, z);
    STORE(slots + W, r);
    STORE(slots + 2 * W, n);
    STORE(slots + 3 * W, m);
    STORE(h, z * LOAD(h_prev) + (ALL(1) - z) * n);
}

INLINE void FN(gru_backward)(int activation, int recurrent, const REAL *slots, const REAL *h_prev, const REAL *c_prev,
                             REAL *dh, REAL *dc, REAL *dgx, REAL *dgh) {
    (void)c_prev, (void)dc;
    const VEC z = LOAD(slots), r = LOAD(slots + W), n = LOAD(slots + 2 * W), m = LOAD(slots + 3 * W), dy = LOAD(dh);
    const VEC dz = FN(activate_back)(recurrent, z, dy * (LOAD(h_prev) - n));
    const VEC dn = FN(activate_back)(activation, n, dy * (ALL(1) - z));
    const VEC dr = FN(activate_back)(recurrent, r, dn * m);
    STORE(dgx, dz);
    STORE(dgx + W, dr);
    STORE(dgx + 2 * W, dn);
    STORE(dgh, dz);
    STORE(dgh + W, dr);
    STORE(dgh + 2 * W, dn * r);
    STORE(dh, dy * z);
}
#endif

#include "register.h"
