# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Layer normalization of arrays, by the kernels that the cells use.

    hat = (x - mean(x)) / sqrt(variance(x) + epsilon)        out = hat∘gain + add

A row's result depends on nothing but the row.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport padded_to
from ._kernels cimport fastrnn_norm, kernels_for
from ._memory cimport Memory, reserve, take
from ._schedule cimport data_of

import numpy as np

cnp.import_array()

cdef enum:
    CHUNK = 16 << 10  # bytes of rows that are worked on at once: they stay in the nearest cache


cdef void normalise_rows(const Norm *p, const char *x, Py_ssize_t rows, char *hat, char *scales,
                         char *out) noexcept nogil:
    """hat and out (rows, padded) from x (rows, padded), which may be hat; what x holds behind its units is ignored."""
    cdef fastrnn_norm norm
    norm.rows, norm.units, norm.gates, norm.slots, norm.accumulate = rows, p.units, 1, 1, 0
    norm.epsilon, norm.v, norm.hat, norm.scale = p.epsilon, x, hat, scales
    norm.gain, norm.add, norm.out = p.gain, p.add, out
    p.kernels.norm(&norm)


cdef void set_gains(const Norm *p, gain, add):
    """Gain and what is added, ones and zeros for None; zeros behind the units."""
    cdef cnp.ndarray row = np.ones(p.units, np.float32 if p.size == 4 else np.float64) if gain is None else gain
    memset(p.gain, 0, p.padded * p.size)
    memset(p.add, 0, p.padded * p.size)
    memcpy(p.gain, data_of(row), p.units * p.size)
    if add is not None:
        memcpy(p.add, data_of(add), p.units * p.size)


cdef void copy_columns(const char *rows, Py_ssize_t width, char *to, Py_ssize_t to_width, Py_ssize_t columns,
                       Py_ssize_t count) noexcept nogil:
    """Columns of rows; all sizes in bytes."""
    cdef Py_ssize_t r
    for r in range(count):
        memcpy(to + r * to_width, rows + r * width, columns)


def forward(cnp.ndarray x, gain, add, double epsilon):
    """out, hat (N, F) and 1 / sqrt(variance + epsilon) (N, 1) of x (N, F); gain and add (F,) or None."""
    cdef Norm p
    cdef Py_ssize_t rows = x.shape[0], start = 0, count, chunk, wide, own
    cdef size_t total = 0
    cdef Memory memory
    p.kernels, p.size, p.units, p.epsilon = kernels_for(x), x.itemsize, x.shape[1], epsilon
    p.padded = padded_to(p.kernels, p.units)
    wide, own = p.padded * p.size, p.units * p.size
    chunk = max(CHUNK // wide, 1)
    cdef size_t at_gain = reserve(&total, wide), at_add = reserve(&total, wide)
    cdef size_t at_hat = reserve(&total, chunk * wide), at_out = reserve(&total, chunk * wide)
    memory = take(total)
    p.gain, p.add = memory.data + at_gain, memory.data + at_add
    set_gains(&p, gain, add)
    out, hat, scales = np.empty_like(x), np.empty_like(x), np.empty((rows, 1), x.dtype)
    cdef char *source = data_of(x)
    cdef char *out_user = data_of(out)
    cdef char *hat_user = data_of(hat)
    cdef char *scale_user = data_of(scales)
    cdef char *hat_padded = memory.data + at_hat
    cdef char *out_padded = memory.data + at_out
    with nogil:
        while start < rows:
            count = min(chunk, rows - start)
            if p.padded == p.units:
                normalise_rows(&p, source + start * own, count, hat_user + start * own, scale_user + start * p.size,
                               out_user + start * own)
            else:
                copy_columns(source + start * own, own, hat_padded, wide, own, count)
                normalise_rows(&p, hat_padded, count, hat_padded, scale_user + start * p.size, out_padded)
                copy_columns(hat_padded, wide, hat_user + start * own, own, own, count)
                copy_columns(out_padded, wide, out_user + start * own, own, own, count)
            start += count
    return out, hat, scales
