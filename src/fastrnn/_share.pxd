from ._cache cimport Run
from ._schedule cimport Plan


cdef struct Share:  # of one member
    Py_ssize_t first, last   # rows of the batch
    Py_ssize_t unit, end     # units, from `unit` to before `end`, padding included
    Py_ssize_t columns       # of them, without the padding
    bint all_units


cdef int members_for(const Run *run, const Plan *plan, int most) noexcept nogil
cdef Share share_of(const Run *run, const Plan *plan, int member, int members) noexcept nogil
cdef void zero_reset_rows(const Run *run, const Plan *plan, const Share *share, Py_ssize_t t, char *states,
                          Py_ssize_t row) noexcept nogil
cdef bint interrupted(double *next_look) noexcept nogil
cdef int raise_signal() except -1
