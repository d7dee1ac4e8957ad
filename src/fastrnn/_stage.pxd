from ._cache cimport Kept, Mixing, Run
from ._memory cimport Memory
from ._step cimport Scratch, Step, Weights
from ._weights cimport Bound


cdef class Stage:
    """A layer bound for stepping: rows in, rows out, all memory its own."""
    cdef readonly Py_ssize_t batch, inputs, outputs
    cdef Py_ssize_t size        # bytes of a value
    cdef int kind               # NumPy's number of the type
    cdef Py_ssize_t work        # multiplications of a step
    cdef char *out              # (B, out_stride): the last step's output
    cdef Py_ssize_t out_stride
    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil
    cdef plain(self, name, array, Py_ssize_t columns)


cdef class RecurrentStage(Stage):
    cdef Run run
    cdef Memory memory
    cdef Weights weights
    cdef Mixing mixing
    cdef Scratch scratch
    cdef Bound bound, masks
    cdef Step place
    cdef char *x
    cdef char *h
    cdef char *c
    cdef object options
    cdef size_t place_memory(self, Kept *kept, char *data) noexcept
