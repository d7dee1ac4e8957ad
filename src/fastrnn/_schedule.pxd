from ._memory cimport Memory

cdef char *data_of(array)


cdef struct Plan:  # which rows run at which step, and where they lie in a user's (B, T, ...) array
    Py_ssize_t batch, time, steps, rows  # steps: the longest length; rows: the sum of the lengths
    Py_ssize_t direction  # +1, or -1 for reverse
    Py_ssize_t *counts    # (steps + 1,): rows running at step t, 0 after the last
    Py_ssize_t *offsets   # (steps + 1,): rows before step t
    Py_ssize_t *lengths   # (B,): sorted, longest first
    Py_ssize_t *order     # (B,): row of the batch that is r-th by length
    Py_ssize_t *origin    # (B,): its first processed step among the B·T rows of a user's array
    const unsigned char *reset  # (B·T,) or NULL


cdef Py_ssize_t chunk_end(const Plan *plan, Py_ssize_t start, Py_ssize_t rows) noexcept nogil
cdef Py_ssize_t chunk_start(const Plan *plan, Py_ssize_t end, Py_ssize_t rows) noexcept nogil
cdef Py_ssize_t share_start(const Plan *plan, Py_ssize_t member, Py_ssize_t members) noexcept nogil
cdef bint is_reset(const Plan *plan, Py_ssize_t t, Py_ssize_t row) noexcept nogil


cdef class Schedule:
    """A plan with the memory and the mask that it points to."""
    cdef Plan plan
    cdef bint ragged
    cdef object reset_mask
    cdef Memory memory
