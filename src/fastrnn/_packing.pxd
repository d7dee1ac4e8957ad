cimport numpy as cnp

from ._kernels cimport fastrnn_kernels, fastrnn_pack
from ._memory cimport Memory


cdef class Packed:
    """A part of a user's weights in panels, with a copy of the array that it was packed from."""
    cdef Memory memory
    cdef const fastrnn_kernels *kernels
    cdef const void *source  # where the user's array lies: the first thing that has to agree
    cdef Py_ssize_t size     # its bytes
    cdef fastrnn_pack part   # its `w` points into the copy
    cdef Py_ssize_t offset   # bytes before the part
    cdef char *copy
    cdef char *panels


cdef Packed packed_weights(const fastrnn_kernels *kernels, cnp.ndarray w, const fastrnn_pack *part, Py_ssize_t item)
