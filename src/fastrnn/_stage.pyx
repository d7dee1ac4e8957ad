# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Layers bound for stepping: weights packed and all memory taken once, so that a step allocates nothing.

The bits of a step are those of the same step inside a sequence.  One stage serves one thread at a time.
"""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport Kept, kept_at, kept_size, run_of
from ._kernels cimport cell_at, kernels_for
from ._memory cimport reserve, take
from ._schedule cimport data_of
from ._step cimport input_product, step_forward
from ._weights cimport bind_weights, numbers_of

import numpy as np

cnp.import_array()

cdef enum:
    RELEASE_GIL_FROM = 1 << 16  # multiplications: smaller steps are over before another thread could start


cdef class Stage:
    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        pass

    def step(self, x, out=None):
        """The output (B, outputs) after one more step with x (B, inputs), or (outputs,) with x (inputs,) if B is 1;
        into `out` if given."""
        cdef cnp.npy_intp size[2]
        x = self.plain("x", x, self.inputs)
        if out is None:
            size[0], size[1] = self.batch, self.outputs
            out = cnp.PyArray_EMPTY(2, size, self.kind, 0) if cnp.PyArray_NDIM(x) == 2 else \
                cnp.PyArray_EMPTY(1, size + 1, self.kind, 0)
        elif self.plain("out", out, self.outputs) is not out or not cnp.PyArray_ISWRITEABLE(out):
            raise ValueError("out: expected a writeable C-contiguous array of the session's type")
        cdef char *source = data_of(x)
        if self.work >= RELEASE_GIL_FROM:
            with nogil:
                self.advance(source, self.inputs)
        else:
            self.advance(source, self.inputs)
        copy_rows(self.out, self.out_stride, data_of(out), self.outputs, self.batch, self.size)
        return out

    cdef plain(self, name, array, Py_ssize_t columns):
        """An array (B, columns), or (columns,) where B is 1, that C code can take as it is."""
        cdef bint fits = type(array) is np.ndarray and cnp.PyArray_TYPE(array) == self.kind \
            and cnp.PyArray_ISCARRAY_RO(array)
        if not fits:
            array = np.require(array, np.float32 if self.size == 4 else np.float64, "CA")
        cdef int ndim = cnp.PyArray_NDIM(array)
        cdef cnp.npy_intp *size = cnp.PyArray_DIMS(array)
        if (ndim == 2 and size[0] == self.batch and size[1] == columns) or \
                (ndim == 1 and self.batch == 1 and size[0] == columns):
            return array
        raise ValueError(f"{name}: expected shape (B, columns) = ({self.batch}, {columns}), got {array.shape}")


cdef void copy_rows(const char *rows, Py_ssize_t stride, char *to, Py_ssize_t columns, Py_ssize_t count,
                    Py_ssize_t size) noexcept nogil:
    """Rows without their padding."""
    cdef Py_ssize_t r
    for r in range(count):
        memcpy(to + r * columns * size, rows + r * stride * size, columns * size)


cdef class RecurrentStage(Stage):
    """A cell that is stepped by its owner; its state stays inside and begins at zero.

    The weights are copied when the stage is made: later changes of the arrays are not seen.

    Parameters
    ----------
    cell : int
        Its index in the registry.
    batch : int
        Rows that are stepped together, B.
    w_x, w_h, b : ndarray
        As `_engine.forward` takes them.
    activation, recurrent : tuple
        As `_engine.forward` takes them.
    options
        As `_engine.forward` takes them; masks that change by row or by time do not fit.
    """

    def __cinit__(self, Py_ssize_t cell, Py_ssize_t batch, cnp.ndarray w_x, w_h, b, activation, recurrent,
                  options=None):
        cdef Run *run = &self.run
        cdef Kept kept
        self.run = run_of(kernels_for(w_x), cell, w_x.shape[0], w_x.shape[1] // cell_at(cell).gates, w_x.itemsize,
                          activation, recurrent, options)
        self.batch, self.kind, self.size = batch, cnp.PyArray_TYPE(w_x), run.size
        self.inputs, self.outputs, self.options = run.inputs, run.outputs, options
        self.work = batch * run.cell.gates * run.units * (run.inputs + run.outputs)
        self.bound = bind_weights(run, w_x, w_h, b, options, False, False, &self.weights)
        self.masks = numbers_of(run, options, &self.mixing)
        self.memory = take(self.place_memory(&kept, NULL))
        self.place_memory(&kept, self.memory.data)
        self.place.weights, self.place.mixing, self.place.scratch = &self.weights, &self.mixing, &self.scratch
        self.place.at = kept_at(run, &kept, 0)
        self.out_stride = run.padded_outputs
        memset(self.memory.data, 0, self.memory.size)
        self.out = self.h

    cdef size_t place_memory(self, Kept *kept, char *data) noexcept:
        """Bytes of all memory, and where each part begins if `data` is the place for all."""
        cdef Run *run = &self.run
        cdef Scratch *scratch = &self.scratch
        cdef size_t total = kept_size(run, self.batch, self.batch, data, kept)
        self.h = data + reserve(&total, self.batch * run.state)
        self.c = data + reserve(&total, self.batch * run.cell_state)
        scratch.products = data + reserve(&total, self.batch * run.wide)
        scratch.second = data + reserve(&total, self.batch * run.cell_state)
        scratch.shown = data + reserve(&total, self.batch * run.cell_state)
        scratch.share = NULL  # zoneout by a number
        return total

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Run *run = &self.run
        cdef Step *step = &self.place
        # the states after the last step are those before this one
        cdef char *h = step.at.h
        cdef char *c = step.at.c
        step.at.h, step.at.c, step.at.input = self.h, self.c, self.h
        self.h, self.c = h, c
        step.h, step.c = h, c
        input_product(run, &self.weights, &step.at, x, x_stride, self.batch)
        step_forward(run, step, 0, self.batch, 0, run.padded)
        self.out = h

    def reset(self, rows=None):
        """Set the state to zero, of all rows or of some."""
        cdef Run *run = &self.run
        cdef Py_ssize_t r
        for r in range(self.batch) if rows is None else rows:
            memset(self.h + r * run.state, 0, run.state)
            if run.cell.cell_state:
                memset(self.c + r * run.cell_state, 0, run.cell_state)

    @property
    def state(self):
        """Copies of h (B, P), and of c (B, H) where the cell has one."""
        cdef Run *run = &self.run
        dtype = np.float32 if self.size == 4 else np.float64
        h = np.empty((self.batch, run.outputs), dtype)
        copy_rows(self.h, run.padded_outputs, data_of(h), run.outputs, self.batch, self.size)
        if not run.cell.cell_state:
            return (h,)
        c = np.empty((self.batch, run.units), dtype)
        copy_rows(self.c, run.padded, data_of(c), run.units, self.batch, self.size)
        return h, c

    @state.setter
    def state(self, arrays):
        cdef Run *run = &self.run
        cdef Py_ssize_t r
        dtype = np.float32 if self.size == 4 else np.float64
        cdef list sizes = [run.outputs, run.units][:2 if run.cell.cell_state else 1]
        if len(arrays) != len(sizes):
            raise ValueError(f"state: expected {len(sizes)} arrays, got {len(arrays)}")
        checked = [np.require(array, dtype, "CA") for array in arrays]
        for array, size in zip(checked, sizes):
            if array.shape != (self.batch, size):
                raise ValueError(f"state: expected shape (B, H) = ({self.batch}, {size}), got {array.shape}")
        for r in range(self.batch):
            memcpy(self.h + r * run.state, data_of(checked[0]) + r * run.outputs * self.size, run.outputs * self.size)
            if run.cell.cell_state:
                memcpy(self.c + r * run.cell_state, data_of(checked[1]) + r * run.units * self.size,
                       run.units * self.size)
