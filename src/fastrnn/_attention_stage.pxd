from ._kernels cimport fastrnn_kernels
from ._memory cimport Memory
from ._stage cimport Stage


cdef class AttentionStage(Stage):
    cdef const fastrnn_kernels *kernels
    cdef Stage asked        # query·w_query of additive attention; None of dot attention
    cdef Memory memory
    cdef object arrays      # the source's, held while their addresses are in use
    cdef const char *source
    cdef const char *keys
    cdef const char *counted
    cdef const char *v
    cdef Py_ssize_t steps, columns, size_of_keys, beams
    cdef double scale
    cdef char *sums         # (S, A)
    cdef char *weights      # (S,)
    cdef char *zeros
    cdef void look(self, const char *query, Py_ssize_t row, char *context) noexcept nogil
    cdef void score(self, const char *query, Py_ssize_t row) noexcept nogil
