/* Activations on vectors: branch-free, right at NaN, infinities, subnormals and signed zeros.
 *
 * All rest on expm1 of a reduced argument:
 *     n = round(x / ln 2),  r = x - n·ln 2,  |r| <= ln 2 / 2,  p = expm1(r) = r + r²·q(r)
 *     exp(x) = 2^n·(1 + p),   expm1(x) = 2^n·p + (2^n - 1)
 * q is a minimax polynomial of our own (Remez; relative error of p below 0.005 units in the last place).
 *     tanh|x|    = -E / (2 + E)          with E = expm1(-2|x|), exact near 0 and never overflowing
 *     sigmoid(x) = {1 or e} / (1 + e)    with e = exp(-|x|), the numerator 1 for x >= 0
 * activation_kinds.h makes the other kinds of them.
 */

#if REAL_BITS == 32
#define ROUNDER 12582912.0f /* 1.5·2^23: adding it rounds to an integer, kept in the low bits */
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define LN2_HIGH 0x1.62e4p-1f /* few bits, so that n·LN2_HIGH is exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define TANH_LIMIT 10.0f     /* tanh rounds to 1 */
#define SIGMOID_LIMIT 104.0f /* exp(-x) rounds to 0 */
#define EXP_LIMIT 89.0f      /* exp(x) rounds to infinity */
#define Q_DEGREE 5
static const REAL FN(q)[Q_DEGREE + 1] = {0x1p-1f,        0x1.555554p-3f,  0x1.5554b2p-5f,
                                         0x1.11118ap-7f, 0x1.6d71f8p-10f, 0x1.a032cp-13f};
#else
#define ROUNDER 6755399441055744.0 /* 1.5·2^52 */
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define LN2_HIGH 0x1.62e42fefap-1
#define LN2_LOW 0x1.cf79abc9e3b3ap-40
#define TANH_LIMIT 22.0
#define SIGMOID_LIMIT 746.0
#define EXP_LIMIT 710.0
#define Q_DEGREE 10
static const REAL FN(q)[Q_DEGREE + 1] = {0x1p-1,
                                         0x1.5555555555559p-3,
                                         0x1.555555555553fp-5,
                                         0x1.111111110f6dap-7,
                                         0x1.6c16c16c1f076p-10,
                                         0x1.a01a01afd3e59p-13,
                                         0x1.a01a017bc7290p-16,
                                         0x1.71ddf87eaf7c3p-19,
                                         0x1.27e5362aaa782p-22,
                                         0x1.af5e7517940eap-26,
                                         0x1.1ee88a23d3096p-29};
#endif

/* x = n·ln 2 + r and p = expm1(r) = r + rest */
INLINE VEC FN(reduced)(VEC x, IVEC *n, VEC *rest) {
    VEC shifted = x * ALL(1.4426950408889634) + ALL(ROUNDER);
    VEC whole = shifted - ALL(ROUNDER);
    *n = (IVEC)shifted - (IVEC)ALL(ROUNDER);
    VEC r = (x - whole * ALL(LN2_HIGH)) - whole * ALL(LN2_LOW);
    VEC q = ALL(FN(q)[Q_DEGREE]);
    for (int i = Q_DEGREE - 1; i >= 0; i--) q = q * r + ALL(FN(q)[i]);
    *rest = (r * r) * q;
    return r;
}

INLINE VEC FN(two_to)(IVEC n) { return (VEC)((n + EXPONENT_BIAS) << MANTISSA); }

INLINE VEC FN(size)(VEC x) { return (VEC)((IVEC)x & ~(IVEC)ALL(-0.0)); } /* |x| */

/* |x|, at most `limit` */
INLINE VEC FN(size_up_to)(VEC x, REAL limit) {
    VEC size = FN(size)(x);
    return SELECT(size > ALL(limit), ALL(limit), size); /* a NaN passes */
}

INLINE VEC FN(tanh)(VEC x) {
    IVEC n, sign = (IVEC)x & (IVEC)ALL(-0.0);
    VEC rest, r = FN(reduced)(ALL(-2.0) * FN(size_up_to)(x, TANH_LIMIT), &n, &rest);
    VEC p = r + rest, scale = FN(two_to)(n);
    VEC e = scale * p + (scale - ALL(1.0));
    VEC e_plus_2 = scale * p + (scale + ALL(1.0)); /* not from e, whose rounding would count twice */
    return (VEC)(((IVEC)(e / e_plus_2) & ~(IVEC)ALL(-0.0)) | sign);
}

/* 1 + r + rest with one rounding that counts: what `sum` lost comes back with the rest */
INLINE VEC FN(one_plus)(VEC r, VEC rest) {
    VEC sum = ALL(1.0) + r;
    return sum + (((ALL(1.0) - sum) + r) + rest);
}

/* exp(x) = the result · 2^n; the result lies between 0.7 and 1.42 */
INLINE VEC FN(exp_parts)(VEC x, IVEC *n) {
    VEC rest, r = FN(reduced)(x, n, &rest);
    return FN(one_plus)(r, rest);
}

/* v·2^n in two factors: the result may be subnormal, or n the exponent of infinity */
INLINE VEC FN(times_two_to)(VEC v, IVEC n) {
    IVEC half = n >> 1;
    return v * FN(two_to)(half) * FN(two_to)(n - half);
}

INLINE VEC FN(sigmoid)(VEC x) {
    IVEC n;
    VEC one_plus_p = FN(exp_parts)(-FN(size_up_to)(x, SIGMOID_LIMIT), &n);
    VEC e = FN(times_two_to)(one_plus_p, n);
    VEC below = ALL(1.0) + e,
        lost = (ALL(1.0) - below) + e; /* what the sum's rounding took, given back to first order */
    VEC y = SELECT(x < ALL(0.0), e, ALL(1.0)) / below;
    return y - y * lost;
}

INLINE VEC FN(relu)(VEC x) { return SELECT(x < ALL(0.0), ALL(0.0), x); } /* a NaN passes */

#include "activation_kinds.h"

/* ---- any activation ---------------------------------------------------------------------------------------------- */

/* y = phi(x).  The usual kinds are inlined, so that they leave nothing but their arithmetic where phi is a constant. */
INLINE VEC FN(activate)(const fastrnn_activation *phi, VEC x) {
    switch (phi->kind) {
    case FASTRNN_LINEAR: return x;
    case FASTRNN_TANH: return FN(tanh)(x);
    case FASTRNN_SIGMOID: return FN(sigmoid)(x);
    case FASTRNN_RELU: return FN(relu)(x);
    default: return FN(activate_any)(phi, x);
    }
}

/* What the step leaves for the backward pass: x or y. */
INLINE VEC FN(kept)(const fastrnn_activation *phi, VEC x, VEC y) { return phi->keeps_argument ? x : y; }

/* y again. */
INLINE VEC FN(activation_value)(const fastrnn_activation *phi, VEC kept) {
    return phi->keeps_argument ? FN(activate_any)(phi, kept) : kept;
}

/* dx = dy·phi'(x) */
INLINE VEC FN(activate_back)(const fastrnn_activation *phi, VEC kept, VEC dy) {
    if (phi->keeps_argument || phi->kind > FASTRNN_RELU) return FN(activate_back_any)(phi, kept, dy);
    return FN(usual_back)(phi->kind, kept, dy);
}

INLINE void FN(activate_array_of)(const fastrnn_activation *phi, const REAL *x, REAL *y, fastrnn_size n) {
    fastrnn_size i = 0;
    for (; i + W <= n; i += W) STORE(y + i, FN(activate)(phi, LOAD(x + i)));
    if (i < n) FN(store_part)(y + i, FN(activate)(phi, FN(load_part)(x + i, n - i)), n - i);
}

static void FN(activate_array)(const fastrnn_activation *phi, const void *x, void *y, fastrnn_size n) {
    static const fastrnn_activation usual[] = {
        {.kind = FASTRNN_LINEAR}, {.kind = FASTRNN_TANH}, {.kind = FASTRNN_SIGMOID}, {.kind = FASTRNN_RELU}};
    switch (phi->kind) { /* one loop for each of the usual ones, with the choice outside */
    case FASTRNN_LINEAR: memmove(y, x, (size_t)n * sizeof(REAL)); break;
    case FASTRNN_TANH: FN(activate_array_of)(&usual[FASTRNN_TANH], x, y, n); break;
    case FASTRNN_SIGMOID: FN(activate_array_of)(&usual[FASTRNN_SIGMOID], x, y, n); break;
    case FASTRNN_RELU: FN(activate_array_of)(&usual[FASTRNN_RELU], x, y, n); break;
    default: FN(activate_array_of)(phi, x, y, n);
    }
}

#undef ROUNDER
#undef MANTISSA
#undef EXPONENT_BIAS
#undef LN2_HIGH
#undef LN2_LOW
#undef TANH_LIMIT
#undef SIGMOID_LIMIT
#undef EXP_LIMIT
#undef Q_DEGREE
