/* The activations without Python: every kind, instruction set of this machine and type, with what the step keeps being
 * x or y.  Values and derivatives are compared with long double in units in the last place; `activations_test -v
 * [points [kind]]` prints the largest errors.  run.sh compiles and runs it.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "activations_probe.h"

typedef long double wide;

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static int passed, failed, verbose;
static const char *only;           /* this kind; NULL: all */
static fastrnn_size points = 3072; /* a multiple of every width */

static void check(int good, const char *what, const char *isa, const fastrnn_activation *phi, int single) {
    if (good) passed++;
    else if (++failed <= 40)
        printf("FAILED %s %s: %s (%s, %g, %g), keeps %s\n", isa, single ? "float32" : "float64", what,
               fastrnn_activation_specs[phi->kind].name, phi->alpha, phi->beta, phi->keeps_argument ? "x" : "y");
}

/* ---- arrays of either type --------------------------------------------------------------------------------------- */

static int single; /* the type in use: 1 float, 0 double */

static size_t size_of(void) { return single ? sizeof(float) : sizeof(double); }
static double get(const void *p, fastrnn_size i) {
    return single ? (double)((const float *)p)[i] : ((const double *)p)[i];
}
static void set(void *p, fastrnn_size i, double value) {
    if (single) ((float *)p)[i] = (float)value;
    else ((double *)p)[i] = value;
}
static void *array(fastrnn_size n) {
    void *p = malloc((size_t)n * size_of());
    if (p == NULL && n) abort();
    return p;
}
static double rounded(double value) { return single ? (double)(float)value : value; }
static double tiny(void) { return single ? FLT_MIN : DBL_MIN; }
static double huge(void) { return single ? FLT_MAX : DBL_MAX; }

static uint64_t random_bits(void) { /* the same in every run */
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = state ^ state >> 29;
    bits *= 0xBF58476D1CE4E5B9u;
    return bits ^ bits >> 32;
}
static double uniform(void) { return (double)(int64_t)random_bits() * 0x1p-63; } /* in [-1, 1) */

/* Special values first, then uniform ones in ranges of several widths, then any bits. */
static void *arguments(void) {
    const double special[] = {0.0,    INFINITY, NAN, tiny(),     tiny() / 4, tiny() * (single ? 0x1p-23 : 0x1p-52),
                              huge(), 1.0,      0.5, 0.34657359, 2.0,        3.0,
                              10,     15,       22,  39,         89,         104,
                              112,    710,      746, 760,        1e10,       1e30};
    const double widths[] = {1e-3, 0.4, 2, 8, 15, 40, 115, 800};
    const fastrnn_size specials = 2 * sizeof special / sizeof *special, kinds = sizeof widths / sizeof *widths;
    void *x = array(points);
    for (fastrnn_size i = 0; i < points; i++) {
        if (i < specials) set(x, i, i % 2 ? -special[i / 2] : special[i / 2]);
        else if (i % (kinds + 1) < kinds) set(x, i, uniform() * widths[i % (kinds + 1)]);
        else if (single) ((uint32_t *)x)[i] = (uint32_t)random_bits();
        else ((uint64_t *)x)[i] = random_bits();
    }
    return x;
}

/* ---- the exact values -------------------------------------------------------------------------------------------- */

/* An exact value beside the largest term that it is the sum of. */
typedef struct {
    wide value, scale;
} exact;

static exact plain(wide value) { return (exact){value, fabsl(value)}; }
static exact sum(wide a, wide b) { return (exact){a + b, fmaxl(fmaxl(fabsl(a), fabsl(b)), fabsl(a + b))}; }
static wide clipped(wide v, wide low, wide high) { return isnan(v) ? v : fminl(fmaxl(v, low), high); }

/* Phi(x); what x / sqrt 2 loses comes back to first order, as Phi(-39) would show it. */
static wide normal(wide x) {
    const wide high = 0.70710678118654752, low = -4.8336466567264567e-17L; /* their sum is 1 / sqrt 2 */
    const wide z = x * high + x * low;
    if (!isfinite(z)) return x > 0 ? 1 : x < 0 ? 0 : x;
    const wide lost = fmal(x, high, -z) + x * low, bell = expl(-z * z);
    return (erfcl(-z) + 2 / sqrtl(acosl(-1)) * (bell > 0 ? bell * lost : 0)) / 2;
}
static wide density(wide x) { return expl(-x * x / 2) / sqrtl(2 * acosl(-1)); }
static wide sigmoid(wide x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static wide times(wide x, wide small) { return small == 0 ? 0 * (x < 0 ? -1 : 1) : x * small; } /* inf·0 is 0 */

static exact value_of(const fastrnn_activation *phi, wide x) {
    const wide alpha = rounded(phi->alpha), beta = rounded(phi->beta), both = rounded(phi->alpha * phi->beta);
    exact linear = sum(alpha * x, beta);
    switch (phi->kind) {
    case FASTRNN_TANH: return plain(tanhl(x));
    case FASTRNN_SIGMOID: return plain(sigmoid(x));
    case FASTRNN_RELU: return plain(x < 0 ? 0 : x);
    case FASTRNN_HARD_SIGMOID: return (exact){clipped(linear.value, 0, 1), linear.scale};
    case FASTRNN_HARD_TANH: return plain(clipped(x, -1, 1));
    case FASTRNN_SOFTSIGN: return plain(isinf(x) ? copysignl(1, x) : x / (1 + fabsl(x)));
    case FASTRNN_SOFTPLUS: return plain(fmaxl(x, 0) + log1pl(expl(-fabsl(x))) + 0 * (isnan(x) ? x : 0));
    case FASTRNN_ELU: return plain(x > 0 ? x : alpha * expm1l(x));
    case FASTRNN_SELU: return plain(x > 0 ? beta * x : both * expm1l(x));
    case FASTRNN_LEAKY_RELU: return plain(x > 0 ? x : alpha * x);
    case FASTRNN_THRESHOLDED_RELU: return plain(x <= alpha ? 0 : x);
    case FASTRNN_GELU: return plain(times(x, normal(x)));
    case FASTRNN_SILU: return plain(times(x, sigmoid(x)));
    case FASTRNN_EXPONENTIAL: return plain(expl(x));
    case FASTRNN_AFFINE: return linear;
    case FASTRNN_SCALED_TANH: return plain(alpha * tanhl(beta * x));
    default: return plain(x);
    }
}

static exact slope_of(const fastrnn_activation *phi, wide x) {
    const wide alpha = rounded(phi->alpha), beta = rounded(phi->beta), both = rounded(phi->alpha * phi->beta);
    const wide s = sigmoid(x), t = tanhl(phi->kind == FASTRNN_SCALED_TANH ? beta * x : x);
    const wide inner = alpha * x + beta;
    switch (phi->kind) {
    case FASTRNN_TANH: return sum(1, -t * t);
    case FASTRNN_SIGMOID: return (exact){s * sigmoid(-x), s};
    case FASTRNN_RELU: return plain(x > 0);
    case FASTRNN_HARD_SIGMOID: return plain(inner > 0 && inner < 1 ? alpha : 0);
    case FASTRNN_HARD_TANH: return plain(x > -1 && x < 1);
    case FASTRNN_SOFTSIGN: return plain(1 / ((1 + fabsl(x)) * (1 + fabsl(x))));
    case FASTRNN_SOFTPLUS: return plain(s);
    case FASTRNN_ELU: return plain(x > 0 ? 1 : alpha * expl(x));
    case FASTRNN_SELU: return plain(x > 0 ? beta : both * expl(x));
    case FASTRNN_LEAKY_RELU: return plain(x > 0 ? 1 : alpha);
    case FASTRNN_THRESHOLDED_RELU: return plain(x > alpha);
    case FASTRNN_GELU: return sum(normal(x), times(x, density(x)));
    case FASTRNN_SILU: return sum(s, times(x, s * sigmoid(-x)));
    case FASTRNN_EXPONENTIAL: return plain(expl(x));
    case FASTRNN_AFFINE: return plain(alpha);
    case FASTRNN_SCALED_TANH: {
        const exact slope = sum(1, -t * t);
        return (exact){both * slope.value, fabsl(both) * slope.scale};
    }
    default: return plain(1);
    }
}

/* |result - exact| in units in the last place of the scale; infinity counts as the next power of 2. */
static wide units_off(double result, exact e) {
    const int digits = single ? FLT_MANT_DIG : DBL_MANT_DIG, most = single ? FLT_MAX_EXP : DBL_MAX_EXP;
    const wide top = ldexpl(1, most);
    if (isnan(e.value)) return isnan(result) ? 0 : INFINITY;
    if (isnan(result)) return INFINITY;
    const wide y = isinf(result) ? copysignl(top, result) : (wide)result;
    const wide value = fabsl(e.value) > top ? copysignl(top, e.value) : e.value;
    int exponent;
    frexpl(fminl(e.scale, top), &exponent);
    const int least = single ? FLT_MIN_EXP : DBL_MIN_EXP, highest = exponent > most ? most : exponent;
    return fabsl(y - value) / ldexpl(1, (e.scale == 0 || highest < least ? least : highest) - digits);
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

/* Most units in the last place: of y and of phi', float32 and float64. */
static const struct {
    double y[2], slope[2];
} most[FASTRNN_ACTIVATIONS] = {
    [FASTRNN_LINEAR] = {{0, 0}, {0, 0}},
    [FASTRNN_TANH] = {{2, 2.5}, {4, 4}},
    [FASTRNN_SIGMOID] = {{2.5, 2.5}, {4, 4}},
    [FASTRNN_RELU] = {{0, 0}, {0, 0}},
    [FASTRNN_HARD_SIGMOID] = {{1, 1}, {0.5, 0.5}},
    [FASTRNN_HARD_TANH] = {{0, 0}, {0, 0}},
    [FASTRNN_SOFTSIGN] = {{1.5, 1.5}, {4, 4}},
    [FASTRNN_SOFTPLUS] = {{2.5, 2.5}, {4, 4}},
    [FASTRNN_ELU] = {{2, 2}, {2, 2}},
    [FASTRNN_SELU] = {{2, 2}, {2, 2}},
    [FASTRNN_LEAKY_RELU] = {{0.5, 0.5}, {0.5, 0.5}},
    [FASTRNN_THRESHOLDED_RELU] = {{0, 0}, {0, 0}},
    [FASTRNN_GELU] = {{4, 5}, {4.5, 4.5}},
    [FASTRNN_SILU] = {{4, 4}, {4.5, 4.5}},
    [FASTRNN_EXPONENTIAL] = {{1, 1}, {1.5, 1.5}},
    [FASTRNN_AFFINE] = {{1, 1}, {0.5, 0.5}},
    [FASTRNN_SCALED_TANH] = {{4, 4}, {6, 6}},
};

/* Whether rounding may decide on which side of a bound of hard_sigmoid x lies. */
static int at_bound(const fastrnn_activation *phi, wide x) {
    const exact e = sum((wide)rounded(phi->alpha) * x, rounded(phi->beta));
    const wide margin = 2 * e.scale * (single ? FLT_EPSILON : DBL_EPSILON);
    return phi->kind == FASTRNN_HARD_SIGMOID && (fabsl(e.value) <= margin || fabsl(e.value - 1) <= margin);
}

static void test_accuracy(const activations_probe *probe, const fastrnn_activation *phi) {
    void *x = arguments(), *dy = array(points), *y = array(points), *again = array(points), *dx = array(points);
    for (fastrnn_size i = 0; i < points; i++) set(dy, i, 1);
    const probe_arguments p = {phi, points, x, dy, y, again, dx};
    (single ? probe->f32 : probe->f64)(&p);
    wide value_error = 0, slope_error = 0;
    double worst_value = 0, worst_slope = 0;
    for (fastrnn_size i = 0; i < points; i++) {
        const double at = get(x, i);
        const wide off = units_off(get(y, i), value_of(phi, at));
        if (off > value_error) value_error = off, worst_value = at;
        if (isnan(at) || at_bound(phi, at)) continue;
        const wide slope_off = units_off(get(dx, i), slope_of(phi, at));
        if (slope_off > slope_error) slope_error = slope_off, worst_slope = at;
    }
    if (verbose)
        printf("%-9s %-8s %-17s %8.4g %8.4g %s  y %5.2Lf at %-12.6g  slope %5.2Lf at %.6g\n", probe->name,
               single ? "float32" : "float64", fastrnn_activation_specs[phi->kind].name, phi->alpha, phi->beta,
               phi->keeps_argument ? "x" : "y", value_error, worst_value, slope_error, worst_slope);
    check(value_error <= (wide)most[phi->kind].y[!single], "accuracy of y", probe->name, phi, single);
    check(slope_error <= (wide)most[phi->kind].slope[!single], "accuracy of phi'", probe->name, phi, single);
    check(!memcmp(y, again, (size_t)points * size_of()), "y again has the same bits", probe->name, phi, single);
    free(x), free(dy), free(y), free(again), free(dx);
}

/* A zero keeps its sign where phi(0) = 0, and what is too small to be anything else is subnormal or 0, never NaN. */
static void test_signs(const activations_probe *probe, const fastrnn_activation *phi) {
    enum { N = 16 };
    void *x = array(N), *dy = array(N), *y = array(N), *again = array(N), *dx = array(N);
    for (fastrnn_size i = 0; i < N; i++) set(x, i, i % 2 ? -0.0 : 0.0), set(dy, i, i < 2 ? 1 : -2);
    const probe_arguments p = {phi, N, x, dy, y, again, dx};
    (single ? probe->f32 : probe->f64)(&p);
    const int negative = (phi->kind == FASTRNN_LEAKY_RELU || phi->kind == FASTRNN_ELU) && phi->alpha < 0;
    if (get(y, 0) == 0 && phi->kind != FASTRNN_HARD_SIGMOID && phi->kind != FASTRNN_AFFINE && !negative &&
        phi->kind != FASTRNN_THRESHOLDED_RELU && phi->alpha >= 0 && phi->beta >= 0)
        check(!signbit(get(y, 0)) && signbit(get(y, 1)), "sign of 0", probe->name, phi, single);
    check(get(dx, 2) == -2 * get(dx, 0), "dx is in proportion to dy", probe->name, phi, single);
    free(x), free(dy), free(y), free(again), free(dx);
}

/* The kernel on arrays: the bits of a whole vector for every size and place, in place too, and nothing beside. */
static void test_array(const activations_probe *probe, const fastrnn_kernels *kernel, const fastrnn_activation *phi) {
    enum { N = 64 };
    const fastrnn_size all = points;
    points = 2 * N;
    void *x = arguments(), *dy = arguments(), *y = array(2 * N), *again = array(2 * N), *dx = array(2 * N);
    points = all;
    const probe_arguments p = {phi, 2 * N, x, dy, y, again, dx};
    (single ? probe->f32 : probe->f64)(&p);
    int good = 1;
    for (fastrnn_size n = 0; n <= N; n++) {
        const size_t from = (size_t)(n % 7) * size_of(), bytes = (size_t)n * size_of();
        void *source = array(n), *target = array(n); /* exactly n: AddressSanitizer sees the rest */
        if (n) memcpy(source, (char *)x + from, bytes);
        kernel->activate(phi, source, target, n);
        kernel->activate(phi, source, source, n);
        good &= !n || (!memcmp(target, (char *)y + from, bytes) && !memcmp(source, target, bytes));
        free(source), free(target);
    }
    check(good, "array", probe->name, phi, single);
    free(x), free(dy), free(y), free(again), free(dx);
}

/* Constants that are not the defaults: slopes and thresholds of either sign, and none. */
static const fastrnn_activation others[] = {
    {FASTRNN_HARD_SIGMOID, 0, 0.2, 0.5},
    {FASTRNN_HARD_SIGMOID, 0, -0.3, 0.25},
    {FASTRNN_HARD_SIGMOID, 0, 0, 0.5},
    {FASTRNN_HARD_SIGMOID, 0, 1, 0},
    {FASTRNN_ELU, 1, -0.7, 0},
    {FASTRNN_ELU, 1, 2.5, 0},
    {FASTRNN_ELU, 1, 0, 0},
    {FASTRNN_SELU, 1, -1.5, 0.5},
    {FASTRNN_LEAKY_RELU, 1, -0.3, 0},
    {FASTRNN_LEAKY_RELU, 1, 0.01, 0},
    {FASTRNN_THRESHOLDED_RELU, 1, 0, 0},
    {FASTRNN_THRESHOLDED_RELU, 1, -1.5, 0},
    {FASTRNN_AFFINE, 0, -3, 0.7},
    {FASTRNN_AFFINE, 0, 1.1, 0},
    {FASTRNN_SCALED_TANH, 1, 0, 1},
    {FASTRNN_SCALED_TANH, 1, 1.7159, 0.6},
    {FASTRNN_SCALED_TANH, 1, -2, -1.25},
};

static void test_kind(const activations_probe *probe, const fastrnn_kernels *kernel, fastrnn_activation phi) {
    if (only && strcmp(only, fastrnn_activation_specs[phi.kind].name)) return;
    for (int keeps = phi.keeps_argument; keeps < 2; keeps++) {
        phi.keeps_argument = keeps;
        test_accuracy(probe, &phi);
        test_signs(probe, &phi);
        test_array(probe, kernel, &phi);
    }
}

static void test_isa(const activations_probe *probe, const fastrnn_isa *isa) {
    const fastrnn_kernels *kernel = single ? isa->f32 : isa->f64;
    for (int kind = 0; kind < FASTRNN_ACTIVATIONS; kind++) {
        const fastrnn_activation_spec *spec = &fastrnn_activation_specs[kind];
        test_kind(probe, kernel, (fastrnn_activation){kind, spec->needs_argument, spec->alpha, spec->beta});
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) test_kind(probe, kernel, others[i]);
}

extern const activations_probe probe_baseline;
#ifdef __x86_64__
extern const activations_probe probe_avx2, probe_avx512;
static const activations_probe *const probes[] = {&probe_baseline, &probe_avx2, &probe_avx512};
#else
static const activations_probe *const probes[] = {&probe_baseline};
#endif

int main(int count, char **words) {
    verbose = count > 1 && !strcmp(words[1], "-v");
    if (count > 2) points = atol(words[2]) / 128 * 128;
    if (count > 3) only = words[3];
    for (int i = 0; i < fastrnn_isa_count(); i++)
        for (single = 0; single < 2 && fastrnn_isa_supported(i); single++) test_isa(probes[i], fastrnn_isa_at(i));
    printf("activations: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}
