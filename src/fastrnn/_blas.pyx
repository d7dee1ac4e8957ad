# cython: language_level=3
"""Row-major BLAS for the whole-sequence products of the backward pass.

Loaded at the first backward pass, not with the package: importing scipy.linalg takes longer than all the rest.
"""

from cpython.pycapsule cimport PyCapsule_New
from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef void add_transposed_product(
    bint single, Py_ssize_t rows, Py_ssize_t m, Py_ssize_t n,
    void *a, Py_ssize_t a_stride, void *b, Py_ssize_t b_stride, void *c,
) noexcept nogil:
    """c (m, n) += aᵀ (m, rows) · b (rows, n), all row-major; BLAS, being column-major, sees cᵀ += bᵀ·a."""
    cdef int m_ = <int>m, n_ = <int>n, rows_ = <int>rows, lda = <int>a_stride, ldb = <int>b_stride
    cdef char no = b"N", yes = b"T"
    cdef float one_f = 1
    cdef double one_d = 1
    if single:
        sgemm(&no, &yes, &n_, &m_, &rows_, &one_f, <float *>b, &ldb, <float *>a, &lda, &one_f, <float *>c, &n_)
    else:
        dgemm(&no, &yes, &n_, &m_, &rows_, &one_d, <double *>b, &ldb, <double *>a, &lda, &one_d, <double *>c, &n_)


def add_transposed_product_pointer():
    """The function above for _engine, which must not import this module before it needs it."""
    return PyCapsule_New(<void *>add_transposed_product, "fastrnn._blas.add_transposed_product", NULL)
