# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The order of rows in the time loops.

Rows are ordered by step: first all rows of the first step, then those of the second, and so on.  Rows of the batch are
sorted by length, longest first, so that the rows still running at step t are the first `counts[t]`, and padding costs
nothing.  `reverse`, `lengths` and the batch-first layout are dealt with where rows come in and go out, nowhere else.
"""

cimport numpy as cnp
from libc.string cimport memcpy

from ._memory cimport take

import numpy as np

cnp.import_array()


cdef char *data_of(array):
    """The first byte of an array; NULL for None."""
    return NULL if array is None else <char *>cnp.PyArray_DATA(array)


cdef class Schedule:
    def __cinit__(self, Py_ssize_t batch, Py_ssize_t time, const Py_ssize_t[::1] lengths, reset_mask, bint reverse):
        cdef Plan *p = &self.plan
        cdef Py_ssize_t r, t, still, most_steps = time if batch else 0
        self.ragged = lengths is not None
        self.reset_mask = reset_mask
        self.memory = take((2 * (most_steps + 1) + 3 * batch) * sizeof(Py_ssize_t))
        p.batch, p.time, p.direction = batch, time, -1 if reverse else 1
        p.reset = <const unsigned char *>data_of(reset_mask)
        p.counts = <Py_ssize_t *>self.memory.data
        p.offsets = p.counts + most_steps + 1
        p.lengths = p.offsets + most_steps + 1
        p.order = p.lengths + batch
        p.origin = p.order + batch
        if self.ragged and batch:
            by_length = np.argsort(-np.asarray(lengths), kind="stable")
            memcpy(p.order, data_of(by_length), batch * sizeof(Py_ssize_t))
        else:
            for r in range(batch):
                p.order[r] = r
        for r in range(batch):
            p.lengths[r] = lengths[p.order[r]] if self.ragged else time
            p.origin[r] = p.order[r] * time + (p.lengths[r] - 1 if reverse and p.lengths[r] else 0)
        p.steps = p.lengths[0] if batch else 0
        p.rows = 0
        still = batch
        for t in range(p.steps):
            while p.lengths[still - 1] <= t:
                still -= 1
            p.counts[t], p.offsets[t] = still, p.rows
            p.rows += still
        p.counts[p.steps], p.offsets[p.steps] = 0, p.rows


cdef Py_ssize_t chunk_end(const Plan *plan, Py_ssize_t start, Py_ssize_t rows) noexcept nogil:
    """The step at which a chunk of about `rows` rows from step `start` ends: at least one step."""
    cdef Py_ssize_t end = start + 1
    while end < plan.steps and plan.offsets[end + 1] - plan.offsets[start] <= rows:
        end += 1
    return end


cdef Py_ssize_t chunk_start(const Plan *plan, Py_ssize_t end, Py_ssize_t rows) noexcept nogil:
    """The same from the end."""
    cdef Py_ssize_t start = end - 1
    while start > 0 and plan.offsets[end] - plan.offsets[start - 1] <= rows:
        start -= 1
    return start


cdef Py_ssize_t share_start(const Plan *plan, Py_ssize_t member, Py_ssize_t members) noexcept nogil:
    """The first row of the batch that is a member's: all members get about as many steps."""
    cdef Py_ssize_t row = 0, before = 0
    while row < plan.batch and before * members < plan.rows * member:
        before += plan.lengths[row]
        row += 1
    return row if member < members else plan.batch


cdef bint is_reset(const Plan *plan, Py_ssize_t t, Py_ssize_t row) noexcept nogil:
    """Whether the state of a row is thrown away before step t."""
    return plan.reset[plan.origin[row] + plan.direction * t]
