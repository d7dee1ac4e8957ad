/* Which instruction sets were compiled in and which this machine has; the registry of cells and of activations. */
#include "fastrnn.h"

const fastrnn_activation_spec fastrnn_activation_specs[FASTRNN_ACTIVATIONS] = {
    [FASTRNN_LINEAR] = {"linear", 0, 0, 0, 0},
    [FASTRNN_TANH] = {"tanh", 0, 0, 0, 0},
    [FASTRNN_SIGMOID] = {"sigmoid", 0, 0, 0, 0},
    [FASTRNN_RELU] = {"relu", 0, 0, 0, 0},
    [FASTRNN_HARD_SIGMOID] = {"hard_sigmoid", 2, 1.0 / 6.0, 0.5, 0},
    [FASTRNN_HARD_TANH] = {"hard_tanh", 0, 0, 0, 0},
    [FASTRNN_SOFTSIGN] = {"softsign", 0, 0, 0, 1},
    [FASTRNN_SOFTPLUS] = {"softplus", 0, 0, 0, 0},
    [FASTRNN_ELU] = {"elu", 1, 1, 0, 1},
    [FASTRNN_SELU] = {"selu", 2, 1.6732632423543772, 1.0507009873554805, 1}, /* Klambauer et al. 2017 */
    [FASTRNN_LEAKY_RELU] = {"leaky_relu", 1, 0.2, 0, 1},
    [FASTRNN_THRESHOLDED_RELU] = {"thresholded_relu", 1, 1, 0, 1},
    [FASTRNN_GELU] = {"gelu", 0, 0, 0, 1},
    [FASTRNN_SILU] = {"silu", 0, 0, 0, 1},
    [FASTRNN_EXPONENTIAL] = {"exponential", 0, 0, 0, 0},
    [FASTRNN_AFFINE] = {"affine", 2, 1, 0, 0},
    [FASTRNN_SCALED_TANH] = {"scaled_tanh", 2, 1, 1, 1},
};

const fastrnn_cell fastrnn_cells[] = {
#define CELL_SPECS
#include "cells.h"
#undef CELL_SPECS
};
const int fastrnn_cell_count = sizeof fastrnn_cells / sizeof *fastrnn_cells;

extern const fastrnn_isa fastrnn_isa_baseline;
#ifdef __x86_64__
extern const fastrnn_isa fastrnn_isa_avx2;
extern const fastrnn_isa fastrnn_isa_avx512;
#endif

static const fastrnn_isa *const sets[] = {
    &fastrnn_isa_baseline,
#ifdef __x86_64__
    &fastrnn_isa_avx2,
    &fastrnn_isa_avx512,
#endif
};

int fastrnn_isa_count(void) { return sizeof sets / sizeof *sets; }

const fastrnn_isa *fastrnn_isa_at(int i) { return sets[i]; }

int fastrnn_isa_supported(int i) {
#ifdef __x86_64__
    if (sets[i] == &fastrnn_isa_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (sets[i] == &fastrnn_isa_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
#endif
    return i == 0;
}
