cimport numpy as cnp

from ._cache cimport Mixing, Run
from ._memory cimport Memory
from ._schedule cimport Plan
from ._step cimport Weights


cdef class Bound:
    """Holds the memory that a call's `Weights` or `Mixing` point to."""
    cdef Memory memory
    cdef object held


cdef int format_of(name, matrices) except -1
cdef Bound bind_weights(const Run *run, cnp.ndarray w_x, w_h, b, options, bint few, bint inference, Weights *weights)
cdef Bound bind_parameters(const Run *run, options, Weights *weights)
cdef Bound bind_transposed(const Run *run, cnp.ndarray w_x, w_h, options, Weights *weights)
cdef Bound mixing_of(const Run *run, const Plan *plan, options, Mixing *mixing)
cdef Bound numbers_of(const Run *run, options, Mixing *mixing)
