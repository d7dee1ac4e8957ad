/* Products with weights in fewer bits (csrc/narrow.h): off by no more than their errors allow, the same bits for a row
 * alone and for panels by themselves, and no byte read or written beside its array (with the sanitizers of run.sh). */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastrnn.h"

static const fastrnn_kernels *kernel;
static const char *isa_name;
static int passed, failed;

static void check(int good, const char *what, int format, fastrnn_size rows, fastrnn_size depth, fastrnn_size n) {
    passed += good, failed += !good;
    if (!good)
        printf("%s: %s wrong: format %d, %td rows, depth %td, %td columns\n", isa_name, what, format, rows, depth, n);
}

static float *array(fastrnn_size count) { return calloc((size_t)count, sizeof(float)); }

/* Numbers between -1 and 1, some of them zero or tiny. */
static float *random_array(fastrnn_size count) {
    static uint32_t state = 1;
    float *values = array(count);
    for (fastrnn_size i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / (1 << 23) - 1;
        if (i % 5 == 3) values[i] *= i % 2 ? 1e-7f : 0;
    }
    return values;
}

static fastrnn_size padded(fastrnn_size units) { return (units + kernel->width - 1) / kernel->width * kernel->width; }

static double largest_of(const float *w, fastrnn_size step, fastrnn_size count) {
    double most = 0;
    for (fastrnn_size i = 0; i < count; i++) most = fmax(most, fabs(w[i * step]));
    return most;
}

/* What a stored weight may be off by. */
static double stored_error(int format, double w, double largest, double largest_of_column) {
    if (format == FASTRNN_BFLOAT16) return ldexp(fabs(w), -8);
    if (format == FASTRNN_FLOAT16) return fmax(ldexp(fabs(w), -11), ldexp(largest, -39));
    return largest_of_column / 127 * 0.50001;
}

/* |out - exact| of one number, and whether that is allowed. */
static int within(double value, double start, const float *a, const float *w, fastrnn_size depth, fastrnn_size n,
                  int format, double largest) {
    double sum = start, size = fabs(start), allowed = 0;
    const double of_column = largest_of(w, n, depth);
    for (fastrnn_size k = 0; k < depth; k++) {
        sum += (double)a[k] * w[k * n];
        size += fabs((double)a[k] * w[k * n]) + fabs((double)a[k]) * stored_error(format, w[k * n], largest, of_column);
        allowed += fabs((double)a[k]) * stored_error(format, w[k * n], largest, of_column);
    }
    return fabs(value - sum) <= allowed + size * (double)(depth + 2) * 0x1p-23;
}

static void test_product(int format, fastrnn_size rows, fastrnn_size depth, fastrnn_size units, int gates) {
    const fastrnn_size n = gates * units, wide = gates * padded(units), panel = kernel->panel_vectors(gates);
    const fastrnn_size per = format == FASTRNN_INT8 ? 4 : 2, vectors = wide / kernel->width;
    float *a = random_array(rows * depth), *w = random_array(depth * n), *start = random_array(n);
    float *packed = array(depth * wide), *blocks = array(wide), *out = array(rows * wide), *row = array(wide);
    float *words = array((depth + per - 1) / per * wide), *scales = array(format == FASTRNN_INT8 ? wide : 1);
    kernel->pack(&(fastrnn_pack){depth, units, n, gates, w, packed});
    kernel->to_blocks(start, blocks, units, gates, gates);
    kernel->narrow(&(fastrnn_narrowing){depth, vectors, (int)panel, format, packed, words, scales});
    const fastrnn_narrow narrow = {format, scales};
    const fastrnn_product product = {
        .rows = rows,
        .depth = depth,
        .vectors = vectors,
        .last = vectors,
        .panel = (int)panel,
        .a = a,
        .a_stride = depth,
        .w = words,
        .start = blocks,
        .start_panel = panel * kernel->width,
        .out = out,
        .out_stride = wide,
        .out_panel = panel * kernel->width,
    };
    kernel->product_narrow(&product, &narrow);

    int right = 1, alone = 1;
    const double largest = largest_of(w, 1, depth * n);
    for (fastrnn_size r = 0; r < rows; r++) {
        for (fastrnn_size j = 0; j < n; j++) {
            const fastrnn_size unit = j % units, gate = j / units, block = unit / kernel->width;
            const float value = out[r * wide + (block * gates + gate) * kernel->width + unit % kernel->width];
            right &= within(value, start[j], a + r * depth, w + j, depth, n, format, largest);
        }
        fastrnn_product one = product;
        one.rows = 1, one.a = a + r * depth, one.out = row;
        kernel->product_narrow(&one, &narrow);
        alone &= memcmp(row, out + r * wide, (size_t)wide * sizeof(float)) == 0;
    }
    check(right, "a product", format, rows, depth, n);
    check(alone, "a row alone", format, rows, depth, n);
    for (fastrnn_size first = 0; first < vectors; first += panel) {
        fastrnn_product part = product;
        part.rows = 1, part.out = row, part.first = first;
        part.last = first + panel < vectors ? first + panel : vectors;
        kernel->product_narrow(&part, &narrow);
    }
    check(memcmp(row, out, (size_t)wide * sizeof(float)) == 0, "panels by themselves", format, rows, depth, n);
    free(a), free(w), free(start), free(packed), free(blocks), free(out), free(row), free(words), free(scales);
}

int main(void) {
    static const fastrnn_size sizes[] = {1, 3, 7, 8, 9, 17, 33, 67, 130};
    for (int i = 0; i < fastrnn_isa_count(); i++) {
        isa_name = fastrnn_isa_at(i)->name;
        kernel = fastrnn_isa_at(i)->f32;
        if (!fastrnn_isa_supported(i)) {
            printf("%s: not on this machine\n", isa_name);
            continue;
        }
        for (int format = FASTRNN_FLOAT16; format < FASTRNN_FORMATS; format++)
            for (int gates = 1; gates <= 4; gates++)
                for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                    for (fastrnn_size rows = 1; rows <= 5; rows++)
                        for (fastrnn_size depth = 1; depth <= 14; depth += 1 + depth / 4)
                            test_product(format, rows, depth, sizes[s], gates);
    }
    printf("narrow products: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}
