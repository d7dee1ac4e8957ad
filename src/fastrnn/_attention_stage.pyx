# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Attention as a stage: each row looks at all steps of its source."""

cimport numpy as cnp
from libc.math cimport INFINITY, exp
from libc.string cimport memcpy, memset

from ._convolution cimport multiply_column
from ._kernels cimport FASTRNN_TANH, fastrnn_activation
from ._memory cimport reserve, take
from ._schedule cimport data_of
from ._stage cimport FLOAT32, copy_rows, kernels_of, kind_of

import numpy as np

cnp.import_array()


cdef class AttentionStage(Stage):
    """[context, query] of a query (B, H).

    Parameters
    ----------
    source : ndarray (N, S, M)
        What is looked at; row r of the batch looks at row r // beams.
    keys : ndarray (N, S, A)
        What the scores are made from; of dot attention A = H.
    counted : ndarray of bool (N, S) or None
        False at steps that do not count.
    beams : int
        Rows of the batch for each source, B = N·beams.
    query_size : int
        H.
    scale : float
        What the scores of dot attention are divided by.
    asked : DenseStage, optional
        query·w_query, which makes it additive attention.
    v : ndarray (A,), optional
        Of additive attention.
    """

    def __cinit__(self, cnp.ndarray source, cnp.ndarray keys, counted, Py_ssize_t beams, Py_ssize_t query_size,
                  double scale=1.0, Stage asked=None, v=None):
        cdef size_t total = 0
        self.kind_in = self.kind_out = kind_of(source.dtype)
        self.kernels, self.size = kernels_of(self.kind_in), source.itemsize
        self.beams, self.batch, self.asked, self.scale = beams, beams * source.shape[0], asked, scale
        self.steps, self.columns, self.size_of_keys = source.shape[1], source.shape[2], keys.shape[2]
        self.inputs, self.outputs = query_size, self.columns + query_size
        self.out_stride = self.outputs
        self.work = self.batch * self.steps * (self.columns + (8 if asked is not None else 1) * self.size_of_keys)
        if asked is not None:
            self.work += asked.work
        self.arrays = [np.ascontiguousarray(array) for array in (source, keys)]
        self.arrays.append(None if counted is None else np.ascontiguousarray(counted, np.uint8))
        self.arrays.append(None if v is None else v.copy())
        self.source, self.keys = data_of(self.arrays[0]), data_of(self.arrays[1])
        self.counted, self.v = data_of(self.arrays[2]), data_of(self.arrays[3])
        cdef size_t at_out = reserve(&total, self.batch * self.outputs * self.size)
        cdef size_t at_sums = reserve(&total, self.steps * self.size_of_keys * self.size)
        cdef size_t at_weights = reserve(&total, self.steps * self.size)
        cdef size_t at_zeros = reserve(&total, max(self.columns, self.steps) * self.size)
        self.memory = take(total)
        self.out, self.sums = self.memory.data + at_out, self.memory.data + at_sums
        self.weights, self.zeros = self.memory.data + at_weights, self.memory.data + at_zeros
        memset(self.zeros, 0, max(self.columns, self.steps) * self.size)

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t r
        cdef const char *query = x
        cdef Py_ssize_t query_stride = x_stride
        if self.asked is not None:
            self.asked.advance(x, x_stride)
            query, query_stride = self.asked.out, self.asked.out_stride
        for r in range(self.batch):
            self.look(query + r * query_stride * self.size, r // self.beams, self.out + r * self.outputs * self.size)
        copy_rows(x, x_stride, self.out + self.columns * self.size, self.outputs, self.inputs, self.batch, self.size)

    cdef void look(self, const char *query, Py_ssize_t row, char *context) noexcept nogil:
        """context (M,) = weights (S,) · source (S, M)"""
        cdef const char *counted = NULL if self.counted == NULL else self.counted + row * self.steps
        self.score(query, row)
        if self.kind_in == FLOAT32:
            soften(<float *>self.weights, counted, self.steps, self.scale)
        else:
            soften(<double *>self.weights, counted, self.steps, self.scale)
        self.kernels.product_row(self.weights, self.source + row * self.steps * self.columns * self.size, self.zeros,
                                 context, self.steps, self.columns)

    cdef void score(self, const char *query, Py_ssize_t row) noexcept nogil:
        """Scores (S,), in the place of the weights: query·keys, or v·tanh(asked + keys)"""
        cdef fastrnn_activation tanh
        cdef Py_ssize_t s, n = self.size_of_keys
        cdef const char *keys = self.keys + row * self.steps * n * self.size
        if self.v == NULL:
            multiply_column(self.kernels, keys, n, n, query, self.zeros, self.weights, self.steps)
            return
        tanh.kind = FASTRNN_TANH
        memcpy(self.sums, keys, self.steps * n * self.size)
        for s in range(self.steps):
            self.kernels.add(query, self.sums + s * n * self.size, n)
        self.kernels.activate(&tanh, self.sums, self.sums, self.steps * n)
        multiply_column(self.kernels, self.sums, n, n, self.v, self.zeros, self.weights, self.steps)


ctypedef fused real:
    float
    double


cdef void soften(real *scores, const char *counted, Py_ssize_t count, double scale) noexcept nogil:
    """In place: softmax(scores / scale) over the steps that count, 0 at the others; without any all are 0."""
    cdef Py_ssize_t s
    cdef double highest = -INFINITY, total = 0
    for s in range(count):
        if counted == NULL or counted[s]:
            highest = max(highest, <double>scores[s])
    for s in range(count):
        if counted == NULL or counted[s]:
            scores[s] = <real>exp((scores[s] - highest) / scale)
            total += scores[s]
        else:
            scores[s] = 0
    if total != 0:
        for s in range(count):
            scores[s] = <real>(scores[s] / total)
