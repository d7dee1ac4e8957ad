# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The engine's cells as stages."""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport Kept, kept_at, kept_size, run_of
from ._kernels cimport cell_at, kernels_for
from ._memory cimport reserve, take
from ._schedule cimport data_of
from ._stage cimport Stage, copy_rows, kind_of, zero_rows
from ._step cimport input_product, step_forward
from ._weights cimport bind_weights, format_of, numbers_of

import numpy as np

cnp.import_array()


cdef class RecurrentStage(Stage):
    """A cell that is stepped by its owner; its state stays inside.

    The weights are those of the last `bind`, at first those it is made with.  Their panels are looked up among those of
    earlier calls (`_packing`): all stages of one layer share them.

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
    initial : tuple of ndarray (P,) and (H,), optional
        What a reset sets the states to; zeros by default.
    stored : {None, "float16", "bfloat16", "int8"}
        How the matrices are stored: as they are, or in fewer bits, which takes float32 ones (csrc/narrow.h has the
        errors).
    """

    def __cinit__(self, Py_ssize_t cell, Py_ssize_t batch, cnp.ndarray w_x, w_h, b, activation, recurrent, options=None,
                  initial=None, stored=None):
        cdef Run *run = &self.run
        cdef Kept kept
        self.run = run_of(kernels_for(w_x), cell, w_x.shape[0], w_x.shape[1] // cell_at(cell).gates, w_x.itemsize,
                          activation, recurrent, options)
        self.batch, self.size, self.stored = batch, run.size, stored
        self.kind_in = self.kind_out = kind_of(w_x.dtype)
        self.inputs, self.outputs = run.inputs, run.outputs
        self.work = batch * run.cell.gates * run.units * (run.inputs + run.outputs)
        self.memory = take(self.place_memory(&kept, NULL))
        self.place_memory(&kept, self.memory.data)
        memset(self.memory.data, 0, self.memory.size)
        self.place.weights, self.place.mixing, self.place.scratch = &self.weights, &self.mixing, &self.scratch
        self.place.at = kept_at(run, &kept, 0)
        self.out, self.out_stride = self.h, run.padded_outputs
        self.bind(w_x, w_h, b, options, initial)
        self.reset()

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

    def bind(self, w_x, w_h, b, options=None, initial=None):
        """Take other weights of the same shapes, and options that differ in their arrays alone."""
        cdef Weights weights = self.weights
        w_proj = None if options is None else options.w_proj
        self.run.format = format_of(self.stored, (w_x, w_h, w_proj))
        bound = bind_weights(&self.run, w_x, w_h, b, options, False, not self.run.format, &weights)
        self.masks = numbers_of(&self.run, options, &self.mixing)
        self.bound, self.weights, self.options, self.initial = bound, weights, options, initial

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

    cdef void take_rows(self, const Py_ssize_t *origin) noexcept nogil:
        cdef Run *run = &self.run
        cdef Py_ssize_t r
        # the places of the states before the last step are free
        cdef char *h = self.place.at.h
        cdef char *c = self.place.at.c
        for r in range(self.batch):
            memcpy(h + r * run.state, self.h + origin[r] * run.state, run.state)
            if run.cell.cell_state:
                memcpy(c + r * run.cell_state, self.c + origin[r] * run.cell_state, run.cell_state)
        self.place.at.h, self.place.at.c = self.h, self.c
        self.h, self.c = h, c

    def reset(self, rows=None):
        cdef Run *run = &self.run
        if self.initial is not None:
            chosen = range(self.batch) if rows is None else rows
            self.put([np.broadcast_to(row, (self.batch, row.size)) for row in self.initial], chosen)
            return
        zero_rows(self.h, run.state, self.batch, rows)
        if run.cell.cell_state:
            zero_rows(self.c, run.cell_state, self.batch, rows)

    @property
    def state(self):
        """Copies of h (B, P), and of c (B, H) where the cell has one."""
        cdef Run *run = &self.run
        h = np.empty((self.batch, run.outputs), self.dtype_out)
        copy_rows(self.h, run.padded_outputs, data_of(h), run.outputs, run.outputs, self.batch, self.size)
        if not run.cell.cell_state:
            return (h,)
        c = np.empty((self.batch, run.units), self.dtype_out)
        copy_rows(self.c, run.padded, data_of(c), run.units, run.units, self.batch, self.size)
        return h, c

    @state.setter
    def state(self, arrays):
        self.put(arrays, range(self.batch))

    cdef put(self, arrays, rows):
        """Some rows of the states, from arrays (B, P) and (B, H), which are cast to the stage's type."""
        cdef Run *run = &self.run
        cdef Py_ssize_t r
        sizes = [run.outputs, run.units][:1 + run.cell.cell_state]
        arrays = [np.ascontiguousarray(array, self.dtype_out) for array in arrays]
        if [array.shape for array in arrays] != [(self.batch, size) for size in sizes]:
            raise ValueError(f"state: expected arrays (B, size) of {self.batch} rows and the sizes {sizes}, got the "
                             f"shapes {[array.shape for array in arrays]}")
        cdef char *h = data_of(arrays[0])
        cdef char *c = data_of(arrays[1]) if run.cell.cell_state else NULL
        for r in rows:
            memcpy(self.h + r * run.state, h + r * run.outputs * self.size, run.outputs * self.size)
            if c != NULL:
                memcpy(self.c + r * run.cell_state, c + r * run.units * self.size, run.units * self.size)
