# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Updates of parameters in one pass over them.

All arrays are C-contiguous, of one float type and one size; what is written to shares no memory with anything else.
"""

cimport numpy as cnp

from ._kernels cimport fastrnn_adam, fastrnn_kernels, kernels_for
from ._schedule cimport data_of

cnp.import_array()

cdef enum:
    RELEASE_GIL_FROM = 1 << 14  # values: smaller updates are over before another thread could start


def adam(cnp.ndarray param, cnp.ndarray gradient, cnp.ndarray m, cnp.ndarray v, double rate, double beta_1,
         double beta_2, double epsilon):
    """m = beta_1·m + (1 - beta_1)·g,  v = beta_2·v + (1 - beta_2)·g²,  param -= rate·m / (sqrt(v) + epsilon)"""
    cdef const fastrnn_kernels *kernels = kernels_for(param)
    cdef fastrnn_adam update
    update.n, update.rate, update.beta_1, update.beta_2, update.epsilon = param.size, rate, beta_1, beta_2, epsilon
    update.gradient, update.values, update.m, update.v = data_of(gradient), data_of(param), data_of(m), data_of(v)
    if update.n < RELEASE_GIL_FROM:
        kernels.adam(&update)
        return
    with nogil:
        kernels.adam(&update)


def average(cnp.ndarray mean, cnp.ndarray values, cnp.ndarray share):
    """mean = share·values + (1 - share)·mean; share () is of their type."""
    cdef const fastrnn_kernels *kernels = kernels_for(mean)
    cdef Py_ssize_t n = mean.size
    cdef char *a = data_of(values)
    cdef char *m = data_of(share)
    cdef char *y = data_of(mean)
    if n < RELEASE_GIL_FROM:
        kernels.blend(a, m, 0, y, n)
        return
    with nogil:
        kernels.blend(a, m, 0, y, n)
