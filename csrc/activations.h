/* Activations on vectors: branch-free, right at NaN, infinities, subnormals and signed zeros.
 *
 * Both rest on expm1 of a reduced argument.  For x <= 0:
 *     n = round(x / ln 2),  r = x - n·ln 2,  |r| <= ln 2 / 2,  p = expm1(r) = r + r²·q(r)
 *     exp(x) = 2^n·(1 + p),   expm1(x) = 2^n·p + (2^n - 1)
 * q is a minimax polynomial of our own (Remez; relative error of p below 0.005 units in the last place).
 *     tanh|x|    = -E / (2 + E)          with E = expm1(-2|x|), exact near 0 and never overflowing
 *     sigmoid(x) = {1 or e} / (1 + e)    with e = exp(-|x|), the numerator 1 for x >= 0
 */

#if REAL_BITS == 32
#define ROUNDER 12582912.0f /* 1.5·2^23: adding it rounds to an integer, kept in the low bits */
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define LN2_HIGH 0x1.62e4p-1f /* few bits, so that n·LN2_HIGH is exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define TANH_LIMIT 10.0f     /* tanh rounds to 1 */
#define SIGMOID_LIMIT 104.0f /* exp(-x) rounds to 0 */
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

INLINE VEC FN(tanh)(VEC x) {
    IVEC n, sign = (IVEC)x & (IVEC)ALL(-0.0);
    VEC size = (VEC)((IVEC)x ^ sign);
    size = SELECT(size > ALL(TANH_LIMIT), ALL(TANH_LIMIT), size); /* a NaN passes */
    VEC rest, r = FN(reduced)(ALL(-2.0) * size, &n, &rest);
    VEC p = r + rest, scale = FN(two_to)(n);
    VEC e = scale * p + (scale - ALL(1.0));
    VEC e_plus_2 = scale * p + (scale + ALL(1.0)); /* not from e, whose rounding would count twice */
    return (VEC)(((IVEC)(e / e_plus_2) & ~(IVEC)ALL(-0.0)) | sign);
}

INLINE VEC FN(sigmoid)(VEC x) {
    IVEC n, sign = (IVEC)ALL(-0.0);
    VEC size = (VEC)((IVEC)x & ~sign);
    size = SELECT(size > ALL(SIGMOID_LIMIT), ALL(SIGMOID_LIMIT), size);
    VEC rest, r = FN(reduced)(-size, &n, &rest);
    VEC sum = ALL(1.0) + r;                                 /* 1 + r + rest with one rounding that counts: */
    VEC one_plus_p = sum + (((ALL(1.0) - sum) + r) + rest); /* what `sum` lost comes back with the rest */
    IVEC half = n >> 1;                                     /* 2^n in two factors: e may be subnormal */
    VEC e = one_plus_p * FN(two_to)(half) * FN(two_to)(n - half);
    VEC below = ALL(1.0) + e,
        lost = (ALL(1.0) - below) + e; /* what the sum's rounding took, given back to first order */
    VEC y = SELECT(x < ALL(0.0), e, ALL(1.0)) / below;
    return y - y * lost;
}

INLINE VEC FN(relu)(VEC x) { return SELECT(x < ALL(0.0), ALL(0.0), x); } /* a NaN passes */

/* y = phi(x) */
INLINE VEC FN(activate)(int activation, VEC x) {
    switch (activation) {
    case FASTRNN_TANH: return FN(tanh)(x);
    case FASTRNN_SIGMOID: return FN(sigmoid)(x);
    case FASTRNN_RELU: return FN(relu)(x);
    default: return x;
    }
}

/* dx = dy·phi'(x), from y = phi(x) */
INLINE VEC FN(activate_back)(int activation, VEC y, VEC dy) {
    switch (activation) {
    case FASTRNN_TANH: return dy * (ALL(1.0) - y * y);
    case FASTRNN_SIGMOID: return dy * (y * (ALL(1.0) - y));
    case FASTRNN_RELU: return SELECT(y > ALL(0.0), dy, ALL(0.0));
    default: return dy;
    }
}

INLINE void FN(activate_array_of)(int activation, const REAL *x, REAL *y, fastrnn_size n) {
    fastrnn_size i = 0;
    for (; i + W <= n; i += W) STORE(y + i, FN(activate)(activation, LOAD(x + i)));
    if (i < n) FN(store_part)(y + i, FN(activate)(activation, FN(load_part)(x + i, n - i)), n - i);
}

static void FN(activate_array)(int activation, const void *x, void *y, fastrnn_size n) {
    switch (activation) { /* one loop for each, with the choice outside */
    case FASTRNN_TANH: FN(activate_array_of)(FASTRNN_TANH, x, y, n); break;
    case FASTRNN_SIGMOID: FN(activate_array_of)(FASTRNN_SIGMOID, x, y, n); break;
    case FASTRNN_RELU: FN(activate_array_of)(FASTRNN_RELU, x, y, n); break;
    default: memmove(y, x, (size_t)n * sizeof(REAL));
    }
}

INLINE void FN(activate_back_array_of)(int activation, const REAL *y, const REAL *dy, REAL *dx, fastrnn_size n) {
    fastrnn_size i = 0;
    for (; i + W <= n; i += W) STORE(dx + i, FN(activate_back)(activation, LOAD(y + i), LOAD(dy + i)));
    if (i < n) {
        const VEC y_left = FN(load_part)(y + i, n - i), dy_left = FN(load_part)(dy + i, n - i);
        FN(store_part)(dx + i, FN(activate_back)(activation, y_left, dy_left), n - i);
    }
}

static void FN(activate_back_array)(int activation, const void *y, const void *dy, void *dx, fastrnn_size n) {
    switch (activation) {
    case FASTRNN_TANH: FN(activate_back_array_of)(FASTRNN_TANH, y, dy, dx, n); break;
    case FASTRNN_SIGMOID: FN(activate_back_array_of)(FASTRNN_SIGMOID, y, dy, dx, n); break;
    case FASTRNN_RELU: FN(activate_back_array_of)(FASTRNN_RELU, y, dy, dx, n); break;
    default: memmove(dx, dy, (size_t)n * sizeof(REAL));
    }
}

#undef ROUNDER
#undef MANTISSA
#undef EXPONENT_BIAS
#undef LN2_HIGH
#undef LN2_LOW
#undef TANH_LIMIT
#undef SIGMOID_LIMIT
#undef Q_DEGREE
