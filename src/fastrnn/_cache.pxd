from ._kernels cimport fastrnn_cell, fastrnn_kernels
from ._memory cimport Memory
from ._schedule cimport Plan, Schedule


cdef struct Run:  # what every function of a call needs to know
    const fastrnn_kernels *kernels
    const fastrnn_cell *cell
    Py_ssize_t index, inputs, units, padded  # cell in the registry, I, H, Hp
    Py_ssize_t size                          # bytes of a value
    Py_ssize_t state, kept, wide             # bytes of a row of Hp values, of S·Hp, of G·Hp
    int activation, recurrent


cdef Run run_of(const fastrnn_kernels *kernels, Py_ssize_t cell, Py_ssize_t inputs, Py_ssize_t units, Py_ssize_t size,
                int activation, int recurrent) noexcept nogil
cdef Py_ssize_t padded_to(const fastrnn_kernels *kernels, Py_ssize_t values) noexcept nogil
cdef void gather(const Run *run, void *padded, Py_ssize_t stride, const void *user, Py_ssize_t width,
                 const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil
cdef void scatter(const Run *run, const void *padded, Py_ssize_t stride, void *user, Py_ssize_t width,
                  Py_ssize_t columns, const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil


cdef class Cache:
    cdef readonly object h_n, c_n, dtype
    cdef readonly bint single_instance, has_bias
    cdef public bint is_step
    cdef readonly int num_threads  # of the forward pass, for the backward pass
    cdef object w_x, w_h, all_c
    cdef Schedule schedule
    cdef Run run
    cdef Memory memory  # None: the forward pass was told that no backward pass would come
    cdef char *x_rows   # (rows, I)
    cdef char *h_rows   # (rows, Hp): the state that enters each step, after resets
    cdef char *c_rows   # (rows, Hp): the cell state that enters each step
    cdef char *gates    # (rows, S·Hp)
    cdef char *c_last   # (B, Hp): the cell state after each row's end

    cdef collect_c(self)
