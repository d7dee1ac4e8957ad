# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The engine as Python sees it: forward and backward through time, the fast way in, activations on arrays.

Arguments arrive checked (by `_check`): arrays are C-contiguous and of one type, shapes agree.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._kernels cimport *
from ._schedule cimport data_of

import numpy as np

from ._backward import backward  # no-cython-lint
from ._forward import forward  # no-cython-lint
from ._kernels import (  # what Python asks the engine for
    ACTIVATIONS,  # no-cython-lint
    CELLS,  # no-cython-lint
    instruction_set,  # no-cython-lint
    instruction_sets,  # no-cython-lint
    use_instruction_set,  # no-cython-lint
)

cnp.import_array()


# ---- the fast way in -------------------------------------------------------------------------------------------------

cdef bint is_plain(array, int kind, int ndim):
    """Whether this is an ndarray of the wanted type and rank that C code can take as it is."""
    return (type(array) is np.ndarray and cnp.PyArray_TYPE(array) == kind and cnp.PyArray_NDIM(array) == ndim
            and cnp.PyArray_ISCARRAY_RO(array))


def fits(Py_ssize_t cell, int single_rank, x, h0, c0, w_x, w_h, b):
    """Whether all arguments are plain arrays that fit one another, so that `_check` would return them as they are.
    For cells with a recurrent product and without options.

    `single_rank` is the rank that x has for one instance; a batch has one more.  On a no, `_check` finds out why.
    """
    if type(x) is not np.ndarray or type(w_h) is not np.ndarray:
        return False
    cdef int kind = cnp.PyArray_TYPE(x), ndim = cnp.PyArray_NDIM(x)
    cdef const fastrnn_cell *spec = cell_at(cell)
    cdef bint single = ndim == single_rank
    if kind != cnp.NPY_FLOAT32 and kind != cnp.NPY_FLOAT64:
        return False
    if not (single or ndim == single_rank + 1) or not (is_plain(x, kind, ndim) and is_plain(w_h, kind, 2)):
        return False
    cdef cnp.npy_intp *size = cnp.PyArray_DIMS(x)
    cdef cnp.npy_intp units = cnp.PyArray_DIMS(w_h)[0], wide = spec.gates * units
    cdef cnp.npy_intp batch = 1 if single else size[0], inputs = size[ndim - 1]
    cdef cnp.npy_intp time = size[ndim - 2] if single_rank == 2 else 1
    if not (0 < units < 1 << 24 and 0 < inputs < 1 << 24 and 0 < time < 1 << 40):
        return False
    if cnp.PyArray_DIMS(w_h)[1] != wide:
        return False
    if not (is_plain(w_x, kind, 2) and cnp.PyArray_DIMS(w_x)[0] == inputs and cnp.PyArray_DIMS(w_x)[1] == wide):
        return False
    if b is not None:
        if not is_plain(b, kind, spec.bias_rows) or cnp.PyArray_DIMS(b)[spec.bias_rows - 1] != wide:
            return False
        if spec.bias_rows == 2 and cnp.PyArray_DIMS(b)[0] != 2:
            return False
    for state in (h0, c0):
        if state is not None and not (is_plain(state, kind, 1 if single else 2)
                                      and cnp.PyArray_DIMS(state)[0 if single else 1] == units
                                      and (single or cnp.PyArray_DIMS(state)[0] == batch)):
            return False
    return cnp.PyArray_SIZE(x) < <cnp.npy_intp>1 << 40


# ---- activations on arrays -------------------------------------------------------------------------------------------

def activate(activation, cnp.ndarray x, cnp.ndarray out):
    """out = phi(x), both C-contiguous and of one type; they may be the same array."""
    cdef const fastrnn_kernels *kernels = kernels_for(x)
    cdef fastrnn_activation phi = activation_of(activation)
    cdef char *source = data_of(x)
    cdef char *target = data_of(out)
    cdef Py_ssize_t size = x.size
    with nogil:
        kernels.activate(&phi, source, target, size)


def activate_back(activation, cnp.ndarray kept, cnp.ndarray dy, cnp.ndarray dx):
    """dx = dy∘phi', from y = phi(x) or, where the registry says so, from x; all C-contiguous and of one type."""
    cdef const fastrnn_kernels *kernels = kernels_for(dy)
    cdef fastrnn_activation phi = activation_of(activation)
    cdef char *a = data_of(kept)
    cdef char *b = data_of(dy)
    cdef char *target = data_of(dx)
    cdef Py_ssize_t size = dy.size
    with nogil:
        kernels.activate_back(&phi, a, b, target, size)


# ---- rows of arrays --------------------------------------------------------------------------------------------------

def gather_rows(cnp.ndarray a, const Py_ssize_t[::1] places):
    """out (M, n): out[i] is row places[i] of a (N, n), C-contiguous, or zero where that is negative."""
    cdef Py_ssize_t i, row = cnp.PyArray_DIMS(a)[1] * a.itemsize, count = places.shape[0]
    cdef cnp.ndarray out = np.empty((count, a.shape[1]), a.dtype)
    cdef char *source = data_of(a)
    cdef char *target = data_of(out)
    with nogil:
        for i in range(count):
            if places[i] < 0:
                memset(target + i * row, 0, row)
            else:
                memcpy(target + i * row, source + places[i] * row, row)
    return out


def scatter_rows(cnp.ndarray a, const Py_ssize_t[::1] places, Py_ssize_t rows):
    """The transpose: out (rows, n) is the sum, for every i in order, of a[i] into row places[i]; negative ones count
    for nothing."""
    cdef const fastrnn_kernels *kernels = kernels_for(a)
    cdef Py_ssize_t i, n = cnp.PyArray_DIMS(a)[1], count = places.shape[0], size = a.itemsize
    cdef cnp.ndarray out = np.zeros((rows, n), a.dtype)
    cdef char *source = data_of(a)
    cdef char *target = data_of(out)
    with nogil:
        for i in range(count):
            if places[i] >= 0:
                kernels.add(source + i * n * size, target + places[i] * n * size, n)
    return out
