# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""One step forward of any cell with any option, for the time loops and for stepping.

    input = h_prev∘mask                                  recurrent dropout
    gates from x·w_x + b and input·w_h (+ b_h)           the cell; in between, layer norm
    h = output·w_proj                                    projection
    h = m∘h_prev + (1 - m)∘h,  c likewise                zoneout

The plain cell is one call of the kernel.  What an option adds works on whole rows.
"""

from ._cache cimport gather
from ._kernels cimport (
    FASTRNN_GATES_PART,
    FASTRNN_NORMS_APART,
    FASTRNN_OUTPUT_PART,
    FASTRNN_WHOLE,
    fastrnn_forward,
    fastrnn_narrow,
    fastrnn_norm,
    fastrnn_product,
)


# ---- products --------------------------------------------------------------------------------------------------------

cdef void panel_product(const Run *run, const void *a, Py_ssize_t a_stride, Py_ssize_t depth, const char *w,
                        const fastrnn_narrow *narrow, int gates, Py_ssize_t padded, const char *start,
                        Py_ssize_t start_stride, char *out, int slots, Py_ssize_t rows) noexcept nogil:
    """out (rows, gates of `slots`) = start + a (rows, depth) · w (depth, gates·padded)"""
    cdef fastrnn_product product
    cdef Py_ssize_t width = run.kernels.width
    product.rows, product.depth, product.vectors = rows, depth, padded // width * gates
    product.first, product.last, product.panel = 0, product.vectors, run.kernels.panel_vectors(gates)
    product.a, product.a_stride, product.w = a, a_stride, w
    product.start, product.start_stride = start, start_stride
    product.out, product.out_stride = out, slots * padded
    product.out_panel = slots * (product.panel // gates) * width
    product.start_panel = product.out_panel if start_stride else product.panel * width
    if run.format:
        run.kernels.product_narrow(&product, narrow)
    else:
        run.kernels.product(&product)


cdef void input_product(const Run *run, const Weights *weights, const Kept *at, const char *x, Py_ssize_t x_stride,
                        Py_ssize_t rows) noexcept nogil:
    """gates (rows, G of the S slots) = b + x (rows, I) · w_x (I, G·Hp), the product perhaps normalised"""
    cdef int gates = run.cell.gates, slots = run.cell.slots
    if not (run.norm and run.cell.norm == FASTRNN_NORMS_APART):
        panel_product(run, x, x_stride, run.inputs, weights.w_x, &weights.narrow_x, gates, run.padded, weights.b, 0,
                      at.gates, slots, rows)
        return
    panel_product(run, x, x_stride, run.inputs, weights.w_x, &weights.narrow_x, gates, run.padded, weights.zeros, 0,
                  at.x_hat, gates, rows)
    normalise(run, gates, at.x_hat, at.x_hat, at.x_scale, weights.x_gain, weights.b, at.gates, slots, False, rows)


# ---- layer norm ------------------------------------------------------------------------------------------------------

cdef void normalise(const Run *run, int gates, const char *v, char *hat, char *scales, const char *gain,
                    const char *add, char *out, int slots, bint accumulate, Py_ssize_t rows) noexcept nogil:
    """hat (rows, gates·Hp) = LN(v), out (rows, gates of `slots`) = (out or add) + hat∘gain"""
    cdef fastrnn_norm p
    p.rows, p.units, p.gates, p.slots, p.accumulate = rows, run.units, gates, slots, accumulate
    p.epsilon, p.v, p.hat, p.scale, p.gain, p.add, p.out = run.epsilon, v, hat, scales, gain, add, out
    run.kernels.norm(&p)


cdef void normalised_products(const Run *run, const Weights *weights, const fastrnn_forward *f, const char *h_hat,
                              const char *scales) noexcept nogil:
    """The recurrent product and its norm; the gates then find it where they look for it."""
    cdef int gates = run.cell.gates, slots = run.cell.slots
    cdef bint additive = run.cell.additive
    if run.cell.norm == FASTRNN_NORMS_APART:
        # LN(input·w_h)∘gain, added to the gates or, with the recurrent bias, beside them
        panel_product(run, f.input, f.input_stride, f.depth, weights.w_h, &weights.narrow_h, gates, run.padded,
                      weights.zeros, 0, <char *>h_hat, gates, f.rows)
        normalise(run, gates, h_hat, <char *>h_hat, <char *>scales, weights.h_gain, weights.b_h,
                  <char *>(f.gates if additive else f.products), slots if additive else gates, additive, f.rows)
    else:
        # LN(x·w_x + input·w_h + b)∘gain + bias
        panel_product(run, f.input, f.input_stride, f.depth, weights.w_h, &weights.narrow_h, gates, run.padded,
                      <char *>f.gates, slots * run.padded, <char *>f.gates, slots, f.rows)
        normalise(run, gates, <char *>f.gates, <char *>h_hat, <char *>scales, weights.h_gain, weights.h_add,
                  <char *>f.gates, slots, False, f.rows)


# ---- zoneout ---------------------------------------------------------------------------------------------------------

cdef void mix(const Run *run, const Step *step, const char *share, bint varies, Py_ssize_t columns, Py_ssize_t padded,
              const char *before, char *state, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """state = m∘before + (1 - m)∘state"""
    cdef char *own = step.scratch.share + first * max(run.state, run.cell_state)
    if varies:
        gather(run, own, padded, share, columns, step.origin + first, step.shift, rows)
        share = own
    run.kernels.blend(before, share, varies, state, rows * padded)


# ---- a step ----------------------------------------------------------------------------------------------------------

cdef void step_forward(const Run *run, const Step *step, Py_ssize_t first, Py_ssize_t last, Py_ssize_t unit,
                       Py_ssize_t end) noexcept nogil:
    """Rows `first` to before `last` of a step, units `unit` to before `end`; the new states go to the same rows of h
    and c.  `unit` and `end` are all units where something spans the row."""
    cdef const Weights *w = step.weights
    cdef const Kept *at = &step.at
    cdef fastrnn_forward f
    cdef Py_ssize_t rows = last - first, state = run.state, cell = run.cell_state
    cdef char *h = step.h + first * state
    cdef char *c = step.c + first * cell
    if first >= last:
        return
    f.rows, f.units, f.options, f.part = rows, run.units, &run.options, FASTRNN_WHOLE
    f.first, f.last = unit // run.kernels.width, end // run.kernels.width
    f.h_prev, f.c_prev, f.input = at.h + first * state, at.c + first * cell, at.input + first * state
    f.depth, f.input_stride = run.outputs, run.padded_outputs
    f.w_h, f.b_h, f.unit = w.w_h, w.b_h, w.unit
    f.narrow_h = &w.narrow_h if run.format else NULL
    f.narrow_second = &w.narrow_second if run.format else NULL
    f.products, f.gates = step.scratch.products + first * run.wide, at.gates + first * run.kept
    f.h, f.c = h, c
    if not run.whole_rows:
        run.kernels.forward[run.index](&f)
        return
    f.w_second, f.second, f.shown = w.w_second, step.scratch.second + first * cell, step.scratch.shown + first * cell
    if run.projected:
        f.h = at.output + first * cell
    if run.masks_h:
        run.kernels.multiply(f.h_prev, step.mixing.mask_h + first * state, <char *>f.input, rows * run.padded_outputs)
    if run.norm:
        normalised_products(run, w, &f, at.h_hat + first * run.norm_wide, at.h_scale + first * run.size)
        f.w_h = NULL
    if run.norm and run.cell.cell_state:
        f.part = FASTRNN_GATES_PART
        run.kernels.forward[run.index](&f)
        normalise(run, 1, c, at.c_hat + first * cell, at.c_scale + first * run.size, w.c_gain, w.c_add,
                  <char *>f.shown, 1, False, rows)
        f.part = FASTRNN_OUTPUT_PART
    run.kernels.forward[run.index](&f)
    if run.projected:
        # h (rows, Pp) = output (rows, H) · w_proj (H, P)
        panel_product(run, f.h, run.padded, run.units, w.w_proj, &w.narrow_proj, 1, run.padded_outputs, w.zeros, 0, h,
                      1, rows)
    if run.zones_h:
        mix(run, step, step.mixing.zone_h, step.mixing.zone_h_varies, run.outputs, run.padded_outputs,
            <char *>f.h_prev, h, first, rows)
    if run.zones_c:
        mix(run, step, step.mixing.zone_c, step.mixing.zone_c_varies, run.units, run.padded, <char *>f.c_prev, c, first,
            rows)
