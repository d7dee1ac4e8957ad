# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""THE time loops: forward through time and backward through time, for every cell of the registry.

Letters as in csrc/fastrnn.h: B batch, T steps, I inputs, H units, G gates, S slots, Hp = H filled up to whole vectors.
Arguments arrive checked (by `_check`): arrays are C-contiguous and of one type, shapes agree.

The order of rows inside is that of `_schedule`.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._kernels cimport *
from ._memory cimport Memory, reserve, take
from ._schedule cimport Schedule, data_of

import numpy as np

from ._kernels import (  # what Python asks the engine for
    ACTIVATIONS,  # no-cython-lint
    CELLS,  # no-cython-lint
    instruction_set,  # no-cython-lint
    instruction_sets,  # no-cython-lint
    use_instruction_set,  # no-cython-lint
)

cnp.import_array()

cdef enum:
    FORWARD_CHUNK = 256 << 10   # bytes of x·w_x + b made at once: they stay in the second-level cache
    BACKWARD_CHUNK = 512 << 10  # bytes of gate gradients kept until the weights' gradients are added up
    BACKWARD_ROWS = 256         # but at least so many rows: each chunk passes over the weights' gradients once
    FEW_ROWS = 3                # up to here the weights are used as they are: packing would cost more than it gains

# ---- the cache -------------------------------------------------------------------------------------------------------

cdef class Cache:
    """What a backward pass needs, and the final states.

    Attributes
    ----------
    h_n : ndarray, (B, H) or (H,)
        The state after the last true step of each row.
    c_n : ndarray, (B, H) or (H,), or None
        The cell state after the last true step of each row (LSTM).
    c : ndarray, (B, T, H) or (T, H), or None
        The cell state after every step, 0 past the end of a row (LSTM).

    The weights are not copied: do not change them between a forward pass and its backward pass.
    """
    cdef readonly object h_n, c_n
    cdef readonly object dtype
    cdef readonly bint single_instance, has_bias
    cdef public bint is_step
    cdef object w_x, w_h, all_c
    cdef Schedule schedule
    cdef const fastrnn_kernels *kernels
    cdef Py_ssize_t cell, inputs
    cdef readonly Py_ssize_t units
    cdef int activation, recurrent
    cdef Memory memory  # NULL pointers below: the forward pass was told that no backward pass would come
    cdef char *x_rows   # (rows, I)
    cdef char *h_rows   # (rows, Hp): the state that enters each step, after resets
    cdef char *c_rows   # (rows, Hp): the cell state that enters each step
    cdef char *gates    # (rows, S·Hp)

    def __init__(self):
        raise TypeError("a cache is made by a forward function, not by hand")

    @property
    def cell_name(self):
        return cell_at(self.cell).name.decode()

    @property
    def batch(self):
        return self.schedule.batch

    @property
    def time(self):
        return self.schedule.time

    @property
    def c(self):
        if self.all_c is None and cell_at(self.cell).cell_state:
            self.all_c = self.collect_c()
        return self.all_c

    cdef collect_c(self):
        """Every c_t from the states that enter the next step, and from c_n (there were no resets)."""
        cdef Schedule s = self.schedule
        cdef Py_ssize_t t, r, padded = padded_units(self.kernels, self.units), size = self.dtype.itemsize
        cdef cnp.ndarray out = np.zeros((s.batch, s.time, self.units), self.dtype)
        c_n = np.atleast_2d(self.c_n)
        cdef Py_ssize_t stride = self.units * size
        cdef char *final = data_of(c_n)
        cdef char *to = data_of(out)
        for t in range(s.steps):
            self.kernels.scatter(self.c_rows + s.offsets[t + 1] * padded * size, padded, to, s.origin, s.direction * t,
                                 s.counts[t + 1], self.units)
            for r in range(s.counts[t + 1], s.counts[t]):
                memcpy(to + (s.origin[r] + s.direction * t) * stride, final + s.order[r] * stride, stride)
        return out[0] if self.single_instance else out


cdef inline Py_ssize_t padded_units(const fastrnn_kernels *kernels, Py_ssize_t units) noexcept nogil:
    return (units + kernels.width - 1) // kernels.width * kernels.width


# ---- forward through time --------------------------------------------------------------------------------------------

cdef struct Run:  # what both loops need to know of a call
    const fastrnn_kernels *kernels
    const fastrnn_cell *cell
    Py_ssize_t index, inputs, units, padded, size  # size: bytes of a value
    int activation, recurrent


cdef Run run_of(const fastrnn_kernels *kernels, Py_ssize_t cell, Py_ssize_t inputs, Py_ssize_t units, Py_ssize_t size,
                int activation, int recurrent) noexcept nogil:
    cdef Run run
    run.kernels, run.cell, run.index = kernels, cell_at(cell), cell
    run.inputs, run.units, run.padded, run.size = inputs, units, padded_units(kernels, units), size
    run.activation, run.recurrent = activation, recurrent
    return run


cdef struct ForwardParts:  # pointers into the cache or the workspace, and the user's arrays
    bint keep        # False: no backward pass will come, states and gates are overwritten as soon as they are used
    bint few         # the weights are used as they are
    char *x          # rows of x: (rows, I), or of one chunk
    char *h          # states that enter the steps: (rows, Hp), or two steps in turn
    char *c
    char *gates      # (rows, S·Hp), or of one chunk
    char *h_last     # (B, Hp): states of the rows that have ended
    char *c_last
    char *products   # (B, G·Hp)
    char *w_x        # packed, or the user's if `few`
    char *w_h
    char *b          # in block order, or the user's
    char *b_h
    char *row        # (G·H,) if `few`
    char *x_user     # (B, T, I)
    char *y_user     # (B, T, H)
    char *c_user     # (B, T, H), or NULL


cdef void input_product(Run *run, ForwardParts *p, const char *x, char *gates, Py_ssize_t rows) noexcept nogil:
    """gates (rows, G of the S slots) = b + x (rows, I) · w_x (I, G·Hp)"""
    cdef fastrnn_product product
    cdef int gates_count = run.cell.gates, slots = run.cell.slots
    cdef Py_ssize_t width = run.kernels.width
    product.rows, product.depth, product.vectors = rows, run.inputs, run.padded // width * gates_count
    product.panel = run.kernels.panel_vectors(gates_count)
    product.a, product.a_stride, product.w = x, run.inputs, p.w_x
    product.start, product.start_stride, product.start_panel = p.b, 0, product.panel * width
    product.out, product.out_stride = gates, slots * run.padded
    product.out_panel = slots * (product.panel // gates_count) * width
    run.kernels.product(&product)


cdef void few_products(Run *run, ForwardParts *p, const char *x, const char *h, char *gates) noexcept nogil:
    """Both products of one row, by the weights as the user holds them: the same sums in the same order."""
    cdef int count = run.cell.gates
    cdef Py_ssize_t n = count * run.units
    run.kernels.product_row(x, p.w_x, p.b, p.row, run.inputs, n)
    if run.cell.additive:
        run.kernels.product_row(h, p.w_h, p.row, p.row, run.units, n)
        run.kernels.to_blocks(p.row, gates, run.units, count, run.cell.slots)
    else:
        run.kernels.to_blocks(p.row, gates, run.units, count, run.cell.slots)
        run.kernels.product_row(h, p.w_h, p.b_h, p.row, run.units, n)
        run.kernels.to_blocks(p.row, p.products, run.units, count, count)


cdef void step_rows(Run *run, ForwardParts *p, Py_ssize_t first, Py_ssize_t rows, char *x, char *h_prev, char *c_prev,
                    char *gates, char *h, char *c) noexcept nogil:
    """One step of `rows` rows from row `first` of the step on; h and c are where the first of them goes."""
    cdef fastrnn_forward step
    cdef Py_ssize_t state = run.padded * run.size, kept = run.cell.slots * state
    cdef Py_ssize_t r
    step.units, step.activation, step.recurrent_activation = run.units, run.activation, run.recurrent
    step.products, step.b_h, step.w_h = p.products, p.b_h, p.w_h
    step.h_prev, step.c_prev, step.gates = h_prev + first * state, c_prev + first * state, gates + first * kept
    step.h, step.c = h, c
    if not p.few:
        step.rows = rows
        if rows:
            run.kernels.forward[run.index](&step)
        return
    step.rows, step.w_h = 1, NULL
    for r in range(rows):
        few_products(run, p, x + (first + r) * run.inputs * run.size, <const char *>step.h_prev, <char *>step.gates)
        run.kernels.forward[run.index](&step)
        step.h_prev, step.c_prev = <const char *>step.h_prev + state, <const char *>step.c_prev + state
        step.gates, step.h, step.c = <char *>step.gates + kept, <char *>step.h + state, <char *>step.c + state


cdef void forward_loop(Run *run, Schedule s, ForwardParts *p) noexcept nogil:
    cdef Py_ssize_t state = run.padded * run.size, kept = run.cell.slots * state, t, start = 0, end, rows, going
    cdef Py_ssize_t chunk_rows = FORWARD_CHUNK // kept, base, shift
    cdef bint has_c = run.cell.cell_state
    cdef char *x
    cdef char *h_prev
    cdef char *c_prev
    cdef char *gates
    cdef char *h
    cdef char *c
    while start < s.steps:
        end = s.chunk_end(start, chunk_rows)
        base = 0 if p.keep else s.offsets[start]
        for t in range(start, end):
            run.kernels.gather(p.x + (s.offsets[t] - base) * run.inputs * run.size, run.inputs, p.x_user, s.origin,
                               s.direction * t, s.counts[t], run.inputs)
        if not p.few:
            input_product(run, p, p.x + (s.offsets[start] - base) * run.inputs * run.size,
                          p.gates + (s.offsets[start] - base) * kept, s.offsets[end] - s.offsets[start])
        for t in range(start, end):
            rows, going, shift = s.counts[t], s.counts[t + 1], s.direction * t
            x, gates = p.x + (s.offsets[t] - base) * run.inputs * run.size, p.gates + (s.offsets[t] - base) * kept
            h_prev = p.h + (s.offsets[t] if p.keep else (t & 1) * s.batch) * state
            h = p.h + (s.offsets[t + 1] if p.keep else (~t & 1) * s.batch) * state
            c_prev, c = p.c + (h_prev - p.h), p.c + (h - p.h)
            if s.reset != NULL:
                s.zero_reset_rows(t, rows, h_prev, state)
                if has_c:
                    s.zero_reset_rows(t, rows, c_prev, state)
            step_rows(run, p, 0, going, x, h_prev, c_prev, gates, h, c)
            step_rows(run, p, going, rows - going, x, h_prev, c_prev, gates,
                      p.h_last + going * state, p.c_last + going * state)
            put_rows(run, s, h, p.h_last, p.y_user, going, rows, shift)
            if p.c_user != NULL:
                put_rows(run, s, c, p.c_last, p.c_user, going, rows, shift)
        start = end


cdef void put_rows(Run *run, Schedule s, const char *going_rows, const char *last_rows, char *user, Py_ssize_t going,
                   Py_ssize_t rows, Py_ssize_t shift) noexcept nogil:
    """The states after a step, of the rows that go on and of those that end with it, into a user's (B, T, H) array."""
    run.kernels.scatter(going_rows, run.padded, user, s.origin, shift, going, run.units)
    run.kernels.scatter(last_rows + going * run.padded * run.size, run.padded, user, s.origin + going, shift,
                        rows - going, run.units)


cdef void pack_weights(Run *run, const char *w, Py_ssize_t rows, char *packed) noexcept nogil:
    cdef fastrnn_pack pack
    pack.rows, pack.units, pack.gates, pack.w, pack.packed = rows, run.units, run.cell.gates, w, packed
    run.kernels.pack(&pack)


cdef void set_bias(Run *run, ForwardParts *p, const char *b) noexcept nogil:
    """The bias, or zeros, as the products start from it."""
    cdef Py_ssize_t row = run.cell.gates * run.units * run.size, padded_row = run.cell.gates * run.padded * run.size
    if b == NULL:
        memset(p.b, 0, padded_row)
        memset(p.b_h, 0, padded_row)
    elif p.few:
        memcpy(p.b, b, row)
        if not run.cell.additive:
            memcpy(p.b_h, b + row, row)
    else:
        run.kernels.to_blocks(b, p.b, run.units, run.cell.gates, run.cell.gates)
        if not run.cell.additive:
            run.kernels.to_blocks(b + row, p.b_h, run.units, run.cell.gates, run.cell.gates)


cdef void first_states(Run *run, Schedule s, const char *user, char *last, char *states) noexcept nogil:
    """The initial states, sorted and padded: of all rows as if they had ended, and of the first step's rows."""
    cdef Py_ssize_t state = run.padded * run.size
    if user == NULL:
        memset(last, 0, s.batch * state)
    else:
        run.kernels.gather(last, run.padded, user, s.order, 0, s.batch, run.units)
    if s.steps:
        memcpy(states, last, s.counts[0] * state)


def forward(Py_ssize_t cell, cnp.ndarray x, h0, c0, cnp.ndarray w_x, cnp.ndarray w_h, b, int activation, int recurrent,
            lengths=None, reset_mask=None, bint reverse=False, bint single_instance=False, bint keep=True):
    """Run a cell over x (B, T, I); returns y (B, T, H) and the cache (without what backward needs unless `keep`)."""
    cdef const fastrnn_kernels *kernels = kernels_for(x)
    cdef Py_ssize_t batch = x.shape[0], time = x.shape[1]
    cdef Schedule s = Schedule(batch, time, lengths, reset_mask, reverse)
    cdef Run run = run_of(kernels, cell, x.shape[2], w_h.shape[0], x.itemsize, activation, recurrent)
    cdef bint has_c = run.cell.cell_state
    cdef Cache cache = Cache.__new__(Cache)
    cdef ForwardParts p
    cdef Memory memory, work
    cdef size_t total = 0, kept_total = 0
    cdef Py_ssize_t state = run.padded * run.size, kept = run.cell.slots * state, wide = run.cell.gates * state
    cdef Py_ssize_t chunk = max(FORWARD_CHUNK // kept, batch, 1)
    cdef Py_ssize_t rows = s.rows if keep else min(s.rows, chunk), states = s.rows if keep else 2 * batch

    shape = (batch, time, run.units)
    y = np.zeros(shape, x.dtype) if s.ragged else np.empty(shape, x.dtype)
    all_c = None
    if has_c and reset_mask is not None and keep:
        all_c = np.zeros(shape, x.dtype)
    h_n = np.empty((batch, run.units), x.dtype)
    c_n = np.empty((batch, run.units), x.dtype) if has_c else None

    p.keep, p.few = keep, s.rows <= FEW_ROWS
    cdef size_t at_x = reserve(&kept_total, rows * run.inputs * run.size)
    cdef size_t at_h = reserve(&kept_total, states * state)
    cdef size_t at_c = reserve(&kept_total, states * state if has_c else 0)
    cdef size_t at_gates = reserve(&kept_total, rows * kept)
    cdef size_t at_h_last = reserve(&total, batch * state)
    cdef size_t at_c_last = reserve(&total, batch * state if has_c else 0)
    cdef size_t at_products = reserve(&total, 0 if run.cell.additive else batch * wide)
    cdef size_t at_w_x = reserve(&total, 0 if p.few else run.inputs * wide)
    cdef size_t at_w_h = reserve(&total, 0 if p.few else run.units * wide)
    cdef size_t at_b = reserve(&total, wide)
    cdef size_t at_b_h = reserve(&total, wide)
    cdef size_t at_row = reserve(&total, wide)
    memory, work = take(kept_total), take(total)
    p.x, p.h, p.c, p.gates = memory.data + at_x, memory.data + at_h, memory.data + at_c, memory.data + at_gates
    p.h_last, p.c_last, p.products = work.data + at_h_last, work.data + at_c_last, work.data + at_products
    p.w_x, p.w_h, p.b, p.b_h = work.data + at_w_x, work.data + at_w_h, work.data + at_b, work.data + at_b_h
    p.row = work.data + at_row
    p.x_user, p.y_user, p.c_user = data_of(x), data_of(y), data_of(all_c)

    cdef char *h0_user = data_of(h0)
    cdef char *c0_user = data_of(c0)
    cdef char *b_user = data_of(b)
    cdef char *w_x_user = data_of(w_x)
    cdef char *w_h_user = data_of(w_h)
    cdef char *h_n_user = data_of(h_n)
    cdef char *c_n_user = data_of(c_n)
    with nogil:
        if p.few:
            p.w_x, p.w_h = w_x_user, w_h_user
        else:
            pack_weights(&run, w_x_user, run.inputs, p.w_x)
            pack_weights(&run, w_h_user, run.units, p.w_h)
        set_bias(&run, &p, b_user)
        first_states(&run, s, h0_user, p.h_last, p.h)
        if has_c:
            first_states(&run, s, c0_user, p.c_last, p.c)
        forward_loop(&run, s, &p)
        kernels.scatter(p.h_last, run.padded, h_n_user, s.order, 0, batch, run.units)
        if has_c:
            kernels.scatter(p.c_last, run.padded, c_n_user, s.order, 0, batch, run.units)

    cache.h_n, cache.c_n, cache.all_c = h_n, c_n, all_c
    cache.single_instance = single_instance
    cache.kernels, cache.schedule, cache.dtype = kernels, s, x.dtype
    cache.cell, cache.inputs, cache.units = cell, run.inputs, run.units
    cache.activation, cache.recurrent, cache.has_bias = activation, recurrent, b is not None
    if keep:
        cache.memory, cache.w_x, cache.w_h = memory, w_x, w_h
        cache.x_rows, cache.h_rows, cache.c_rows, cache.gates = p.x, p.h, p.c, p.gates
    if single_instance:
        y, cache.h_n = y[0], h_n[0]
        if has_c:
            cache.c_n = c_n[0]
            cache.all_c = None if all_c is None else all_c[0]
    return y, cache


# ---- backward through time -------------------------------------------------------------------------------------------

cdef struct BackwardParts:
    char *h          # the cache's
    char *c
    char *x
    char *gates
    char *dh         # (B, Hp): the gradient by the state, carried from step to step
    char *dc
    char *dgx        # (rows of a chunk, G·Hp)
    char *dgh        # the same memory for additive cells
    char *dx         # (rows of a chunk, Ip)
    char *w_xt       # packed
    char *w_ht
    char *dw_x       # (I, G·Hp) in block order
    char *dw_h       # (H, G·Hp)
    char *db         # (G·Hp,)
    char *db_h
    char *zeros      # (Ip,)
    char *dy_user    # (B, T, H)
    char *dx_user    # (B, T, I)


cdef void weight_gradients(Run *run, BackwardParts *p, Py_ssize_t first, Py_ssize_t rows) noexcept nogil:
    """What a chunk of rows adds to the gradients of weights and bias."""
    cdef fastrnn_gram product
    cdef Py_ssize_t wide = run.cell.gates * run.padded
    product.rows, product.n = rows, wide
    # dw_x (I, G·Hp) += xᵀ (I, rows) · dgx (rows, G·Hp)
    product.m, product.a_stride, product.a = run.inputs, run.inputs, p.x + first * run.inputs * run.size
    product.b, product.c = p.dgx, p.dw_x
    run.kernels.add_gram(&product)
    # dw_h (H, G·Hp) += h_prevᵀ (H, rows) · dgh (rows, G·Hp)
    product.m, product.a_stride, product.a = run.units, run.padded, p.h + first * run.padded * run.size
    product.b, product.c = p.dgh, p.dw_h
    run.kernels.add_gram(&product)
    run.kernels.add_column_sums(p.dgx, rows, wide, p.db)
    if not run.cell.additive:
        run.kernels.add_column_sums(p.dgh, rows, wide, p.db_h)


cdef void input_gradients(Run *run, Schedule s, BackwardParts *p, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """dx (rows, I) = dgx (rows, G·Hp) · w_xᵀ (G·Hp, I) for the steps of a chunk, into the user's array"""
    cdef fastrnn_product product
    cdef Py_ssize_t width = run.kernels.width, padded_inputs = padded_units(run.kernels, run.inputs), t
    product.rows, product.depth = s.offsets[end] - s.offsets[start], run.cell.gates * run.padded
    product.vectors, product.panel = padded_inputs // width, run.kernels.panel_vectors(1)
    product.a, product.a_stride, product.w = p.dgx, run.cell.gates * run.padded, p.w_xt
    product.start, product.start_stride, product.start_panel = p.zeros, 0, product.panel * width
    product.out, product.out_stride, product.out_panel = p.dx, padded_inputs, product.panel * width
    run.kernels.product(&product)
    for t in range(start, end):
        run.kernels.scatter(p.dx + (s.offsets[t] - s.offsets[start]) * padded_inputs * run.size, padded_inputs,
                            p.dx_user, s.origin, s.direction * t, s.counts[t], run.inputs)


cdef void backward_loop(Run *run, Schedule s, BackwardParts *p, Py_ssize_t chunk_rows) noexcept nogil:
    cdef fastrnn_backward step
    cdef Py_ssize_t state = run.padded * run.size, kept = run.cell.slots * state, wide = run.cell.gates * state
    cdef Py_ssize_t start, end = s.steps, t, row, base
    step.units, step.activation, step.recurrent_activation = run.units, run.activation, run.recurrent
    step.w_ht, step.dh, step.dc = p.w_ht, p.dh, p.dc
    while end > 0:
        start = s.chunk_start(end, chunk_rows)
        base = s.offsets[start]
        for t in range(end - 1, start - 1, -1):
            row = s.offsets[t]
            step.rows = s.counts[t]
            step.gates, step.h_prev, step.c_prev = p.gates + row * kept, p.h + row * state, p.c + row * state
            step.dgx, step.dgh = p.dgx + (row - base) * wide, p.dgh + (row - base) * wide
            if p.dy_user != NULL:
                run.kernels.gather_add(p.dh, run.padded, p.dy_user, s.origin, s.direction * t, step.rows,
                                       run.units)
            run.kernels.backward[run.index](&step)
            if s.reset != NULL:
                s.zero_reset_rows(t, step.rows, p.dh, state)
                if run.cell.cell_state:
                    s.zero_reset_rows(t, step.rows, p.dc, state)
        weight_gradients(run, p, base, s.offsets[end] - base)
        input_gradients(run, s, p, start, end)
        end = start


cdef matrix_of(Run *run, const char *blocks, Py_ssize_t rows, dtype):
    """A user's (rows, G·H) matrix from one in block order."""
    cdef cnp.ndarray out = np.empty((rows, run.cell.gates * run.units), dtype)
    run.kernels.from_blocks(blocks, data_of(out), rows, run.units, run.cell.gates)
    return out


def backward(Cache cache, dy, dh_n=None, dc_n=None):
    """The gradients (dx, dh0, dc0, dw_x, dw_h, db) from those by y (B, T, H) and the final states (B, H); None is 0."""
    if cache.memory is None:
        raise ValueError("cache: expected one that was kept for a backward pass, got one of an inference")
    cdef Schedule s = cache.schedule
    cdef const fastrnn_kernels *kernels = cache.kernels
    cdef Py_ssize_t batch = s.batch
    cdef Run run = run_of(kernels, cache.cell, cache.inputs, cache.units, cache.dtype.itemsize, cache.activation,
                          cache.recurrent)
    cdef bint has_c = run.cell.cell_state, apart = not run.cell.additive
    cdef BackwardParts p
    cdef Memory work
    cdef size_t total = 0
    cdef Py_ssize_t state = run.padded * run.size, wide = run.cell.gates * state
    cdef Py_ssize_t padded_inputs = padded_units(kernels, run.inputs)
    cdef Py_ssize_t chunk_rows = max(BACKWARD_CHUNK // wide, BACKWARD_ROWS), rows = min(s.rows, max(chunk_rows, batch))

    shape = (batch, s.time, run.inputs)
    dx = np.zeros(shape, cache.dtype) if s.ragged else np.empty(shape, cache.dtype)
    dh0 = np.empty((batch, run.units), cache.dtype)
    dc0 = np.empty((batch, run.units), cache.dtype) if has_c else None

    cdef size_t at_dw_x = reserve(&total, run.inputs * wide)  # these four begin at zero
    cdef size_t at_dw_h = reserve(&total, run.units * wide)
    cdef size_t at_db = reserve(&total, wide)
    cdef size_t at_db_h = reserve(&total, wide if apart else 0)
    cdef size_t at_zeros = reserve(&total, padded_inputs * run.size)
    cdef size_t zeroed = total
    cdef size_t at_dh = reserve(&total, batch * state)
    cdef size_t at_dc = reserve(&total, batch * state if has_c else 0)
    cdef size_t at_dgx = reserve(&total, rows * wide)
    cdef size_t at_dgh = reserve(&total, rows * wide) if apart else at_dgx
    cdef size_t at_dx = reserve(&total, rows * padded_inputs * run.size)
    cdef size_t at_w_xt = reserve(&total, padded_inputs * wide)
    cdef size_t at_w_ht = reserve(&total, run.padded * wide)
    work = take(total)
    p.x, p.h, p.c, p.gates = cache.x_rows, cache.h_rows, cache.c_rows, cache.gates
    p.dw_x, p.dw_h, p.db, p.db_h = work.data + at_dw_x, work.data + at_dw_h, work.data + at_db, work.data + at_db_h
    p.zeros, p.dh, p.dc = work.data + at_zeros, work.data + at_dh, work.data + at_dc
    p.dgx, p.dgh, p.dx = work.data + at_dgx, work.data + at_dgh, work.data + at_dx
    p.w_xt, p.w_ht = work.data + at_w_xt, work.data + at_w_ht
    p.dy_user, p.dx_user = data_of(dy), data_of(dx)

    cdef char *dh_n_user = data_of(dh_n)
    cdef char *dc_n_user = data_of(dc_n)
    cdef char *dh0_user = data_of(dh0)
    cdef char *dc0_user = data_of(dc0)
    cdef char *w_x_user = data_of(cache.w_x)
    cdef char *w_h_user = data_of(cache.w_h)
    with nogil:
        memset(work.data, 0, zeroed)
        pack_transposed(&run, w_x_user, run.inputs, p.w_xt)
        pack_transposed(&run, w_h_user, run.units, p.w_ht)
        last_gradients(&run, s, dh_n_user, p.dh)
        if has_c:
            last_gradients(&run, s, dc_n_user, p.dc)
        backward_loop(&run, s, &p, chunk_rows)
        kernels.scatter(p.dh, run.padded, dh0_user, s.order, 0, batch, run.units)
        if has_c:
            kernels.scatter(p.dc, run.padded, dc0_user, s.order, 0, batch, run.units)

    dw_x, dw_h = matrix_of(&run, p.dw_x, run.inputs, cache.dtype), matrix_of(&run, p.dw_h, run.units, cache.dtype)
    db = None
    if cache.has_bias:
        db = matrix_of(&run, p.db, 1, cache.dtype)
        db = np.concatenate([db, matrix_of(&run, p.db_h, 1, cache.dtype)]) if apart else db[0]
    if cache.single_instance:
        dx, dh0, dc0 = dx[0], dh0[0], dc0[0] if has_c else None
    return dx, dh0, dc0, dw_x, dw_h, db


cdef void pack_transposed(Run *run, const char *w, Py_ssize_t rows, char *packed) noexcept nogil:
    cdef fastrnn_pack pack
    pack.rows, pack.units, pack.gates, pack.w, pack.packed = rows, run.units, run.cell.gates, w, packed
    run.kernels.pack_transposed(&pack)


cdef void last_gradients(Run *run, Schedule s, const char *user, char *carried) noexcept nogil:
    """The gradient by the final states, sorted and padded, or zeros."""
    if user == NULL:
        memset(carried, 0, s.batch * run.padded * run.size)
    else:
        run.kernels.gather(carried, run.padded, user, s.order, 0, s.batch, run.units)


# ---- activations on arrays -------------------------------------------------------------------------------------------

def activate(int activation, cnp.ndarray x, cnp.ndarray out):
    """out = phi(x), both C-contiguous and of one type; they may be the same array."""
    cdef const fastrnn_kernels *kernels = kernels_for(x)
    cdef char *source = data_of(x)
    cdef char *target = data_of(out)
    cdef Py_ssize_t size = x.size
    with nogil:
        kernels.activate(activation, source, target, size)
