# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Layers bound for stepping: weights packed and all memory taken once, so that a step allocates nothing.

A stage takes rows (B, inputs) and leaves rows (B, outputs); what it remembers from step to step stays inside.  The bits
of a step are those of the same step inside a sequence.  One stage serves one thread at a time.

Here stand the base class, the chain of stages and what stages share; `_recurrent_stage` and `_layer_stages` have the
layers, `_session` the loops around them.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._kernels cimport kernels_for
from ._memory cimport take

import numpy as np

cnp.import_array()

cdef object DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.intp))


cdef Py_ssize_t size_of(Kind kind) noexcept nogil:
    return 4 if kind == FLOAT32 else 8 if kind == FLOAT64 else sizeof(Py_ssize_t)


cdef Kind kind_of(dtype) except *:
    return <Kind><int>DTYPES.index(dtype)


cdef object dtype_of(Kind kind):
    return DTYPES[<int>kind]


cdef const fastrnn_kernels *kernels_of(Kind kind):
    """The kernels of the instruction set in use."""
    return kernels_for(np.empty(0, dtype_of(kind)))


cdef class Stage:
    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        """One step: x (B, inputs) with `x_stride` values from row to row makes `out`."""

    cdef void take_rows(self, const Py_ssize_t *origin) noexcept nogil:
        """Row r of what is remembered becomes what row origin[r] was."""

    @property
    def dtype_in(self):
        """The type of what goes in; class numbers are intp."""
        return dtype_of(self.kind_in)

    @property
    def dtype_out(self):
        """The type of what comes out."""
        return dtype_of(self.kind_out)

    @property
    def state(self):
        """Copies of what is remembered, each (B, ...)."""
        return ()

    @state.setter
    def state(self, arrays):
        raise TypeError(f"{type(self).__name__} has no state")

    def reset(self, rows=None):
        """Forget everything, of all rows or of some, which are given by their numbers."""


cdef void take_output(Stage stage, char *outputs, Py_ssize_t t, Py_ssize_t steps) noexcept nogil:
    """The output of step t to its place among those of all steps (B, steps, outputs)."""
    copy_rows(stage.out, stage.out_stride, outputs + t * stage.outputs * stage.size, steps * stage.outputs,
              stage.outputs, stage.batch, stage.size)


cdef class Chain(Stage):
    def __cinit__(self, stages, Py_ssize_t batch, Py_ssize_t inputs, dtype):
        cdef Stage stage
        cdef Py_ssize_t i
        self.batch, self.inputs, self.outputs = batch, inputs, inputs
        self.kind_in = self.kind_out = kind_of(dtype)
        self.stages = []
        for stage in stages:
            if stage.kind_in != self.kind_out:
                self.stages.append(Cast(batch, self.outputs, dtype_of(self.kind_out), stage.dtype_in))
            self.stages.append(stage)
            self.outputs, self.kind_out = stage.outputs, stage.kind_out
            self.work += stage.work
        self.size = size_of(self.kind_out)
        self.places = take(len(self.stages) * sizeof(void *))
        self.links = <void **>self.places.data
        for i in range(len(self.stages)):
            self.links[i] = <void *>self.stages[i]
        self.count = len(self.stages)

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.count):
            (<Stage>self.links[i]).advance(x, x_stride)
            x, x_stride = (<Stage>self.links[i]).out, (<Stage>self.links[i]).out_stride
        self.out, self.out_stride = <char *>x, x_stride

    cdef void take_rows(self, const Py_ssize_t *origin) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self.count):
            (<Stage>self.links[i]).take_rows(origin)


cdef class Cast(Stage):
    def __cinit__(self, Py_ssize_t batch, Py_ssize_t columns, dtype_in, dtype_out):
        self.batch, self.inputs, self.outputs, self.out_stride = batch, columns, columns, columns
        self.kind_in, self.kind_out = kind_of(dtype_in), kind_of(dtype_out)
        self.size = size_of(self.kind_out)
        self.memory = take(batch * columns * self.size)
        self.out = self.memory.data

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cast_rows(self.kind_in, x, x_stride, self.kind_out, self.out, self.out_stride, self.outputs, self.batch)


# ---- rows ------------------------------------------------------------------------------------------------------------

cdef void copy_rows(const char *rows, Py_ssize_t stride, char *to, Py_ssize_t to_stride, Py_ssize_t columns,
                    Py_ssize_t count, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(count):
        memcpy(to + r * to_stride * size, rows + r * stride * size, columns * size)


cdef void cast_rows(Kind kind_from, const char *rows, Py_ssize_t stride, Kind kind_to, char *to, Py_ssize_t to_stride,
                    Py_ssize_t columns, Py_ssize_t count) noexcept nogil:
    """Rows of floats as they are or in the other precision."""
    cdef Py_ssize_t r, j
    if kind_from == kind_to:
        copy_rows(rows, stride, to, to_stride, columns, count, size_of(kind_to))
        return
    for r in range(count):
        for j in range(columns):
            if kind_to == FLOAT64:
                (<double *>to)[r * to_stride + j] = (<const float *>rows)[r * stride + j]
            else:
                (<float *>to)[r * to_stride + j] = <float>(<const double *>rows)[r * stride + j]


cdef void zero_rows(char *rows, Py_ssize_t row, Py_ssize_t count, chosen) noexcept:
    """Set rows of `row` bytes to zero: all `count`, or the chosen ones."""
    cdef Py_ssize_t r
    if chosen is None:
        memset(rows, 0, count * row)
        return
    for r in chosen:
        memset(rows + r * row, 0, row)
