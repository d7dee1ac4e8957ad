from ._convolution cimport Convolution
from ._kernels cimport fastrnn_activation, fastrnn_kernels
from ._memory cimport Memory
from ._normalization cimport Norm
from ._packing cimport Packed
from ._stage cimport Kind, Stage


cdef class DenseStage(Stage):
    cdef const fastrnn_kernels *kernels
    cdef fastrnn_activation activation
    cdef Memory memory
    cdef Packed packed
    cdef char *start     # (padded,)
    cdef char *column    # (I,): w, where there is one unit; otherwise NULL
    cdef void multiply(self, const char *x, Py_ssize_t x_stride) noexcept nogil


cdef class ConvolutionStage(Stage):
    cdef Convolution convolution
    cdef Memory memory
    cdef Packed packed   # of one group; the panels of several stand in `memory`
    cdef char *ring      # (B, 2·span, C)
    cdef char *panels
    cdef char *start
    cdef char *buffer
    cdef Py_ssize_t span, newest  # steps that a window spans; where the last input lies


cdef class ActivationStage(Stage):
    cdef const fastrnn_kernels *kernels
    cdef fastrnn_activation activation
    cdef Memory memory


cdef class NormStage(Stage):
    cdef Norm norm
    cdef Memory memory
    cdef char *x         # (B, padded)
    cdef char *scales    # (B,)


cdef class ScaleStage(Stage):
    cdef const fastrnn_kernels *kernels
    cdef Memory memory
    cdef list arrays     # (F,) each; None for what there is not
    cdef char *shift
    cdef char *rate
    cdef char *gamma
    cdef char *beta


cdef class EmbeddingStage(Stage):
    cdef Memory memory
    cdef object table
    cdef const char *rows  # (V, D)


cdef class MergeStage(Stage):
    cdef const fastrnn_kernels *kernels
    cdef list branches
    cdef Memory memory
    cdef void **links
    cdef Py_ssize_t count
    cdef int mode
    cdef char *other     # (B, outputs)
    cdef void take_over(self, Stage branch, char *to) noexcept nogil


cdef void divide(Kind kind, char *values, Py_ssize_t n, Py_ssize_t by) noexcept nogil


cdef struct Block:
    void *gates
    void *skip
    void *residual       # NULL: the last block has none


cdef class WaveNetStage(Stage):
    cdef const fastrnn_kernels *kernels
    cdef Stage first
    cdef Stage hidden    # of the head, or None
    cdef Stage last
    cdef list blocks
    cdef Memory memory
    cdef Block *links
    cdef Py_ssize_t count, filters, skip_channels
    cdef char *h         # (B, filters)
    cdef char *tanh
    cdef char *sigmoid
    cdef char *skips     # (B, skip_channels)
    cdef void block(self, const Block *link) noexcept nogil
    cdef void gate(self, Stage gates) noexcept nogil
    cdef void add_product(self, Stage stage, char *to, Py_ssize_t columns) noexcept nogil


cdef class PythonStage(Stage):
    cdef object step, error
    cdef Memory memory
    cdef void call(self, const char *x, Py_ssize_t x_stride) noexcept
    cdef void take_in_python(self, const Py_ssize_t *origin) noexcept
