# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Forward through time: THE loop, for every cell of the registry with every option.

Letters as in csrc/fastrnn.h: B batch, T steps, I inputs, H units, P outputs (H without a projection), G gates, S slots,
Hp and Pp = H and P filled up to whole vectors.  The order of rows inside is that of `_schedule`.

A call is shared by the members of a team (csrc/team.h).  Each has rows of the batch, and then never waits within a
chunk of time; or, when the batch is too small for that, units of all rows, and waits for the others after each step.
No sum depends on who computes it, so neither does a single bit of the result.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport Cache, Checkpoints, Kept, Run, gather, kept_at, kept_size, run_of, scatter
from ._checkpoints cimport checkpoints_for
from ._kernels cimport *
from ._memory cimport Memory, reserve, take
from ._schedule cimport Plan, Schedule, chunk_end, data_of
from ._share cimport Share, interrupted, members_for, raise_signal, share_of, zero_reset_rows
from ._step cimport Scratch, Step, input_product, step_forward
from ._weights cimport bind_weights, mixing_of

import numpy as np

cnp.import_array()

cdef enum:
    FORWARD_CHUNK = 256 << 10   # bytes of x·w_x + b made at once: they stay in the second-level cache
    FEW_ROWS = 3                # up to here the weights are used as they are: packing would cost more than it gains


cdef void gather_inputs(Forward *p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t first, Py_ssize_t last,
                        char *x) noexcept nogil:
    """Rows `first` to before `last` (of all rows, by step) of a chunk's inputs; x is the place of the chunk's first."""
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Py_ssize_t t, low, high, in_step, row = run.inputs * run.size
    cdef char *to
    for t in range(start, end):
        low, high = max(plan.offsets[t], first), min(plan.offsets[t + 1], last)
        if low < high:
            in_step, to = low - plan.offsets[t], x + (low - plan.offsets[start]) * row
            gather(run, to, run.inputs, p.x_user, run.inputs, plan.origin + in_step, plan.direction * t, high - low)
            if run.masks_x:
                run.kernels.multiply(to, p.mixing.mask_x + in_step * row, to, (high - low) * run.inputs)


cdef void few_products(Forward *p, const char *x, const char *h, char *gates) noexcept nogil:
    """Both products of one row, by the weights as the user holds them: the same sums in the same order."""
    cdef Run *run = &p.run
    cdef int count = run.cell.gates
    cdef Py_ssize_t n = count * run.units
    run.kernels.product_row(x, p.w_x_user, p.weights.b, p.row, run.inputs, n)
    if run.cell.additive:
        run.kernels.product_row(h, p.w_h_user, p.row, p.row, run.units, n)
        run.kernels.to_blocks(p.row, gates, run.units, count, run.cell.slots)
    else:
        run.kernels.to_blocks(p.row, gates, run.units, count, run.cell.slots)
        run.kernels.product_row(h, p.w_h_user, p.weights.b_h, p.row, run.units, n)
        run.kernels.to_blocks(p.row, p.scratch.products, run.units, count, count)


cdef void few_rows(Forward *p, Step *step, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """A step of a plain cell, row by row."""
    cdef Run *run = &p.run
    cdef Kept base = step.at
    cdef Py_ssize_t r
    cdef char *h = step.h
    cdef char *c = step.c
    for r in range(first, last):
        step.at = kept_at(run, &base, r)
        step.h, step.c = h + r * run.state, c + r * run.cell_state
        few_products(p, step.at.x, step.at.h, step.at.gates)
        step_forward(run, step, 0, 1, 0, run.padded)
    step.at, step.h, step.c = base, h, c


cdef void put_states(Forward *p, const Share *share, const char *states, Py_ssize_t padded, char *user,
                     Py_ssize_t width, Py_ssize_t t, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """A member's units of rows `first` to before `last` after step t into a user's (B, T, width) array."""
    cdef Run *run = &p.run
    cdef Py_ssize_t unit = 0 if share.all_units else share.unit
    if first < last and user != NULL:
        scatter(run, states + (first * padded + unit) * run.size, padded, user + unit * run.size,
                width, width if share.all_units else share.columns, p.plan.origin + first, p.plan.direction * t,
                last - first)


cdef void one_step(Forward *p, const Share *share, Step *step, char *h, char *c, Py_ssize_t t) noexcept nogil:
    """A member's part of step t: rows that go on leave their states to the next step, rows that end to the result."""
    cdef Run *run = &p.run
    cdef Py_ssize_t rows = min(share.last, p.plan.counts[t]), going = min(rows, p.plan.counts[t + 1])
    cdef Py_ssize_t ending = max(share.first, going)
    step.h, step.c = h, c
    if p.few:
        few_rows(p, step, share.first, going)
    else:
        step_forward(run, step, share.first, going, share.unit, share.end)
    step.h, step.c = p.h_last, p.c_last
    if p.few:
        few_rows(p, step, ending, rows)
    else:
        step_forward(run, step, ending, rows, share.unit, share.end)
    put_states(p, share, h, run.padded_outputs, p.y_user, run.outputs, t, share.first, going)
    put_states(p, share, p.h_last, run.padded_outputs, p.y_user, run.outputs, t, ending, rows)
    put_states(p, share, c, run.padded, p.c_user, run.units, t, share.first, going)
    put_states(p, share, p.c_last, run.padded, p.c_user, run.units, t, ending, rows)


cdef void save_states(Forward *p, const Share *share, const Kept *at, Py_ssize_t t, Py_ssize_t before) noexcept nogil:
    """A member's part of the states that enter step t, behind those of `before` rows saved at earlier steps."""
    cdef Run *run = &p.run
    cdef Py_ssize_t r, rows = min(share.last, p.plan.counts[t])
    cdef Py_ssize_t width = (share.end - share.unit) * run.size, unit = share.unit * run.size
    if share.all_units:
        width = run.state
    for r in range(share.first, rows):
        memcpy(p.saved_h + (before + r) * run.state + unit, at.h + r * run.state + unit, width)
        if run.cell.cell_state:
            memcpy(p.saved_c + (before + r) * run.cell_state + unit, at.c + r * run.cell_state + unit,
                   (share.end - share.unit) * run.size)


cdef void forward_loop(void *context, int member, int members) noexcept nogil:
    """A member's part of the forward pass."""
    cdef Forward *p = <Forward *>context
    cdef const Plan *plan = p.plan
    cdef Run *run = &p.run
    cdef Share share = share_of(run, plan, member, members)
    cdef Step step
    cdef Kept at
    cdef Py_ssize_t t, start = p.start, end, base, row, rows, first, last, now, next, saves = 0, saved = 0
    cdef int turn = 0
    step.weights, step.mixing, step.scratch = &p.weights, &p.mixing, &p.scratch
    while start < p.end:
        if member == 0:
            p.stop[turn] = interrupted(&p.next_look)
        end = min(chunk_end(plan, start, FORWARD_CHUNK // run.kept), p.end)
        base = plan.offsets[p.start] if p.keep else plan.offsets[start]
        row, rows = plan.offsets[start], plan.offsets[end] - plan.offsets[start]
        first, last = row + rows * member // members, row + rows * (member + 1) // members
        at = kept_at(run, &p.kept, row - base)
        gather_inputs(p, start, end, first, last, at.x)
        if not p.few and first < last:
            at = kept_at(run, &p.kept, first - base)
            input_product(run, &p.weights, &at, at.x, run.inputs, last - first)
        fastrnn_barrier_wait(&p.barrier, members)
        if p.stop[turn]:
            return
        turn = 1 - turn
        for t in range(start, end):
            step.at = kept_at(run, &p.kept, plan.offsets[t] - base)
            now = plan.offsets[t] - base if p.keep else (t & 1) * plan.batch
            next = plan.offsets[t + 1] - base if p.keep else (~t & 1) * plan.batch
            step.at.h, step.at.c = p.kept.h + now * run.state, p.kept.c + now * run.cell_state
            if not run.masks_h:
                step.at.input = step.at.h
            if plan.reset != NULL:
                zero_reset_rows(run, plan, &share, t, step.at.h, run.state)
                if run.cell.cell_state:
                    zero_reset_rows(run, plan, &share, t, step.at.c, run.cell_state)
                if not share.all_units:
                    fastrnn_barrier_wait(&p.barrier, members)
            if p.saved_steps != NULL and p.saved_steps[saves] == t:
                save_states(p, &share, &step.at, t, saved)
                saved += plan.counts[t]
                saves += 1
            step.origin, step.shift = plan.origin, plan.direction * t
            one_step(p, &share, &step, p.kept.h + next * run.state, p.kept.c + next * run.cell_state, t)
            if not share.all_units:
                fastrnn_barrier_wait(&p.barrier, members)
        if not p.keep:
            fastrnn_barrier_wait(&p.barrier, members)
        start = end


cdef void first_rows(const Run *run, const Plan *plan, const char *user, Py_ssize_t width, Py_ssize_t padded,
                     char *states) noexcept nogil:
    """A user's (B, width) array, or zeros, sorted and padded."""
    if user == NULL:
        memset(states, 0, plan.batch * padded * run.size)
    else:
        gather(run, states, padded, user, width, plan.order, 0, plan.batch)


cdef void last_rows(const Run *run, const Plan *plan, const char *states, Py_ssize_t width, Py_ssize_t padded,
                    char *user) noexcept nogil:
    """The way back."""
    scatter(run, states, padded, user, width, width, plan.order, 0, plan.batch)


cdef size_t place_work(Forward *p, Py_ssize_t batch, char *data) noexcept nogil:
    """Bytes of what a call needs beside its kept rows, and where each part begins if `data` is the place for all."""
    cdef Run *run = &p.run
    cdef Scratch *scratch = &p.scratch
    cdef bint mixes = run.zones_h or run.zones_c
    cdef size_t total = 0
    p.h_last = data + reserve(&total, batch * run.state)
    p.row = data + reserve(&total, run.wide if p.few else 0)
    scratch.products = data + reserve(&total, 0 if run.cell.additive else batch * run.wide)
    scratch.second = data + reserve(&total, batch * run.cell_state if run.cell.second else 0)
    scratch.shown = data + reserve(&total, batch * run.cell_state if run.norm else 0)
    scratch.share = data + reserve(&total, batch * max(run.state, run.cell_state) if mixes else 0)
    return total


cdef prepare(Forward *p, const Run *run, const Plan *plan, cnp.ndarray x, cnp.ndarray w_x, w_h, b, options,
             bint inference):
    """All of a forward pass but where its rows and results lie; returns what has to live as long as it."""
    cdef Memory work
    p.run, p.plan, p.end = run[0], plan, plan.steps
    p.few = plan.rows <= FEW_ROWS and run.cell.recurrent == FASTRNN_PRODUCT and not run.whole_rows
    work = take(place_work(p, plan.batch, NULL))
    place_work(p, plan.batch, work.data)
    p.x_user, p.w_x_user, p.w_h_user = data_of(x), data_of(w_x), data_of(w_h)
    return work, bind_weights(run, w_x, w_h, b, options, p.few, inference, &p.weights)


def forward(Py_ssize_t cell, cnp.ndarray x, h0, c0, cnp.ndarray w_x, w_h, b, activation, recurrent,
            lengths=None, reset_mask=None, bint reverse=False, bint single_instance=False, bint keep=True,
            int num_threads=1, options=None, budget=None, bint wants_y=True):
    """Run a cell over x (B, T, I); returns y (B, T, P) and the cache (without what backward needs unless `keep`).

    Activations are (kind, alpha, beta); `options` is None or what `functional._options` made of the keywords; with a
    `budget` (bytes, 0 for as little as there is) the cache may keep states here and there instead of everything.
    Unless `wants_y`, y is None.
    """
    cdef Py_ssize_t batch = x.shape[0], time = x.shape[1]
    cdef Schedule schedule = Schedule(batch, time, lengths, reset_mask, reverse)
    cdef const Plan *plan = &schedule.plan
    cdef Forward p
    memset(&p, 0, sizeof(p))
    cdef Run run = run_of(kernels_for(x), cell, x.shape[2], w_x.shape[1] // cell_at(cell).gates, x.itemsize, activation,
                          recurrent, options)
    cdef bint has_c = run.cell.cell_state
    cdef Cache cache = Cache.__new__(Cache)
    cdef Memory memory, place
    _alive = prepare(&p, &run, plan, x, w_x, w_h, b, options, not keep)
    cdef Checkpoints checkpoints = None if budget is None or not keep or p.few else checkpoints_for(&run, plan, budget)
    p.keep = keep and checkpoints is None
    cdef Py_ssize_t chunk = max(FORWARD_CHUNK // run.kept, batch)
    cdef Py_ssize_t rows = plan.rows if p.keep else min(plan.rows, chunk), states = plan.rows if p.keep else 2 * batch

    shape = (batch, time, run.outputs)
    y = None
    if wants_y:
        y = np.zeros(shape, x.dtype) if schedule.ragged else np.empty(shape, x.dtype)
    all_c = None
    if has_c and keep and wants_y and (reset_mask is not None or checkpoints is not None):
        all_c = np.zeros((batch, time, run.units), x.dtype)
    h_n = np.empty((batch, run.outputs), x.dtype)
    c_n = np.empty((batch, run.units), x.dtype) if has_c else None

    memory = take(kept_size(&run, rows, states, NULL, &p.kept))
    kept_size(&run, rows, states, memory.data, &p.kept)
    place = take(batch * run.cell_state if has_c else 0)
    p.c_last, p.y_user, p.c_user = place.data, data_of(y), data_of(all_c)
    masks = mixing_of(&run, plan, options, &p.mixing)
    if checkpoints is not None:
        p.saved_steps, p.saved_h, p.saved_c = checkpoints.starts, checkpoints.h, checkpoints.c

    cdef char *h0_user = data_of(h0)
    cdef char *c0_user = data_of(c0)
    cdef char *h_n_user = data_of(h_n)
    cdef char *c_n_user = data_of(c_n)
    with nogil:
        first_rows(&run, plan, h0_user, run.outputs, run.padded_outputs, p.h_last)
        if has_c:
            first_rows(&run, plan, c0_user, run.units, run.padded, p.c_last)
        if plan.steps:
            memcpy(p.kept.h, p.h_last, plan.counts[0] * run.state)
            if has_c:
                memcpy(p.kept.c, p.c_last, plan.counts[0] * run.cell_state)
        fastrnn_team_run(forward_loop, &p, 1 if p.few else members_for(&run, plan, num_threads))
        last_rows(&run, plan, p.h_last, run.outputs, run.padded_outputs, h_n_user)
        if has_c:
            last_rows(&run, plan, p.c_last, run.units, run.padded, c_n_user)
    if p.stop[0] or p.stop[1]:
        raise_signal()

    cache.h_n, cache.c_n, cache.all_c = h_n, c_n, all_c
    cache.single_instance, cache.has_bias, cache.num_threads = single_instance, b is not None, num_threads
    cache.schedule, cache.dtype, cache.run, cache.options = schedule, x.dtype, run, options
    if keep:
        cache.w_x, cache.w_h, cache.masks, cache.mixing = w_x, w_h, masks, p.mixing
        cache.complete = True
    if p.keep:
        cache.memory, cache.place, cache.kept, cache.c_last = memory, place, p.kept, p.c_last
    elif keep:
        cache.checkpoints, cache.x, cache.b = checkpoints, x, b
    if single_instance:
        y, cache.h_n = None if y is None else y[0], h_n[0]
        if has_c:
            cache.c_n = c_n[0]
            cache.all_c = None if all_c is None else all_c[0]
    return y, cache
