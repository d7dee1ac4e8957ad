/* All kernels for one type: included for float and for double by isa.h, which defines REAL, REAL_BITS, INT and FN. */
#include "vector.h"

#include "activations.h"
#include "layout.h"
#include "narrow.h"
#include "product.h"
#include "gram.h"
#include "probe.h"
#include "rows.h"
#include "step.h"
#include "grouped.h"
#include "update.h"

#define CELL_KERNELS
#include "cells.h"
#undef CELL_KERNELS

static void (*const FN(forward_table)[])(const fastrnn_forward *) = {
#define CELL_FORWARD_TABLE
#include "cells.h"
#undef CELL_FORWARD_TABLE
};

static void (*const FN(backward_table)[])(const fastrnn_backward *) = {
#define CELL_BACKWARD_TABLE
#include "cells.h"
#undef CELL_BACKWARD_TABLE
};

static const fastrnn_kernels FN(kernels) = {
    .width = W,
    .panel_vectors = FN(panel_vectors),
    .pack = FN(pack),
    .pack_transposed = FN(pack_transposed),
    .to_blocks = FN(to_blocks),
    .from_blocks = FN(from_blocks),
    .product = FN(product),
#if REAL_BITS == 32
    .narrow = FN(narrow),
    .product_narrow = FN(product_narrow),
#endif
    .product_row = FN(product_row),
    .dots = FN(dots),
    .forward = FN(forward_table),
    .backward = FN(backward_table),
    .gather = FN(gather),
    .gather_add = FN(gather_add),
    .scatter = FN(scatter),
    .add_gram = FN(add_gram),
    .add_column_sums = FN(add_column_sums),
    .grouped = FN(grouped),
    .add_grouped_gram = FN(add_grouped_gram),
    .add_product_sums = FN(add_product_sums),
    .norm = FN(norm),
    .norm_back = FN(norm_back),
    .multiply = FN(multiply),
    .multiply_add = FN(multiply_add),
    .blend = FN(blend),
    .blend_back = FN(blend_back),
    .add = FN(add),
    .activate = FN(activate_array),
    .activate_back = FN(activate_array_back),
    .adam = FN(adam),
    .multiply_add_probe = FN(multiply_add_probe),
    .read_probe = FN(read_probe),
};

#undef VEC
#undef IVEC
#undef W
#undef LOAD
#undef STORE
#undef ALL
#undef SELECT
