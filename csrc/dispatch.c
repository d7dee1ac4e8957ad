/* Which instruction sets were compiled in and which this machine has; the registry of cells and of activations. */
#include "fastrnn.h"

const char *const fastrnn_activation_names[FASTRNN_ACTIVATIONS] = {
    [FASTRNN_LINEAR] = "linear", [FASTRNN_TANH] = "tanh", [FASTRNN_SIGMOID] = "sigmoid", [FASTRNN_RELU] = "relu"};

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
