# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Backward through time: THE loop, for every cell of the registry with every option.

A chunk of steps leaves the gates' gradients; from these come the gradients by weights, bias and inputs, chunk by chunk.
Letters and the sharing of work as in `_forward`.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport Cache, Checkpoints, Kept, Mixing, Run, gather, kept_at, kept_size, padded_to, scatter
from ._checkpoints cimport backward_rows
from ._forward cimport Forward, first_rows, forward_loop, last_rows, prepare
from ._kernels cimport *
from ._memory cimport Memory, reserve, take
from ._schedule cimport Plan, chunk_start, data_of
from ._share cimport Share, interrupted, members_for, raise_signal, share_of, zero_reset_rows
from ._step cimport Weights
from ._weights cimport bind_parameters, bind_transposed

import numpy as np

cnp.import_array()


cdef struct Extras:  # columns of the rows whose sums are gradients by parameters of single units; offsets in bytes
    Py_ssize_t unit, c_gain, c_add
    Py_ssize_t wide  # of a row


cdef struct Backward:
    Run run
    const Plan *plan
    Kept kept        # the forward pass's
    Py_ssize_t base  # the row that `kept` begins with
    Mixing mixing
    Weights weights  # packed for products with their transposes: w_x (G·Hp, Ip), w_h (first·Hp, Pp), ...
    Extras extras
    fastrnn_barrier barrier
    double next_look
    bint[2] stop
    Py_ssize_t start, end  # the steps to run
    Py_ssize_t chunk_rows
    char *dh         # (B, Pp): the gradient by the state, carried from step to step
    char *dc         # (B, Hp)
    char *dgx        # (rows of a chunk, G·Hp)
    char *dgh        # (rows, first·Hp); the same memory for additive cells
    char *dgn        # (rows, norm's width): dgh behind the norm; the same memory without one
    char *dsecond    # (rows, second·Hp)
    char *second     # (rows, Hp): what the second product took
    char *dproj      # (rows, Pp): gradient by the projected h
    char *rows_of_extras  # (rows, extras)
    char *dx         # (rows, Ip)
    char *doutput    # (B, Hp): gradient by what is projected
    char *dshown     # (B, Hp)
    char *dgates     # (B, G·Hp), where they come from outside
    char *dinput     # (B, Pp)
    char *held_h     # (B, Pp): what zoneout hands to the state before
    char *held_c     # (B, Hp)
    char *share      # (B, max(Pp, Hp))
    char *unit       # (U·Hp,)
    char *h_gain
    char *x_gain
    char *c_gain
    char *zeros      # a row
    char *dw_x       # (I, G·Hp) in block order; these begin at zero
    char *dw_h       # (P, first·Hp)
    char *dw_second  # (H, second·Hp)
    char *dw_proj    # (H, Pp)
    char *db         # (G·Hp,)
    char *db_h       # (first·Hp,)
    char *dextras
    char *dx_gain    # (G·Hp,), as the next; these four of layer norm
    char *dh_gain
    char *dsum_gain  # (Hp,)
    char *dsum_add
    char *dy_user    # (B, T, P), or NULL
    char *dc_user    # (B, T, H), or NULL
    char *dgates_user  # (B, T, G·H), or NULL
    char *dx_user    # (B, T, I), or NULL


cdef void transposed_product(const Run *run, const char *d, Py_ssize_t depth, const char *w, const char *start,
                             Py_ssize_t start_stride, char *out, Py_ssize_t columns, Py_ssize_t first, Py_ssize_t last,
                             Py_ssize_t rows) noexcept nogil:
    """out (rows, columns) = start + d (rows, depth) · w (depth, columns), for columns `first` to before `last`."""
    cdef fastrnn_product product
    cdef Py_ssize_t width = run.kernels.width
    product.rows, product.depth, product.vectors = rows, depth, columns // width
    product.first, product.last = first // width, last // width
    product.panel = run.kernels.panel_vectors(1)
    product.a, product.a_stride, product.w = d, depth, w
    product.start, product.start_stride, product.start_panel = start, start_stride, product.panel * width
    product.out, product.out_stride, product.out_panel = out, columns, product.panel * width
    run.kernels.product(&product)


cdef void add_user(const Run *run, const Share *share, char *padded, Py_ssize_t stride, const char *user,
                   Py_ssize_t width, const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil:
    """A member's units of rows of a user's (B, T, width) gradient, added to padded rows; NULL is zero."""
    cdef fastrnn_rows add
    cdef Py_ssize_t unit = 0 if share.all_units else share.unit
    if user == NULL:
        return
    add.rows, add.stride, add.width = rows, stride, width
    add.columns = width if share.all_units else share.columns
    add.padded, add.user = padded + unit * run.size, <char *>user + unit * run.size
    add.origin, add.shift = origin, shift
    run.kernels.gather_add(&add)


cdef void outer_gates(Backward *p, const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t first,
                      Py_ssize_t rows) noexcept nogil:
    """A user's gradient by the gates (B, T, G·H), rows of this step in block order."""
    cdef Run *run = &p.run
    cdef Py_ssize_t r, row = run.cell.gates * run.units * run.size
    for r in range(rows):
        run.kernels.to_blocks(p.dgates_user + (origin[r] + shift) * row, p.dgates + (first + r) * run.wide, run.units,
                              run.cell.gates, run.cell.gates)


cdef void unmix(Backward *p, const char *share, bint varies, Py_ssize_t columns, Py_ssize_t padded, char *d, char *held,
                Py_ssize_t t, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """held = m∘d,  d = (1 - m)∘d"""
    cdef Run *run = &p.run
    cdef char *own = p.share + first * max(run.state, run.cell_state)
    if varies:
        gather(run, own, padded, share, columns, p.plan.origin + first, p.plan.direction * t, rows)
        share = own
    run.kernels.blend_back(share, varies, d, held, rows * padded)


cdef void norm_back(Backward *p, int gates, const char *hat, const char *scales, const char *gain, const char *d,
                    char *dv, char *dgain, char *dadd, Py_ssize_t rows) noexcept nogil:
    """dv (rows, gates·Hp), the gradient by what was normalised; rows of dgain and dadd stand in the extras."""
    cdef fastrnn_norm_back back
    back.rows, back.units, back.gates = rows, p.run.units, gates
    back.hat, back.scale, back.gain, back.d, back.dv = hat, scales, gain, d, dv
    back.dgain, back.dadd, back.extra_stride = dgain, dadd, p.extras.wide // p.run.size
    p.run.kernels.norm_back(&back)


cdef void cell_back(Backward *p, fastrnn_backward *step, const Kept *at, char *extras, char *dgn) noexcept nogil:
    """The cell's own part; between its output and its gates may stand the norm of the cell state."""
    cdef Run *run = &p.run
    cdef Extras *e = &p.extras
    if run.norm and run.cell.cell_state:
        step.part = FASTRNN_OUTPUT_PART
        run.kernels.backward[run.index](step)
        norm_back(p, 1, at.c_hat, at.c_scale, p.c_gain, <char *>step.dshown, <char *>step.dshown, extras + e.c_gain,
                  extras + e.c_add, step.rows)
        step.part = FASTRNN_GATES_PART
    run.kernels.backward[run.index](step)
    if run.norm:
        norm_back(p, run.cell.gates, at.h_hat, at.h_scale, p.h_gain, <char *>step.dgh, dgn, NULL, NULL, step.rows)


cdef void gate_gradients(Backward *p, const Share *share, Py_ssize_t t, Py_ssize_t in_chunk,
                         Py_ssize_t rows) noexcept nogil:
    """A member's part of the gates' gradients at step t; dh and dc take in what comes from outside first."""
    cdef fastrnn_backward step
    cdef Run *run = &p.run
    cdef const Plan *plan = p.plan
    cdef Py_ssize_t first = share.first, shift = plan.direction * t
    cdef Kept at = kept_at(run, &p.kept, plan.offsets[t] + first - p.base)
    cdef const Py_ssize_t *origin = plan.origin + first
    cdef char *dh = p.dh + first * run.state
    cdef char *dc = p.dc + first * run.cell_state
    cdef char *extras = p.rows_of_extras + in_chunk * p.extras.wide
    cdef char *doutput
    add_user(run, share, dh, run.padded_outputs, p.dy_user, run.outputs, origin, shift, rows)
    add_user(run, share, dc, run.padded, p.dc_user, run.units, origin, shift, rows)
    if run.zones_h:
        unmix(p, p.mixing.zone_h, p.mixing.zone_h_varies, run.outputs, run.padded_outputs, dh,
              p.held_h + first * run.state, t, first, rows)
    if run.zones_c:
        unmix(p, p.mixing.zone_c, p.mixing.zone_c_varies, run.units, run.padded, dc, p.held_c + first * run.cell_state,
              t, first, rows)
    step.rows, step.units, step.part, step.options = rows, run.units, FASTRNN_WHOLE, &run.options
    step.first, step.last = share.unit // run.kernels.width, share.end // run.kernels.width
    step.unit, step.dshown = p.unit, NULL
    step.gates, step.h_prev, step.c_prev = at.gates, at.h, at.c
    step.input, step.input_stride = at.input, run.padded_outputs
    step.dh, step.dc = dh, dc
    step.dgx, step.dgh = p.dgx + in_chunk * run.wide, p.dgh + in_chunk * run.first_wide
    step.dunit, step.dunit_stride = extras + p.extras.unit, p.extras.wide // run.size
    if run.norm:
        step.dshown = p.dshown + first * run.cell_state
    if run.cell.second:
        step.w_second, step.zeros = p.weights.w_second, p.zeros
        step.dsecond = p.dsecond + in_chunk * (run.wide - run.first_wide)
        step.second = p.second + in_chunk * run.cell_state
    if run.projected:
        # doutput (rows, Hp) = dh (rows, Pp) · w_projᵀ (Pp, Hp); nothing goes past the projection
        doutput = p.doutput + first * run.cell_state
        memcpy(p.dproj + in_chunk * run.state, dh, rows * run.state)
        transposed_product(run, dh, run.padded_outputs, p.weights.w_proj, p.zeros, 0, doutput, run.padded, 0,
                           run.padded, rows)
        memset(dh, 0, rows * run.state)
        step.dh = doutput
    step.dgates = NULL
    if p.dgates_user != NULL:
        outer_gates(p, origin, shift, first, rows)
        step.dgates = p.dgates + first * run.wide
    step.dinput = step.dh
    if run.masks_h:
        step.dinput = p.dinput + first * run.state
        memset(step.dinput, 0, rows * run.state)
    cell_back(p, &step, &at, extras, p.dgn + in_chunk * run.first_wide)


cdef void state_gradients(Backward *p, const Share *share, Py_ssize_t in_chunk, Py_ssize_t rows) noexcept nogil:
    """dh_prev (rows, Pp) = direct part + mask∘(dgh (rows, first·Hp) · w_hᵀ), and what zoneout held back."""
    cdef Run *run = &p.run
    cdef Py_ssize_t first = share.first
    cdef char *dh = p.dh + first * run.state
    cdef char *into = p.dinput + first * run.state if run.masks_h else dh
    cdef Py_ssize_t end = run.padded_outputs if share.all_units else share.end
    if run.cell.recurrent == FASTRNN_PRODUCT:
        transposed_product(run, p.dgn + in_chunk * run.first_wide, run.first * run.padded, p.weights.w_h, into,
                           run.padded_outputs, into, run.padded_outputs,
                           share.unit, end, rows)
    if run.masks_h:
        run.kernels.multiply_add(into, p.mixing.mask_h + first * run.state, dh, rows * run.padded_outputs)
    if run.zones_h:
        run.kernels.add(p.held_h + first * run.state, dh, rows * run.padded_outputs)
    if run.zones_c:
        run.kernels.add(p.held_c + first * run.cell_state, p.dc + first * run.cell_state, rows * run.padded)


cdef void add_gram(const Run *run, const char *a, Py_ssize_t m, Py_ssize_t a_stride, const char *b, char *c,
                   Py_ssize_t columns, Py_ssize_t rows, int member, int members) noexcept nogil:
    """c (m, columns) += aᵀ (m, rows) · b (rows, columns), a member's columns; a NULL: sums of columns."""
    cdef fastrnn_gram gram
    cdef Py_ssize_t group = 4 * run.kernels.width, groups = (columns + group - 1) // group
    cdef Py_ssize_t first = groups * member // members * group
    cdef Py_ssize_t last = min(groups * (member + 1) // members * group, columns)
    if first >= last:
        return
    gram.rows, gram.m, gram.n, gram.stride = rows, m, last - first, columns
    gram.a, gram.a_stride, gram.b, gram.c = a, a_stride, b + first * run.size, c + first * run.size
    if a == NULL:
        run.kernels.add_column_sums(&gram)
    else:
        run.kernels.add_gram(&gram)


cdef void add_column_products(const Run *run, const char *a, const char *b, char *c, Py_ssize_t columns,
                              Py_ssize_t rows, int member, int members) noexcept nogil:
    """c (columns,) += the columns of a∘b, both (rows, columns), a member's columns."""
    cdef fastrnn_gram gram
    cdef Py_ssize_t group = 4 * run.kernels.width, groups = (columns + group - 1) // group
    cdef Py_ssize_t first = groups * member // members * group
    cdef Py_ssize_t last = min(groups * (member + 1) // members * group, columns)
    gram.rows, gram.n, gram.stride, gram.a_stride = rows, last - first, columns, columns
    gram.a, gram.b, gram.c = a + first * run.size, b + first * run.size, c + first * run.size
    if first < last:
        run.kernels.add_product_sums(&gram)


cdef void norm_gradients(Backward *p, Py_ssize_t row, Py_ssize_t rows, int member, int members) noexcept nogil:
    """What a chunk of rows adds to the gradients by gains and by what stands behind norms, for a member's columns."""
    cdef Run *run = &p.run
    cdef Kept at = kept_at(run, &p.kept, row - p.base)
    cdef Py_ssize_t wide = run.cell.gates * run.padded
    if run.cell.norm == FASTRNN_NORMS_APART:
        add_column_products(run, at.x_hat, p.dgx, p.dx_gain, wide, rows, member, members)
        add_column_products(run, at.h_hat, p.dgh, p.dh_gain, wide, rows, member, members)
        add_gram(run, NULL, 0, 0, p.dgx, p.db, wide, rows, member, members)
        if run.cell.bias_rows == 2:
            add_gram(run, NULL, 0, 0, p.dgh, p.db_h, wide, rows, member, members)
    else:
        add_column_products(run, at.h_hat, p.dgx, p.dsum_gain, wide, rows, member, members)
        add_gram(run, NULL, 0, 0, p.dgx, p.dsum_add, wide, rows, member, members)


cdef const char *by_products(Backward *p) noexcept nogil:
    """The rows (G·Hp) that are the gradient by x·w_x: behind the norm of the sum there is but one gradient."""
    return p.dgn if p.run.norm and p.run.cell.norm == FASTRNN_NORM_OF_SUM else p.dgx


cdef void weight_gradients(Backward *p, Py_ssize_t row, Py_ssize_t rows, int member, int members) noexcept nogil:
    """What a chunk of rows adds to the gradients of weights and bias, for a member's columns."""
    cdef Run *run = &p.run
    cdef Kept at = kept_at(run, &p.kept, row - p.base)
    cdef Py_ssize_t wide = run.cell.gates * run.padded, first_wide = run.first * run.padded
    # dw_x (I, G·Hp) += xᵀ (I, rows) · dgx (rows, G·Hp)
    add_gram(run, at.x, run.inputs, run.inputs, by_products(p), p.dw_x, wide, rows, member, members)
    if not (run.norm and run.cell.norm == FASTRNN_NORMS_APART):  # b stands before the norm
        add_gram(run, NULL, 0, 0, by_products(p), p.db, wide, rows, member, members)
        if run.cell.bias_rows == 2:
            add_gram(run, NULL, 0, 0, p.dgh, p.db_h, first_wide, rows, member, members)
    if run.cell.recurrent == FASTRNN_PRODUCT:
        # dw_h (P, first·Hp) += inputᵀ (P, rows) · dgh (rows, first·Hp)
        add_gram(run, at.input, run.outputs, run.padded_outputs, p.dgn, p.dw_h, first_wide, rows, member, members)
    if run.cell.second:
        # dw_second (H, second·Hp) += secondᵀ (H, rows) · dsecond (rows, second·Hp)
        add_gram(run, p.second, run.units, run.padded, p.dsecond, p.dw_second, wide - first_wide, rows, member, members)
    if run.projected:
        # dw_proj (H, Pp) += outputᵀ (H, rows) · dproj (rows, Pp)
        add_gram(run, at.output, run.units, run.padded, p.dproj, p.dw_proj, run.padded_outputs, rows, member, members)
    if p.extras.wide:
        add_gram(run, NULL, 0, 0, p.rows_of_extras, p.dextras, p.extras.wide // run.size, rows, member, members)


cdef void input_norm_back(Backward *p, Py_ssize_t row, Py_ssize_t rows, int member, int members) noexcept nogil:
    """The norm of x·w_x, for a member's rows of a chunk: dgx in place."""
    cdef Run *run = &p.run
    cdef Py_ssize_t first = rows * member // members, last = rows * (member + 1) // members
    cdef Kept at = kept_at(run, &p.kept, row + first - p.base)
    cdef char *dgx = p.dgx + first * run.wide
    norm_back(p, run.cell.gates, at.x_hat, at.x_scale, p.x_gain, dgx, dgx, NULL, NULL, last - first)


cdef void input_gradients(Backward *p, Py_ssize_t start, Py_ssize_t end, int member, int members) noexcept nogil:
    """dx (rows, I) = dgx (rows, G·Hp) · w_xᵀ (G·Hp, I) for a member's rows of a chunk, into the user's array"""
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Py_ssize_t columns = padded_to(run.kernels, run.inputs), base = plan.offsets[start], t, r, low, high, in_step
    cdef Py_ssize_t rows = plan.offsets[end] - base
    cdef Py_ssize_t first = rows * member // members, last = rows * (member + 1) // members
    cdef char *dx = p.dx + first * columns * run.size
    if first == last or p.dx_user == NULL:
        return
    transposed_product(run, by_products(p) + first * run.wide, run.cell.gates * run.padded, p.weights.w_x, p.zeros, 0,
                       dx, columns, 0, columns, last - first)
    for t in range(start, end):
        low, high = max(plan.offsets[t] - base, first), min(plan.offsets[t + 1] - base, last)
        in_step = low - plan.offsets[t] + base
        if run.masks_x:
            for r in range(low, high):
                dx = p.dx + r * columns * run.size
                run.kernels.multiply(dx, p.mixing.mask_x + (in_step + r - low) * run.inputs * run.size, dx, run.inputs)
        if low < high:
            scatter(run, p.dx + low * columns * run.size, columns, p.dx_user, run.inputs, run.inputs,
                    plan.origin + in_step, plan.direction * t, high - low)


cdef void backward_loop(void *context, int member, int members) noexcept nogil:
    """A member's part of the backward pass."""
    cdef Backward *p = <Backward *>context
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Share share = share_of(run, plan, member, members)
    cdef Py_ssize_t start, end = p.end, t, rows, row
    cdef int turn = 0
    while end > p.start:
        if member == 0:
            p.stop[turn] = interrupted(&p.next_look)
        start = max(chunk_start(plan, end, p.chunk_rows), p.start)
        for t in range(end - 1, start - 1, -1):
            rows = min(share.last, plan.counts[t]) - share.first
            row = plan.offsets[t] - plan.offsets[start] + share.first
            if rows > 0:
                gate_gradients(p, &share, t, row, rows)
            if not share.all_units:
                fastrnn_barrier_wait(&p.barrier, members)
            if rows > 0:
                state_gradients(p, &share, row, rows)
            if plan.reset != NULL:
                zero_reset_rows(run, plan, &share, t, p.dh, run.state)
                if run.cell.cell_state:
                    zero_reset_rows(run, plan, &share, t, p.dc, run.cell_state)
        fastrnn_barrier_wait(&p.barrier, members)  # all gate gradients of the chunk are there
        if p.stop[turn]:
            return
        turn = 1 - turn
        row, rows = plan.offsets[start], plan.offsets[end] - plan.offsets[start]
        if run.norm:
            norm_gradients(p, row, rows, member, members)
            fastrnn_barrier_wait(&p.barrier, members)
            if run.cell.norm == FASTRNN_NORMS_APART:
                input_norm_back(p, row, rows, member, members)
                fastrnn_barrier_wait(&p.barrier, members)
        weight_gradients(p, row, rows, member, members)
        input_gradients(p, start, end, member, members)
        fastrnn_barrier_wait(&p.barrier, members)  # and are no longer needed
        end = start


cdef void place_extras(const Run *run, Extras *e) noexcept nogil:
    cdef bint of_c = run.norm and run.cell.cell_state
    e.unit = 0
    e.c_gain = run.cell.unit_parameters * run.cell_state if run.has_unit else 0
    e.c_add = e.c_gain + (run.cell_state if of_c else 0)
    e.wide = e.c_add + (run.cell_state if of_c else 0)


cdef size_t place_sums(Backward *p, char *data) noexcept nogil:
    """Bytes of what begins at zero, and where each part begins if `data` is the place for all."""
    cdef Run *run = &p.run
    cdef size_t total = 0
    cdef Py_ssize_t second = run.wide - run.first_wide
    p.dw_x = data + reserve(&total, run.inputs * run.wide)
    p.dw_h = data + reserve(&total, run.outputs * run.first_wide)
    p.dw_second = data + reserve(&total, run.units * second)
    p.dw_proj = data + reserve(&total, run.units * run.state if run.projected else 0)
    p.db = data + reserve(&total, run.wide)
    p.db_h = data + reserve(&total, run.wide)
    p.dextras = data + reserve(&total, p.extras.wide)
    p.dx_gain = data + reserve(&total, run.norm_wide)
    p.dh_gain = p.dsum_gain = data + reserve(&total, run.norm_wide)
    p.dsum_add = data + reserve(&total, run.norm_wide)
    p.zeros = data + reserve(&total, max(run.state, run.cell_state, padded_to(run.kernels, run.inputs) * run.size))
    return total


cdef size_t place_rows(Backward *p, Py_ssize_t batch, Py_ssize_t rows, char *data) noexcept nogil:
    """The same of all else; `rows`: of the largest chunk."""
    cdef Run *run = &p.run
    cdef size_t total = 0
    cdef Py_ssize_t longest = max(run.state, run.cell_state), second = run.wide - run.first_wide
    p.dh = data + reserve(&total, batch * run.state)
    p.dc = data + reserve(&total, batch * run.cell_state if run.cell.cell_state else 0)
    p.dgx = data + reserve(&total, rows * run.wide)
    p.dgh = p.dgx if run.cell.additive else data + reserve(&total, rows * run.first_wide)
    p.dgn = data + reserve(&total, rows * run.norm_wide) if run.norm else p.dgh
    p.dsecond = data + reserve(&total, rows * second)
    p.second = data + reserve(&total, rows * run.cell_state if run.cell.second else 0)
    p.dproj = data + reserve(&total, rows * run.state if run.projected else 0)
    p.rows_of_extras = data + reserve(&total, rows * p.extras.wide)
    p.dx = data + reserve(&total, rows * padded_to(run.kernels, run.inputs) * run.size)
    p.doutput = data + reserve(&total, batch * run.cell_state if run.projected else 0)
    p.dshown = data + reserve(&total, batch * run.cell_state if run.norm else 0)
    p.dgates = data + reserve(&total, batch * run.wide if p.dgates_user != NULL else 0)
    p.dinput = data + reserve(&total, batch * run.state if run.masks_h else 0)
    p.held_h = data + reserve(&total, batch * run.state if run.zones_h else 0)
    p.held_c = data + reserve(&total, batch * run.cell_state if run.zones_c else 0)
    p.share = data + reserve(&total, batch * longest if run.zones_h or run.zones_c else 0)
    return total


cdef void put_matrix(const Run *run, const char *blocks, Py_ssize_t rows, Py_ssize_t units, int gates, int first,
                     cnp.ndarray out):
    """Gates `first` to before `first + gates` of a user's (rows, ...) matrix from one in block order."""
    cdef fastrnn_pack part
    part.rows, part.units, part.gates = rows, units, gates
    part.row_size = cnp.PyArray_SIZE(out) // rows
    part.w, part.packed = data_of(out) + first * units * run.size, <void *>blocks
    run.kernels.from_blocks(&part)


cdef matrix_of(const Run *run, const char *blocks, Py_ssize_t rows, Py_ssize_t units, int gates, dtype):
    """A user's (rows, gates·units) matrix from one in block order."""
    out = np.empty((rows, gates * units), dtype)
    put_matrix(run, blocks, rows, units, gates, 0, out)
    return out


cdef bias_gradient(Backward *p, dtype):
    """db (G·H,) or (2, G·H)"""
    cdef Run *run = &p.run
    db = matrix_of(run, p.db, 1, run.units, run.cell.gates, dtype)
    if run.cell.bias_rows == 1:
        return db[0]
    return np.concatenate([db, matrix_of(run, p.db_h, 1, run.units, run.cell.gates, dtype)])


cdef char *norm_place(Backward *p, bytes name):
    """Where the gradient by a parameter of layer norm is."""
    if name == b"ln_x_gain":
        return p.dx_gain
    if name == b"ln_h_gain":
        return p.dh_gain
    if name == b"ln_c_gain":
        return p.dextras + p.extras.c_gain
    if name == b"ln_c_bias":
        return p.dextras + p.extras.c_add
    return p.dsum_gain if name == b"ln_gain" else p.dsum_add


cdef option_gradients(Backward *p, options, dtype):
    """Gradients by the parameters that options bring, by name."""
    cdef Run *run = &p.run
    cdef Extras *e = &p.extras
    gradients = {}
    if run.has_unit:
        gradients["unit"] = matrix_of(run, p.dextras + e.unit, 1, run.units, run.cell.unit_parameters, dtype)[0]
    if run.projected:
        gradients["w_proj"] = matrix_of(run, p.dw_proj, run.units, run.outputs, 1, dtype)
    if run.norm:
        for name in options.norm:
            place = norm_place(p, name.encode())
            gates = options.norm[name].size // run.units
            gradients[name] = matrix_of(run, place, 1, run.units, gates, dtype)[0]
    return gradients


cdef run_again(Forward *p, Cache cache, Memory memory):
    """The forward pass once more, from one checkpoint to the next; this time its rows are kept."""
    cdef Checkpoints saved = cache.checkpoints
    cdef const Plan *plan = p.plan
    cdef Py_ssize_t i, before = 0, rows = plan.offsets[p.end] - plan.offsets[p.start]
    for i in range(saved.count):
        if saved.starts[i] == p.start:
            break
        before += plan.counts[saved.starts[i]]
    kept_size(&p.run, rows, rows + plan.batch, memory.data, &p.kept)
    memcpy(p.kept.h, saved.h + before * p.run.state, plan.counts[p.start] * p.run.state)
    if p.run.cell.cell_state:
        memcpy(p.kept.c, saved.c + before * p.run.cell_state, plan.counts[p.start] * p.run.cell_state)
    with nogil:
        fastrnn_team_run(forward_loop, p, members_for(&p.run, plan, cache.num_threads))


cdef backward_by_segments(Backward *p, Cache cache, int num_threads):
    """The backward pass from checkpoint to checkpoint."""
    cdef Checkpoints saved = cache.checkpoints
    cdef const Plan *plan = p.plan
    cdef Forward again
    cdef Memory memory, place
    cdef Kept ignored
    cdef Py_ssize_t i, most = saved.largest
    memset(&again, 0, sizeof(again))
    _alive = prepare(&again, &p.run, plan, cache.x, cache.w_x, cache.w_h, cache.b, cache.options, False)
    place = take(plan.batch * p.run.cell_state)
    memory = take(kept_size(&p.run, most, most + plan.batch, NULL, &ignored))
    again.c_last, again.mixing, again.keep = place.data, p.mixing, True
    for i in range(saved.count - 1, -1, -1):
        again.start, again.end = saved.starts[i], saved.starts[i + 1]
        run_again(&again, cache, memory)
        p.kept, p.base, p.start, p.end = again.kept, plan.offsets[again.start], again.start, again.end
        if not (again.stop[0] or again.stop[1]):
            with nogil:
                fastrnn_team_run(backward_loop, p, members_for(&p.run, plan, num_threads))
        if again.stop[0] or again.stop[1] or p.stop[0] or p.stop[1]:
            raise_signal()


def backward(Cache cache, dy, dh_n=None, dc_n=None, int num_threads=1, dc=None, bint needs_dx=True, dgates=None):
    """The gradients (dx, dh0, dc0, dw_x, dw_h, db, those of options by name) from those by y (B, T, P), the final
    states, every c (B, T, H) and the gates (B, T, G·H); None is 0."""
    if not cache.complete:
        raise ValueError("cache: expected one that was kept for a backward pass, got one of an inference")
    cdef const Plan *plan = &cache.schedule.plan
    cdef Backward p
    memset(&p, 0, sizeof(p))
    p.run, p.kept, p.mixing, p.plan, p.end = cache.run, cache.kept, cache.mixing, plan, plan.steps
    cdef Run *run = &p.run
    cdef Py_ssize_t batch = plan.batch
    cdef bint has_c = run.cell.cell_state
    cdef Memory sums, work
    cdef Weights parameters
    options = cache.options
    p.chunk_rows = backward_rows(run)
    cdef Py_ssize_t rows = min(plan.rows, max(p.chunk_rows, batch))
    place_extras(run, &p.extras)

    shape = (batch, plan.time, run.inputs)
    dx = None
    if needs_dx:
        dx = np.zeros(shape, cache.dtype) if cache.schedule.ragged else np.empty(shape, cache.dtype)
    dh0 = np.empty((batch, run.outputs), cache.dtype)
    dc0 = np.empty((batch, run.units), cache.dtype) if has_c else None

    p.dy_user, p.dc_user, p.dgates_user, p.dx_user = data_of(dy), data_of(dc), data_of(dgates), data_of(dx)
    cdef size_t zeroed = place_sums(&p, NULL)
    sums, work = take(zeroed), take(place_rows(&p, batch, rows, NULL))
    place_sums(&p, sums.data)
    place_rows(&p, batch, rows, work.data)
    _alive = bind_transposed(run, cache.w_x, cache.w_h, options, &p.weights), \
        bind_parameters(run, options, &parameters)
    p.unit, p.x_gain, p.h_gain, p.c_gain = parameters.unit, parameters.x_gain, parameters.h_gain, parameters.c_gain

    cdef char *dh_n_user = data_of(dh_n)
    cdef char *dc_n_user = data_of(dc_n)
    cdef char *dh0_user = data_of(dh0)
    cdef char *dc0_user = data_of(dc0)
    memset(sums.data, 0, zeroed)
    first_rows(run, plan, dh_n_user, run.outputs, run.padded_outputs, p.dh)
    if has_c:
        first_rows(run, plan, dc_n_user, run.units, run.padded, p.dc)
    if cache.checkpoints is not None:
        backward_by_segments(&p, cache, num_threads)
    else:
        with nogil:
            fastrnn_team_run(backward_loop, &p, members_for(run, plan, num_threads))
    if p.stop[0] or p.stop[1]:
        raise_signal()
    last_rows(run, plan, p.dh, run.outputs, run.padded_outputs, dh0_user)
    if has_c:
        last_rows(run, plan, p.dc, run.units, run.padded, dc0_user)

    dw_x = matrix_of(run, p.dw_x, run.inputs, run.units, run.cell.gates, cache.dtype)
    gradients = None if options is None else option_gradients(&p, options, cache.dtype)
    dw_h = None if gradients is None else gradients.get("unit")
    if run.cell.recurrent == FASTRNN_PRODUCT:
        dw_h = np.empty((run.outputs, run.cell.gates * run.units), cache.dtype)
        put_matrix(run, p.dw_h, run.outputs, run.units, run.first, 0, dw_h)
        if run.cell.second:
            put_matrix(run, p.dw_second, run.units, run.units, run.cell.second, run.first, dw_h)
    db = bias_gradient(&p, cache.dtype) if cache.has_bias else None
    if cache.single_instance:
        dx, dh0, dc0 = None if dx is None else dx[0], dh0[0], dc0[0] if has_c else None
    return dx, dh0, dc0, dw_x, dw_h, db, gradients
