# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What a forward pass leaves for its backward pass."""

cimport numpy as cnp
from libc.string cimport memcpy

from ._kernels cimport cell_at, fastrnn_rows
from ._schedule cimport data_of

import numpy as np

cnp.import_array()


cdef Py_ssize_t padded_to(const fastrnn_kernels *kernels, Py_ssize_t values) noexcept nogil:
    """The number of values filled up to whole vectors."""
    return (values + kernels.width - 1) // kernels.width * kernels.width


cdef Run run_of(const fastrnn_kernels *kernels, Py_ssize_t cell, Py_ssize_t inputs, Py_ssize_t units, Py_ssize_t size,
                int activation, int recurrent) noexcept nogil:
    cdef Run run
    run.kernels, run.cell, run.index = kernels, cell_at(cell), cell
    run.inputs, run.units, run.padded, run.size = inputs, units, padded_to(kernels, units), size
    run.state = run.padded * size
    run.kept, run.wide = run.cell.slots * run.state, run.cell.gates * run.state
    run.activation, run.recurrent = activation, recurrent
    return run


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
    def c(self):
        if self.all_c is None and self.cell_name and self.run.cell.cell_state:
            if self.memory is None:
                raise ValueError("cache: expected one kept for a backward pass to hold every c_t, got an inference's")
            self.all_c = self.collect_c()
        return self.all_c

    cdef collect_c(self):
        """Every c_t from the states that enter the next step, and from the last (there were no resets)."""
        cdef Plan *plan = &self.schedule.plan
        cdef Run *run = &self.run
        cdef Py_ssize_t t, r, row = run.units * run.size
        cdef cnp.ndarray out = np.zeros((plan.batch, plan.time, run.units), self.dtype)
        cdef char *to = data_of(out)
        for t in range(plan.steps):
            scatter(run, self.c_rows + plan.offsets[t + 1] * run.state, run.padded, to, run.units, run.units,
                    plan.origin, plan.direction * t, plan.counts[t + 1])
            for r in range(plan.counts[t + 1], plan.counts[t]):
                memcpy(to + (plan.origin[r] + plan.direction * t) * row, self.c_last + r * run.state, row)
        return out[0] if self.single_instance else out
