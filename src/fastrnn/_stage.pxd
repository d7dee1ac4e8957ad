from ._cache cimport Run
from ._kernels cimport fastrnn_kernels
from ._memory cimport Memory


cdef enum:
    CHUNK_WORK = 200_000_000  # multiplications between looks at interrupts
    STEP_WORK = 2_000         # what a step takes at least, counted in multiplications


cdef enum Kind:  # of values
    FLOAT32, FLOAT64, CLASSES


cdef class Stage:
    """A layer bound for stepping: rows in, rows out, all memory its own; its weights are those of the last `bind`."""
    cdef readonly Py_ssize_t batch, inputs, outputs
    cdef readonly Kind kind_in, kind_out
    cdef Py_ssize_t size        # bytes of a value of what comes out
    cdef Py_ssize_t work        # multiplications of a step
    cdef char *out              # (B, out_stride): the last step's output
    cdef Py_ssize_t out_stride
    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil
    cdef void take_rows(self, const Py_ssize_t *origin) noexcept nogil


cdef class Chain(Stage):
    """Stages one after the other."""
    cdef readonly list stages
    cdef Memory places
    cdef void **links    # the same, for code without the GIL
    cdef Py_ssize_t count


cdef class Cast(Stage):
    """Values of another type."""
    cdef Memory memory


cdef void take_output(Stage stage, char *outputs, Py_ssize_t t, Py_ssize_t steps) noexcept nogil
cdef Py_ssize_t size_of(Kind kind) noexcept nogil
cdef void cast_rows(Kind kind_from, const char *rows, Py_ssize_t stride, Kind kind_to, char *to, Py_ssize_t to_stride,
                    Py_ssize_t columns, Py_ssize_t count) noexcept nogil
cdef const fastrnn_kernels *kernels_of(Kind kind)
cdef Kind kind_of(dtype) except *
cdef object dtype_of(Kind kind)
cdef void copy_rows(const char *rows, Py_ssize_t stride, char *to, Py_ssize_t to_stride, Py_ssize_t columns,
                    Py_ssize_t count, Py_ssize_t size) noexcept nogil
cdef void zero_rows(char *rows, Py_ssize_t row, Py_ssize_t count, chosen) noexcept
