/* The kinds of activations beside linear, tanh, sigmoid and relu; then all kinds by their numbers, forward and back.
 *
 *     hard_sigmoid       clip(alpha·x + beta, 0, 1)
 *     hard_tanh          clip(x, -1, 1)
 *     softsign           x / (1 + |x|)
 *     softplus           log(1 + exp(x))
 *     elu                x > 0: x,       else alpha·expm1(x)
 *     selu               x > 0: beta·x,  else alpha·beta·expm1(x)
 *     leaky_relu         x > 0: x,       else alpha·x
 *     thresholded_relu   x > alpha: x,   else 0
 *     gelu               x·Phi(x),   Phi(x) = (1 + erf(x / sqrt 2)) / 2
 *     silu               x·sigmoid(x)
 *     exponential        exp(x)
 *     affine             alpha·x + beta
 *     scaled_tanh        alpha·tanh(beta·x)
 *
 * Softplus, gelu and silu have phi(x) = x + phi(-x), hence phi'(x) = 1 - phi'(-x): they are made of phi(-|x|), a
 * product with an exponential, which keeps all its digits however small it gets.  Their power of 2 comes last, so that
 * only a result that is subnormal itself loses some.
 *
 * At a kink the derivative is the left one; at both bounds of hard_sigmoid and hard_tanh it is 0.
 *
 * The results are at most so many units in the last place off, float32 and float64, for alpha and beta as rounded to
 * the type (units of the largest term where the sum alpha·x + beta or a derivative cancels):
 *     hard_tanh, thresholded_relu 0   leaky_relu 0.5   exponential, hard_sigmoid, affine 1   softsign 1.5   elu, selu 2
 *     softplus 2.5   silu, scaled_tanh 4   gelu 4 and 5;   derivatives 4.5, but scaled_tanh's 6
 */

#if REAL_BITS == 32
#define HIGH_BITS ~0xFFF /* the bits of a number that has an exact square */
#define SOFTSIGN_LIMIT 0x1p26f
#define SILU_LIMIT 112.0f /* x·exp(-x) rounds to 0 */
#define GELU_LIMIT 15.0f  /* x·exp(-x²/2) rounds to 0 */
#define L_DEGREE 3
#define E_DEGREE 5
static const REAL FN(l)[L_DEGREE + 1] = {0x1.555502p-1f, 0x1.99d208p-2f, 0x1.1ebd0cp-2f, 0x1.1ed7c4p-2f};
static const REAL FN(e_above)[E_DEGREE] = {0x1.d25c22p-1f, 0x1.5c78bcp-1f, 0x1.f49aa4p-3f, 0x1.80475ep-5f,
                                           0x1.0f083ap-8f};
static const REAL FN(e_below)[E_DEGREE + 1] = {0x1p+0f,        0x1.0c1512p+0f, 0x1.0f48d4p-1f,
                                               0x1.3d1158p-3f, 0x1.aac4a6p-6f, 0x1.0f0738p-9f};
#else
#define HIGH_BITS ~0x7FFFFFF
#define SOFTSIGN_LIMIT 0x1p55
#define SILU_LIMIT 760.0
#define GELU_LIMIT 39.0
#define L_DEGREE 9
#define E_DEGREE 10
static const REAL FN(l)[L_DEGREE + 1] = {
    0x1.5555555555535p-1, 0x1.99999999a06c3p-2, 0x1.2492492091052p-2, 0x1.c71c741a0cee8p-3, 0x1.745cb458d9becp-3,
    0x1.3b1dd3bdd83bap-3, 0x1.10682e04feed1p-3, 0x1.efd19998226d4p-4, 0x1.55cf2575f4f8fp-4, 0x1.5c5c4fa4eeda6p-3};
static const REAL FN(e_above)[E_DEGREE] = {
    0x1.d25c218302f72p-1, 0x1.4125de9147cc6p+0, 0x1.b7662cbc4446ap-1,  0x1.7fe811b884bb4p-2, 0x1.d38ec9c134ea7p-4,
    0x1.99cb925b2e165p-6, 0x1.02535d8f5cb35p-8, 0x1.c5089cff625d4p-12, 0x1.f8e028501596p-16, 0x1.14202c13d8bb3p-20};
static const REAL FN(e_below)[E_DEGREE + 1] = {0x1p+0,
                                               0x1.ad5f2f7d1818dp+0,
                                               0x1.648704742c802p+0,
                                               0x1.7b2d02f45c284p-1,
                                               0x1.1b75915066e01p-2,
                                               0x1.35f4e0dd1f1c5p-4,
                                               0x1.f5868d19731a2p-7,
                                               0x1.28dfd59063ffep-9,
                                               0x1.ee46a269b9936p-13,
                                               0x1.0740a80a460d8p-16,
                                               0x1.14202c13ddfb4p-21};
#endif

/* c[0] + c[1]·x + ... + c[degree]·x^degree */
INLINE VEC FN(polynomial)(const REAL *c, int degree, VEC x) {
    VEC sum = ALL(c[degree]);
    for (int i = degree - 1; i >= 0; i--) sum = sum * x + ALL(c[i]);
    return sum;
}

/* |v| with the sign of x */
INLINE VEC FN(with_sign_of)(VEC x, VEC v) {
    IVEC sign = (IVEC)ALL(-0.0);
    return (VEC)(((IVEC)v & ~sign) | ((IVEC)x & sign));
}

/* v from `low` to `high` */
INLINE VEC FN(clip)(VEC v, REAL low, REAL high) {
    v = SELECT(v < ALL(low), ALL(low), v); /* a NaN passes */
    return SELECT(v > ALL(high), ALL(high), v);
}

/* v where low < y < high, else 0 */
INLINE VEC FN(where_between)(VEC y, REAL low, REAL high, VEC v) {
    return SELECT((y > ALL(low)) & (y < ALL(high)), v, ALL(0.0));
}

/* ---- made of exp ------------------------------------------------------------------------------------------------- */

INLINE VEC FN(exp)(VEC x) {
    IVEC n;
    VEC v = FN(exp_parts)(FN(clip)(x, -SIGMOID_LIMIT, EXP_LIMIT), &n);
    return FN(times_two_to)(v, n);
}

/* exp(x) - 1 for x <= 0, to all digits near 0 */
INLINE VEC FN(expm1)(VEC x) {
    IVEC n;
    VEC rest, r = FN(reduced)(SELECT(x < ALL(-2.0 * TANH_LIMIT), ALL(-2.0 * TANH_LIMIT), x), &n, &rest);
    VEC scale = FN(two_to)(n);
    return FN(with_sign_of)(x, scale * (r + rest) + (scale - ALL(1.0))); /* -0 for -0 */
}

/* log(1 + t) for 0 <= t <= 1.  With s = t / (2 + t) it is
 *     2·atanh(s) = 2s + s³·l(s²) = t - (t²/2 - s·(t²/2 + s²·l(s²)))
 * which starts from t itself, exactly.  l is a minimax polynomial of our own (Remez; relative error of log1p below
 * 2^-27, 2^-59).
 */
INLINE VEC FN(log1p)(VEC t) {
    VEC s = t / (ALL(2.0) + t), z = s * s, half_square = ALL(0.5) * t * t;
    return t - (half_square - s * (half_square + z * FN(polynomial)(FN(l), L_DEGREE, z)));
}

/* max(x, 0) + log(1 + exp(-|x|)) */
INLINE VEC FN(softplus)(VEC x) { return FN(relu)(x) + FN(log1p)(FN(exp)(-FN(size_up_to)(x, SIGMOID_LIMIT))); }

/* ---- x·sigmoid(x) ------------------------------------------------------------------------------------------------ */

/* With e = exp(-|x|):   phi(-|x|) = -|x|·e / (1 + e) */
INLINE VEC FN(silu)(VEC x) {
    IVEC n;
    VEC size = FN(size_up_to)(x, SILU_LIMIT), v = FN(exp_parts)(-size, &n);
    VEC left = FN(times_two_to)(-size * v, n) / (ALL(1.0) + FN(times_two_to)(v, n));
    return FN(with_sign_of)(x, FN(relu)(x) + left); /* both zeros keep theirs */
}

/* phi'(-|x|) = e·(1 - |x| / (1 + e)) / (1 + e) */
INLINE VEC FN(silu_slope)(VEC x) {
    IVEC n;
    VEC size = FN(size_up_to)(x, SILU_LIMIT), v = FN(exp_parts)(-size, &n);
    VEC below = ALL(1.0) + FN(times_two_to)(v, n);
    VEC left = FN(times_two_to)(v * (ALL(1.0) - size / below), n) / below;
    return SELECT(x < ALL(0.0), left, ALL(1.0) - left);
}

/* ---- x·Phi(x) ---------------------------------------------------------------------------------------------------- */

/* Phi(-a) = exp(-a²/2) / m(a) for a >= 0, where m (2 / erfcx(a / sqrt 2)) grows from 2 almost like a·sqrt(2 pi):
 *     m(a) = a·sqrt(2 pi) + (2 - a·e(a))
 * e is a quotient of polynomials with positive coefficients, our own minimax fit (error below 1e-9 and 5e-18 of m up to
 * GELU_LIMIT); its roundings count little where a is small and where it is large.  exp sees a² to twice the usual
 * digits: the rounding of an a² of 1000 would show.
 */
typedef struct {
    VEC exp, m; /* exp(-a²/2) = exp·2^n */
    IVEC n;
} FN(normal_tail);

INLINE FN(normal_tail) FN(tail_of)(VEC a) {
    FN(normal_tail) tail;
    VEC high = (VEC)((IVEC)a & HIGH_BITS), low = a - high, square = a * a;
    VEC lost = ((high * high - square) + ALL(2.0) * high * low) + low * low;
    VEC rest, r = FN(reduced)(ALL(-0.5) * square, &tail.n, &rest);
    tail.exp = FN(one_plus)(r, rest - (ALL(0.5) * lost) * (ALL(1.0) + (r + rest)));
    VEC e = FN(polynomial)(FN(e_above), E_DEGREE - 1, a) / FN(polynomial)(FN(e_below), E_DEGREE, a);
    tail.m = a * ALL(2.5066282746310002) + (ALL(2.0) - a * e);
    return tail;
}

/* phi(-|x|) = -|x|·Phi(-|x|) */
INLINE VEC FN(gelu)(VEC x) {
    VEC size = FN(size_up_to)(x, GELU_LIMIT);
    FN(normal_tail) tail = FN(tail_of)(size);
    VEC left = FN(times_two_to)(-size * tail.exp / tail.m, tail.n);
    return FN(with_sign_of)(x, FN(relu)(x) + left); /* both zeros keep theirs */
}

/* phi'(-|x|) = Phi(-|x|) - |x|·exp(-x²/2) / sqrt(2 pi) = exp(-x²/2)·(1 / m(|x|) - |x| / sqrt(2 pi)) */
INLINE VEC FN(gelu_slope)(VEC x) {
    VEC size = FN(size_up_to)(x, GELU_LIMIT);
    FN(normal_tail) tail = FN(tail_of)(size);
    VEC left = FN(times_two_to)(tail.exp * (ALL(1.0) / tail.m - ALL(0.3989422804014327) * size), tail.n);
    return SELECT(x < ALL(0.0), left, ALL(1.0) - left);
}

/* ---- the others -------------------------------------------------------------------------------------------------- */

/* The product is rounded before the sum, so that -3/6 + 1/2 is 0: as it is compared too, no multiply-add takes it. */
INLINE VEC FN(hard_sigmoid)(VEC x, VEC alpha, VEC beta) {
    VEC product = alpha * x, sum = product + beta;
    sum = SELECT(product < -beta, ALL(0.0), sum); /* a NaN passes */
    return SELECT(sum > ALL(1.0), ALL(1.0), sum);
}

INLINE VEC FN(softsign)(VEC x) {
    VEC size = FN(size_up_to)(x, SOFTSIGN_LIMIT); /* beyond, the quotient rounds to 1 */
    return FN(with_sign_of)(x, size / (ALL(1.0) + size));
}

/* ---- all kinds --------------------------------------------------------------------------------------------------- */

/* y = phi(x), for phi that are not known before.  One function for all places: these kinds would make the steps of the
 * cells many times as long. */
static __attribute__((noinline)) VEC FN(activate_any)(const fastrnn_activation *phi, VEC x) {
    const VEC alpha = ALL(phi->alpha), beta = ALL(phi->beta);
    switch (phi->kind) {
    case FASTRNN_TANH: return FN(tanh)(x);
    case FASTRNN_SIGMOID: return FN(sigmoid)(x);
    case FASTRNN_RELU: return FN(relu)(x);
    case FASTRNN_HARD_SIGMOID: return FN(hard_sigmoid)(x, alpha, beta);
    case FASTRNN_HARD_TANH: return FN(clip)(x, -1, 1);
    case FASTRNN_SOFTSIGN: return FN(softsign)(x);
    case FASTRNN_SOFTPLUS: return FN(softplus)(x);
    case FASTRNN_ELU: return SELECT(x > ALL(0.0), x, alpha * FN(expm1)(x));
    case FASTRNN_SELU: return SELECT(x > ALL(0.0), beta * x, ALL(phi->alpha * phi->beta) * FN(expm1)(x));
    case FASTRNN_LEAKY_RELU: return SELECT(x > ALL(0.0), x, alpha * x);
    case FASTRNN_THRESHOLDED_RELU: return SELECT(x <= alpha, ALL(0.0), x); /* a NaN passes */
    case FASTRNN_GELU: return FN(gelu)(x);
    case FASTRNN_SILU: return FN(silu)(x);
    case FASTRNN_EXPONENTIAL: return FN(exp)(x);
    case FASTRNN_AFFINE: return alpha * x + beta;
    case FASTRNN_SCALED_TANH: return alpha * FN(tanh)(beta * x);
    default: return x;
    }
}

/* dy·phi'(x) of the usual kinds from y = phi(x) */
INLINE VEC FN(usual_back)(int kind, VEC y, VEC dy) {
    switch (kind) {
    case FASTRNN_TANH: return dy * (ALL(1.0) - y * y);
    case FASTRNN_SIGMOID: return dy * (y * (ALL(1.0) - y));
    case FASTRNN_RELU: return SELECT(y > ALL(0.0), dy, ALL(0.0));
    default: return dy;
    }
}

/* dy·phi'(x) from y = phi(x), kinds that do not need x */
INLINE VEC FN(back_from_value)(const fastrnn_activation *phi, VEC y, VEC dy) {
    switch (phi->kind) {
    case FASTRNN_HARD_SIGMOID: return FN(where_between)(y, 0, 1, ALL(phi->alpha) * dy);
    case FASTRNN_HARD_TANH: return FN(where_between)(y, -1, 1, dy);
    case FASTRNN_SOFTPLUS: return dy * -FN(expm1)(-y); /* sigmoid(x) = 1 - exp(-y) */
    case FASTRNN_EXPONENTIAL: return dy * y;
    case FASTRNN_AFFINE: return ALL(phi->alpha) * dy;
    default: return FN(usual_back)(phi->kind, y, dy);
    }
}

/* dy·phi'(x) of any kind */
static __attribute__((noinline)) VEC FN(activate_back_any)(const fastrnn_activation *phi, VEC kept, VEC dy) {
    const VEC x = kept, alpha = ALL(phi->alpha); /* kept is x for the kinds of this switch */
    switch (phi->kind) {
    case FASTRNN_SOFTSIGN: {
        const VEC root = ALL(1.0) / (ALL(1.0) + FN(size)(x));
        return dy * root * root;
    }
    case FASTRNN_ELU: return SELECT(x > ALL(0.0), dy, alpha * dy * FN(exp)(x));
    case FASTRNN_SELU: return SELECT(x > ALL(0.0), ALL(phi->beta) * dy, ALL(phi->alpha * phi->beta) * dy * FN(exp)(x));
    case FASTRNN_LEAKY_RELU: return SELECT(x > ALL(0.0), dy, alpha * dy);
    case FASTRNN_THRESHOLDED_RELU: return SELECT(x > alpha, dy, ALL(0.0));
    case FASTRNN_GELU: return dy * FN(gelu_slope)(x);
    case FASTRNN_SILU: return dy * FN(silu_slope)(x);
    case FASTRNN_SCALED_TANH:
        return ALL(phi->alpha * phi->beta) * FN(usual_back)(FASTRNN_TANH, FN(tanh)(ALL(phi->beta) * x), dy);
    default: return FN(back_from_value)(phi, phi->keeps_argument ? FN(activate_any)(phi, kept) : kept, dy);
    }
}

#undef HIGH_BITS
#undef SOFTSIGN_LIMIT
#undef SILU_LIMIT
#undef GELU_LIMIT
#undef L_DEGREE
#undef E_DEGREE
