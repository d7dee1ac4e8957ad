/* Updates of parameters, value by value; the compiler makes vectors of the loops. */

/* m = b1·m + (1 - b1)·g,  v = b2·v + (1 - b2)·g²,  values -= rate·m / (sqrt(v) + epsilon) */
static void FN(adam)(const fastrnn_adam *p) {
    const REAL *restrict gradient = p->gradient;
    REAL *restrict values = p->values, *restrict m = p->m, *restrict v = p->v;
    const REAL b1 = (REAL)p->beta_1, b2 = (REAL)p->beta_2, rate = (REAL)p->rate, epsilon = (REAL)p->epsilon;
    const REAL c1 = (REAL)(1 - p->beta_1), c2 = (REAL)(1 - p->beta_2);
    for (fastrnn_size i = 0; i < p->n; i++) {
        const REAL g = gradient[i];
        m[i] = b1 * m[i] + c1 * g;
        v[i] = b2 * v[i] + c2 * (g * g);
        values[i] -= rate * m[i] / (FN(root)(v[i]) + epsilon);
    }
}
