from ._cache cimport Kept, Mixing, Run
from ._memory cimport Memory
from ._stage cimport Stage
from ._step cimport Scratch, Step, Weights
from ._weights cimport Bound


cdef class RecurrentStage(Stage):
    """A cell of the registry."""
    cdef Run run
    cdef Memory memory
    cdef Weights weights
    cdef Mixing mixing
    cdef Scratch scratch
    cdef Bound bound, masks
    cdef Step place
    cdef char *h
    cdef char *c
    cdef object options, initial, stored
    cdef size_t place_memory(self, Kept *kept, char *data) noexcept
    cdef put(self, arrays, rows)
