from ._kernels cimport fastrnn_cell, fastrnn_kernels, fastrnn_options
from ._memory cimport Memory
from ._schedule cimport Plan, Schedule


cdef struct Run:  # what every function of a call needs to know
    const fastrnn_kernels *kernels
    const fastrnn_cell *cell
    Py_ssize_t index, inputs, units, outputs  # cell in the registry, I, H, P: values of h, H without a projection
    Py_ssize_t padded, padded_outputs         # Hp, Pp
    Py_ssize_t size                           # bytes of a value
    Py_ssize_t state, cell_state, kept, wide  # bytes of a row of h (Pp), of c (Hp), of S·Hp, of G·Hp
    Py_ssize_t first, first_wide              # gates of the first product, bytes of a row of it
    Py_ssize_t norm_wide                      # bytes of a row that is normalised with the product
    fastrnn_options options
    double epsilon
    bint norm, projected, masks_x, masks_h, zones_h, zones_c, has_unit
    bint whole_rows                           # something spans a row: its units cannot be shared among threads
    int format                                # how the weights of products are stored, steps alone


cdef struct Kept:  # rows that a forward pass leaves for its backward pass, those of the options only where in use
    char *x       # (rows, I)
    char *h       # (rows, Pp): the state that enters each step, after resets
    char *c       # (rows, Hp): the cell state that enters each step
    char *gates   # (rows, S·Hp)
    char *input   # (rows, Pp): h under its mask
    char *output  # (rows, Hp): what is projected to h
    char *x_hat   # (rows, G·Hp): normalised x·w_x
    char *h_hat   # (rows, G·Hp): normalised h·w_h; or the normalised sum of products
    char *c_hat   # (rows, Hp): normalised c
    char *x_scale  # (rows,)
    char *h_scale
    char *c_scale


cdef struct Mixing:  # masks: rows of the batch in the plan's order, or a user's (B, T, ...) array by time
    char *mask_x        # (B, I)
    char *mask_h        # (B, Pp)
    char *zone_h        # (B, T, P), or a single value
    char *zone_c        # (B, T, H), or a single value
    bint zone_h_varies, zone_c_varies


cdef Run run_of(const fastrnn_kernels *kernels, Py_ssize_t cell, Py_ssize_t inputs, Py_ssize_t units, Py_ssize_t size,
                activation, recurrent, options)
cdef size_t kept_size(const Run *run, Py_ssize_t rows, Py_ssize_t states, char *data, Kept *kept) noexcept nogil
cdef Kept kept_at(const Run *run, const Kept *kept, Py_ssize_t row) noexcept nogil
cdef Py_ssize_t padded_to(const fastrnn_kernels *kernels, Py_ssize_t values) noexcept nogil
cdef void gather(const Run *run, void *padded, Py_ssize_t stride, const void *user, Py_ssize_t width,
                 const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil
cdef void scatter(const Run *run, const void *padded, Py_ssize_t stride, void *user, Py_ssize_t width,
                  Py_ssize_t columns, const Py_ssize_t *origin, Py_ssize_t shift, Py_ssize_t rows) noexcept nogil


cdef class Checkpoints:
    """States kept at some steps, where not everything is."""
    cdef Memory memory
    cdef Py_ssize_t count, largest  # rows of the longest stretch between two of them
    cdef Py_ssize_t *starts         # (count + 1,): the steps, the last entry is the end
    cdef char *h
    cdef char *c


cdef class Cache:
    cdef readonly object h_n, c_n, dtype
    cdef readonly bint single_instance, has_bias
    cdef public bint is_step
    cdef readonly int num_threads  # of the forward pass, for the backward pass
    cdef bint complete             # False: the forward pass was told that no backward pass would come
    cdef object w_x, w_h, all_c
    cdef object x, b               # with checkpoints: to run again
    cdef Checkpoints checkpoints   # or None
    cdef readonly object options   # what `_options.checked` made of the keywords, or None
    cdef Schedule schedule
    cdef Run run
    cdef Memory memory, place      # of `kept` and of `c_last`
    cdef Kept kept
    cdef Mixing mixing
    cdef object masks   # holds what `mixing` points to
    cdef char *c_last   # (B, Hp): the cell state after each row's end

    cdef collect_c(self)
    cdef collect_gates(self)
