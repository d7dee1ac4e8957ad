cimport numpy as cnp

from ._cache cimport Run
from ._memory cimport Memory


cdef class Packed:
    """A user's weights in panels, with a copy of what they were packed from."""
    cdef Memory memory
    cdef const void *source          # where the user's array lies: the first thing that has to agree
    cdef const void *kernels
    cdef Py_ssize_t rows, units, size  # size: bytes of the user's array
    cdef int gates
    cdef char *copy
    cdef char *panels


cdef Packed packed_weights(const Run *run, cnp.ndarray w)
