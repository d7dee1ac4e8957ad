# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The order of rows in the time loops.

Rows are ordered by step: first all rows of the first step, then those of the second, and so on.  Rows of the batch are
sorted by length, longest first, so that the rows still running at step t are the first `counts[t]`, and padding costs
nothing.  `reverse`, `lengths` and the batch-first layout are dealt with where rows come in and go out, nowhere else.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._memory cimport take

import numpy as np

cnp.import_array()


cdef char *data_of(array):
    """The first byte of an array; NULL for None."""
    return NULL if array is None else <char *>cnp.PyArray_DATA(array)


cdef class Schedule:
    def __cinit__(self, Py_ssize_t batch, Py_ssize_t time, const Py_ssize_t[::1] lengths, reset_mask, bint reverse):
        cdef Py_ssize_t r, t, length, still
        self.batch, self.time, self.direction = batch, time, -1 if reverse else 1
        self.ragged = lengths is not None
        self.reset_mask = reset_mask
        self.reset = <const unsigned char *>data_of(reset_mask)
        self.memory = take((2 * (time + 1) + 2 * batch) * sizeof(Py_ssize_t))
        self.counts = <Py_ssize_t *>self.memory.data
        self.offsets = self.counts + time + 1
        self.order = self.offsets + time + 1
        self.origin = self.order + batch
        self.steps = time if batch else 0
        if self.ragged and batch:
            by_length = np.argsort(-np.asarray(lengths), kind="stable")
            memcpy(self.order, data_of(by_length), batch * sizeof(Py_ssize_t))
            self.steps = lengths[self.order[0]]
        else:
            for r in range(batch):
                self.order[r] = r
        still = batch
        self.rows = 0
        for t in range(self.steps):
            if self.ragged:
                while lengths[self.order[still - 1]] <= t:
                    still -= 1
            self.counts[t], self.offsets[t] = still, self.rows
            self.rows += still
        self.counts[self.steps], self.offsets[self.steps] = 0, self.rows
        for r in range(batch):
            length = lengths[self.order[r]] if self.ragged else time
            self.origin[r] = self.order[r] * time + (length - 1 if reverse and length else 0)

    cdef Py_ssize_t chunk_end(self, Py_ssize_t start, Py_ssize_t rows) noexcept nogil:
        """The step at which a chunk of about `rows` rows from step `start` ends: at least one step."""
        cdef Py_ssize_t end = start + 1
        while end < self.steps and self.offsets[end + 1] - self.offsets[start] <= rows:
            end += 1
        return end

    cdef Py_ssize_t chunk_start(self, Py_ssize_t end, Py_ssize_t rows) noexcept nogil:
        """The same from the end."""
        cdef Py_ssize_t start = end - 1
        while start > 0 and self.offsets[end] - self.offsets[start - 1] <= rows:
            start -= 1
        return start

    cdef void zero_reset_rows(self, Py_ssize_t t, Py_ssize_t rows, char *states, size_t stride) noexcept nogil:
        """Set to zero the rows of `states` whose state is thrown away before step t."""
        cdef Py_ssize_t r
        for r in range(rows):
            if self.reset[self.origin[r] + self.direction * t]:
                memset(states + r * stride, 0, stride)
