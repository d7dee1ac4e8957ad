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

/* A part of a user's matrix: columns from `beside` on of rows that are 2*`beside` longer. */
static void test_blocks(fastrnn_size rows, fastrnn_size units, int gates, int slots) {
    const fastrnn_size n = gates * units, beside = units % 3, row = n + 2 * beside, kept = slots * padded(units);
    void *w = random_array(rows * row), *blocks = array(rows * gates * padded(units)), *back = array(rows * row);
    for (fastrnn_size r = 0; r < rows; r++)
        kernel->to_blocks(at(w, r * row + beside), at(blocks, r * gates * padded(units)), units, gates, gates);
    kernel->from_blocks(&(fastrnn_pack){rows, units, row, gates, at(back, beside), blocks});
    check(is_part_of(w, back, rows, row, beside, beside + n), "to_blocks, from_blocks", rows, units, gates);

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

/* The same matrix with a column of nothing on either side. */
static void *larger_matrix(const void *w, fastrnn_size rows, fastrnn_size columns) {
    void *larger = array(rows * (columns + 2));
    for (fastrnn_size r = 0; r < rows; r++)
        memcpy(at(larger, r * (columns + 2) + 1), at(w, r * columns), (size_t)columns * size_of());
    return larger;
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
    void *larger = larger_matrix(w, depth, n);
    kernel->pack(&(fastrnn_pack){depth, units, n + 2, gates, at(larger, 1), packed});
    free(larger);
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
    void *larger = larger_matrix(w, m, n);
    kernel->pack_transposed(&(fastrnn_pack){m, units, n + 2, gates, at(larger, 1), packed});
    free(larger);
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

/* c += the columns of a∘b, where the rows of a are longer than what is used of them, whole and in parts. */
static void test_product_sums(fastrnn_size rows, fastrnn_size n) {
    const fastrnn_size a_stride = n + 2, a_size = rows ? (rows - 1) * a_stride + n : 0;
    void *a = random_array(a_size), *b = random_array(rows * n), *before = random_array(n), *c = copy_of(before, n);
    const fastrnn_gram gram = {rows, 0, n, n, a, a_stride, b, c};
    kernel->add_product_sums(&gram);
    int right = 1, good = 1;
    for (fastrnn_size j = 0; j < n; j++) {
        double sum = get(before, j), scale = fabs(sum);
        for (fastrnn_size r = 0; r < rows; r++) {
            const double term = get(a, r * a_stride + j) * get(b, r * n + j);
            sum += term, scale += fabs(term);
        }
        right &= fabs(get(c, j) - sum) <= (double)(rows + 2) * eps() * scale;
    }
    for (fastrnn_size first = 0; first < n; first += kernel->width) {
        void *part_c = part_of(before, 1, n, first, first + kernel->width);
        fastrnn_gram part = gram;
        part.n = kernel->width, part.a = at(a, first), part.b = at(b, first), part.c = at(part_c, first);
        kernel->add_product_sums(&part);
        good &= is_part_of(c, part_c, 1, n, first, first + kernel->width);
        free(part_c);
    }
    check(right, "add_product_sums", rows, n, 0);
    check(good, "parts of add_product_sums", rows, n, 0);
    free(a), free(b), free(before), free(c);
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
    for (fastrnn_size columns = 1; columns < kernel->width; columns++) { /* not whole vectors of them */
        void *some = part_of(sums_before, 1, columns, 0, columns);
        kernel->add_column_sums(&(fastrnn_gram){rows, 0, columns, n, NULL, 0, b, some});
        summed &= same(some, sums, columns);
        free(some);
    }
    check(right, "add_gram", rows, m, n);
    check(summed, "add_column_sums", rows, n, 0);
    test_product_sums(rows, n);
    test_gram_parts(&gram, c_before, sums_before, sums);
    free(a), free(b), free(c), free(sums), free(c_before), free(sums_before);
}

/* ---- convolutions of many groups --------------------------------------------------------------------------------- */

/* The value of x that output r sees through tap k of channel c of the group of filter f. */
static double seen_by(const fastrnn_grouped *p, fastrnn_size r, fastrnn_size k, fastrnn_size c, fastrnn_size f) {
    return get(p->x, r * p->x_stride + k * p->tap_stride + f / p->filters * p->channels + c);
}

static int right_grouped(const fastrnn_grouped *p) {
    int right = 1;
    for (fastrnn_size r = 0; r < p->rows; r++)
        for (fastrnn_size f = 0; f < p->width; f++) {
            double sum = get(p->start, f), scale = fabs(sum);
            for (fastrnn_size i = 0; i < p->taps * p->channels; i++) {
                const double x = seen_by(p, r, i / p->channels, i % p->channels, f);
                const double term = x * get(p->w, i * p->w_stride + f);
                sum += term, scale += fabs(term);
            }
            const double terms = (double)(p->taps * p->channels + 2);
            right &= fabs(get(p->y, r * p->y_stride + f) - sum) <= terms * eps() * scale;
        }
    return right;
}

static int right_grouped_gram(const fastrnn_grouped *p, const void *before) {
    int right = 1;
    for (fastrnn_size i = 0; i < p->taps * p->channels; i++)
        for (fastrnn_size f = 0; f < p->width; f++) {
            double sum = get(before, i * p->w_stride + f), scale = fabs(sum);
            for (fastrnn_size r = 0; r < p->rows; r++) {
                const double term = seen_by(p, r, i / p->channels, i % p->channels, f) * get(p->y, r * p->y_stride + f);
                sum += term, scale += fabs(term);
            }
            const double terms = (double)(p->rows + 2);
            right &= fabs(get(p->w, i * p->w_stride + f) - sum) <= terms * eps() * scale;
        }
    return right;
}

/* The same row by row and group by group into y, and a vector of lanes at a time into dw: no bit may depend on it. */
static void test_grouped_parts(const fastrnn_grouped *p, const fastrnn_grouped *back, const void *before) {
    int by_row = 1, by_group = 1, by_lanes = 1;
    for (fastrnn_size r = 0; r < p->rows; r++) {
        void *y = array(p->width);
        fastrnn_grouped part = *p;
        part.rows = 1, part.x = at(p->x, r * p->x_stride), part.y = y;
        kernel->grouped(&part);
        by_row &= same(y, at(p->y, r * p->y_stride), p->width);
        free(y);
    }
    const fastrnn_size rows = p->taps * p->channels, stride = p->w_stride;
    for (fastrnn_size first = 0, last; p->filters < kernel->width && first < p->width; first = last) {
        last = least(first + kernel->width, p->width);
        void *dw = part_of(before, rows, stride, first, last);
        fastrnn_grouped part = *back;
        part.width = last - first, part.x = at(p->x, first), part.w = at(dw, first), part.y = at(back->y, first);
        kernel->add_grouped_gram(&part);
        by_lanes &= is_part_of(back->w, dw, rows, stride, first, last);
        free(dw);
    }
    for (fastrnn_size f = 0; f < p->width; f += p->filters) {
        void *y = array(p->rows * p->filters);
        fastrnn_grouped part = *p;
        part.width = p->filters, part.x = at(p->x, f / p->filters * p->channels), part.w = at(p->w, f);
        part.start = at(p->start, f), part.y = y, part.y_stride = p->filters;
        kernel->grouped(&part);
        for (fastrnn_size r = 0; r < p->rows; r++)
            by_group &= same(at(y, r * p->filters), at(p->y, r * p->y_stride + f), p->filters);
        free(y);
    }
    check(by_group, "grouped group by group", p->rows, p->filters, p->width);
    check(by_row, "grouped row by row", p->rows, p->filters, p->width);
    check(by_lanes, "parts of add_grouped_gram", p->rows, p->filters, p->width);
}

/* Rows of w and y that are longer than they need be, rows of x that overlap: each as long as its last window. */
static void test_grouped(fastrnn_size rows, fastrnn_size taps, fastrnn_size channels, fastrnn_size filters,
                         fastrnn_size groups) {
    const fastrnn_size width = groups * filters, stride = width + rows % 3, depth = taps * channels;
    const fastrnn_size x_stride = groups * channels + rows % 2, tap_stride = groups * channels * (1 + taps % 2);
    const fastrnn_size x_size = taps ? (rows - 1) * x_stride + (taps - 1) * tap_stride + groups * channels : 0;
    void *x = random_array(x_size), *start = random_array(width), *y = array(rows * stride);
    void *random = random_array(depth * stride), *w = part_of(random, depth, stride, 0, width);
    fastrnn_grouped p = {rows, taps, channels, filters, width, x, x_stride, tap_stride, w, stride, start, y, stride};
    kernel->grouped(&p);
    check(right_grouped(&p) && is_part_of(y, y, rows, stride, 0, width), "grouped", rows, filters, groups);

    void *dy = random_array(rows * stride), *dw = copy_of(w, depth * stride);
    fastrnn_grouped back = p;
    back.w = dw, back.start = NULL, back.y = dy;
    if (filters < kernel->width) {
        kernel->add_grouped_gram(&back);
        check(right_grouped_gram(&back, w) && is_part_of(dw, dw, depth, stride, 0, width), "add_grouped_gram", rows,
              filters, groups);
    }
    test_grouped_parts(&p, &back, w);
    free(x), free(start), free(y), free(random), free(w), free(dy), free(dw);
}

static void test_groups(void) {
    const fastrnn_size rows[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 33, 70};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (fastrnn_size taps = 0; taps <= 10; taps++)
            for (fastrnn_size filters = 1; filters <= kernel->width; filters *= 2)
                for (fastrnn_size groups = 1; groups <= 2 * kernel->width / filters + 3; groups += 1 + groups / 3) {
                    test_grouped(rows[i], taps, filters, filters, groups);
                    if (filters == kernel->width) test_grouped(rows[i], taps, 1 + groups % 5, filters, groups);
                }
}

/* ---- layer norm -------------------------------------------------------------------------------------------------- */

typedef struct {
    double mean, scale;
} moments;

/* Value i of the user's order of a row in block order. */
static double in_row(const void *p, fastrnn_size r, fastrnn_size units, int slots, fastrnn_size i) {
    return get(p, r * slots * padded(units) + in_blocks(i % units, (int)(i / units), slots));
}

static moments moments_of(const void *v, fastrnn_size r, fastrnn_size units, int gates, double epsilon) {
    const fastrnn_size n = units * gates;
    double sum = 0, squares = 0;
    for (fastrnn_size i = 0; i < n; i++) sum += in_row(v, r, units, gates, i);
    for (fastrnn_size i = 0; i < n; i++) {
        const double away = in_row(v, r, units, gates, i) - sum / (double)n;
        squares += away * away;
    }
    return (moments){sum / (double)n, 1 / sqrt(squares / (double)n + epsilon)};
}

/* Rows in block order with random values, and something else past the last unit. */
static void *random_blocks(fastrnn_size rows, fastrnn_size units, int gates, double padding) {
    void *p = random_array(rows * gates * padded(units));
    for (fastrnn_size r = 0; r < rows; r++)
        for (fastrnn_size unit = units; unit < padded(units); unit++)
            for (int gate = 0; gate < gates; gate++)
                set(p, r * gates * padded(units) + in_blocks(unit, gate, gates), padding);
    return p;
}

enum { OF_NOTHING, OF_A_ROW, OF_ITSELF }; /* what hat∘gain is added to */

static void test_norm(fastrnn_size rows, fastrnn_size units, int gates, int slots, int added_to) {
    const fastrnn_size wide = gates * padded(units), out_wide = slots * padded(units);
    const double epsilon = 1e-3, bound = 64 * eps();
    void *v = random_blocks(rows, units, gates, NAN), *hat = array(rows * wide), *scale = array(rows);
    void *gain = random_blocks(1, units, gates, 0), *add = random_blocks(1, units, gates, 0);
    void *before = array(rows * out_wide), *out;
    for (fastrnn_size r = 0; added_to == OF_ITSELF && r < rows; r++)
        for (fastrnn_size unit = 0; unit < padded(units); unit++)
            for (int gate = 0; gate < gates; gate++)
                set(before, r * out_wide + in_blocks(unit, gate, slots), uniform());
    out = copy_of(before, rows * out_wide);
    fastrnn_norm norm = {rows,
                         units,
                         gates,
                         slots,
                         added_to == OF_ITSELF,
                         epsilon,
                         v,
                         hat,
                         scale,
                         gain,
                         added_to == OF_A_ROW ? add : NULL,
                         out};
    kernel->norm(&norm);
    int right = 1, zero = 1, beside = 1;
    for (fastrnn_size r = 0; r < rows; r++) {
        const moments m = moments_of(v, r, units, gates, epsilon);
        right &= fabs(get(scale, r) - m.scale) <= bound * m.scale * (1 + m.scale);
        for (fastrnn_size i = 0; i < units * gates; i++) {
            const double normal = (in_row(v, r, units, gates, i) - m.mean) * m.scale;
            double from = added_to == OF_A_ROW ? in_row(add, 0, units, gates, i) : 0;
            if (added_to == OF_ITSELF) from = in_row(before, r, units, slots, i);
            const double result = from + normal * in_row(gain, 0, units, gates, i);
            right &= fabs(in_row(hat, r, units, gates, i) - normal) <= bound * (1 + fabs(normal)) * (1 + m.scale);
            right &= fabs(in_row(out, r, units, slots, i) - result) <= bound * (2 + fabs(normal)) * (1 + m.scale);
        }
        for (fastrnn_size unit = 0; unit < padded(units); unit++)
            for (int slot = 0; slot < slots; slot++) {
                if (unit >= units && slot < gates) zero &= get(hat, r * wide + in_blocks(unit, slot, gates)) == 0;
                if (slot >= gates) beside &= isnan(get(out, r * out_wide + in_blocks(unit, slot, slots)));
            }
    }
    check(right, "norm", rows, units, gates);
    check(zero, "norm leaves zeros past the last unit", rows, units, gates);
    check(beside, "norm leaves the other slots alone", rows, units, slots);

    void *again = copy_of(v, rows * wide);
    free(out), out = copy_of(before, rows * out_wide);
    norm.v = again, norm.hat = again, norm.out = out;
    kernel->norm(&norm);
    check(same(again, hat, rows * wide), "norm in place", rows, units, gates);
    free(v), free(hat), free(scale), free(gain), free(add), free(before), free(out), free(again);
}

static void test_norm_back(fastrnn_size rows, fastrnn_size units, int gates) {
    const fastrnn_size wide = gates * padded(units), stride = wide + 3 * kernel->width, n = units * gates;
    const fastrnn_size extras = rows ? (rows - 1) * stride + wide : 0;
    void *hat = random_blocks(rows, units, gates, 0), *gain = random_blocks(1, units, gates, 0);
    void *d = random_blocks(rows, units, gates, 1), *scale = random_array(rows), *dv = array(rows * wide);
    void *dgain = array(extras), *dadd = array(extras);
    fastrnn_norm_back back = {rows, units, gates, hat, scale, gain, d, dv, dgain, dadd, stride};
    kernel->norm_back(&back);
    int right = 1, zero = 1, beside = 1;
    for (fastrnn_size r = 0; r < rows; r++) {
        double mean = 0, along = 0;
        for (fastrnn_size i = 0; i < n; i++) {
            const double e = in_row(d, r, units, gates, i) * in_row(gain, 0, units, gates, i);
            mean += e / (double)n, along += e * in_row(hat, r, units, gates, i) / (double)n;
        }
        for (fastrnn_size i = 0; i < n; i++) {
            const double di = in_row(d, r, units, gates, i), hat_i = in_row(hat, r, units, gates, i);
            const double e = di * in_row(gain, 0, units, gates, i);
            const fastrnn_size place = r * stride + in_blocks(i % units, (int)(i / units), gates);
            const double expected = get(scale, r) * (e - mean - hat_i * along);
            right &= fabs(in_row(dv, r, units, gates, i) - expected) <= 64 * eps();
            right &= fabs(get(dgain, place) - di * hat_i) <= eps() && get(dadd, place) == di;
        }
        for (fastrnn_size unit = units; unit < padded(units); unit++)
            for (int gate = 0; gate < gates; gate++) zero &= get(dv, r * wide + in_blocks(unit, gate, gates)) == 0;
        for (fastrnn_size i = wide; r + 1 < rows && i < stride; i++)
            beside &= isnan(get(dgain, r * stride + i)) && isnan(get(dadd, r * stride + i));
    }
    check(right, "norm_back", rows, units, gates);
    check(zero, "norm_back leaves zeros past the last unit", rows, units, gates);
    check(beside, "norm_back leaves the columns beside its own alone", rows, units, gates);
    back.dv = d, back.dgain = back.dadd = NULL;
    kernel->norm_back(&back);
    check(same(d, dv, rows * wide), "norm_back in place, without gains", rows, units, gates);
    free(hat), free(gain), free(d), free(scale), free(dv), free(dgain), free(dadd);
}

/* ---- value by value ---------------------------------------------------------------------------------------------- */

static void test_values(fastrnn_size n) {
    void *a = random_array(n), *m = random_array(n), *one = random_array(1), *y = random_array(n);
    void *product = array(n), *sum = copy_of(y, n), *more = copy_of(y, n), *mixed = copy_of(y, n);
    void *mixed_by_one = copy_of(y, n), *kept = array(n), *left = copy_of(y, n);
    kernel->multiply(a, m, product, n);
    kernel->multiply_add(a, m, more, n);
    kernel->add(a, sum, n);
    if (n) kernel->blend(a, m, 1, mixed, n), kernel->blend_back(m, 1, left, kept, n);
    kernel->blend(a, one, 0, mixed_by_one, n);
    int right = 1;
    for (fastrnn_size i = 0; i < n; i++) {
        const double ai = get(a, i), mi = get(m, i), yi = get(y, i), c = get(one, 0);
        right &= fabs(get(product, i) - ai * mi) <= eps() && fabs(get(more, i) - (yi + ai * mi)) <= 3 * eps();
        right &= fabs(get(sum, i) - (yi + ai)) <= 2 * eps();
        right &= fabs(get(mixed, i) - (mi * ai + (1 - mi) * yi)) <= 8 * eps();
        right &= fabs(get(mixed_by_one, i) - (c * ai + (1 - c) * yi)) <= 8 * eps();
        right &= fabs(get(kept, i) - mi * yi) <= eps() && fabs(get(left, i) - (1 - mi) * yi) <= 4 * eps();
    }
    check(right, "multiply, multiply_add, add, blend, blend_back", n, 0, 0);

    void *by_one = copy_of(y, n), *kept_by_one = array(n), *in_place = copy_of(a, n);
    kernel->blend_back(one, 0, by_one, kept_by_one, n);
    kernel->multiply(in_place, m, in_place, n);
    right = same(in_place, product, n);
    for (fastrnn_size i = 0; i < n; i++) {
        const double yi = get(y, i), c = get(one, 0);
        right &= fabs(get(kept_by_one, i) - c * yi) <= eps() && fabs(get(by_one, i) - (1 - c) * yi) <= 4 * eps();
    }
    check(right, "blend_back by a number, multiply in place", n, 0, 0);
    void *all[] = {a, m, one, y, product, sum, more, left, kept, by_one, kept_by_one, in_place, mixed, mixed_by_one};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void test_adam(fastrnn_size n) {
    void *g = random_array(n), *m = random_array(n), *v = random_array(n), *values = random_array(n);
    for (fastrnn_size i = 0; i < n; i++) set(v, i, fabs(get(v, i)));
    void *m_new = copy_of(m, n), *v_new = copy_of(v, n), *values_new = copy_of(values, n);
    const fastrnn_adam update = {n, 0.125, 0.75, 0.875, 0.25, g, values_new, m_new, v_new};
    kernel->adam(&update);
    int right = 1;
    for (fastrnn_size i = 0; i < n; i++) {
        const double gi = get(g, i), mi = 0.75 * get(m, i) + 0.25 * gi, vi = 0.875 * get(v, i) + 0.125 * gi * gi;
        right &= fabs(get(m_new, i) - mi) <= 4 * eps() && fabs(get(v_new, i) - vi) <= 4 * eps();
        right &= fabs(get(values_new, i) - (get(values, i) - 0.125 * mi / (sqrt(vi) + 0.25))) <= 16 * eps();
    }
    check(right, "adam", n, 0, 0);
    free(g), free(m), free(v), free(values), free(m_new), free(v_new), free(values_new);
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

static double clipped(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static double activated(const fastrnn_activation *phi, double x) {
    const double a = phi->alpha, b = phi->beta;
    switch (phi->kind) {
    case FASTRNN_TANH: return tanh(x);
    case FASTRNN_SIGMOID: return 1 / (1 + exp(-x));
    case FASTRNN_RELU: return x < 0 ? 0 : x;
    case FASTRNN_HARD_SIGMOID: return clipped(a * x + b, 0, 1);
    case FASTRNN_HARD_TANH: return clipped(x, -1, 1);
    case FASTRNN_SOFTSIGN: return isinf(x) ? copysign(1, x) : x / (1 + fabs(x));
    case FASTRNN_SOFTPLUS: return (x < 0 ? 0 : x) + log1p(exp(-fabs(x)));
    case FASTRNN_ELU: return x > 0 ? x : a * expm1(x);
    case FASTRNN_SELU: return b * (x > 0 ? x : a * expm1(x));
    case FASTRNN_LEAKY_RELU: return x > 0 ? x : a * x;
    case FASTRNN_THRESHOLDED_RELU: return x <= a ? 0 : x;
    case FASTRNN_GELU: return x == -INFINITY ? 0 : 0.5 * x * erfc(-x / sqrt(2));
    case FASTRNN_SILU: return x == -INFINITY ? 0 : x / (1 + exp(-x));
    case FASTRNN_EXPONENTIAL: return exp(x);
    case FASTRNN_AFFINE: return a * x + b;
    case FASTRNN_SCALED_TANH: return a * tanh(b * x);
    default: return x;
    }
}

/* With constants of its own, or of the test's where it takes any. */
static fastrnn_activation activation_of(int kind, int own) {
    const fastrnn_activation_spec *spec = &fastrnn_activation_specs[kind];
    fastrnn_activation phi = {kind, spec->needs_argument, spec->alpha, spec->beta};
    if (!own && spec->constants > 0) phi.alpha = 0.75;
    if (!own && spec->constants > 1) phi.beta = 0.375;
    return phi;
}

static int has_kinks(int kind) {
    switch (kind) {
    case FASTRNN_RELU:
    case FASTRNN_HARD_SIGMOID:
    case FASTRNN_HARD_TANH:
    case FASTRNN_ELU:
    case FASTRNN_SELU:
    case FASTRNN_LEAKY_RELU:
    case FASTRNN_THRESHOLDED_RELU: return 1;
    default: return 0;
    }
}

static void test_activation(const fastrnn_activation *phi, fastrnn_size n) {
    static const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e30, -1e30, 1e-30, 104, -104, 22, 10, 700};
    const fastrnn_size count = sizeof special / sizeof *special;
    const char *name = fastrnn_activation_specs[phi->kind].name;
    void *x = array(n), *y = array(n);
    for (fastrnn_size i = 0; i < n; i++) set(x, i, i % 3 ? special[i % count] : 8 * uniform());
    kernel->activate(phi, x, y, n);
    int right = 1;
    for (fastrnn_size i = 0; i < n; i++) {
        const double xi = get(x, i), value = get(y, i);
        double exact = activated(phi, xi), bound = (4 + (phi->kind == FASTRNN_GELU ? fmin(xi * xi, 1e4) : 0)) * eps();
        if (single && fabs(exact) > 0x1.fffffep127) exact = copysign(INFINITY, exact);
        if (isnan(exact)) right &= isnan(value);
        else if (isinf(exact)) right &= value == exact;
        else {
            double terms = fabs(exact); /* the sum of an affine map may cancel */
            if (phi->kind == FASTRNN_AFFINE || phi->kind == FASTRNN_HARD_SIGMOID) terms = fabs(phi->alpha * xi) + 1;
            right &= fabs(value - exact) <= bound * terms + (single ? 0x1p-148 : 0x1p-1022);
        }
    }
    check(right, name, n, 0, 0);
    kernel->activate(phi, x, x, n);
    check(same(x, y, n), "activate in place", phi->kind, n, 0);
    free(x), free(y);
}

static void test_activation_back(const fastrnn_activation *phi, fastrnn_size n) {
    const double h = 1e-6, bound = single ? 1e-5 : 1e-8, kinks[] = {-3, -1, 0, 0.75, 1, 3, -1.0, 5.0 / 3};
    void *x = array(n), *kept = array(n), *dy = random_array(n), *dx = array(n);
    for (fastrnn_size i = 0; i < n; i++) {
        double value = 3.5 * uniform();
        for (size_t k = 0; k < sizeof kinks / sizeof *kinks; k++)
            if (fabs(value - kinks[k]) < 1e-3) value += 2e-3;
        set(x, i, value);
    }
    kernel->activate(phi, x, kept, n);
    kernel->activate_back(phi, phi->keeps_argument ? x : kept, dy, dx, n);
    int right = 1;
    for (fastrnn_size i = 0; i < n; i++) {
        const double slope = (activated(phi, get(x, i) + h) - activated(phi, get(x, i) - h)) / (2 * h);
        right &= fabs(get(dx, i) - get(dy, i) * slope) <= bound * (1 + fabs(slope));
    }
    check(right, "activate_back", phi->kind, n, phi->keeps_argument);
    kernel->activate_back(phi, phi->keeps_argument ? x : kept, dy, dy, n);
    check(same(dx, dy, n), "activate_back in place", phi->kind, n, 0);
    free(x), free(kept), free(dy), free(dx);
}

static void test_activations(void) {
    for (int kind = 0; kind < FASTRNN_ACTIVATIONS; kind++)
        for (fastrnn_size n = 0; n <= 70; n++) {
            fastrnn_activation phi = activation_of(kind, n % 2);
            test_activation(&phi, n);
            test_activation_back(&phi, n);
            phi.keeps_argument = 1; /* as all do where arguments are clipped */
            test_activation_back(&phi, n);
        }
}

/* ---- steps of the cells ------------------------------------------------------------------------------------------ */

/* All arrays of one step of a cell; those that the cell has no use for are empty. */
typedef struct {
    int index, first; /* gates of the first product */
    const fastrnn_cell *cell;
    const fastrnn_options *options;
    fastrnn_size rows, units, state, wide, kept; /* Hp, G*Hp, S*Hp */
    fastrnn_size input_stride, unit_wide;
    void *inputs;                                /* (rows, G*H): x·w_x + b as a user would see it */
    void *w_h, *packed, *packed_t;               /* (H, G*H) and what the kernels want of its first gates */
    void *second_packed, *second_t, *b_h, *unit; /* the same of its last ones */
    void *h_prev, *c_prev;                       /* (rows, Hp), 0 past H */
    void *input;                                 /* (rows, input_stride) */
    void *gates, *products, *second, *h, *c;
} step;

static fastrnn_size when(int needed, fastrnn_size size) { return needed ? size : 0; }

static void *random_rows(fastrnn_size rows, fastrnn_size columns, fastrnn_size stride) {
    void *states = zeros(rows * stride);
    for (fastrnn_size i = 0; i < rows * columns; i++) set(states, i / columns * stride + i % columns, uniform());
    return states;
}

static void *random_states(fastrnn_size rows, fastrnn_size units) { return random_rows(rows, units, padded(units)); }

static void pack_weights(step *s) {
    const fastrnn_cell *cell = s->cell;
    const fastrnn_size n = cell->gates * s->units, second = cell->second * s->state;
    const int has_product = cell->recurrent == FASTRNN_PRODUCT;
    s->w_h = random_array(when(has_product, s->units * n));
    s->packed = array(when(has_product, s->units * s->first * s->state));
    s->packed_t = array(when(has_product, s->first * s->state * s->state));
    s->second_packed = array(s->units * second), s->second_t = array(second * s->state);
    fastrnn_pack part = {s->units, s->units, n, s->first, s->w_h, s->packed};
    if (has_product) kernel->pack(&part);
    part.packed = s->packed_t;
    if (has_product) kernel->pack_transposed(&part);
    part.gates = cell->second, part.w = at(s->w_h, s->first * s->units), part.packed = s->second_packed;
    if (cell->second) kernel->pack(&part);
    part.packed = s->second_t;
    if (cell->second) kernel->pack_transposed(&part);
}

static step new_step(int index, const fastrnn_options *options, int with_unit, fastrnn_size rows, fastrnn_size units) {
    const fastrnn_cell *cell = &fastrnn_cells[index];
    const fastrnn_size state = padded(units), n = cell->gates * units;
    step s = {.index = index,
              .first = cell->gates - cell->second,
              .cell = cell,
              .options = options,
              .rows = rows,
              .units = units,
              .state = state,
              .wide = cell->gates * state,
              .kept = cell->slots * state,
              .input_stride = state + (units % 2) * kernel->width,
              .unit_wide = when(with_unit, cell->unit_parameters * state)};
    const int apart = !cell->additive;
    s.inputs = random_array(rows * n);
    pack_weights(&s);
    void *b_h = cell->bias_rows == 2 ? random_array(n) : zeros(n);
    s.b_h = array(when(apart, s.wide));
    if (apart) kernel->to_blocks(b_h, s.b_h, units, cell->gates, cell->gates);
    free(b_h);
    s.unit = s.unit_wide ? random_blocks(1, units, cell->unit_parameters, 0) : NULL;
    s.h_prev = random_states(rows, units), s.c_prev = cell->cell_state ? random_states(rows, units) : array(0);
    s.input = random_rows(rows, units, s.input_stride);
    s.gates = array(rows * s.kept), s.products = array(when(apart, rows * s.wide));
    s.second = array(when(cell->second, rows * state));
    s.h = array(rows * state), s.c = array(when(cell->cell_state, rows * state));
    return s;
}

static void free_step(step *s) {
    void *all[] = {s->inputs, s->w_h,    s->packed, s->packed_t, s->second_packed, s->second_t, s->b_h, s->unit,
                   s->h_prev, s->c_prev, s->input,  s->gates,    s->products,      s->second,   s->h,   s->c};
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
    if (!s->cell->additive) kernel->from_blocks(&(fastrnn_pack){1, s->units, n, gates, b_h, s->b_h});
    for (fastrnn_size r = 0; r < s->rows; r++) {
        const void *start = s->cell->additive ? at(s->inputs, r * n) : b_h;
        kernel->product_row(at(s->input, r * s->input_stride), s->w_h, start, row, s->units, n);
        if (s->cell->additive) kernel->to_blocks(row, at(s->gates, r * s->kept), s->units, gates, slots);
        else kernel->to_blocks(row, at(s->products, r * s->wide), s->units, gates, gates);
    }
    free(row), free(b_h);
}

static fastrnn_forward forward_of(const step *s) {
    return (fastrnn_forward){
        .rows = s->rows,
        .units = s->units,
        .first = 0,
        .last = s->state / kernel->width,
        .part = FASTRNN_WHOLE,
        .options = s->options,
        .unit = s->unit,
        .input = s->input,
        .depth = s->units,
        .input_stride = s->input_stride,
        .h_prev = s->h_prev,
        .c_prev = s->c_prev,
        .w_h = s->cell->recurrent == FASTRNN_PRODUCT ? s->packed : NULL,
        .w_second = s->second_packed,
        .b_h = s->b_h,
        .products = s->products,
        .second = s->second,
        .gates = s->gates,
        .h = s->h,
        .c = s->c,
    };
}

static void run_forward(const step *s) {
    const fastrnn_forward forward = forward_of(s);
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

/* The same step again, with arrays of its own for its results. */
static step again(const step *s) {
    step other = *s;
    other.gates = array(s->rows * s->kept), other.products = array(when(!s->cell->additive, s->rows * s->wide));
    other.h = array(s->rows * s->state), other.c = array(when(s->cell->cell_state, s->rows * s->state));
    return other;
}

static int same_results(const step *s, const step *other) {
    const fastrnn_size states = s->rows * s->state;
    return same(other->h, s->h, states) && same(other->c, s->c, when(s->cell->cell_state, states)) &&
           same(other->gates, s->gates, s->rows * s->kept) &&
           same(other->products, s->products, when(!s->cell->additive, s->rows * s->wide));
}

static void free_again(step *other) { free(other->h), free(other->c), free(other->gates), free(other->products); }

/* The step with its product inside, as it has just run, and with the product made before. */
static void test_forward_without_product(const step *s) {
    step before = again(s);
    fastrnn_forward forward = forward_of(&before);
    forward.w_h = NULL;
    put_inputs(&before);
    put_products(&before);
    kernel->forward[s->index](&forward);
    check(same_results(s, &before), "forward with its product inside or before", s->index, s->rows, s->units);

    if (s->cell->cell_state) { /* in two parts, between which the cell state is seen as it is */
        put_inputs(&before);
        put_products(&before);
        forward.part = FASTRNN_GATES_PART;
        kernel->forward[s->index](&forward);
        void *shown = copy_of(before.c, s->rows * s->state);
        forward.part = FASTRNN_OUTPUT_PART, forward.shown = shown;
        kernel->forward[s->index](&forward);
        check(same_results(s, &before), "forward in two parts", s->index, s->rows, s->units);
        free(shown);
    }
    free_again(&before);
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
            step part = again(s);
            memcpy(part.gates, whole.gates, (size_t)(rows * s->kept) * size_of());
            void *gates_of_part = part_of(whole.gates, rows, s->kept, from * slots, to * slots);
            free(part.gates), part.gates = gates_of_part;
            part.c_prev = part_of(s->c_prev, has_c * rows, s->state, from, to);
            fastrnn_forward forward = forward_of(&part);
            forward.first = first, forward.last = last;
            kernel->forward[s->index](&forward);
            good &= is_part_of(s->h, part.h, rows, s->state, from, to);
            good &= is_part_of(s->c, part.c, has_c * rows, s->state, from, to);
            good &= is_part_of(s->gates, part.gates, rows, s->kept, from * slots, to * slots);
            good &= is_part_of(s->products, part.products, apart * rows, s->wide, from * gates, to * gates);
            free(part.c_prev);
            free_again(&part);
        }
    check(good, "parts of a step forward", s->index, rows, s->units);
    free(whole.gates);
}

/* The arrays of the gates' part of a step backward; additive cells have one for both dgx and dgh. */
typedef struct {
    void *dh, *dc, *dinput, *dgx, *dgh, *dsecond, *second, *dunit, *zeros;
} gradients;

/* Rows of dunit are longer than what is used of them. */
static fastrnn_size dunit_stride(const step *s) { return s->unit_wide + kernel->width; }

static gradients new_gradients(const step *s, void *dh, void *dc) {
    void *dgx = array(s->rows * s->wide);
    const fastrnn_size second = s->rows * s->cell->second * s->state;
    return (gradients){dh,
                       dc,
                       zeros(s->rows * s->state),
                       dgx,
                       s->cell->additive ? dgx : array(s->rows * s->first * s->state),
                       array(second),
                       array(second),
                       array(when(s->unit_wide > 0, (s->rows - 1) * dunit_stride(s) + s->unit_wide)),
                       zeros(s->state)};
}

static void free_gradients(gradients *g) {
    if (g->dgh != g->dgx) free(g->dgh);
    void *all[] = {g->dh, g->dc, g->dinput, g->dgx, g->dsecond, g->second, g->dunit, g->zeros};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static fastrnn_backward backward_of(const step *s, const gradients *g) {
    return (fastrnn_backward){
        .rows = s->rows,
        .units = s->units,
        .first = 0,
        .last = s->state / kernel->width,
        .part = FASTRNN_WHOLE,
        .options = s->options,
        .unit = s->unit,
        .gates = s->gates,
        .input = s->input,
        .input_stride = s->input_stride,
        .h_prev = s->h_prev,
        .c_prev = s->c_prev,
        .w_second = s->second_t,
        .zeros = g->zeros,
        .dh = g->dh,
        .dc = g->dc,
        .dinput = g->dinput,
        .dgx = g->dgx,
        .dgh = g->dgh,
        .dsecond = g->dsecond,
        .second = g->second,
        .dunit = g->dunit,
        .dunit_stride = dunit_stride(s),
    };
}

/* But for the sign of zero. */
static int same_values(const void *a, const void *b, fastrnn_size n) {
    for (fastrnn_size i = 0; i < n; i++)
        if (get(a, i) != get(b, i) && !(isnan(get(a, i)) && isnan(get(b, i)))) return 0;
    return 1;
}

static int same_gradients(const step *s, const gradients *g, const gradients *other) {
    const fastrnn_size states = s->rows * s->state, second = s->rows * s->cell->second * s->state;
    return same_values(g->dh, other->dh, states) && same_values(g->dc, other->dc, when(s->cell->cell_state, states)) &&
           same_values(g->dinput, other->dinput, states) && same_values(g->dgx, other->dgx, s->rows * s->wide) &&
           same_values(g->dgh, other->dgh, s->rows * s->first * s->state) &&
           same_values(g->dsecond, other->dsecond, second) && same_values(g->second, other->second, second) &&
           same_values(g->dunit, other->dunit, when(s->unit_wide > 0, (s->rows - 1) * dunit_stride(s) + s->unit_wide));
}

/* With zeros for the gradient by the gates; in two parts, between which the gradient by the cell state goes through. */
static void test_backward_again(const step *s, const void *dh, const void *dc, const gradients *g) {
    const fastrnn_size states = s->rows * s->state, carried = when(s->cell->cell_state, states);
    for (int parts = 0; parts <= (s->cell->cell_state && !s->cell->second); parts++) {
        gradients other = new_gradients(s, copy_of(dh, states), copy_of(dc, carried));
        fastrnn_backward backward = backward_of(s, &other);
        void *dgates = zeros(s->rows * s->wide), *dshown = array(carried);
        backward.dgates = dgates;
        if (parts) backward.dshown = dshown, backward.part = FASTRNN_OUTPUT_PART;
        kernel->backward[s->index](&backward);
        if (parts) backward.part = FASTRNN_GATES_PART, kernel->backward[s->index](&backward);
        check(same_gradients(s, g, &other), "backward in parts or with gates' gradients of 0", s->index, s->rows,
              parts);
        free(dgates), free(dshown);
        free_gradients(&other);
    }
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
            part.input = part_of(s->input, rows, s->input_stride, from, to);
            gradients g =
                new_gradients(s, part_of(dh, rows, s->state, from, to), part_of(dc, c_rows, s->state, from, to));
            fastrnn_backward backward = backward_of(&part, &g);
            backward.first = first, backward.last = last;
            kernel->backward[s->index](&backward);
            good &= is_part_of(whole->dh, g.dh, rows, s->state, from, to);
            good &= is_part_of(whole->dc, g.dc, c_rows, s->state, from, to);
            good &= is_part_of(whole->dgx, g.dgx, rows, s->wide, from * gates, to * gates);
            good &= is_part_of(whole->dgh, g.dgh, rows, s->wide, from * gates, to * gates);
            free(part.gates), free(part.h_prev), free(part.c_prev), free(part.input);
            free_gradients(&g);
        }
    check(good, "parts of a step backward", s->index, rows, s->units);
}

static void set_past_the_end(void *p, fastrnn_size rows, fastrnn_size units, fastrnn_size stride) {
    for (fastrnn_size r = 0; r < rows; r++)
        for (fastrnn_size unit = units; unit < stride; unit++) set(p, r * stride + unit, NAN);
}

static int clean_past_the_end(const step *s, const void *dirty, const void *clean, int gates) {
    int good = 1;
    for (fastrnn_size r = 0; r < s->rows; r++)
        for (fastrnn_size unit = 0; unit < s->state; unit++)
            for (int gate = 0; gate < gates; gate++) {
                const fastrnn_size i = r * gates * s->state + in_blocks(unit, gate, gates);
                good &= get(dirty, i) == (unit < s->units ? get(clean, i) : 0);
            }
    return good;
}

/* The same with NaN past the last unit, as an infinite input makes it: none of it comes into the gates' gradients. */
static void test_backward_padding(const step *s, const void *dh, const void *dc, const gradients *clean) {
    const fastrnn_size states = s->rows * s->state, carried = when(s->cell->cell_state, states);
    step dirty = *s;
    dirty.gates = copy_of(s->gates, s->rows * s->kept);
    dirty.h_prev = copy_of(s->h_prev, states), dirty.c_prev = copy_of(s->c_prev, carried);
    gradients g = new_gradients(s, copy_of(dh, states), copy_of(dc, carried));
    for (fastrnn_size r = 0; r < s->rows; r++)
        for (fastrnn_size unit = s->units; unit < s->state; unit++)
            for (int slot = 0; slot < s->cell->slots; slot++)
                set(dirty.gates, r * s->kept + in_blocks(unit, slot, s->cell->slots), NAN);
    set_past_the_end(dirty.h_prev, s->rows, s->units, s->state), set_past_the_end(g.dh, s->rows, s->units, s->state);
    if (carried)
        set_past_the_end(dirty.c_prev, s->rows, s->units, s->state),
            set_past_the_end(g.dc, s->rows, s->units, s->state);
    const fastrnn_backward backward = backward_of(&dirty, &g);
    kernel->backward[s->index](&backward);
    int good = clean_past_the_end(s, g.dgx, clean->dgx, s->cell->gates);
    good &= clean_past_the_end(s, g.dgh, clean->dgh, s->first);
    good &= clean_past_the_end(s, g.dsecond, clean->dsecond, s->cell->second);
    check(good, "gates' gradients past the last unit are 0", s->index, s->rows, s->units);
    free(dirty.gates), free(dirty.h_prev), free(dirty.c_prev);
    free_gradients(&g);
}

/* The gradients of the loss by all that enters the step against differences; dinput is complete. */
static void test_gradients(step *s, const void *dh, const void *dc, const gradients *g) {
    int right = 1;
    for (fastrnn_size i = 0; i < s->rows * s->state; i++)
        if (i % s->state < s->units) {
            const fastrnn_size of_input = i / s->state * s->input_stride + i % s->state;
            right &= near(get(g->dh, i), difference(s, dh, dc, s->h_prev, i));
            if (s->cell->recurrent != FASTRNN_NOTHING)
                right &= near(get(g->dinput, i), difference(s, dh, dc, s->input, of_input));
            if (s->cell->cell_state) right &= near(get(g->dc, i), difference(s, dh, dc, s->c_prev, i));
        }
    check(right, "dh, dinput, dc by differences", s->index, s->rows, s->units);
    right = 1;
    const fastrnn_size n = s->cell->gates * s->units;
    for (fastrnn_size i = 0; i < s->rows * n; i++) {
        const fastrnn_size place = i / n * s->wide + in_blocks(i % s->units, (int)(i % n / s->units), s->cell->gates);
        right &= near(get(g->dgx, place), difference(s, dh, dc, s->inputs, i));
    }
    check(right, "dgx by differences", s->index, s->rows, s->units);
    right = 1;
    for (fastrnn_size i = 0; i < s->unit_wide; i++) {
        const fastrnn_size unit = i / (s->cell->unit_parameters * kernel->width) * kernel->width + i % kernel->width;
        double sum = 0;
        for (fastrnn_size r = 0; r < s->rows; r++) sum += get(g->dunit, r * dunit_stride(s) + i);
        if (unit < s->units) right &= near(sum, difference(s, dh, dc, s->unit, i));
    }
    check(right, "dunit by differences", s->index, s->rows, s->units);
}

static int is_finite(const void *p, fastrnn_size n) {
    for (fastrnn_size i = 0; i < n; i++)
        if (!isfinite(get(p, i))) return 0;
    return 1;
}

/* What the backward step wants of its input: a copy that is also the gradient by the state before, as without masks. */
static void test_backward_in_one(const step *s, const void *dh, const void *dc, const gradients *g) {
    const fastrnn_size states = s->rows * s->state, carried = when(s->cell->cell_state, states);
    gradients one = new_gradients(s, copy_of(dh, states), copy_of(dc, carried));
    fastrnn_backward backward = backward_of(s, &one);
    backward.dinput = one.dh;
    kernel->backward[s->index](&backward);
    int right = same(g->dgx, one.dgx, s->rows * s->wide);
    for (fastrnn_size i = 0; i < states; i++)
        right &= fabs(get(one.dh, i) - (get(g->dh, i) + get(g->dinput, i))) <= 8 * eps() * (1 + fabs(get(one.dh, i)));
    check(right, "dinput and dh in one array", s->index, s->rows, s->units);
    free_gradients(&one);
}

/* The usual options, and others in turn. */
static fastrnn_options options_of(int turn) {
    fastrnn_options o = {.activation = activation_of(FASTRNN_TANH, 1),
                         .recurrent = activation_of(FASTRNN_SIGMOID, 1),
                         .output = activation_of(FASTRNN_TANH, 1)};
    if (!turn) return o;
    o.activation = activation_of(turn % FASTRNN_ACTIVATIONS, turn % 2);
    o.recurrent = activation_of(turn * 5 % FASTRNN_ACTIVATIONS, turn % 2);
    o.output = activation_of(turn * 7 % FASTRNN_ACTIVATIONS, turn % 2);
    o.coupled = turn % 3 == 0;
    o.clip = turn % 4 == 1 ? 0.7 : 0, o.cell_clip = turn % 5 == 2 ? 0.6 : 0;
    if (o.clip > 0) o.activation.keeps_argument = o.recurrent.keeps_argument = 1;
    return o;
}

/* The usual options, said to be usual or found to be. */
static void test_usual(int index, int with_unit, fastrnn_size rows, fastrnn_size units) {
    const fastrnn_options plain = options_of(0);
    fastrnn_options usual = plain;
    usual.usual = 1;
    step s = new_step(index, &plain, with_unit, rows, units);
    run_forward(&s);
    step sooner = again(&s);
    sooner.options = &usual;
    run_forward(&sooner);
    check(same_results(&s, &sooner), "forward with usual options", index, rows, units);
    const fastrnn_size states = rows * s.state, carried = when(s.cell->cell_state, states);
    void *dh = random_states(rows, units), *dc = carried ? random_states(rows, units) : array(0);
    gradients g = new_gradients(&s, copy_of(dh, states), copy_of(dc, carried));
    gradients other = new_gradients(&s, copy_of(dh, states), copy_of(dc, carried));
    const fastrnn_backward backward = backward_of(&s, &g), sooner_back = backward_of(&sooner, &other);
    kernel->backward[index](&backward);
    kernel->backward[index](&sooner_back);
    check(same_gradients(&s, &g, &other), "backward with usual options", index, rows, units);
    free(dh), free(dc);
    free_gradients(&g), free_gradients(&other);
    free_again(&sooner);
    free_step(&s);
}

static void test_step(int index, const fastrnn_options *options, int with_unit, fastrnn_size rows, fastrnn_size units) {
    step s = new_step(index, options, with_unit, rows, units);
    const fastrnn_size states = rows * s.state, carried = when(s.cell->cell_state, states);
    const int has_product = s.cell->recurrent == FASTRNN_PRODUCT;
    run_forward(&s);
    if (has_product && !s.cell->second) test_forward_without_product(&s);
    if (!s.cell->second) test_forward_parts(&s);

    void *dh = random_states(rows, units), *dc = carried ? random_states(rows, units) : array(0);
    gradients g = new_gradients(&s, copy_of(dh, states), copy_of(dc, carried));
    const fastrnn_backward backward = backward_of(&s, &g);
    kernel->backward[index](&backward);
    test_backward_again(&s, dh, dc, &g);
    test_backward_in_one(&s, dh, dc, &g);
    if (!s.cell->second) test_backward_parts(&s, dh, dc, &g);
    test_backward_padding(&s, dh, dc, &g);

    /* dinput (rows, Hp) += dgh (rows, first*Hp) · w_hᵀ (first*Hp, Hp) */
    fastrnn_product product = product_of(rows, s.first * s.state, s.state, 1, g.dgh, s.packed_t, g.dinput, g.dinput);
    product.start_stride = s.state;
    if (has_product) kernel->product(&product);
    int padding = 1;
    for (fastrnn_size i = 0; i < states; i++)
        if (i % s.state >= units) padding &= get(g.dh, i) == 0 && get(g.dinput, i) == 0;
    check(is_finite(g.dh, states) && is_finite(g.dc, carried) && is_finite(g.dinput, states) &&
              is_finite(g.dgx, rows * s.wide) && is_finite(g.dgh, rows * s.first * s.state),
          "backward leaves nothing unwritten", index, rows, units);
    check(padding, "dh past the last unit stays 0", index, rows, units);
    if (!single && rows * units < 70 && !options->clip && !options->cell_clip && !has_kinks(options->activation.kind) &&
        !has_kinks(options->recurrent.kind) && !has_kinks(options->output.kind))
        test_gradients(&s, dh, dc, &g);
    free(dh), free(dc);
    free_gradients(&g);
    free_step(&s);
}

static void test_cells(const fastrnn_size *units, int sizes) {
    int turn = 1;
    for (int index = 0; index < fastrnn_cell_count; index++) {
        const fastrnn_cell *cell = &fastrnn_cells[index];
        const int needs_unit = cell->recurrent == FASTRNN_ELEMENTWISE;
        for (int i = 0; i < sizes; i++)
            for (fastrnn_size rows = 1; rows <= 7; rows += 3)
                for (int with_unit = needs_unit; with_unit <= (cell->unit_parameters > 0); with_unit++) {
                    const fastrnn_options plain = options_of(0), others = options_of(turn++);
                    test_usual(index, with_unit, rows, units[i]);
                    test_step(index, &plain, with_unit, rows, units[i]);
                    test_step(index, &others, with_unit, rows, units[i]);
                }
    }
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
            for (int added_to = OF_NOTHING; added_to <= OF_ITSELF; added_to++)
                test_norm(1 + i % 4, units, gates, gates + added_to % 2, added_to);
            test_norm_back(i % 5, units, gates);
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
    for (fastrnn_size n = 0; n <= 70; n++) test_values(n), test_adam(n);
    test_groups();
    test_activations();
    test_cells(sizes, SIZES - 1);
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
