/* What the machine can do, for the benches to hold the kernels against. */

/* Multiply-adds on registers alone, as many chains as hide their latency; returns the number of operations (2 each). */
static fastrnn_size FN(multiply_add_probe)(fastrnn_size rounds, void *sink) {
    VEC sum[12];
    const VEC factor = ALL(0.999), term = ALL(0.001);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) sum[i] = ALL(i);
    for (fastrnn_size round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) sum[i] = sum[i] * factor + term;
    for (int i = 1; i < 12; i++) sum[0] += sum[i];
    STORE(sink, sum[0]);
    return rounds * 12 * W * 2;
}

/* Read n values from end to end, n a multiple of 8·W. */
static void FN(read_probe)(const void *values, fastrnn_size n, void *sink) {
    VEC sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sum[i] = ALL(0);
    for (fastrnn_size j = 0; j < n; j += 8 * W)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) sum[i] += LOAD((const REAL *)values + j + i * W);
    for (int i = 1; i < 8; i++) sum[0] += sum[i];
    STORE(sink, sum[0]);
}
