from ._memory cimport Memory

cdef char *data_of(array)


cdef class Schedule:
    """Which rows run at which step, and where they lie in a user's (B, T, ...) array."""
    cdef Py_ssize_t batch, time, steps, rows  # steps: the longest length; rows: the sum of the lengths
    cdef Py_ssize_t *counts   # (steps + 1,): rows running at step t, 0 after the last
    cdef Py_ssize_t *offsets  # (steps + 1,): rows before step t
    cdef Py_ssize_t *order    # (B,): row of the batch that is r-th by length
    cdef Py_ssize_t *origin   # (B,): its first processed step among the B·T rows of a user's array
    cdef Py_ssize_t direction  # +1, or -1 for reverse
    cdef bint ragged
    cdef object reset_mask
    cdef const unsigned char *reset  # (B·T,) or NULL
    cdef Memory memory

    cdef Py_ssize_t chunk_end(self, Py_ssize_t start, Py_ssize_t rows) noexcept nogil
    cdef Py_ssize_t chunk_start(self, Py_ssize_t end, Py_ssize_t rows) noexcept nogil
    cdef void zero_reset_rows(self, Py_ssize_t t, Py_ssize_t rows, char *states, size_t stride) noexcept nogil
