/* The C kernels without Python: every instruction set of this machine, both types, odd sizes.
 *
 * Every buffer is allocated with exactly the size that csrc/fastrnn.h states, so that AddressSanitizer sees a read or
 * write one element beside it.  Products are compared with naive loops in double, the steps of the cells backward with
 * differences of the steps forward.  run.sh compiles and runs it.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastrnn.h"

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static int passed, failed;
static const char *isa_name, *type_name;

static void check(int good, const char *what, long a, long b, long c) {
    if (good) passed++;
    else if (++failed <= 20) printf("FAILED %s %s: %s (%ld, %ld, %ld)\n", isa_name, type_name, what, a, b, c);
}

/* ---- arrays of either type --------------------------------------------------------------------------------------- */

static int single;                    /* the type in use: 1 float, 0 double */
static const fastrnn_kernels *kernel; /* and its kernels */

static size_t size_of(void) { return single ? sizeof(float) : sizeof(double); }
static double eps(void) { return single ? 0x1p-23 : 0x1p-52; }

static double get(const void *p, fastrnn_size i) {
    return single ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void set(void *p, fastrnn_size i, double value) {
    if (single) ((float *)p)[i] = (float)value;
    else ((double *)p)[i] = value;
}

static void *at(const void *p, fastrnn_size i) { return (char *)p + i * (fastrnn_size)size_of(); }

/* n values of nothing: a signalling NaN.  Arithmetic makes a quiet one of it, so that it shows both what is read before
 * it is written and what is added to although it should be left alone. */
static void *array(fastrnn_size n) {
    void *p = malloc((size_t)n * size_of());
    if (p == NULL && n) abort();
    for (fastrnn_size i = 0; i < n; i++)
        if (single) ((uint32_t *)p)[i] = 0xFFBFFFFFu;
        else ((uint64_t *)p)[i] = 0xFFF7FFFFFFFFFFFFu;
    return p;
}

static double uniform(void) { /* in [-1, 1), the same in every run */
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(state >> 32) * 0x1p-31;
}

static void *random_array(fastrnn_size n) {
    void *p = array(n);
    for (fastrnn_size i = 0; i < n; i++) set(p, i, uniform());
    return p;
}

static void *zeros(fastrnn_size n) {
    void *p = array(n);
    for (fastrnn_size i = 0; i < n; i++) set(p, i, 0);
    return p;
}

static void *copy_of(const void *p, fastrnn_size n) {
    void *q = array(n);
    if (n) memcpy(q, p, (size_t)n * size_of());
    return q;
}

static int same(const void *a, const void *b, fastrnn_size n) { return !n || !memcmp(a, b, (size_t)n * size_of()); }

/* Columns `first` to before `last` of a matrix with rows of `stride`, nothing in the others. */
static void *part_of(const void *whole, fastrnn_size rows, fastrnn_size stride, fastrnn_size first, fastrnn_size last) {
    void *part = array(rows * stride);
    for (fastrnn_size r = 0; r < rows; r++)
        memcpy(at(part, r * stride + first), at(whole, r * stride + first), (size_t)(last - first) * size_of());
    return part;
}

/* Whether `part` holds the bits of these columns of `whole` and nothing was written beside them. */
static int is_part_of(const void *whole, const void *part, fastrnn_size rows, fastrnn_size stride, fastrnn_size first,
                      fastrnn_size last) {
    void *expected = part_of(whole, rows, stride, first, last);
    const int good = same(expected, part, rows * stride);
    free(expected);
    return good;
}

static fastrnn_size least(fastrnn_size a, fastrnn_size b) { return a < b ? a : b; }

static const fastrnn_size part_sizes[] = {1, 2, 3, 5}; /* panels or blocks: uneven shares of all kinds */
#define PART_SIZES (sizeof part_sizes / sizeof *part_sizes)

static fastrnn_size padded(fastrnn_size units) { return (units + kernel->width - 1) / kernel->width * kernel->width; }

/* Where unit `unit` of gate `gate` stands in a row in block order with `slots` vectors for each block. */
static fastrnn_size in_blocks(fastrnn_size unit, int gate, int slots) {
    const fastrnn_size width = kernel->width;
    return (unit / width * slots + gate) * width + unit % width;
}

/* ---- layout ------------------------------------------------------------------------------------------------------ */

static void test_blocks(fastrnn_size rows, fastrnn_size units, int gates, int slots) {
    const fastrnn_size row = gates * units, kept = slots * padded(units);
    void *w = random_array(rows * row), *blocks = array(rows * gates * padded(units)), *back = array(rows * row);
    for (fastrnn_size r = 0; r < rows; r++)
        kernel->to_blocks((char *)w + r * row * size_of(), (char *)blocks + r * gates * padded(units) * size_of(),
                          units, gates, gates);
    kernel->from_blocks(blocks, back, rows, units, gates);
    check(same(w, back, rows * row), "to_blocks, from_blocks", rows, units, gates);

    void *spread = array(kept);
    kernel->to_blocks(w, spread, units, gates, slots);
    int good = 1;
    for (fastrnn_size unit = 0; unit < padded(units); unit++)
        for (int gate = 0; gate < slots; gate++) {
            const double value = get(spread, in_blocks(unit, gate, slots));
            if (gate >= gates) good &= isnan(value);
            else good &= value == (unit < units ? get(w, gate * units + unit) : 0);
        }
    check(good, "to_blocks with slots", units, gates, slots);
    free(w), free(blocks), free(back), free(spread);
}

/* `columns` values from column `from` on of rows of a user's (rows, 3, width) array, one step before or behind
 * `origin`.
 */
static void test_rows(fastrnn_size rows, fastrnn_size width, fastrnn_size from, fastrnn_size columns,
                      fastrnn_size shift) {
    const fastrnn_size time = 3, step = 1 + shift, stride = padded(columns) + (columns % 2) * kernel->width;
    const fastrnn_size user_size = rows * time * width, size = rows * stride;
    fastrnn_size *origin = malloc((size_t)rows * sizeof *origin);
    for (fastrnn_size r = 0; r < rows; r++) origin[r] = (rows - 1 - r) * time + 1; /* from the last row to the first */
    void *user = random_array(user_size), *gathered = array(size), *sum = array(size), *back = array(user_size);
    void *before = random_array(size);
    for (fastrnn_size i = 0; i < size; i++)
        if (i % stride < columns) set(sum, i, get(before, i));
    fastrnn_rows p = {rows, columns, gathered, stride, at(user, from), width, origin, shift};
    kernel->gather(&p);
    p.padded = sum;
    kernel->gather_add(&p);
    p.padded = gathered, p.user = at(back, from);
    kernel->scatter(&p);

    void *right = zeros(size), *right_sum = array(size), *right_back = array(user_size);
    for (fastrnn_size r = 0; r < rows; r++)
        for (fastrnn_size j = 0; j < columns; j++) {
            const fastrnn_size here = r * stride + j, there = ((rows - 1 - r) * time + step) * width + from + j;
            set(right, here, get(user, there));
            set(right_sum, here, get(before, here) + get(user, there));
            set(right_back, there, get(user, there));
        }
    check(same(gathered, right, size), "gather", rows, width, columns);
    check(same(sum, right_sum, size), "gather_add", rows, width, columns);
    check(same(back, right_back, user_size), "scatter", rows, width, columns);
    free(origin), free(user), free(gathered), free(sum), free(before), free(back);
    free(right), free(right_sum), free(right_back);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static fastrnn_product product_of(fastrnn_size rows, fastrnn_size depth, fastrnn_size columns, int gates, const void *a,
                                  const void *w, const void *start, void *out) {
    const fastrnn_size panel = kernel->panel_vectors(gates);
    return (fastrnn_product){
        .rows = rows,
        .depth = depth,
        .vectors = columns / kernel->width,
        .first = 0,
        .last = columns / kernel->width,
        .panel = (int)panel,
        .a = a,
        .a_stride = depth,
        .w = w,
        .start = start,
        .start_stride = 0,
        .start_panel = panel * kernel->width,
        .out = out,
        .out_stride = columns,
        .out_panel = panel * kernel->width,
    };
}

/* A few panels at a time, each part into an array of its own; `before` is what stood in the place of the result if the
 * product starts from that, else NULL.  A vector of the result is followed by (slots - gates)/gates others in its row.
 */
static int in_parts(const fastrnn_product *whole, int gates, int slots, const void *before) {
    const fastrnn_size rows = whole->rows, stride = whole->out_stride;
    int good = 1;
    for (size_t i = 0; i < PART_SIZES; i++)
        for (fastrnn_size first = 0, last; first < whole->vectors; first = last) {
            last = least(first + part_sizes[i] * whole->panel, whole->vectors);
            const fastrnn_size from = first / gates * slots * kernel->width, to = last / gates * slots * kernel->width;
            void *out = before ? part_of(before, rows, stride, from, to) : array(rows * stride);
            fastrnn_product part = *whole;
            part.first = first, part.last = last, part.out = out;
            if (before) part.start = out;
            kernel->product(&part);
            good &= is_part_of(whole->out, out, rows, stride, from, to);
            free(out);
        }
    return good;
}

/* out = start + a·w by a packed product, whole and in parts, and row by row, against a loop in double.  The gates'
 * results leave room for the other slots. */
static void test_product(fastrnn_size rows, fastrnn_size depth, fastrnn_size units, int gates, int slots) {
    const fastrnn_size n = gates * units, wide = gates * padded(units), stride = slots * padded(units);
    void *a = random_array(rows * depth), *w = random_array(depth * n), *start = random_array(n);
    void *packed = array(depth * wide), *start_blocks = array(wide), *out = array(rows * stride);
    void *row = array(n), *row_blocks = array(stride);
    kernel->pack(&(fastrnn_pack){depth, units, gates, w, packed});
    kernel->to_blocks(start, start_blocks, units, gates, gates);
    fastrnn_product product = product_of(rows, depth, wide, gates, a, packed, start_blocks, out);
    product.out_stride = stride;
    product.out_panel = product.panel / gates * slots * kernel->width;
    kernel->product(&product);
    int right = 1, equal = 1;
    for (fastrnn_size r = 0; r < rows; r++) {
        for (fastrnn_size unit = 0; unit < padded(units); unit++)
            for (int gate = 0; gate < gates; gate++) {
                double sum = unit < units ? get(start, gate * units + unit) : 0, scale = fabs(sum);
                for (fastrnn_size k = 0; unit < units && k < depth; k++) {
                    const double term = get(a, r * depth + k) * get(w, k * n + gate * units + unit);
                    sum += term, scale += fabs(term);
                }
                const double value = get(out, r * stride + in_blocks(unit, gate, slots));
                right &= fabs(value - sum) <= (double)(depth + 1) * eps() * scale;
            }
        kernel->product_row(at(a, r * depth), w, start, row, depth, n);
        kernel->to_blocks(row, row_blocks, units, gates, slots);
        equal &= same(row_blocks, at(out, r * stride), stride);
    }
    check(right, "product", rows, depth, n);
    check(equal, "product_row has the product's bits", rows, depth, n);
    check(in_parts(&product, gates, slots, NULL), "parts of a product", rows, depth, n);
    memcpy(row, start, (size_t)n * size_of());
    kernel->product_row(a, w, row, row, depth, n); /* in place */
    kernel->to_blocks(row, row_blocks, units, gates, slots);
    check(same(row_blocks, out, stride), "product_row in place", rows, depth, n);
    free(a), free(w), free(start), free(packed), free(start_blocks), free(out), free(row), free(row_blocks);
}

/* out (rows,) = start + a·w for a single column, rows further apart than they are long, against a loop in double. */
static void test_dots(fastrnn_size rows, fastrnn_size depth) {
    const fastrnn_size stride = depth + 3, out_stride = 2;
    void *a = random_array((rows - 1) * stride + depth), *w = random_array(depth), *start = random_array(1);
    void *out = array(rows * out_stride);
    fastrnn_product product = {.rows = rows, .depth = depth, .a = a, .a_stride = stride, .w = w, .start = start};
    product.out = out, product.out_stride = out_stride;
    kernel->dots(&product);
    int right = 1;
    for (fastrnn_size r = 0; r < rows; r++) {
        double sum = get(start, 0), scale = fabs(sum);
        for (fastrnn_size k = 0; k < depth; k++) {
            const double term = get(a, r * stride + k) * get(w, k);
            sum += term, scale += fabs(term);
        }
        right &= fabs(get(out, r * out_stride) - sum) <= (double)(depth + 1) * eps() * scale;
    }
    check(right, "dots", rows, depth, 1);
    free(a), free(w), free(start), free(out);
}

/* out (rows, m) += a (rows, G*Hp) · wᵀ with w (m, G*H), a in block order. */
static void test_transposed_product(fastrnn_size rows, fastrnn_size m, fastrnn_size units, int gates) {
    const fastrnn_size n = gates * units, wide = gates * padded(units), columns = padded(m);
    void *a = random_array(rows * wide), *w = random_array(m * n), *packed = array(wide * columns);
    void *before = random_array(rows * columns), *out = copy_of(before, rows * columns);
    kernel->pack_transposed(&(fastrnn_pack){m, units, gates, w, packed});
    fastrnn_product product = product_of(rows, wide, columns, 1, a, packed, out, out);
    product.start_stride = columns;
    kernel->product(&product);
    int right = 1;
    for (fastrnn_size r = 0; r < rows; r++)
        for (fastrnn_size j = 0; j < columns; j++) {
            double sum = get(before, r * columns + j), scale = fabs(sum);
            for (fastrnn_size unit = 0; j < m && unit < units; unit++)
                for (int gate = 0; gate < gates; gate++) {
                    const double value = get(a, r * wide + in_blocks(unit, gate, gates));
                    const double term = value * get(w, j * n + gate * units + unit);
                    sum += term, scale += fabs(term);
                }
            right &= fabs(get(out, r * columns + j) - sum) <= (double)(n + 1) * eps() * scale;
        }
    check(right, "transposed product", rows, m, n);
    check(in_parts(&product, 1, 1, before), "parts of a transposed product", rows, m, n);
    free(a), free(w), free(packed), free(before), free(out);
}

/* ---- sums over rows ---------------------------------------------------------------------------------------------- */

/* A share of the columns at a time, each into an array of its own; then the rows of c one by one. */
static void test_gram_parts(const fastrnn_gram *whole, const void *c_before, const void *sums_before,
                            const void *sums) {
    const fastrnn_size m = whole->m, n = whole->n;
    int good = 1, summed = 1, by_row = 1;
    for (size_t i = 0; i < PART_SIZES; i++)
        for (fastrnn_size first = 0, last; first < n; first = last) {
            last = least(first + part_sizes[i] * kernel->width, n);
            void *c = part_of(c_before, m, n, first, last), *part_sums = part_of(sums_before, 1, n, first, last);
            fastrnn_gram part = *whole;
            part.n = last - first, part.b = at(whole->b, first), part.c = at(c, first);
            kernel->add_gram(&part);
            part.c = at(part_sums, first);
            kernel->add_column_sums(&part);
            good &= is_part_of(whole->c, c, m, n, first, last);
            summed &= is_part_of(sums, part_sums, 1, n, first, last);
            free(c), free(part_sums);
        }
    void *c = copy_of(c_before, m * n);
    for (fastrnn_size i = 0; i < m; i++) {
        fastrnn_gram part = *whole;
        part.m = 1, part.a = at(whole->a, i), part.c = at(c, i * n);
        kernel->add_gram(&part);
    }
    by_row = same(c, whole->c, m * n);
    free(c);
    check(good, "parts of add_gram", whole->rows, m, n);
    check(summed, "parts of add_column_sums", whole->rows, n, 0);
    check(by_row, "add_gram row by row", whole->rows, m, n);
}

/* c += aᵀ·b, where the rows of a are longer than what is used of them; and the sums of columns. */
static void test_sums_over_rows(fastrnn_size rows, fastrnn_size m, fastrnn_size blocks) {
    const fastrnn_size n = blocks * kernel->width, a_stride = m + 3;
    const fastrnn_size a_size = rows ? (rows - 1) * a_stride + m : 0;
    void *a = random_array(a_size), *b = random_array(rows * n), *c = random_array(m * n), *sums = random_array(n);
    void *c_before = copy_of(c, m * n), *sums_before = copy_of(sums, n);
    fastrnn_gram gram = {rows, m, n, n, a, a_stride, b, sums};
    kernel->add_column_sums(&gram);
    gram.c = c;
    kernel->add_gram(&gram);
    int right = 1, summed = 1;
    for (fastrnn_size j = 0; j < n; j++) {
        for (fastrnn_size i = 0; i < m; i++) {
            double sum = get(c_before, i * n + j), scale = fabs(sum);
            for (fastrnn_size r = 0; r < rows; r++) {
                const double term = get(a, r * a_stride + i) * get(b, r * n + j);
                sum += term, scale += fabs(term);
            }
            right &= fabs(get(c, i * n + j) - sum) <= (double)(rows + 2) * eps() * scale;
        }
        double sum = get(sums_before, j), scale = fabs(sum);
        for (fastrnn_size r = 0; r < rows; r++) sum += get(b, r * n + j), scale += fabs(get(b, r * n + j));
        summed &= fabs(get(sums, j) - sum) <= (double)(rows + 2) * eps() * scale;
    }
    check(right, "add_gram", rows, m, n);
    check(summed, "add_column_sums", rows, n, 0);
    test_gram_parts(&gram, c_before, sums_before, sums);
    free(a), free(b), free(c), free(sums), free(c_before), free(sums_before);
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

static double activated(int activation, double x) {
    switch (activation) {
    case FASTRNN_TANH: return tanh(x);
    case FASTRNN_SIGMOID: return 1 / (1 + exp(-x));
    case FASTRNN_RELU: return x < 0 ? 0 : x;
    default: return x;
    }
}

static void test_activation(int activation, fastrnn_size n) {
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e30, -1e30, 1e-30, 104, -104, 22, 10, 700};
    const fastrnn_size count = sizeof special / sizeof *special;
    void *x = array(n), *y = array(n);
    for (fastrnn_size i = 0; i < n; i++) set(x, i, i % 3 ? special[i % count] : 8 * uniform());
    kernel->activate(activation, x, y, n);
    int right = 1;
    for (fastrnn_size i = 0; i < n; i++) {
        const double exact = activated(activation, get(x, i)), value = get(y, i);
        if (isnan(exact)) right &= isnan(value);
        else if (isinf(exact)) right &= value == exact;
        else right &= fabs(value - exact) <= 4 * eps() * fabs(exact) + (single ? 0x1p-148 : 0x1p-1022);
    }
    check(right, fastrnn_activation_names[activation], n, 0, 0);
    kernel->activate(activation, x, x, n);
    check(same(x, y, n), "activate in place", activation, n, 0);
    free(x), free(y);
}

/* ---- steps of the cells ------------------------------------------------------------------------------------------ */

/* All arrays of one step of a cell; a cell state that the cell has not is empty. */
typedef struct {
    int index, activation, recurrent;
    const fastrnn_cell *cell;
    fastrnn_size rows, units, state, wide, kept; /* Hp, G*Hp, S*Hp */
    void *inputs;                                /* (rows, G*H): x·w_x + b as a user would see it */
    void *w_h, *packed, *packed_t, *b_h;         /* (H, G*H) and what the kernels want of it */
    void *h_prev, *c_prev;                       /* (rows, Hp), 0 past H */
    void *gates, *products, *h, *c;
} step;

static void *random_states(fastrnn_size rows, fastrnn_size units) {
    void *states = zeros(rows * padded(units));
    for (fastrnn_size i = 0; i < rows * units; i++) set(states, i / units * padded(units) + i % units, uniform());
    return states;
}

static step new_step(int index, int activation, int recurrent, fastrnn_size rows, fastrnn_size units) {
    const fastrnn_cell *cell = &fastrnn_cells[index];
    const fastrnn_size state = padded(units), n = cell->gates * units;
    step s = {.index = index,
              .activation = activation,
              .recurrent = recurrent,
              .cell = cell,
              .rows = rows,
              .units = units,
              .state = state,
              .wide = cell->gates * state,
              .kept = cell->slots * state};
    const fastrnn_size apart = cell->additive ? 0 : 1, carried = cell->cell_state ? 1 : 0;
    s.inputs = random_array(rows * n);
    s.w_h = random_array(units * n);
    s.packed = array(units * s.wide), s.packed_t = array(s.wide * state);
    kernel->pack(&(fastrnn_pack){units, units, cell->gates, s.w_h, s.packed});
    kernel->pack_transposed(&(fastrnn_pack){units, units, cell->gates, s.w_h, s.packed_t});
    void *b_h = random_array(n);
    s.b_h = array(apart * s.wide);
    if (apart) kernel->to_blocks(b_h, s.b_h, units, cell->gates, cell->gates);
    free(b_h);
    s.h_prev = random_states(rows, units), s.c_prev = carried ? random_states(rows, units) : array(0);
    s.gates = array(rows * s.kept), s.products = array(apart * rows * s.wide);
    s.h = array(rows * state), s.c = array(carried * rows * state);
    return s;
}

static void free_step(step *s) {
    void *all[] = {s->inputs, s->w_h,   s->packed,   s->packed_t, s->b_h, s->h_prev,
                   s->c_prev, s->gates, s->products, s->h,        s->c};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* What stands in `gates` before a step forward. */
static void put_inputs(const step *s) {
    for (fastrnn_size r = 0; r < s->rows; r++)
        kernel->to_blocks(at(s->inputs, r * s->cell->gates * s->units), at(s->gates, r * s->kept), s->units,
                          s->cell->gates, s->cell->slots);
}

/* The product of each row, made beforehand as for few rows. */
static void put_products(const step *s) {
    const int gates = s->cell->gates, slots = s->cell->slots;
    const fastrnn_size n = gates * s->units;
    void *row = array(n), *b_h = array(n);
    if (!s->cell->additive) kernel->from_blocks(s->b_h, b_h, 1, s->units, gates);
    for (fastrnn_size r = 0; r < s->rows; r++) {
        const void *start = s->cell->additive ? at(s->inputs, r * n) : b_h;
        kernel->product_row(at(s->h_prev, r * s->state), s->w_h, start, row, s->units, n);
        if (s->cell->additive) kernel->to_blocks(row, at(s->gates, r * s->kept), s->units, gates, slots);
        else kernel->to_blocks(row, at(s->products, r * s->wide), s->units, gates, gates);
    }
    free(row), free(b_h);
}

static fastrnn_forward forward_of(const step *s, const void *w_h) {
    return (fastrnn_forward){
        .rows = s->rows,
        .units = s->units,
        .first = 0,
        .last = s->state / kernel->width,
        .activation = s->activation,
        .recurrent_activation = s->recurrent,
        .h_prev = s->h_prev,
        .c_prev = s->c_prev,
        .w_h = w_h,
        .b_h = s->b_h,
        .products = s->products,
        .gates = s->gates,
        .h = s->h,
        .c = s->c,
    };
}

static void run_forward(const step *s) {
    const fastrnn_forward forward = forward_of(s, s->packed);
    put_inputs(s);
    kernel->forward[s->index](&forward);
}

/* sum(h∘dh) + sum(c∘dc) after a step forward, over what is no padding */
static double loss(step *s, const void *dh, const void *dc) {
    double sum = 0;
    run_forward(s);
    for (fastrnn_size i = 0; i < s->rows * s->state; i++)
        if (i % s->state < s->units) {
            sum += get(s->h, i) * get(dh, i);
            if (s->cell->cell_state) sum += get(s->c, i) * get(dc, i);
        }
    return sum;
}

static double difference(step *s, const void *dh, const void *dc, void *values, fastrnn_size i) {
    const double value = get(values, i), h = 1e-5;
    set(values, i, value + h);
    const double above = loss(s, dh, dc);
    set(values, i, value - h);
    const double below = loss(s, dh, dc);
    set(values, i, value);
    return (above - below) / (2 * h);
}

static int near(double value, double expected) { return fabs(value - expected) <= 1e-7 * (1 + fabs(expected)); }

/* The step with its product inside, as it has just run, and with the product made before. */
static void test_forward_without_product(step *s) {
    const fastrnn_size states = s->rows * s->state, carried = s->cell->cell_state ? states : 0;
    void *h = array(states), *c = array(carried), *gates = array(s->rows * s->kept), *products = s->products;
    step before = *s;
    before.h = h, before.c = c, before.gates = gates;
    before.products = s->cell->additive ? array(0) : array(s->rows * s->wide);
    const fastrnn_forward forward = forward_of(&before, NULL);
    put_inputs(&before);
    put_products(&before);
    kernel->forward[s->index](&forward);
    check(same(h, s->h, states) && same(c, s->c, carried) && same(gates, s->gates, s->rows * s->kept) &&
              same(before.products, products, s->cell->additive ? 0 : s->rows * s->wide),
          "forward with its product inside or before", s->index, s->rows, s->units);
    free(h), free(c), free(gates), free(before.products);
}

/* A few panels of units at a time, where only these are there, into arrays of its own. */
static void test_forward_parts(const step *s) {
    const int gates = s->cell->gates, slots = s->cell->slots, apart = !s->cell->additive;
    const fastrnn_size width = kernel->width, rows = s->rows, blocks = s->state / width;
    const fastrnn_size panel = kernel->panel_vectors(gates) / gates, has_c = s->cell->cell_state ? 1 : 0;
    step whole = *s;
    whole.gates = array(rows * s->kept);
    put_inputs(&whole);
    int good = 1;
    for (size_t i = 0; i < PART_SIZES; i++)
        for (fastrnn_size first = 0, last; first < blocks; first = last) {
            last = least(first + part_sizes[i] * panel, blocks);
            const fastrnn_size from = first * width, to = last * width;
            step part = *s;
            part.gates = part_of(whole.gates, rows, s->kept, from * slots, to * slots);
            part.c_prev = part_of(s->c_prev, has_c * rows, s->state, from, to);
            part.products = array(apart * rows * s->wide);
            part.h = array(rows * s->state), part.c = array(has_c * rows * s->state);
            fastrnn_forward forward = forward_of(&part, s->packed);
            forward.first = first, forward.last = last;
            kernel->forward[s->index](&forward);
            good &= is_part_of(s->h, part.h, rows, s->state, from, to);
            good &= is_part_of(s->c, part.c, has_c * rows, s->state, from, to);
            good &= is_part_of(s->gates, part.gates, rows, s->kept, from * slots, to * slots);
            good &= is_part_of(s->products, part.products, apart * rows, s->wide, from * gates, to * gates);
            free(part.gates), free(part.c_prev), free(part.products), free(part.h), free(part.c);
        }
    check(good, "parts of a step forward", s->index, rows, s->units);
    free(whole.gates);
}

/* The arrays of the gates' part of a step backward; additive cells have one for both dgx and dgh. */
typedef struct {
    void *dh, *dc, *dgx, *dgh;
} gradients;

static gradients new_gradients(const step *s, void *dh, void *dc) {
    void *dgx = array(s->rows * s->wide);
    return (gradients){dh, dc, dgx, s->cell->additive ? dgx : array(s->rows * s->wide)};
}

static void free_gradients(gradients *g) {
    if (g->dgh != g->dgx) free(g->dgh);
    free(g->dh), free(g->dc), free(g->dgx);
}

static fastrnn_backward backward_of(const step *s, const gradients *g) {
    return (fastrnn_backward){
        .rows = s->rows,
        .units = s->units,
        .first = 0,
        .last = s->state / kernel->width,
        .activation = s->activation,
        .recurrent_activation = s->recurrent,
        .gates = s->gates,
        .h_prev = s->h_prev,
        .c_prev = s->c_prev,
        .dh = g->dh,
        .dc = g->dc,
        .dgx = g->dgx,
        .dgh = g->dgh,
    };
}

/* A few blocks of units at a time, where only these are there; `whole` is what dh and dc gave. */
static void test_backward_parts(const step *s, const void *dh, const void *dc, const gradients *whole) {
    const int gates = s->cell->gates, slots = s->cell->slots;
    const fastrnn_size width = kernel->width, rows = s->rows, blocks = s->state / width;
    const fastrnn_size c_rows = s->cell->cell_state ? rows : 0;
    int good = 1;
    for (size_t i = 0; i < PART_SIZES; i++)
        for (fastrnn_size first = 0, last; first < blocks; first = last) {
            last = least(first + part_sizes[i], blocks);
            const fastrnn_size from = first * width, to = last * width;
            step part = *s;
            part.gates = part_of(s->gates, rows, s->kept, from * slots, to * slots);
            part.h_prev = part_of(s->h_prev, rows, s->state, from, to);
            part.c_prev = part_of(s->c_prev, c_rows, s->state, from, to);
            gradients g =
                new_gradients(s, part_of(dh, rows, s->state, from, to), part_of(dc, c_rows, s->state, from, to));
            fastrnn_backward backward = backward_of(&part, &g);
            backward.first = first, backward.last = last;
            kernel->backward[s->index](&backward);
            good &= is_part_of(whole->dh, g.dh, rows, s->state, from, to);
            good &= is_part_of(whole->dc, g.dc, c_rows, s->state, from, to);
            good &= is_part_of(whole->dgx, g.dgx, rows, s->wide, from * gates, to * gates);
            good &= is_part_of(whole->dgh, g.dgh, rows, s->wide, from * gates, to * gates);
            free(part.gates), free(part.h_prev), free(part.c_prev);
            free_gradients(&g);
        }
    check(good, "parts of a step backward", s->index, rows, s->units);
}

/* The same with NaN past the last unit, as an infinite input makes it: none of it comes into the gates' gradients. */
static void test_backward_padding(const step *s, const void *dh, const void *dc, const gradients *clean) {
    const fastrnn_size states = s->rows * s->state, carried = s->cell->cell_state ? states : 0;
    step dirty = *s;
    dirty.gates = copy_of(s->gates, s->rows * s->kept);
    dirty.h_prev = copy_of(s->h_prev, states), dirty.c_prev = copy_of(s->c_prev, carried);
    gradients g = new_gradients(s, copy_of(dh, states), copy_of(dc, carried));
    for (fastrnn_size r = 0; r < s->rows; r++)
        for (fastrnn_size unit = s->units; unit < s->state; unit++) {
            for (int slot = 0; slot < s->cell->slots; slot++)
                set(dirty.gates, r * s->kept + in_blocks(unit, slot, s->cell->slots), NAN);
            set(dirty.h_prev, r * s->state + unit, NAN), set(g.dh, r * s->state + unit, NAN);
            if (carried) set(dirty.c_prev, r * s->state + unit, NAN), set(g.dc, r * s->state + unit, NAN);
        }
    const fastrnn_backward backward = backward_of(&dirty, &g);
    kernel->backward[s->index](&backward);
    int good = 1;
    for (fastrnn_size r = 0; r < s->rows; r++)
        for (fastrnn_size unit = 0; unit < s->state; unit++)
            for (int gate = 0; gate < s->cell->gates; gate++) {
                const fastrnn_size i = r * s->wide + in_blocks(unit, gate, s->cell->gates);
                good &= get(g.dgx, i) == (unit < s->units ? get(clean->dgx, i) : 0);
                good &= get(g.dgh, i) == (unit < s->units ? get(clean->dgh, i) : 0);
            }
    check(good, "gates' gradients past the last unit are 0", s->index, s->rows, s->units);
    free(dirty.gates), free(dirty.h_prev), free(dirty.c_prev);
    free_gradients(&g);
}

/* The gradients of the loss by h_prev, c_prev and the inputs against differences. */
static void test_gradients(step *s, const void *dh, const void *dc, const gradients *g) {
    int right = 1;
    for (fastrnn_size i = 0; i < s->rows * s->state; i++)
        if (i % s->state < s->units) {
            right &= near(get(g->dh, i), difference(s, dh, dc, s->h_prev, i));
            if (s->cell->cell_state) right &= near(get(g->dc, i), difference(s, dh, dc, s->c_prev, i));
        }
    check(right, "dh, dc by differences", s->index, s->rows, s->units);
    right = 1;
    const fastrnn_size n = s->cell->gates * s->units;
    for (fastrnn_size i = 0; i < s->rows * n; i++) {
        const fastrnn_size place = i / n * s->wide + in_blocks(i % s->units, (int)(i % n / s->units), s->cell->gates);
        right &= near(get(g->dgx, place), difference(s, dh, dc, s->inputs, i));
    }
    check(right, "dgx by differences", s->index, s->rows, s->units);
}

static void test_step(int index, int activation, int recurrent, fastrnn_size rows, fastrnn_size units) {
    step s = new_step(index, activation, recurrent, rows, units);
    const fastrnn_size states = rows * s.state, carried = s.cell->cell_state ? states : 0;
    run_forward(&s);
    test_forward_without_product(&s);
    test_forward_parts(&s);

    void *dh = random_states(rows, units), *dc = carried ? random_states(rows, units) : array(0);
    gradients g = new_gradients(&s, copy_of(dh, states), copy_of(dc, carried));
    const fastrnn_backward backward = backward_of(&s, &g);
    kernel->backward[index](&backward);
    test_backward_parts(&s, dh, dc, &g);
    test_backward_padding(&s, dh, dc, &g);

    /* dh_prev (rows, Hp) = direct part + dgh (rows, G*Hp) · w_hᵀ (G*Hp, Hp) */
    fastrnn_product product = product_of(rows, s.wide, s.state, 1, g.dgh, s.packed_t, g.dh, g.dh);
    product.start_stride = s.state;
    kernel->product(&product);
    int finite = 1, padding = 1;
    for (fastrnn_size i = 0; i < states; i++) {
        finite &= isfinite(get(g.dh, i)) && (!carried || isfinite(get(g.dc, i)));
        if (i % s.state >= units) padding &= get(g.dh, i) == 0;
    }
    for (fastrnn_size i = 0; i < rows * s.wide; i++) finite &= isfinite(get(g.dgx, i)) && isfinite(get(g.dgh, i));
    check(finite, "backward leaves nothing unwritten", index, rows, units);
    check(padding, "dh past the last unit stays 0", index, rows, units);
    if (!single && activation != FASTRNN_RELU && recurrent != FASTRNN_RELU) /* no kinks */
        test_gradients(&s, dh, dc, &g);
    free(dh), free(dc);
    free_gradients(&g);
    free_step(&s);
}

/* ---- everything -------------------------------------------------------------------------------------------------- */

static const fastrnn_size sizes[] = {1, 3, 7, 8, 9, 17, 33, 67};
static const fastrnn_size many_rows[] = {255, 256, 257, 300, 512, 770}; /* sums over rows are cut at 256 */
#define SIZES (int)(sizeof sizes / sizeof *sizes)

static void test_type(void) {
    for (int i = 0; i < SIZES; i++) {
        const fastrnn_size units = sizes[i];
        for (fastrnn_size rows = 1; rows <= 3; rows++) test_dots(rows, units);
        for (int gates = 1; gates <= 4; gates++) {
            const int one_block = kernel->panel_vectors(gates) == gates; /* in a panel: room for more slots */
            test_blocks(1 + i % 3, units, gates, gates + i % 2);
            for (fastrnn_size rows = 1; rows <= 13; rows++) {
                test_product(rows, 1 + (rows * 5) % 11, units, gates, gates + (one_block && rows % 2));
                test_transposed_product(rows, 1 + (rows * 7) % 19, units, gates);
            }
            test_product(2, 0, units, gates, gates);
        }
        for (fastrnn_size rows = 0; rows <= 5; rows++)
            for (fastrnn_size shift = -1; shift <= 1; shift++) {
                test_rows(rows, units, 0, units, shift);
                test_rows(rows, units, 0, units / 2, shift);
                test_rows(rows, units, units / 2, units - units / 2, shift);
                test_rows(rows, units, units / 3, units / 3, shift);
            }
        for (fastrnn_size rows = 0; rows <= 9; rows++)
            for (fastrnn_size blocks = 1; blocks <= 9; blocks++) test_sums_over_rows(rows, units, blocks);
        for (size_t j = 0; j < sizeof many_rows / sizeof *many_rows; j++)
            test_sums_over_rows(many_rows[j], units, 1 + (units + many_rows[j]) % 7);
    }
    for (int activation = 0; activation < FASTRNN_ACTIVATIONS; activation++)
        for (fastrnn_size n = 0; n <= 70; n++) test_activation(activation, n);
    for (int cell = 0; cell < fastrnn_cell_count; cell++)
        for (int i = 0; i < SIZES - 1; i++)
            for (fastrnn_size rows = 1; rows <= 7; rows += 2) {
                test_step(cell, FASTRNN_TANH, FASTRNN_SIGMOID, rows, sizes[i]);
                test_step(cell, (int)(rows / 2) % FASTRNN_ACTIVATIONS, i % FASTRNN_ACTIVATIONS, rows, sizes[i]);
            }
}

int main(void) {
    for (int i = 0; i < fastrnn_isa_count(); i++) {
        const fastrnn_isa *isa = fastrnn_isa_at(i);
        isa_name = isa->name;
        if (!fastrnn_isa_supported(i)) {
            printf("%s: not on this machine\n", isa_name);
            continue;
        }
        for (single = 0; single < 2; single++) {
            const int before = passed + failed;
            kernel = single ? isa->f32 : isa->f64;
            type_name = single ? "float32" : "float64";
            test_type();
            printf("%s %s: %d checks\n", isa_name, type_name, passed + failed - before);
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
