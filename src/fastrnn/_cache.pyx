# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What a forward pass leaves for its backward pass."""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._kernels cimport (
    FASTRNN_NORMS_APART,
    FASTRNN_SIGMOID,
    FASTRNN_TANH,
    activation_of,
    cell_at,
    fastrnn_activation,
    fastrnn_pack,
    fastrnn_rows,
)
from ._memory cimport reserve
from ._schedule cimport data_of

import numpy as np

cnp.import_array()


cdef Py_ssize_t padded_to(const fastrnn_kernels *kernels, Py_ssize_t values) noexcept nogil:
    """The number of values filled up to whole vectors."""
    return (values + kernels.width - 1) // kernels.width * kernels.width


cdef Run run_of(const fastrnn_kernels *kernels, Py_ssize_t cell, Py_ssize_t inputs, Py_ssize_t units, Py_ssize_t size,
                activation, recurrent, options):
    """The sizes and options of a call; `options` is None for the plain cell."""
    cdef Run run
    cdef fastrnn_options *o = &run.options
    memset(&run, 0, sizeof(run))
    run.kernels, run.cell, run.index = kernels, cell_at(cell), cell
    run.inputs, run.units, run.outputs, run.size = inputs, units, units, size
    o.activation, o.recurrent = activation_of(activation), activation_of(recurrent)
    o.output = o.activation
    run.has_unit = run.cell.unit_parameters and options is not None and options.unit is not None
    if options is not None:
        read_options(&run, options)
    o.usual = is_usual(o)
    run.padded, run.padded_outputs = padded_to(kernels, units), padded_to(kernels, run.outputs)
    run.state, run.cell_state = run.padded_outputs * size, run.padded * size
    run.kept, run.wide = run.cell.slots * run.cell_state, run.cell.gates * run.cell_state
    run.first = run.cell.gates - run.cell.second
    run.first_wide = run.first * run.cell_state
    if run.norm:
        run.norm_wide = run.wide if run.cell.norm == FASTRNN_NORMS_APART else run.cell_state
    run.whole_rows = (run.norm or run.projected or run.masks_h or run.zones_h or run.zones_c or run.cell.second > 0)
    return run


cdef bint is_usual(const fastrnn_options *o) noexcept nogil:
    """Whether a step needs to look at nothing but the cell."""
    return (o.activation.kind == FASTRNN_TANH and o.recurrent.kind == FASTRNN_SIGMOID and o.output.kind == FASTRNN_TANH
            and not o.clip and not o.cell_clip and not o.coupled)


cdef read_options(Run *run, options):
    cdef fastrnn_options *o = &run.options
    if options.output_activation is not None:
        o.output = activation_of(options.output_activation)
    o.clip, o.cell_clip, o.coupled = options.clip or 0, options.cell_clip or 0, options.coupled
    if o.clip > 0:  # where an argument was clipped shows in the argument alone
        o.activation.keeps_argument = o.recurrent.keeps_argument = True
    run.norm, run.epsilon = options.norm is not None, options.epsilon
    run.projected = options.w_proj is not None
    if run.projected:
        run.outputs = options.w_proj.shape[1]
    run.masks_x, run.masks_h = options.dropout_mask is not None, options.recurrent_dropout_mask is not None
    run.zones_h, run.zones_c = options.zoneout is not None, options.zoneout_cell is not None


cdef size_t kept_size(const Run *run, Py_ssize_t rows, Py_ssize_t states, char *data, Kept *kept) noexcept nogil:
    """Bytes for `rows` rows (`states` of h and c), and where each part begins if `data` is the place for all."""
    cdef size_t total = 0
    cdef bint apart = run.norm and run.cell.norm == FASTRNN_NORMS_APART
    kept.x = data + reserve(&total, rows * run.inputs * run.size)
    kept.h = data + reserve(&total, states * run.state)
    kept.c = data + reserve(&total, states * run.cell_state if run.cell.cell_state else 0)
    kept.gates = data + reserve(&total, rows * run.kept)
    kept.input = data + reserve(&total, rows * run.state if run.masks_h else 0)
    kept.output = data + reserve(&total, rows * run.cell_state if run.projected else 0)
    kept.x_hat = data + reserve(&total, rows * run.norm_wide if apart else 0)
    kept.h_hat = data + reserve(&total, rows * run.norm_wide)
    kept.c_hat = data + reserve(&total, rows * run.cell_state if run.norm and run.cell.cell_state else 0)
    kept.x_scale = data + reserve(&total, rows * run.size if apart else 0)
    kept.h_scale = data + reserve(&total, rows * run.size if run.norm else 0)
    kept.c_scale = data + reserve(&total, rows * run.size if run.norm else 0)
    return total


cdef Kept kept_at(const Run *run, const Kept *kept, Py_ssize_t row) noexcept nogil:
    """Where a row lies; parts that are not in use mean nothing."""
    cdef Kept at = kept[0]
    if not run.whole_rows:
        at.x, at.gates = kept.x + row * run.inputs * run.size, kept.gates + row * run.kept
        at.h, at.c, at.input = kept.h + row * run.state, kept.c + row * run.cell_state, kept.h + row * run.state
        return at
    at.x, at.gates = kept.x + row * run.inputs * run.size, kept.gates + row * run.kept
    at.h, at.c = kept.h + row * run.state, kept.c + row * run.cell_state
    at.input = kept.input + row * run.state if run.masks_h else at.h
    at.output = kept.output + row * run.cell_state
    at.x_hat, at.h_hat = kept.x_hat + row * run.norm_wide, kept.h_hat + row * run.norm_wide
    at.c_hat = kept.c_hat + row * run.cell_state
    at.x_scale, at.h_scale = kept.x_scale + row * run.size, kept.h_scale + row * run.size
    at.c_scale = kept.c_scale + row * run.size
    return at


cdef void gather(const Run *run, void *padded, Py_ssize_t stride, const void *user, Py_ssize_t width,
                 const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil:
    """Rows origin[r] + shift of a user's (..., width) array into a padded matrix."""
    cdef fastrnn_rows p
    p.rows, p.columns, p.padded, p.stride = rows, width, padded, stride
    p.user, p.width, p.origin, p.shift = <void *>user, width, origin, shift
    run.kernels.gather(&p)


cdef void scatter(const Run *run, const void *padded, Py_ssize_t stride, void *user, Py_ssize_t width,
                  Py_ssize_t columns, const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil:
    """The first `columns` values of each row of a padded matrix into rows of a user's (..., width) array."""
    cdef fastrnn_rows p
    p.rows, p.columns, p.padded, p.stride = rows, columns, <void *>padded, stride
    p.user, p.width, p.origin, p.shift = user, width, origin, shift
    run.kernels.scatter(&p)


cdef class Checkpoints:
    pass


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
    gates : ndarray, (B, T, G*H) or (T, G*H)
        The gates after their activations, side by side in the order of the weights, 0 past the end of a row.

    The weights are not copied: do not change them between a forward pass and its backward pass.
    """

    def __init__(self):
        raise TypeError("a cache is made by a forward function, not by hand")

    @property
    def cell_name(self):
        if self.run.cell == NULL:
            raise TypeError("cache: expected one that a forward function made")
        return self.run.cell.name.decode()

    @property
    def batch(self):
        return self.schedule.plan.batch

    @property
    def time(self):
        return self.schedule.plan.time

    @property
    def units(self):
        return self.run.units

    @property
    def gate_count(self):
        return self.run.cell.gates

    @property
    def outputs(self):
        return self.run.outputs

    @property
    def inputs(self):
        return self.run.inputs

    @property
    def c(self):
        if self.all_c is None and self.cell_name and self.run.cell.cell_state:
            if self.memory is None:
                raise ValueError("cache: expected one kept for a backward pass to hold every c_t, got an inference's")
            if self.schedule.plan.reset != NULL:
                raise ValueError("cache: expected one of a call without last_only to hold every c_t")
            self.all_c = self.collect_c()
        return self.all_c

    @property
    def gates(self):
        if self.cell_name and self.memory is None:
            raise ValueError("cache: expected one that keeps everything to hold the gates, got one of an inference or "
                             "with checkpoints")
        return self.collect_gates()

    cdef collect_gates(self):
        """The gates after their activations (B, T, G*H), 0 past the end of a row."""
        cdef Plan *plan = &self.schedule.plan
        cdef Run *run = &self.run
        cdef int count = run.cell.gates, slots = run.cell.slots
        cdef Py_ssize_t t, r, gate, block, width = run.kernels.width * run.size
        cdef Py_ssize_t row = count * run.units * run.size
        cdef cnp.ndarray out = np.zeros((plan.batch, plan.time, count * run.units), self.dtype)
        cdef cnp.ndarray line = np.empty(count * run.padded, self.dtype)
        cdef char *blocks = data_of(line)
        cdef char *kept
        cdef fastrnn_pack part
        cdef fastrnn_activation *phi
        part.rows, part.units, part.gates, part.row_size, part.packed = 1, run.units, count, count * run.units, blocks
        for t in range(plan.steps):
            for r in range(plan.counts[t]):
                kept = self.kept.gates + (plan.offsets[t] + r) * run.kept
                for block in range(run.padded // run.kernels.width):
                    for gate in range(count):
                        memcpy(blocks + (block * count + gate) * width, kept + (block * slots + gate) * width, width)
                        phi = &run.options.activation if gate == run.cell.candidate else &run.options.recurrent
                        if phi.keeps_argument:
                            run.kernels.activate(phi, blocks + (block * count + gate) * width,
                                                 blocks + (block * count + gate) * width, run.kernels.width)
                part.w = data_of(out) + (plan.origin[r] + plan.direction * t) * row
                run.kernels.from_blocks(&part)
        if run.options.coupled:
            out[..., run.units:2 * run.units] = 1 - out[..., :run.units]
            for r in range(plan.batch):
                if plan.lengths[r] < plan.time:
                    out[plan.order[r], plan.lengths[r]:] = 0
        return out[0] if self.single_instance else out

    cdef collect_c(self):
        """Every c_t from the states that enter the next step, and from the last (there were no resets)."""
        cdef Plan *plan = &self.schedule.plan
        cdef Run *run = &self.run
        cdef Py_ssize_t t, r, row = run.units * run.size
        cdef cnp.ndarray out = np.zeros((plan.batch, plan.time, run.units), self.dtype)
        cdef char *to = data_of(out)
        for t in range(plan.steps):
            scatter(run, self.kept.c + plan.offsets[t + 1] * run.cell_state, run.padded, to, run.units, run.units,
                    plan.origin, plan.direction * t, plan.counts[t + 1])
            for r in range(plan.counts[t + 1], plan.counts[t]):
                memcpy(to + (plan.origin[r] + plan.direction * t) * row, self.c_last + r * run.cell_state, row)
        return out[0] if self.single_instance else out
