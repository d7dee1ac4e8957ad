# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""THE time loops: forward through time and backward through time, for every cell of the registry.

Letters as in csrc/fastrnn.h: B batch, T steps, I inputs, H units, G gates, S slots, Hp = H filled up to whole vectors.
Arguments arrive checked (by `_check`): arrays are C-contiguous and of one type, shapes agree.  The order of rows inside
is that of `_schedule`.

A call is shared by the members of a team (csrc/team.h).  Each has rows of the batch, and then never waits within a
chunk of time; or, when the batch is too small for that, units of all rows, and waits for the others after each step.
No sum depends on who computes it, so neither does a single bit of the result.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport Cache, Run, gather, padded_to, run_of, scatter
from ._kernels cimport *
from ._memory cimport Memory, reserve, take
from ._packing cimport Packed, packed_weights
from ._schedule cimport Plan, Schedule, chunk_end, chunk_start, data_of
from ._share cimport Share, interrupted, members_for, raise_signal, share_of, zero_reset_rows

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


# ---- the fast way in -------------------------------------------------------------------------------------------------

cdef bint is_plain(array, int kind, int ndim):
    """Whether this is an ndarray of the wanted type and rank that C code can take as it is."""
    return (type(array) is np.ndarray and cnp.PyArray_TYPE(array) == kind and cnp.PyArray_NDIM(array) == ndim
            and cnp.PyArray_ISCARRAY_RO(array))


def fits(Py_ssize_t cell, int single_rank, x, h0, c0, w_x, w_h, b):
    """Whether all arguments are plain arrays that fit one another, so that `_check` would return them as they are.

    `single_rank` is the rank that x has for one instance; a batch has one more.  On a no, `_check` finds out why.
    """
    if type(x) is not np.ndarray or type(w_h) is not np.ndarray:
        return False
    cdef int kind = cnp.PyArray_TYPE(x), ndim = cnp.PyArray_NDIM(x)
    cdef const fastrnn_cell *spec = cell_at(cell)
    cdef bint single = ndim == single_rank
    if kind != cnp.NPY_FLOAT32 and kind != cnp.NPY_FLOAT64:
        return False
    if not (single or ndim == single_rank + 1) or not (is_plain(x, kind, ndim) and is_plain(w_h, kind, 2)):
        return False
    cdef cnp.npy_intp *size = cnp.PyArray_DIMS(x)
    cdef cnp.npy_intp units = cnp.PyArray_DIMS(w_h)[0], wide = spec.gates * units
    cdef cnp.npy_intp batch = 1 if single else size[0], inputs = size[ndim - 1]
    cdef cnp.npy_intp time = size[ndim - 2] if single_rank == 2 else 1
    if not (0 < units < 1 << 24 and 0 < inputs < 1 << 24 and 0 < time < 1 << 40):
        return False
    if cnp.PyArray_DIMS(w_h)[1] != wide:
        return False
    if not (is_plain(w_x, kind, 2) and cnp.PyArray_DIMS(w_x)[0] == inputs and cnp.PyArray_DIMS(w_x)[1] == wide):
        return False
    if b is not None:
        if not is_plain(b, kind, 1 if spec.additive else 2) or cnp.PyArray_DIMS(b)[0 if spec.additive else 1] != wide:
            return False
        if not spec.additive and cnp.PyArray_DIMS(b)[0] != 2:
            return False
    for state in (h0, c0):
        if state is not None and not (is_plain(state, kind, 1 if single else 2)
                                      and cnp.PyArray_DIMS(state)[0 if single else 1] == units
                                      and (single or cnp.PyArray_DIMS(state)[0] == batch)):
            return False
    return cnp.PyArray_SIZE(x) < <cnp.npy_intp>1 << 40


# ---- forward through time --------------------------------------------------------------------------------------------

cdef struct Forward:
    Run run
    const Plan *plan
    fastrnn_barrier barrier
    double next_look  # for interrupts
    bint[2] stop      # of chunks in turn: a member may still have to read the last chunk's when this one's is set
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
    char *row        # (G·H,) if `few`: there is only one, and one member
    char *x_user     # (B, T, I)
    char *y_user     # (B, T, H)
    char *c_user     # (B, T, H), or NULL


cdef void gather_inputs(Forward *p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t first, Py_ssize_t last,
                        char *x) noexcept nogil:
    """Rows `first` to before `last` (of all rows, by step) of a chunk's inputs; x is the place of the chunk's first."""
    cdef const Plan *plan = p.plan
    cdef Py_ssize_t t, low, high, row = p.run.inputs * p.run.size
    for t in range(start, end):
        low, high = max(plan.offsets[t], first), min(plan.offsets[t + 1], last)
        if low < high:
            gather(&p.run, x + (low - plan.offsets[start]) * row, p.run.inputs, p.x_user, p.run.inputs,
                   plan.origin + (low - plan.offsets[t]), plan.direction * t, high - low)


cdef void input_product(Forward *p, const char *x, char *gates, Py_ssize_t rows) noexcept nogil:
    """gates (rows, G of the S slots) = b + x (rows, I) · w_x (I, G·Hp)"""
    cdef fastrnn_product product
    cdef Run *run = &p.run
    cdef int count = run.cell.gates, slots = run.cell.slots
    cdef Py_ssize_t width = run.kernels.width
    product.rows, product.depth, product.vectors = rows, run.inputs, run.padded // width * count
    product.first, product.last = 0, product.vectors
    product.panel = run.kernels.panel_vectors(count)
    product.a, product.a_stride, product.w = x, run.inputs, p.w_x
    product.start, product.start_stride, product.start_panel = p.b, 0, product.panel * width
    product.out, product.out_stride = gates, slots * run.padded
    product.out_panel = slots * (product.panel // count) * width
    run.kernels.product(&product)


cdef void few_products(Forward *p, const char *x, const char *h, char *gates) noexcept nogil:
    """Both products of one row, by the weights as the user holds them: the same sums in the same order."""
    cdef Run *run = &p.run
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


cdef struct Step:  # where the rows of one step lie; c_prev and c mean something only for cells with a cell state
    char *x
    char *gates
    char *h_prev
    char *c_prev
    char *h
    char *c


cdef void step_rows(Forward *p, const Share *share, const Step *at, char *h, char *c, Py_ssize_t first,
                    Py_ssize_t last) noexcept nogil:
    """One step of rows `first` to before `last`, whose new states go to the same rows of h and c."""
    cdef fastrnn_forward step
    cdef Run *run = &p.run
    cdef Py_ssize_t r, state = run.state
    if first >= last:
        return
    step.units, step.first, step.last = run.units, share.unit // run.kernels.width, share.end // run.kernels.width
    step.activation, step.recurrent_activation = run.activation, run.recurrent
    step.b_h, step.w_h, step.rows = p.b_h, p.w_h, last - first
    step.products, step.gates = p.products + first * run.wide, at.gates + first * run.kept
    step.h_prev, step.c_prev = at.h_prev + first * state, at.c_prev + first * state
    step.h, step.c = h + first * state, c + first * state
    if not p.few:
        run.kernels.forward[run.index](&step)
        return
    step.rows, step.w_h, step.products = 1, NULL, p.products
    for r in range(first, last):
        step.gates, step.h_prev, step.c_prev = at.gates + r * run.kept, at.h_prev + r * state, at.c_prev + r * state
        step.h, step.c = h + r * state, c + r * state
        few_products(p, at.x + r * run.inputs * run.size, <const char *>step.h_prev, <char *>step.gates)
        run.kernels.forward[run.index](&step)


cdef void put_states(Forward *p, const Share *share, const char *states, char *user, Py_ssize_t t, Py_ssize_t first,
                     Py_ssize_t last) noexcept nogil:
    """A member's units of rows `first` to before `last` after step t into a user's (B, T, H) array."""
    cdef Run *run = &p.run
    if first < last:
        scatter(run, states + first * run.state + share.unit * run.size, run.padded, user + share.unit * run.size,
                run.units, share.columns, p.plan.origin + first, p.plan.direction * t, last - first)


cdef void one_step(Forward *p, const Share *share, const Step *at, Py_ssize_t t) noexcept nogil:
    """A member's part of step t: rows that go on leave their states to the next step, rows that end to the result."""
    cdef Py_ssize_t rows = min(share.last, p.plan.counts[t]), going = min(rows, p.plan.counts[t + 1])
    cdef Py_ssize_t ending = max(share.first, going)
    step_rows(p, share, at, at.h, at.c, share.first, going)
    step_rows(p, share, at, p.h_last, p.c_last, ending, rows)
    put_states(p, share, at.h, p.y_user, t, share.first, going)
    put_states(p, share, p.h_last, p.y_user, t, ending, rows)
    if p.c_user != NULL:
        put_states(p, share, at.c, p.c_user, t, share.first, going)
        put_states(p, share, p.c_last, p.c_user, t, ending, rows)


cdef void forward_loop(void *context, int member, int members) noexcept nogil:
    """A member's part of the forward pass."""
    cdef Forward *p = <Forward *>context
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Share share = share_of(run, plan, member, members)
    cdef Step at
    cdef Py_ssize_t t, start = 0, end, base, row, rows, first, last, input_row = run.inputs * run.size
    cdef int turn = 0
    while start < plan.steps:
        if member == 0:
            p.stop[turn] = interrupted(&p.next_look)
        end = chunk_end(plan, start, FORWARD_CHUNK // run.kept)
        base = 0 if p.keep else plan.offsets[start]
        row, rows = plan.offsets[start], plan.offsets[end] - plan.offsets[start]
        first, last = row + rows * member // members, row + rows * (member + 1) // members
        gather_inputs(p, start, end, first, last, p.x + (row - base) * input_row)
        if not p.few and first < last:
            input_product(p, p.x + (first - base) * input_row, p.gates + (first - base) * run.kept, last - first)
        fastrnn_barrier_wait(&p.barrier, members)
        if p.stop[turn]:
            return
        turn = 1 - turn
        for t in range(start, end):
            row = plan.offsets[t] - base
            at.x, at.gates = p.x + row * input_row, p.gates + row * run.kept
            at.h_prev = p.h + (plan.offsets[t] if p.keep else (t & 1) * plan.batch) * run.state
            at.h = p.h + (plan.offsets[t + 1] if p.keep else (~t & 1) * plan.batch) * run.state
            at.c_prev, at.c = p.c + (at.h_prev - p.h), p.c + (at.h - p.h)
            if plan.reset != NULL:
                zero_reset_rows(run, plan, &share, t, at.h_prev)
                if run.cell.cell_state:
                    zero_reset_rows(run, plan, &share, t, at.c_prev)
                if not share.all_units:
                    fastrnn_barrier_wait(&p.barrier, members)
            one_step(p, &share, &at, t)
            if not share.all_units:
                fastrnn_barrier_wait(&p.barrier, members)
        if not p.keep:
            fastrnn_barrier_wait(&p.barrier, members)
        start = end


cdef void pack_weights(const Run *run, const char *w, Py_ssize_t rows, char *packed) noexcept nogil:
    cdef fastrnn_pack pack
    pack.rows, pack.units, pack.gates, pack.w, pack.packed = rows, run.units, run.cell.gates, w, packed
    run.kernels.pack(&pack)


cdef void set_bias(Forward *p, const char *b) noexcept nogil:
    """The bias, or zeros, as the products start from it."""
    cdef Run *run = &p.run
    cdef Py_ssize_t row = run.cell.gates * run.units * run.size
    if b == NULL:
        memset(p.b, 0, run.wide)
        memset(p.b_h, 0, run.wide)
    elif p.few:
        memcpy(p.b, b, row)
        if not run.cell.additive:
            memcpy(p.b_h, b + row, row)
    else:
        run.kernels.to_blocks(b, p.b, run.units, run.cell.gates, run.cell.gates)
        if not run.cell.additive:
            run.kernels.to_blocks(b + row, p.b_h, run.units, run.cell.gates, run.cell.gates)


cdef void first_rows(const Run *run, const Plan *plan, const char *user, char *states) noexcept nogil:
    """A user's (B, H) array, or zeros, sorted and padded."""
    if user == NULL:
        memset(states, 0, plan.batch * run.state)
    else:
        gather(run, states, run.padded, user, run.units, plan.order, 0, plan.batch)


cdef void last_rows(const Run *run, const Plan *plan, const char *states, char *user) noexcept nogil:
    """The way back."""
    scatter(run, states, run.padded, user, run.units, run.units, plan.order, 0, plan.batch)


def forward(Py_ssize_t cell, cnp.ndarray x, h0, c0, cnp.ndarray w_x, cnp.ndarray w_h, b, int activation, int recurrent,
            lengths=None, reset_mask=None, bint reverse=False, bint single_instance=False, bint keep=True,
            int num_threads=1):
    """Run a cell over x (B, T, I); returns y (B, T, H) and the cache (without what backward needs unless `keep`)."""
    cdef Py_ssize_t batch = x.shape[0], time = x.shape[1]
    cdef Schedule schedule = Schedule(batch, time, lengths, reset_mask, reverse)
    cdef const Plan *plan = &schedule.plan
    cdef Forward p
    p.run = run_of(kernels_for(x), cell, x.shape[2], w_h.shape[0], x.itemsize, activation, recurrent)
    cdef Run *run = &p.run
    cdef bint has_c = run.cell.cell_state
    cdef Cache cache = Cache.__new__(Cache)
    cdef Memory memory, work
    cdef Packed packed_x = None, packed_h = None
    cdef size_t total = 0, kept_total = 0
    cdef Py_ssize_t chunk = max(FORWARD_CHUNK // run.kept, batch)
    cdef Py_ssize_t rows = plan.rows if keep else min(plan.rows, chunk), states = plan.rows if keep else 2 * batch

    shape = (batch, time, run.units)
    y = np.zeros(shape, x.dtype) if schedule.ragged else np.empty(shape, x.dtype)
    all_c = np.zeros(shape, x.dtype) if has_c and keep and reset_mask is not None else None
    h_n = np.empty((batch, run.units), x.dtype)
    c_n = np.empty((batch, run.units), x.dtype) if has_c else None

    p.plan, p.keep, p.few = plan, keep, plan.rows <= FEW_ROWS
    cdef bint packs = keep and not p.few  # an inference looks whether the weights are packed already
    memset(&p.barrier, 0, sizeof(p.barrier))
    p.next_look, p.stop[0], p.stop[1] = 0, False, False
    cdef size_t at_x = reserve(&kept_total, rows * run.inputs * run.size)
    cdef size_t at_h = reserve(&kept_total, states * run.state)
    cdef size_t at_c = reserve(&kept_total, states * run.state if has_c else 0)
    cdef size_t at_gates = reserve(&kept_total, rows * run.kept)
    cdef size_t at_h_last = reserve(&total, batch * run.state)
    cdef size_t at_c_last = reserve(&kept_total, batch * run.state if has_c else 0)
    cdef size_t at_products = reserve(&total, 0 if run.cell.additive else batch * run.wide)
    cdef size_t at_w_x = reserve(&total, run.inputs * run.wide if packs else 0)
    cdef size_t at_w_h = reserve(&total, run.units * run.wide if packs else 0)
    cdef size_t at_b = reserve(&total, run.wide)
    cdef size_t at_b_h = reserve(&total, run.wide)
    cdef size_t at_row = reserve(&total, run.wide)
    memory, work = take(kept_total), take(total)
    p.x, p.h, p.c, p.gates = memory.data + at_x, memory.data + at_h, memory.data + at_c, memory.data + at_gates
    p.h_last, p.c_last, p.products = work.data + at_h_last, memory.data + at_c_last, work.data + at_products
    p.w_x, p.w_h, p.b, p.b_h = work.data + at_w_x, work.data + at_w_h, work.data + at_b, work.data + at_b_h
    p.row = work.data + at_row
    p.x_user, p.y_user, p.c_user = data_of(x), data_of(y), data_of(all_c)

    if not p.few and not keep:
        packed_x, packed_h = packed_weights(run, w_x), packed_weights(run, w_h)
        p.w_x, p.w_h = packed_x.panels, packed_h.panels

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
        elif packs:
            pack_weights(run, w_x_user, run.inputs, p.w_x)
            pack_weights(run, w_h_user, run.units, p.w_h)
        set_bias(&p, b_user)
        first_rows(run, plan, h0_user, p.h_last)
        if has_c:
            first_rows(run, plan, c0_user, p.c_last)
        if plan.steps:
            memcpy(p.h, p.h_last, plan.counts[0] * run.state)
            if has_c:
                memcpy(p.c, p.c_last, plan.counts[0] * run.state)
        fastrnn_team_run(forward_loop, &p, 1 if p.few else members_for(run, plan, num_threads))
        last_rows(run, plan, p.h_last, h_n_user)
        if has_c:
            last_rows(run, plan, p.c_last, c_n_user)
    if p.stop[0] or p.stop[1]:
        raise_signal()

    cache.h_n, cache.c_n, cache.all_c = h_n, c_n, all_c
    cache.single_instance, cache.has_bias, cache.num_threads = single_instance, b is not None, num_threads
    cache.schedule, cache.dtype, cache.run = schedule, x.dtype, p.run
    if keep:
        cache.memory, cache.w_x, cache.w_h = memory, w_x, w_h
        cache.x_rows, cache.h_rows, cache.c_rows, cache.c_last, cache.gates = p.x, p.h, p.c, p.c_last, p.gates
    if single_instance:
        y, cache.h_n = y[0], h_n[0]
        if has_c:
            cache.c_n = c_n[0]
            cache.all_c = None if all_c is None else all_c[0]
    return y, cache


# ---- backward through time -------------------------------------------------------------------------------------------

cdef struct Backward:
    Run run
    const Plan *plan
    fastrnn_barrier barrier
    double next_look
    bint[2] stop
    Py_ssize_t chunk_rows
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
    char *dy_user    # (B, T, H), or NULL
    char *dx_user    # (B, T, I)


cdef void transposed_product(Backward *p, const char *dg, const char *w, const char *start, Py_ssize_t start_stride,
                             char *out, Py_ssize_t columns, Py_ssize_t first, Py_ssize_t last,
                             Py_ssize_t rows) noexcept nogil:
    """out (rows, columns) = start + dg (rows, G·Hp) · wᵀ (G·Hp, columns), for columns `first` to before `last`."""
    cdef fastrnn_product product
    cdef Run *run = &p.run
    cdef Py_ssize_t width = run.kernels.width
    product.rows, product.depth, product.vectors = rows, run.cell.gates * run.padded, columns // width
    product.first, product.last = first // width, last // width
    product.panel = run.kernels.panel_vectors(1)
    product.a, product.a_stride, product.w = dg, run.cell.gates * run.padded, w
    product.start, product.start_stride, product.start_panel = start, start_stride, product.panel * width
    product.out, product.out_stride, product.out_panel = out, columns, product.panel * width
    run.kernels.product(&product)


cdef void gate_gradients(Backward *p, const Share *share, Py_ssize_t t, Py_ssize_t rows, char *dgx,
                         char *dgh) noexcept nogil:
    """A member's part of the gates' gradients at step t; dh takes in dy first."""
    cdef fastrnn_backward step
    cdef fastrnn_rows add
    cdef Run *run = &p.run
    cdef const Plan *plan = p.plan
    cdef Py_ssize_t first = share.first, row = plan.offsets[t] + first
    step.rows, step.units, step.first, step.last = rows, run.units, share.unit // run.kernels.width, \
        share.end // run.kernels.width
    step.activation, step.recurrent_activation = run.activation, run.recurrent
    step.gates, step.h_prev, step.c_prev = p.gates + row * run.kept, p.h + row * run.state, p.c + row * run.state
    step.dh, step.dc = p.dh + first * run.state, p.dc + first * run.state
    step.dgx, step.dgh = dgx, dgh
    if p.dy_user != NULL:
        add.rows, add.columns, add.stride, add.width = rows, share.columns, run.padded, run.units
        add.padded, add.user = <char *>step.dh + share.unit * run.size, p.dy_user + share.unit * run.size
        add.origin, add.shift = plan.origin + first, plan.direction * t
        run.kernels.gather_add(&add)
    run.kernels.backward[run.index](&step)


cdef void weight_gradients(Backward *p, Py_ssize_t row, Py_ssize_t rows, int member, int members) noexcept nogil:
    """What a chunk of rows adds to the gradients of weights and bias, for a member's columns."""
    cdef fastrnn_gram product
    cdef Run *run = &p.run
    cdef Py_ssize_t wide = run.cell.gates * run.padded, group = 4 * run.kernels.width
    cdef Py_ssize_t groups = (wide + group - 1) // group
    cdef Py_ssize_t first = groups * member // members * group, last = groups * (member + 1) // members * group
    cdef Py_ssize_t offset = first * run.size
    product.rows, product.stride, product.n = rows, wide, min(last, wide) - first
    # dw_x (I, G·Hp) += xᵀ (I, rows) · dgx (rows, G·Hp)
    product.m, product.a_stride, product.a = run.inputs, run.inputs, p.x + row * run.inputs * run.size
    product.b, product.c = p.dgx + offset, p.dw_x + offset
    run.kernels.add_gram(&product)
    product.c = p.db + offset
    run.kernels.add_column_sums(&product)
    # dw_h (H, G·Hp) += h_prevᵀ (H, rows) · dgh (rows, G·Hp)
    product.m, product.a_stride, product.a = run.units, run.padded, p.h + row * run.state
    product.b, product.c = p.dgh + offset, p.dw_h + offset
    run.kernels.add_gram(&product)
    if not run.cell.additive:
        product.c = p.db_h + offset
        run.kernels.add_column_sums(&product)


cdef void input_gradients(Backward *p, Py_ssize_t start, Py_ssize_t end, int member, int members) noexcept nogil:
    """dx (rows, I) = dgx (rows, G·Hp) · w_xᵀ (G·Hp, I) for a member's rows of a chunk, into the user's array"""
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Py_ssize_t columns = padded_to(run.kernels, run.inputs), base = plan.offsets[start], t, low, high
    cdef Py_ssize_t rows = plan.offsets[end] - base
    cdef Py_ssize_t first = rows * member // members, last = rows * (member + 1) // members
    cdef char *dx = p.dx + first * columns * run.size
    if first == last:
        return
    transposed_product(p, p.dgx + first * run.wide, p.w_xt, p.zeros, 0, dx, columns, 0, columns, last - first)
    for t in range(start, end):
        low, high = max(plan.offsets[t] - base, first), min(plan.offsets[t + 1] - base, last)
        if low < high:
            scatter(run, p.dx + low * columns * run.size, columns, p.dx_user, run.inputs, run.inputs,
                    plan.origin + (low - plan.offsets[t] + base), plan.direction * t, high - low)


cdef void backward_loop(void *context, int member, int members) noexcept nogil:
    """A member's part of the backward pass."""
    cdef Backward *p = <Backward *>context
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Share share = share_of(run, plan, member, members)
    cdef Py_ssize_t start, end = plan.steps, t, rows, row
    cdef int turn = 0
    cdef char *dh = p.dh + share.first * run.state
    while end > 0:
        if member == 0:
            p.stop[turn] = interrupted(&p.next_look)
        start = chunk_start(plan, end, p.chunk_rows)
        for t in range(end - 1, start - 1, -1):
            rows = min(share.last, plan.counts[t]) - share.first
            row = plan.offsets[t] - plan.offsets[start] + share.first
            if rows > 0:
                gate_gradients(p, &share, t, rows, p.dgx + row * run.wide, p.dgh + row * run.wide)
            if not share.all_units:
                fastrnn_barrier_wait(&p.barrier, members)
            if rows > 0:
                # dh_prev (rows, Hp) = direct part + dgh (rows, G·Hp) · w_hᵀ (G·Hp, Hp)
                transposed_product(p, p.dgh + row * run.wide, p.w_ht, dh, run.padded, dh, run.padded,
                                   share.unit, share.end, rows)
            if plan.reset != NULL:
                zero_reset_rows(run, plan, &share, t, p.dh)
                if run.cell.cell_state:
                    zero_reset_rows(run, plan, &share, t, p.dc)
        fastrnn_barrier_wait(&p.barrier, members)  # all gate gradients of the chunk are there
        if p.stop[turn]:
            return
        turn = 1 - turn
        weight_gradients(p, plan.offsets[start], plan.offsets[end] - plan.offsets[start], member, members)
        input_gradients(p, start, end, member, members)
        fastrnn_barrier_wait(&p.barrier, members)  # and are no longer needed
        end = start


cdef void pack_transposed(const Run *run, const char *w, Py_ssize_t rows, char *packed) noexcept nogil:
    cdef fastrnn_pack pack
    pack.rows, pack.units, pack.gates, pack.w, pack.packed = rows, run.units, run.cell.gates, w, packed
    run.kernels.pack_transposed(&pack)


cdef matrix_of(const Run *run, const char *blocks, Py_ssize_t rows, dtype):
    """A user's (rows, G·H) matrix from one in block order."""
    cdef cnp.ndarray out = np.empty((rows, run.cell.gates * run.units), dtype)
    run.kernels.from_blocks(blocks, data_of(out), rows, run.units, run.cell.gates)
    return out


def backward(Cache cache, dy, dh_n=None, dc_n=None, int num_threads=1):
    """The gradients (dx, dh0, dc0, dw_x, dw_h, db) from those by y (B, T, H) and the final states (B, H); None is 0."""
    if cache.memory is None:
        raise ValueError("cache: expected one that was kept for a backward pass, got one of an inference")
    cdef const Plan *plan = &cache.schedule.plan
    cdef Backward p
    p.run = cache.run
    cdef Run *run = &p.run
    cdef Py_ssize_t batch = plan.batch
    cdef bint has_c = run.cell.cell_state, apart = not run.cell.additive
    cdef Memory work
    cdef size_t total = 0
    cdef Py_ssize_t padded_inputs = padded_to(run.kernels, run.inputs)
    p.chunk_rows = max(BACKWARD_CHUNK // run.wide, BACKWARD_ROWS)
    cdef Py_ssize_t rows = min(plan.rows, max(p.chunk_rows, batch))

    shape = (batch, plan.time, run.inputs)
    dx = np.zeros(shape, cache.dtype) if cache.schedule.ragged else np.empty(shape, cache.dtype)
    dh0 = np.empty((batch, run.units), cache.dtype)
    dc0 = np.empty((batch, run.units), cache.dtype) if has_c else None

    cdef size_t at_dw_x = reserve(&total, run.inputs * run.wide)  # these five begin at zero
    cdef size_t at_dw_h = reserve(&total, run.units * run.wide)
    cdef size_t at_db = reserve(&total, run.wide)
    cdef size_t at_db_h = reserve(&total, run.wide if apart else 0)
    cdef size_t at_zeros = reserve(&total, padded_inputs * run.size)
    cdef size_t zeroed = total
    cdef size_t at_dh = reserve(&total, batch * run.state)
    cdef size_t at_dc = reserve(&total, batch * run.state if has_c else 0)
    cdef size_t at_dgx = reserve(&total, rows * run.wide)
    cdef size_t at_dgh = reserve(&total, rows * run.wide) if apart else at_dgx
    cdef size_t at_dx = reserve(&total, rows * padded_inputs * run.size)
    cdef size_t at_w_xt = reserve(&total, padded_inputs * run.wide)
    cdef size_t at_w_ht = reserve(&total, run.padded * run.wide)
    work = take(total)
    p.plan = plan
    memset(&p.barrier, 0, sizeof(p.barrier))
    p.next_look, p.stop[0], p.stop[1] = 0, False, False
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
        pack_transposed(run, w_x_user, run.inputs, p.w_xt)
        pack_transposed(run, w_h_user, run.units, p.w_ht)
        first_rows(run, plan, dh_n_user, p.dh)
        if has_c:
            first_rows(run, plan, dc_n_user, p.dc)
        fastrnn_team_run(backward_loop, &p, members_for(run, plan, num_threads))
        last_rows(run, plan, p.dh, dh0_user)
        if has_c:
            last_rows(run, plan, p.dc, dc0_user)
    if p.stop[0] or p.stop[1]:
        raise_signal()

    dw_x, dw_h = matrix_of(run, p.dw_x, run.inputs, cache.dtype), matrix_of(run, p.dw_h, run.units, cache.dtype)
    db = None
    if cache.has_bias:
        db = matrix_of(run, p.db, 1, cache.dtype)
        db = np.concatenate([db, matrix_of(run, p.db_h, 1, cache.dtype)]) if apart else db[0]
    if cache.single_instance:
        dx, dh0, dc0 = dx[0], dh0[0], dc0[0] if has_c else None
    return dx, dh0, dc0, dw_x, dw_h, db


# ---- activations on arrays -------------------------------------------------------------------------------------------

def activate(int activation, cnp.ndarray x, cnp.ndarray out):
    """out = phi(x), both C-contiguous and of one type; they may be the same array."""
    cdef const fastrnn_kernels *kernels = kernels_for(x)
    cdef char *source = data_of(x)
    cdef char *target = data_of(out)
    cdef Py_ssize_t size = x.size
    with nogil:
        kernels.activate(activation, source, target, size)
