# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Convolutions along time, over the kernels' packed products.

Letters: B batch, T steps, C channels, F filters, K taps, all of one group; a row of x has `groups`·C values.

    y[b, o] = phi(start + x[b, o·stride - left]·w[0] + x[b, o·stride + dilation - left]·w[1] + ...)

Steps of x before the first and behind the last are padding: 0, and so left out.  Nothing is copied to be multiplied:
side by side in memory, the K steps that an output sees are one row of a matrix (its rows overlap), and the sum above is
one product of depth K·C.  Where the steps are not side by side, or some are padding, each tap is a product that starts
from the sum so far; the order of the sum is the same, tap by tap and channel by channel, and so are the bits.

Groups that are a whole vector, or of which a vector holds several, are summed value by value over the filters of all of
them (grouped.h), for each stretch of outputs that see the same taps.

The gradient by x is made of convolutions of the gradient by y (`set_input_part`), that by w of products aᵀ·b.

Arguments arrive checked.  The members of a team share outputs (gradients: rows of w), and no sum depends on who
computes it.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport padded_to
from ._kernels cimport *
from ._memory cimport Memory, reserve, take
from ._schedule cimport data_of
from ._share cimport interrupted, raise_signal

import numpy as np

cnp.import_array()

cdef enum:
    CHUNK = 32 << 10            # bytes of sums that are worked on at once: they stay in the nearest cache
    GRADIENT_CHUNK = 512 << 10  # bytes of gradients by y, in whole rows of the batch: in the second-level cache
    TASK_COST = 10_000_000      # multiplications a member must have to be worth waking
    ROUND_COST = 50_000_000     # multiplications after which a look is taken at interrupts


cdef void choose_way(Convolution *p) noexcept nogil:
    """What sums it, and so how its weights are laid out.

    Where the filters of all groups are a few vectors, the last of which is not full, steps lie side by side in a row.
    """
    cdef Py_ssize_t width = p.kernels.width, wide = p.groups * p.filters
    p.padded, p.at_once = padded_to(p.kernels, p.filters), 0
    p.side_by_side = p.taps == 1 or (p.taps > 1 and p.dilation == 1 and p.groups == 1)
    if p.groups > 1 and (p.filters == width or (p.channels == p.filters and width % p.filters == 0)):
        p.padded, p.at_once = p.filters, 1
        while wide < 4 * width and p.at_once * wide % width and p.stride == 1 and p.y_step == 1:
            p.at_once *= 2


# ---- which outputs ---------------------------------------------------------------------------------------------------

cdef Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b if a > 0 else -(-a // b)


cdef Range seen_by(const Convolution *p, Py_ssize_t tap, Range outputs) noexcept nogil:
    """Those of some outputs whose tap meets a true step of x: 0 <= o·stride + tap·dilation - left < T."""
    cdef Py_ssize_t shift = p.left - tap * p.dilation
    outputs.first = max(outputs.first, ceil_div(shift, p.stride))
    outputs.last = max(min(outputs.last, ceil_div(p.time + shift, p.stride)), outputs.first)
    return outputs


cdef Range taps_of(const Convolution *p, Py_ssize_t output) noexcept nogil:
    """The taps through which an output sees true steps."""
    cdef Range taps
    cdef Py_ssize_t before = p.left - output * p.stride
    taps.first = min(max(ceil_div(before, p.dilation), 0), p.taps)
    taps.last = max(min(ceil_div(p.time + before, p.dilation), p.taps), taps.first)
    return taps


cdef Range stretch_of(const Convolution *p, Range outputs, Range taps) noexcept nogil:
    """Those of some outputs, from the first on, that see true steps through the same taps as it."""
    cdef Py_ssize_t last = outputs.last
    if taps.first > 0:
        last = min(last, seen_by(p, taps.first - 1, outputs).first)
    if taps.first < taps.last:
        last = min(last, seen_by(p, taps.last - 1, outputs).last)
    outputs.last = last
    return outputs


cdef Range inside(const Convolution *p, Range outputs) noexcept nogil:
    """Those of some outputs that see true steps only, side by side."""
    cdef Range inner = outputs
    if p.side_by_side:
        inner = seen_by(p, p.taps - 1, seen_by(p, 0, inner))
    if not p.side_by_side or inner.first >= inner.last:
        inner.first = inner.last = outputs.last
    return inner


# ---- sums ------------------------------------------------------------------------------------------------------------

cdef void add_taps(const Convolution *p, const char *x, Py_ssize_t group, Py_ssize_t tap, Py_ssize_t count,
                   Range outputs, const char *start, Py_ssize_t start_stride, char *out,
                   Py_ssize_t out_stride) noexcept nogil:
    """out (outputs, F) = start + windows (outputs, count·C) · w (count·C, F), of `count` taps, all or one."""
    cdef fastrnn_product product
    cdef Py_ssize_t width = p.kernels.width, depth = p.taps * p.channels, vectors = p.padded // width, done
    cdef Py_ssize_t row = p.groups * p.channels, panel = p.kernels.panel_vectors(1)
    if outputs.first >= outputs.last:
        return
    product.rows, product.depth, product.panel = outputs.last - outputs.first, count * p.channels, panel
    product.a = x + ((outputs.first * p.stride + tap * p.dilation - p.left) * row + group * p.channels) * p.size
    product.a_stride, product.first = p.stride * row, 0
    product.start_stride, product.start_panel = start_stride, panel * width
    product.out_stride, product.out_panel = out_stride, panel * width
    product.w, product.start, product.out = p.w + group * depth * p.padded * p.size, start, out
    product.vectors = product.last = vectors
    if count == p.taps:
        p.kernels.product(&product)
        return
    done = 0
    while done < vectors:  # within each panel the tap's rows of w lie together
        product.vectors = product.last = min(panel, vectors - done)
        product.w = p.w + (group * depth * p.padded
                           + (done * depth + tap * p.channels * product.vectors) * width) * p.size
        product.start, product.out = start + done * width * p.size, out + done * width * p.size
        p.kernels.product(&product)
        done += panel


cdef void sum_tap_by_tap(const Convolution *p, const char *x, Py_ssize_t group, Range outputs, char *out,
                         Py_ssize_t out_stride) noexcept nogil:
    """out (outputs, F): the first tap starts from `start`, each other from the sum so far; padding is left out."""
    cdef const char *start = p.start + group * p.padded * p.size
    cdef Range seen = outputs
    cdef Py_ssize_t o, tap, row = out_stride * p.size
    if p.taps:
        seen = seen_by(p, 0, outputs)
    if p.taps == 0 or seen.first >= seen.last:
        seen.first = seen.last = outputs.last
    for o in range(outputs.first, seen.first):
        memcpy(out + (o - outputs.first) * row, start, p.padded * p.size)
    for o in range(seen.last, outputs.last):
        memcpy(out + (o - outputs.first) * row, start, p.padded * p.size)
    for tap in range(p.taps):
        seen = seen_by(p, tap, outputs)
        place = out + (seen.first - outputs.first) * row
        if tap == 0:
            add_taps(p, x, group, tap, 1, seen, start, 0, place, out_stride)
        else:
            add_taps(p, x, group, tap, 1, seen, place, out_stride, place, out_stride)


cdef void sum_outputs(const Convolution *p, const char *x, Py_ssize_t group, Range outputs, char *out,
                      Py_ssize_t out_stride) noexcept nogil:
    """out (outputs, F), for one row of the batch and one group"""
    cdef Range inner = inside(p, outputs), before, behind
    before.first, before.last, behind.first, behind.last = outputs.first, inner.first, inner.last, outputs.last
    if before.first < before.last:
        sum_tap_by_tap(p, x, group, before, out, out_stride)
    add_taps(p, x, group, 0, p.taps, inner, p.start + group * p.padded * p.size, 0,
             out + (inner.first - outputs.first) * out_stride * p.size, out_stride)
    if behind.first < behind.last:
        sum_tap_by_tap(p, x, group, behind, out + (behind.first - outputs.first) * out_stride * p.size, out_stride)


cdef void run_rows(const Convolution *p, fastrnn_grouped call, Py_ssize_t outputs, Range lanes,
                   bint is_gradient) noexcept nogil:
    """Some lanes of the rows that some outputs make up, `at_once` in each; `call` has its pointers to the first.

    Outputs that are left over are a row with some that have been: they come out the same.  In a gradient, where they
    would count twice, they are a shorter row.
    """
    cdef Py_ssize_t wide = p.groups * p.filters, left = outputs % p.at_once
    cdef Py_ssize_t past = outputs - (left if is_gradient or outputs < p.at_once else p.at_once)
    call.channels, call.filters, call.tap_stride = p.channels, p.filters, p.dilation * p.groups * p.channels
    call.w_stride, call.rows = p.at_once * wide, outputs // p.at_once
    call.x, call.y = <const char *>call.x + lanes.first * p.size, <char *>call.y + lanes.first * p.size
    call.w = <char *>call.w + lanes.first * p.size
    call.x_stride, call.y_stride = p.at_once * call.x_stride, p.at_once * call.y_stride
    run = p.kernels.add_grouped_gram if is_gradient else p.kernels.grouped
    call.width = lanes.last - lanes.first
    if call.rows:
        run(&call)
    if left:
        call.x = <const char *>call.x + past * call.x_stride // p.at_once * p.size
        call.y = <char *>call.y + past * call.y_stride // p.at_once * p.size
        call.width, call.rows = min(lanes.last, (outputs - past) * wide) - lanes.first, 1
        if call.width > 0:
            run(&call)


cdef void sum_grouped(const Convolution *p, const char *x, Range outputs, char *out,
                      Py_ssize_t out_stride) noexcept nogil:
    """out (outputs, groups·F), for one row of the batch: stretches of outputs that see the same taps"""
    cdef fastrnn_grouped call
    cdef Py_ssize_t row = p.groups * p.channels, first = outputs.first
    cdef Range taps, stretch, lanes
    lanes.first, lanes.last = 0, p.at_once * p.groups * p.filters
    while outputs.first < outputs.last:
        taps = taps_of(p, outputs.first)
        stretch = stretch_of(p, outputs, taps)
        call.taps, call.start = taps.last - taps.first, p.start
        call.x = x + (stretch.first * p.stride + taps.first * p.dilation - p.left) * row * p.size
        call.w = <void *>(p.w + taps.first * p.channels * lanes.last * p.size)
        call.y = out + (stretch.first - first) * out_stride * p.size
        call.x_stride, call.y_stride = p.stride * row, out_stride
        run_rows(p, call, stretch.last - stretch.first, lanes, False)
        outputs.first = stretch.last


cdef void multiply_column(const fastrnn_kernels *kernels, const char *a, Py_ssize_t a_stride, Py_ssize_t depth,
                          const char *w, const char *start, char *out, Py_ssize_t rows) noexcept nogil:
    """out (rows,) = start + a (rows, depth) · w (depth,)"""
    cdef fastrnn_product product
    product.rows, product.depth, product.a, product.a_stride = rows, depth, a, a_stride
    product.w, product.start, product.out, product.out_stride = w, start, out, 1
    kernels.dots(&product)


cdef void convolve(const Convolution *p, Py_ssize_t first, Py_ssize_t last, char *buffer) noexcept nogil:
    """Outputs `first` to before `last`, counted over the whole batch; `buffer` holds `buffer_bytes`.

    Filters that fill whole vectors are summed in y itself, others in the buffer; a single one is a column of products.
    """
    cdef bint direct = p.padded == p.filters
    cdef Py_ssize_t row, group, o, chunk = max(CHUNK // (p.padded * p.size), 1)
    cdef Py_ssize_t groups = 0 if p.column != NULL else p.groups
    cdef Py_ssize_t x_row = p.time * p.groups * p.channels * p.size
    cdef Py_ssize_t y_step = p.groups * p.filters * p.size, stride = p.y_step * p.groups * p.filters
    cdef Range outputs
    cdef char *y
    if p.at_once:
        groups, chunk = 1, max(CHUNK // start_bytes(p), 8) * p.at_once
    while first < last:
        row = first // p.outputs
        outputs.first = first - row * p.outputs
        outputs.last = min(outputs.first + min(chunk, last - first), p.outputs)
        if p.column != NULL:
            multiply_column(p.kernels, p.x + row * x_row + outputs.first * p.stride * p.channels * p.size,
                            p.stride * p.channels, p.channels, p.column, p.start,
                            p.y + (row * p.y_time + outputs.first) * p.size, outputs.last - outputs.first)
        for group in range(groups):
            y = p.y + ((row * p.y_time + p.y_first + outputs.first * p.y_step) * p.groups + group) * p.filters * p.size
            if p.at_once:
                sum_grouped(p, p.x + row * x_row, outputs, y, stride)
            elif direct:
                sum_outputs(p, p.x + row * x_row, group, outputs, y, stride)
            else:
                sum_outputs(p, p.x + row * x_row, group, outputs, buffer, p.padded)
                for o in range(outputs.last - outputs.first):
                    memcpy(y + o * p.y_step * y_step, buffer + o * p.padded * p.size, p.filters * p.size)
        if p.activation.kind != FASTRNN_LINEAR:
            y = p.y + (row * p.y_time + outputs.first) * y_step
            p.kernels.activate(&p.activation, y, p.shown + (y - p.y),
                               (outputs.last - outputs.first) * p.groups * p.filters)
        first += outputs.last - outputs.first


cdef Py_ssize_t buffer_bytes(const Convolution *p) noexcept nogil:
    return max(CHUNK, p.padded * p.size)


cdef int members_for(const Convolution *p, Py_ssize_t batch, int most) noexcept nogil:
    """How many members a call is worth."""
    cdef Py_ssize_t cost = batch * p.outputs * p.taps * p.channels * p.filters * p.groups
    return <int>min(1 + cost // TASK_COST, most)


# ---- weights ---------------------------------------------------------------------------------------------------------

cdef size_t packed_bytes(const Convolution *p) noexcept nogil:
    """Of the packed weights of all groups."""
    return p.taps * p.channels * start_bytes(p)


cdef Py_ssize_t start_bytes(const Convolution *p) noexcept nogil:
    """Of what the sums of all groups start from, and of a row of their packed weights."""
    return max(p.at_once, 1) * p.groups * p.padded * p.size


cdef void pack_groups(const Convolution *p, const char *w, char *packed) noexcept nogil:
    """w, as `to_pack` gives it -> panels of each group, or rows `at_once` times side by side"""
    cdef fastrnn_pack pack
    cdef Py_ssize_t group, i, depth = p.taps * p.channels, row = p.groups * p.filters * p.size
    for i in range(depth * p.at_once):
        memcpy(packed + i * row, w + i // p.at_once * row, row)
    if p.at_once:
        return
    pack.rows, pack.units, pack.row_size, pack.gates = depth, p.filters, p.filters, 1
    for group in range(p.groups):
        pack.w = w + group * depth * p.filters * p.size
        pack.packed = packed + group * depth * p.padded * p.size
        p.kernels.pack(&pack)


cdef void set_start(const Convolution *p, const char *b, char *start) noexcept nogil:
    """The bias (groups·F,), or zeros, as the sums start from it"""
    cdef Py_ssize_t group, i, row = p.groups * p.padded * p.size
    memset(start, 0, start_bytes(p))
    if b != NULL:
        for group in range(p.groups):
            memcpy(start + group * p.padded * p.size, b + group * p.filters * p.size, p.filters * p.size)
    for i in range(1, p.at_once):
        memcpy(start + i * row, start, row)


cdef object to_pack(const Convolution *p, w):
    """w (K, C, groups·F) as `pack_groups` takes it"""
    return np.ascontiguousarray(w) if p.at_once else by_group(w, p.groups)


cdef object by_group(w, groups):
    """w (K, C, groups·F) as (groups, K·C, F)"""
    taps, channels, filters = w.shape
    if groups == 1:
        return w.reshape(1, taps * channels, filters)
    apart = w.reshape(taps, channels, groups, filters // groups).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(apart).reshape(groups, taps * channels, filters // groups)


# ---- forward ---------------------------------------------------------------------------------------------------------

cdef class Cache:
    """What the backward pass of a convolution needs.

    x, w and y are not copied: do not change them between a forward pass and its backward pass.
    """
    cdef readonly object x, w
    cdef object kept  # y, or phi's argument; None: phi is linear
    cdef readonly tuple y_shape
    cdef readonly bint single_instance, has_bias
    cdef readonly int num_threads
    cdef Convolution convolution  # without its pointers

    def __init__(self):
        raise TypeError("a cache is made by a forward function, not by hand")


cdef struct Forward:
    Convolution convolution
    Py_ssize_t total, round_outputs
    fastrnn_barrier barrier
    double next_look  # for interrupts
    bint[2] stop      # of rounds in turn: a member may still have to read the last round's when this one's is set
    char *buffers     # one for each member


cdef void forward_task(void *context, int member, int members) noexcept nogil:
    """A member's part of the outputs, round by round."""
    cdef Forward *p = <Forward *>context
    cdef Py_ssize_t start = 0, count
    cdef int turn = 0
    while start < p.total:
        if member == 0:
            p.stop[turn] = interrupted(&p.next_look)
        count = min(p.round_outputs, p.total - start)
        convolve(&p.convolution, start + count * member // members, start + count * (member + 1) // members,
                 p.buffers + member * buffer_bytes(&p.convolution))
        fastrnn_barrier_wait(&p.barrier, members)
        if p.stop[turn]:
            return
        turn = 1 - turn
        start += count


def forward(cnp.ndarray x, cnp.ndarray w, b, Py_ssize_t outputs, Py_ssize_t stride=1, Py_ssize_t dilation=1,
            Py_ssize_t left=0, Py_ssize_t groups=1, activation=(0, 0, 0), bint single_instance=False,
            int num_threads=1):
    """phi(b + x * w): x (B, T, groups·C), w (K, C, groups·F), b (groups·F,) or None give y (B, outputs, groups·F).

    Output o sees steps o·stride + k·dilation - left; those that are none are padding.  Returns y and the cache.
    """
    cdef Forward p
    cdef Convolution *c = &p.convolution
    cdef Cache cache = Cache.__new__(Cache)
    cdef Memory work
    cdef size_t total = 0
    memset(&p, 0, sizeof(p))
    c.kernels, c.size = kernels_for(x), x.itemsize
    c.groups, c.channels, c.filters = groups, w.shape[1], w.shape[2] // groups
    c.taps, c.stride, c.dilation, c.left, c.time, c.outputs = w.shape[0], stride, dilation, left, x.shape[1], outputs
    c.y_time, c.y_first, c.y_step, c.activation = outputs, 0, 1, activation_of(activation)
    choose_way(c)
    y = np.empty((x.shape[0], outputs, w.shape[2]), x.dtype)
    kept = np.empty_like(y) if c.activation.keeps_argument else y

    cdef int members = members_for(c, x.shape[0], num_threads)
    cdef size_t at_w = reserve(&total, packed_bytes(c)), at_start = reserve(&total, start_bytes(c))
    cdef size_t at_buffers = reserve(&total, members * buffer_bytes(c))
    work = take(total)
    grouped = to_pack(c, w)
    c.x, c.y, c.shown = data_of(x), data_of(kept), data_of(y)
    c.w, c.start = work.data + at_w, work.data + at_start
    p.buffers, p.total = work.data + at_buffers, x.shape[0] * outputs
    if w.size == c.channels and left == 0 and (outputs - 1) * stride < c.time:
        c.column = data_of(w)
    p.round_outputs = max(ROUND_COST // (c.taps * c.channels * c.filters * groups), members)
    cdef char *w_user = data_of(grouped)
    cdef char *b_user = data_of(b)
    with nogil:
        pack_groups(c, w_user, work.data + at_w)
        set_start(c, b_user, work.data + at_start)
        fastrnn_team_run(forward_task, &p, members)
    if p.stop[0] or p.stop[1]:
        raise_signal()

    cache.x, cache.w, cache.y_shape = x, w, y.shape
    cache.kept = None if c.activation.kind == FASTRNN_LINEAR else kept
    cache.convolution = p.convolution
    cache.single_instance, cache.has_bias, cache.num_threads = single_instance, b is not None, num_threads
    return y[0] if single_instance else y, cache


# ---- backward --------------------------------------------------------------------------------------------------------

cdef struct InputPart:  # steps of dx that are `stride` apart: they are seen through the same taps
    Convolution convolution
    Py_ssize_t last_tap, tap_step  # of these taps


cdef struct Backward:
    Convolution convolution
    InputPart *inputs     # `parts` of them make up dx
    Py_ssize_t parts
    Py_ssize_t batch, round_rows
    fastrnn_barrier barrier
    double next_look
    bint[2] stop
    const char *kept      # y or phi's argument, NULL if phi is linear
    const char *dy        # (B, outputs, groups·F)
    char *da              # the same of a round: the gradient by phi's argument, if phi is not linear
    char *da_padded       # and filled up: (rows, groups·padded), if whole vectors do not do it
    char *dx
    char *dw              # (K·C, groups·padded)
    char *db              # (groups·padded,)
    char *buffers
    size_t buffer


cdef void argument_gradients(Backward *p, Py_ssize_t start, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """da = dy·phi' of outputs `first` to before `last` of the batch; the round begins with output `start`."""
    cdef const Convolution *c = &p.convolution
    cdef Py_ssize_t width = c.groups * c.filters, row
    cdef const char *da = p.dy + first * width * c.size
    cdef char *to
    if p.kept != NULL:
        to = p.da + (first - start) * width * c.size
        c.kernels.activate_back(&c.activation, p.kept + first * width * c.size, da, to, (last - first) * width)
        da = to
    if c.padded == c.filters:
        return
    for row in range((last - first) * c.groups):
        to = p.da_padded + ((first - start) * c.groups + row) * c.padded * c.size
        memcpy(to, da + row * c.filters * c.size, c.filters * c.size)
        memset(to + c.filters * c.size, 0, (c.padded - c.filters) * c.size)


cdef void add_gram(const Backward *p, const char *x, const char *da, Py_ssize_t group, Range rows, Range outputs,
                   Py_ssize_t tap) noexcept nogil:
    """dw (rows, F) += windowsᵀ (rows, outputs) · da (outputs, F), for rows of w whose first tap is `tap`."""
    cdef const Convolution *c = &p.convolution
    cdef fastrnn_gram product
    cdef Py_ssize_t row = c.groups * c.channels, wide = c.groups * c.padded
    if outputs.first >= outputs.last or rows.first >= rows.last:
        return
    product.rows, product.m, product.n, product.stride = outputs.last - outputs.first, rows.last - rows.first, \
        c.padded, wide
    product.a = x + ((outputs.first * c.stride + tap * c.dilation - c.left) * row + group * c.channels
                     + rows.first - tap * c.channels) * c.size
    product.a_stride = c.stride * row
    product.b = da + (outputs.first * wide + group * c.padded) * c.size
    product.c = p.dw + (rows.first * wide + group * c.padded) * c.size
    c.kernels.add_gram(&product)


cdef bint sums_by_lanes(const Convolution *p) noexcept nogil:
    """Whether the grouped kernels sum the gradient by w too: where a group is a whole vector, products do."""
    return p.at_once and p.filters < p.kernels.width


cdef void add_grouped_gram(const Backward *p, const char *x, const char *da, Range lanes, Range outputs) noexcept nogil:
    """What some outputs of one row of the batch, da (outputs, groups·F), add to some lanes of dw."""
    cdef const Convolution *c = &p.convolution
    cdef fastrnn_grouped call
    cdef Py_ssize_t row = c.groups * c.channels, wide = c.groups * c.filters
    cdef Range taps, stretch
    while outputs.first < outputs.last and lanes.first < lanes.last:
        taps = taps_of(c, outputs.first)
        stretch = stretch_of(c, outputs, taps)
        call.taps, call.start = taps.last - taps.first, NULL
        call.x = x + (stretch.first * c.stride + taps.first * c.dilation - c.left) * row * c.size
        call.w = p.dw + taps.first * c.channels * c.at_once * wide * c.size
        call.y = <void *>(da + stretch.first * wide * c.size)
        call.x_stride, call.y_stride = c.stride * row, wide
        run_rows(c, call, stretch.last - stretch.first, lanes, True)
        outputs.first = stretch.last


cdef void weight_gradients_of_row(const Backward *p, const char *x, const char *da, Range rows,
                                  Range outputs) noexcept nogil:
    """What some outputs of one row of the batch, da (outputs, groups·padded), add to some of the K·C rows of dw."""
    cdef const Convolution *c = &p.convolution
    cdef Range inner = inside(c, outputs), seen, of_tap, part
    cdef Py_ssize_t group, tap
    for group in range(c.groups):
        add_gram(p, x, da, group, rows, inner, 0)
        for tap in range(rows.first // c.channels, ceil_div(rows.last, c.channels)):
            of_tap.first = max(rows.first, tap * c.channels)
            of_tap.last = min(rows.last, (tap + 1) * c.channels)
            seen = seen_by(c, tap, outputs)
            part.first, part.last = seen.first, min(seen.last, inner.first)
            add_gram(p, x, da, group, of_tap, part, tap)
            part.first, part.last = max(seen.first, inner.last), seen.last
            add_gram(p, x, da, group, of_tap, part, tap)


cdef void weight_gradients(const Backward *p, const char *da, Py_ssize_t first_row, Py_ssize_t first, Py_ssize_t last,
                           Range share) noexcept nogil:
    """What outputs `first` to before `last`, counted from a row of the batch on, add to a share of dw."""
    cdef const Convolution *c = &p.convolution
    cdef Py_ssize_t row, x_row = c.time * c.groups * c.channels * c.size
    cdef Py_ssize_t da_row = c.outputs * c.groups * c.padded * c.size
    cdef Range outputs
    while first < last:
        row = first // c.outputs
        outputs.first = first - row * c.outputs
        outputs.last = min(outputs.first + last - first, c.outputs)
        x = c.x + (first_row + row) * x_row
        if sums_by_lanes(c):
            add_grouped_gram(p, x, da + row * da_row, share, outputs)
        else:
            weight_gradients_of_row(p, x, da + row * da_row, share, outputs)
        first += outputs.last - outputs.first


cdef void input_gradients(const Backward *p, const char *da, Py_ssize_t first_row, Py_ssize_t rows, Py_ssize_t share,
                          Py_ssize_t shares, char *buffer) noexcept nogil:
    """One of so many shares of dx for some rows of the batch."""
    cdef Convolution part
    cdef Py_ssize_t i, total
    for i in range(p.parts):
        part = p.inputs[i].convolution
        part.x, part.y = da, p.dx + first_row * part.y_time * part.groups * part.filters * part.size
        total = rows * part.outputs
        convolve(&part, total * share // shares, total * (share + 1) // shares, buffer)


cdef Range share_of_dw(const Convolution *p, int member, int members) noexcept nogil:
    """A member's rows, of K·C, or lanes, in whole vectors, of dw."""
    cdef Range share
    cdef Py_ssize_t unit = p.kernels.width if sums_by_lanes(p) else 1
    cdef Py_ssize_t end = p.at_once * p.groups * p.filters if sums_by_lanes(p) else p.taps * p.channels
    cdef Py_ssize_t units = (end + unit - 1) // unit
    share.first, share.last = units * member // members * unit, min(units * (member + 1) // members * unit, end)
    return share


cdef void bias_gradients(const Backward *p, const char *da, Py_ssize_t outputs) noexcept nogil:
    """db (groups·F,) += the columns of da (outputs, groups·F)"""
    cdef fastrnn_gram sums
    sums.rows, sums.n = outputs, p.convolution.groups * p.convolution.padded
    sums.stride, sums.b, sums.c = sums.n, da, p.db
    p.convolution.kernels.add_column_sums(&sums)


cdef void backward_task(void *context, int member, int members) noexcept nogil:
    """A member's part of the backward pass: rounds of some rows of the batch, in pieces between looks at interrupts."""
    cdef Backward *p = <Backward *>context
    cdef const Convolution *c = &p.convolution
    cdef Py_ssize_t row = 0, rows, outputs, start, piece, pieces, depth = c.taps * c.channels
    cdef const char *da
    cdef const char *da_padded
    cdef Range share = share_of_dw(c, member, members)
    cdef int turn = 0
    while row < p.batch:
        rows = min(p.round_rows, p.batch - row)
        start, outputs = row * c.outputs, rows * c.outputs
        argument_gradients(p, start, start + outputs * member // members, start + outputs * (member + 1) // members)
        fastrnn_barrier_wait(&p.barrier, members)
        da, da_padded = p.da, p.da_padded
        if p.kept == NULL:
            da = p.dy + start * c.groups * c.filters * c.size
        if c.padded == c.filters:
            da_padded = da
        if member == members - 1:
            bias_gradients(p, da_padded, outputs)
        pieces = 1 + outputs * depth * c.groups * c.filters // ROUND_COST
        for piece in range(pieces):
            if member == 0:
                p.stop[turn] = interrupted(&p.next_look)
            input_gradients(p, da, row, rows, piece * members + member, pieces * members,
                            p.buffers + member * p.buffer)
            weight_gradients(p, da_padded, row, outputs * piece // pieces, outputs * (piece + 1) // pieces, share)
            fastrnn_barrier_wait(&p.barrier, members)
            if p.stop[turn]:
                return
            turn = 1 - turn
        row += rows


cdef void set_input_part(const Convolution *p, Py_ssize_t first_step, InputPart *part) noexcept nogil:
    """The convolution of da that gives each stride-th step of dx, from `first_step` on.

    Step t is seen by output o through tap k if t + left = o·s + k·d.  With t + left = q·s + j, 0 <= j < s, the taps of
    t are those with k·d = j modulo s, which are s/g apart for g = gcd(s, d); and through the i-th of them
    o = q - (k_0·d - j)/s - i·d/g.  All these steps have the same j.  So they are one convolution with a stride of 1,
    whose first tap is the last of these.
    """
    cdef Convolution *c = &part.convolution
    cdef Py_ssize_t early = (first_step + p.left) // p.stride, j = (first_step + p.left) % p.stride, tap
    c[0] = p[0]
    c.column = NULL
    c.taps, part.last_tap, part.tap_step = 0, 0, 0
    for tap in range(p.taps):
        if (tap * p.dilation - j) % p.stride == 0:
            if c.taps == 0:
                early -= (tap * p.dilation - j) // p.stride
            elif c.taps == 1:
                part.tap_step = tap - part.last_tap
            c.taps, part.last_tap = c.taps + 1, tap
    c.channels, c.filters = p.filters, p.channels
    c.stride, c.dilation = 1, part.tap_step * p.dilation // p.stride if c.taps > 1 else 1
    c.left = (c.taps - 1) * c.dilation - early
    c.time, c.y_time, c.y_first, c.y_step = p.outputs, p.time, first_step, p.stride
    c.outputs, c.activation.kind = ceil_div(p.time - first_step, p.stride), FASTRNN_LINEAR
    choose_way(c)


cdef void pack_flipped(const InputPart *part, const Convolution *p, const char *w, char *packed) noexcept nogil:
    """w (groups, K·C, F) -> panels (K'·F, C) of each group: the part's taps, last one first, each transposed.

    A tap is packed with its F filled up; the next one goes over what is too much.
    """
    cdef const Convolution *c = &part.convolution
    cdef fastrnn_pack pack
    cdef Py_ssize_t width = c.kernels.width, columns = c.kernels.panel_vectors(1) * width, group, first, i, tap
    pack.units, pack.row_size, pack.gates = p.filters, p.filters, 1
    for group in range(c.groups):
        first = 0
        while first < c.padded:
            pack.rows = min(c.filters - first, columns)
            for i in range(c.taps):
                tap = part.last_tap - i * part.tap_step
                pack.w = w + ((group * p.taps + tap) * p.channels + first) * p.filters * c.size
                pack.packed = packed
                c.kernels.pack_transposed(&pack)
                packed += p.filters * min(columns, c.padded - first) * c.size
            first += columns


cdef size_t flipped_bytes(const InputPart *part) noexcept nogil:
    """What `pack_flipped` needs: behind the last tap there is nobody to go over what is too much."""
    cdef const Convolution *c = &part.convolution
    if c.taps == 0 or c.at_once:
        return packed_bytes(c)
    return packed_bytes(c) + c.kernels.width * c.kernels.panel_vectors(1) * c.kernels.width * c.size


cdef object flipped_groups(const InputPart *part, const Convolution *p, w):
    """The same as the grouped kernels take it: w (K, C, groups·F) -> (K', F, groups·C)"""
    taps = [part.last_tap - i * part.tap_step for i in range(part.convolution.taps)]
    apart = w[taps].reshape(len(taps), p.channels, p.groups, p.filters).transpose(0, 3, 2, 1)
    return np.ascontiguousarray(apart)


cdef int pack_for_inputs(InputPart *part, const Convolution *p, w, char *packed) except -1:
    """w (K, C, groups·F) as the convolution of a part takes it"""
    cdef const char *data
    if part.convolution.at_once:
        flipped = flipped_groups(part, p, w)
        pack_groups(&part.convolution, data_of(flipped), packed)
        return 0
    grouped = by_group(w, p.groups)
    data = data_of(grouped)
    with nogil:
        pack_flipped(part, p, data, packed)
    return 0


cdef void fold(const Convolution *p, const char *dw, char *user) noexcept nogil:
    """user (K·C, groups·F) += dw (K·C, at_once, groups·F), summed over the outputs that were side by side"""
    cdef Py_ssize_t i, wide = p.groups * p.filters
    for i in range(p.taps * p.channels * p.at_once):
        p.kernels.add(dw + i * wide * p.size, user + i // p.at_once * wide * p.size, wide)


cdef void unpad(const Convolution *p, const char *padded, Py_ssize_t rows, char *user) noexcept nogil:
    """(rows, groups·padded) -> a user's (rows, groups·F)"""
    cdef Py_ssize_t r
    for r in range(rows * p.groups):
        memcpy(user + r * p.filters * p.size, padded + r * p.padded * p.size, p.filters * p.size)


def backward(Cache cache, cnp.ndarray dy, int num_threads=1, bint needs_dx=True):
    """dx (B, T, groups·C), None unless it is needed, dw (K, C, groups·F) and db (groups·F,) from dy (B, outputs,
    groups·F)"""
    cdef Backward p
    cdef Convolution *c = &p.convolution
    cdef Memory work, parts
    cdef size_t total = 0, zeroed
    cdef Py_ssize_t i, batch = cache.x.shape[0]
    memset(&p, 0, sizeof(p))
    c[0] = cache.convolution
    cdef int members = members_for(c, batch, num_threads)
    cdef Py_ssize_t wide = c.groups * c.padded * c.size, da_row = c.outputs * c.groups * c.filters * c.size
    dx = np.empty(cache.x.shape, dy.dtype) if needs_dx else None
    dw = np.zeros(cache.w.shape, dy.dtype)
    db = np.empty(cache.w.shape[2], dy.dtype) if cache.has_bias else None

    p.parts = min(c.stride, c.time) if needs_dx else 0
    parts = take(max(p.parts, 1) * sizeof(InputPart))
    p.inputs = <InputPart *>parts.data
    for i in range(max(p.parts, 1)):
        set_input_part(c, i, &p.inputs[i])
    p.batch, p.round_rows, p.buffer = batch, max(GRADIENT_CHUNK // da_row, 1), buffer_bytes(&p.inputs[0].convolution)
    cdef Py_ssize_t rows = min(p.round_rows, batch) * c.outputs
    cdef bint pads = c.padded != c.filters, folds = c.at_once > 1
    cdef size_t at_dw = reserve(&total, c.taps * c.channels * start_bytes(c) if pads or folds else 0)  # these three
    cdef size_t at_db = reserve(&total, wide)
    cdef size_t at_zeros = reserve(&total, start_bytes(&p.inputs[0].convolution))  # begin at zero
    zeroed = total
    cdef size_t at_da = reserve(&total, 0 if cache.kept is None else rows * c.groups * c.filters * c.size)
    cdef size_t at_padded = reserve(&total, rows * wide if pads else 0)
    cdef size_t at_buffers = reserve(&total, members * p.buffer)
    cdef size_t at_w = total
    for i in range(p.parts):
        reserve(&total, flipped_bytes(&p.inputs[i]))
    work = take(total)

    c.x, c.w, c.start, c.y = data_of(cache.x), NULL, NULL, NULL
    p.kept, p.dy, p.dx = data_of(cache.kept), data_of(dy), data_of(dx)
    p.da, p.da_padded, p.buffers = work.data + at_da, work.data + at_padded, work.data + at_buffers
    cdef char *dw_user = data_of(dw)
    cdef char *db_user = data_of(db)
    p.dw, p.db = work.data + at_dw if pads or folds else dw_user, work.data + at_db
    for i in range(p.parts):
        p.inputs[i].convolution.w, p.inputs[i].convolution.start = work.data + at_w, work.data + at_zeros
        pack_for_inputs(&p.inputs[i], c, cache.w, work.data + at_w)
        reserve(&at_w, flipped_bytes(&p.inputs[i]))
    with nogil:
        memset(work.data, 0, zeroed)
        fastrnn_team_run(backward_task, &p, members)
        if pads:
            unpad(c, p.dw, c.taps * c.channels, dw_user)
        elif folds:
            fold(c, p.dw, dw_user)
        if db_user != NULL:
            unpad(c, p.db, 1, db_user)
    if p.stop[0] or p.stop[1]:
        raise_signal()
    return dx[0] if needs_dx and cache.single_instance else dx, dw, db
