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

/* n values of NaN: what is read before it is written shows. */
static void *array(fastrnn_size n) {
    void *p = malloc((size_t)n * size_of());
    if (p == NULL && n) abort();
    if (n) memset(p, 0xFF, (size_t)n * size_of());
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

static void test_rows(fastrnn_size rows, fastrnn_size width) {
    const fastrnn_size time = 3, shift = 1, stride = padded(width);
    fastrnn_size *origin = malloc((size_t)rows * sizeof *origin);
    for (fastrnn_size r = 0; r < rows; r++) origin[r] = (rows - 1 - r) * time; /* from the last row to the first */
    void *user = random_array(rows * time * width), *rows_of = array(rows * stride), *sum = random_array(rows * stride);
    void *before = copy_of(sum, rows * stride), *back = zeros(rows * time * width);
    kernel->gather(rows_of, stride, user, origin, shift, rows, width);
    kernel->gather_add(sum, stride, user, origin, shift, rows, width);
    kernel->scatter(rows_of, stride, back, origin, shift, rows, width);
    int gathered = 1, added = 1, scattered = 1;
    for (fastrnn_size r = 0; r < rows; r++)
        for (fastrnn_size j = 0; j < stride; j++) {
            const double value = j < width ? get(user, (origin[r] + shift) * width + j) : 0;
            const double old = get(before, r * stride + j), new = get(sum, r * stride + j);
            gathered &= get(rows_of, r * stride + j) == value;
            added &= fabs(new - (old + value)) <= 2 * eps();
        }
    for (fastrnn_size i = 0; i < rows * time * width; i++)
        scattered &= get(back, i) == (i / width % time == shift ? get(user, i) : 0);
    check(gathered, "gather", rows, width, 0);
    check(added, "gather_add", rows, width, 0);
    check(scattered, "scatter", rows, width, 0);
    free(origin), free(user), free(rows_of), free(sum), free(before), free(back);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

static fastrnn_product product_of(fastrnn_size rows, fastrnn_size depth, fastrnn_size columns, int gates, const void *a,
                                  const void *w, const void *start, void *out) {
    const fastrnn_size panel = kernel->panel_vectors(gates);
    return (fastrnn_product){
        .rows = rows,
        .depth = depth,
        .vectors = columns / kernel->width,
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

/* out = start + a·w by a packed product and row by row, against a loop in double. */
static void test_product(fastrnn_size rows, fastrnn_size depth, fastrnn_size units, int gates) {
    const fastrnn_size n = gates * units, wide = gates * padded(units);
    void *a = random_array(rows * depth), *w = random_array(depth * n), *start = random_array(n);
    void *packed = array(depth * wide), *start_blocks = array(wide), *out = array(rows * wide);
    void *row = array(n), *row_blocks = array(wide);
    kernel->pack(&(fastrnn_pack){depth, units, gates, w, packed});
    kernel->to_blocks(start, start_blocks, units, gates, gates);
    const fastrnn_product product = product_of(rows, depth, wide, gates, a, packed, start_blocks, out);
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
                const double value = get(out, r * wide + in_blocks(unit, gate, gates));
                right &= fabs(value - sum) <= (double)(depth + 1) * eps() * scale;
            }
        kernel->product_row((char *)a + r * depth * size_of(), w, start, row, depth, n);
        kernel->to_blocks(row, row_blocks, units, gates, gates);
        equal &= same(row_blocks, (char *)out + r * wide * size_of(), wide);
    }
    check(right, "product", rows, depth, n);
    check(equal, "product_row has the product's bits", rows, depth, n);
    memcpy(row, start, (size_t)n * size_of());
    kernel->product_row(a, w, row, row, depth, n); /* in place */
    kernel->to_blocks(row, row_blocks, units, gates, gates);
    check(same(row_blocks, out, wide), "product_row in place", rows, depth, n);
    free(a), free(w), free(start), free(packed), free(start_blocks), free(out), free(row), free(row_blocks);
}

/* out (rows, m) = a (rows, G*Hp) · wᵀ with w (m, G*H), a in block order. */
static void test_transposed_product(fastrnn_size rows, fastrnn_size m, fastrnn_size units, int gates) {
    const fastrnn_size n = gates * units, wide = gates * padded(units), columns = padded(m);
    void *a = random_array(rows * wide), *w = random_array(m * n), *packed = array(wide * columns);
    void *start = zeros(columns), *out = array(rows * columns);
    kernel->pack_transposed(&(fastrnn_pack){m, units, gates, w, packed});
    const fastrnn_product product = product_of(rows, wide, columns, 1, a, packed, start, out);
    kernel->product(&product);
    int right = 1;
    for (fastrnn_size r = 0; r < rows; r++)
        for (fastrnn_size j = 0; j < columns; j++) {
            double sum = 0, scale = 0;
            for (fastrnn_size unit = 0; j < m && unit < units; unit++)
                for (int gate = 0; gate < gates; gate++) {
                    const double value = get(a, r * wide + in_blocks(unit, gate, gates));
                    const double term = value * get(w, j * n + gate * units + unit);
                    sum += term, scale += fabs(term);
                }
            right &= fabs(get(out, r * columns + j) - sum) <= (double)(n + 1) * eps() * scale;
        }
    check(right, "transposed product", rows, m, n);
    free(a), free(w), free(packed), free(start), free(out);
}

/* c += aᵀ·b, where the rows of a are longer than what is used of them; and the sums of columns. */
static void test_sums_over_rows(fastrnn_size rows, fastrnn_size m, fastrnn_size blocks) {
    const fastrnn_size n = blocks * kernel->width, a_stride = m + 3;
    const fastrnn_size a_size = rows ? (rows - 1) * a_stride + m : 0;
    void *a = random_array(a_size), *b = random_array(rows * n), *c = random_array(m * n), *sums = random_array(n);
    void *c_before = copy_of(c, m * n), *sums_before = copy_of(sums, n);
    kernel->add_gram(&(fastrnn_gram){rows, m, n, a, a_stride, b, c});
    kernel->add_column_sums(b, rows, n, sums);
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

/* Forward with the packed product, or with the product of each row made beforehand as for few rows. */
static void run_forward(step *s, int product_inside) {
    const int gates = s->cell->gates, slots = s->cell->slots;
    const fastrnn_size n = gates * s->units;
    void *row = array(n), *b_h = array(n);
    if (!s->cell->additive) kernel->from_blocks(s->b_h, b_h, 1, s->units, gates);
    for (fastrnn_size r = 0; r < s->rows; r++) {
        char *kept = (char *)s->gates + r * s->kept * size_of(), *products = s->products;
        const char *inputs = (char *)s->inputs + r * n * size_of(),
                   *h_prev = (char *)s->h_prev + r * s->state * size_of();
        kernel->to_blocks(inputs, kept, s->units, gates, slots);
        if (product_inside) continue;
        kernel->product_row(h_prev, s->w_h, s->cell->additive ? inputs : b_h, row, s->units, n);
        if (s->cell->additive) kernel->to_blocks(row, kept, s->units, gates, slots);
        else kernel->to_blocks(row, products + r * s->wide * size_of(), s->units, gates, gates);
    }
    const fastrnn_forward forward = {
        .rows = s->rows,
        .units = s->units,
        .activation = s->activation,
        .recurrent_activation = s->recurrent,
        .h_prev = s->h_prev,
        .c_prev = s->c_prev,
        .w_h = product_inside ? s->packed : NULL,
        .b_h = s->b_h,
        .products = s->products,
        .gates = s->gates,
        .h = s->h,
        .c = s->c,
    };
    kernel->forward[s->index](&forward);
    free(row), free(b_h);
}

/* sum(h∘dh) + sum(c∘dc) after a step forward, over what is no padding */
static double loss(step *s, const void *dh, const void *dc) {
    double sum = 0;
    run_forward(s, 1);
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

static void test_step(int index, int activation, int recurrent, fastrnn_size rows, fastrnn_size units) {
    step s = new_step(index, activation, recurrent, rows, units);
    const fastrnn_size states = rows * s.state, carried = s.cell->cell_state ? states : 0;
    run_forward(&s, 0);
    void *h = copy_of(s.h, states), *c = copy_of(s.c, carried);
    run_forward(&s, 1);
    check(same(h, s.h, states) && same(c, s.c, carried), "forward with its product inside or before", index, rows,
          units);

    void *dh = random_states(rows, units), *dc = carried ? random_states(rows, units) : array(0);
    void *dh_prev = copy_of(dh, states), *dc_prev = copy_of(dc, carried);
    void *dgx = array(rows * s.wide), *dgh = s.cell->additive ? dgx : array(rows * s.wide);
    const fastrnn_backward backward = {
        .rows = rows,
        .units = units,
        .activation = activation,
        .recurrent_activation = recurrent,
        .gates = s.gates,
        .h_prev = s.h_prev,
        .c_prev = s.c_prev,
        .w_ht = s.packed_t,
        .dh = dh_prev,
        .dc = dc_prev,
        .dgx = dgx,
        .dgh = dgh,
    };
    kernel->backward[index](&backward);
    int finite = 1, padding = 1;
    for (fastrnn_size i = 0; i < states; i++) {
        finite &= isfinite(get(dh_prev, i)) && (!carried || isfinite(get(dc_prev, i)));
        if (i % s.state >= units) padding &= get(dh_prev, i) == 0;
    }
    for (fastrnn_size i = 0; i < rows * s.wide; i++) finite &= isfinite(get(dgx, i)) && isfinite(get(dgh, i));
    check(finite, "backward leaves nothing unwritten", index, rows, units);
    check(padding, "dh past the last unit stays 0", index, rows, units);
    if (!single && activation != FASTRNN_RELU && recurrent != FASTRNN_RELU) { /* no kinks */
        int right = 1;
        for (fastrnn_size i = 0; i < states; i++)
            if (i % s.state < units) {
                right &= near(get(dh_prev, i), difference(&s, dh, dc, s.h_prev, i));
                if (carried) right &= near(get(dc_prev, i), difference(&s, dh, dc, s.c_prev, i));
            }
        check(right, "dh, dc by differences", index, rows, units);
        right = 1;
        const fastrnn_size n = s.cell->gates * units;
        for (fastrnn_size i = 0; i < rows * n; i++) {
            const fastrnn_size at = i / n * s.wide + in_blocks(i % units, (int)(i % n / units), s.cell->gates);
            right &= near(get(dgx, at), difference(&s, dh, dc, s.inputs, i));
        }
        check(right, "dgx by differences", index, rows, units);
    }
    if (dgh != dgx) free(dgh);
    free(dh), free(dc), free(dh_prev), free(dc_prev), free(dgx), free(h), free(c);
    free_step(&s);
}

/* ---- everything -------------------------------------------------------------------------------------------------- */

static const fastrnn_size sizes[] = {1, 3, 7, 8, 9, 17, 33, 67};
#define SIZES (int)(sizeof sizes / sizeof *sizes)

static void test_type(void) {
    for (int i = 0; i < SIZES; i++) {
        const fastrnn_size units = sizes[i];
        for (int gates = 1; gates <= 4; gates++) {
            test_blocks(1 + i % 3, units, gates, gates + i % 2);
            for (fastrnn_size rows = 1; rows <= 13; rows++) {
                test_product(rows, 1 + (rows * 5) % 11, units, gates);
                test_transposed_product(rows, 1 + (rows * 7) % 19, units, gates);
            }
            test_product(2, 0, units, gates);
        }
        for (fastrnn_size rows = 1; rows <= 5; rows++) test_rows(rows, units);
        for (fastrnn_size rows = 0; rows <= 9; rows++)
            for (fastrnn_size blocks = 1; blocks <= 9; blocks++) test_sums_over_rows(rows, units, blocks);
        test_sums_over_rows(300, units, 5);
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
