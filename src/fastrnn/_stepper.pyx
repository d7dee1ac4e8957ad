# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""One step after another, with the weights packed and all buffers bound once."""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport Run, run_of
from ._kernels cimport fastrnn_forward, fastrnn_pack, fastrnn_product, kernels_for
from ._memory cimport Memory, reserve, take
from ._schedule cimport data_of

import numpy as np

cnp.import_array()

cdef enum:
    RELEASE_GIL_FROM = 1 << 18  # bytes of recurrent weights: smaller steps are over before another thread could start


cdef class Stepper:
    """A cell that is stepped by its owner; its state stays inside and begins at zero.

    The bits of a step are those of the same step inside a sequence.  The weights are copied when the stepper is made:
    later changes of the arrays are not seen.  One stepper serves one thread at a time.

    Parameters
    ----------
    cell : int
        Its index in the registry.
    batch : int
        Rows that are stepped together, B.
    w_x, w_h, b : ndarray
        As `_engine.forward` takes them.
    activation, recurrent : int
        As the kernels number them.
    """
    cdef Run run
    cdef Memory memory
    cdef fastrnn_product product  # gates (B, G of the S slots) = b + x (B, I) · w_x (I, G·Hp)
    cdef fastrnn_forward forward  # the step behind it, from h_prev and c_prev to h and c
    cdef Py_ssize_t batch
    cdef int kind
    cdef bint release_gil

    def __cinit__(self, Py_ssize_t cell, Py_ssize_t batch, cnp.ndarray w_x, cnp.ndarray w_h, b, int activation,
                  int recurrent):
        cdef Run *run = &self.run
        cdef size_t total = 0
        self.run = run_of(kernels_for(w_h), cell, w_x.shape[0], w_h.shape[0], w_h.itemsize, activation, recurrent)
        self.batch, self.kind = batch, cnp.PyArray_TYPE(w_h)
        self.release_gil = run.units * run.wide >= RELEASE_GIL_FROM
        cdef Py_ssize_t count = run.cell.gates, slots = run.cell.slots, width = run.kernels.width
        cdef size_t at_w_x = reserve(&total, run.inputs * run.wide)
        cdef size_t at_w_h = reserve(&total, run.units * run.wide)
        cdef size_t at_b = reserve(&total, 2 * run.wide)
        cdef size_t at_gates = reserve(&total, batch * run.kept)
        cdef size_t at_products = reserve(&total, batch * run.wide)
        cdef size_t at_h = reserve(&total, 2 * batch * run.state)
        cdef size_t at_c = reserve(&total, 2 * batch * run.state)
        self.memory = take(total)
        cdef char *data = self.memory.data

        cdef fastrnn_pack pack
        pack.units, pack.gates = run.units, count
        pack.rows, pack.w, pack.packed = run.inputs, data_of(w_x), data + at_w_x
        run.kernels.pack(&pack)
        pack.rows, pack.w, pack.packed = run.units, data_of(w_h), data + at_w_h
        run.kernels.pack(&pack)
        memset(data + at_b, 0, 2 * run.wide)
        if b is not None:
            run.kernels.to_blocks(data_of(b), data + at_b, run.units, count, count)
            if not run.cell.additive:
                run.kernels.to_blocks(data_of(b) + count * run.units * run.size, data + at_b + run.wide, run.units,
                                      count, count)

        cdef fastrnn_product *p = &self.product
        p.rows, p.depth, p.vectors = batch, run.inputs, run.padded // width * count
        p.first, p.last, p.panel = 0, p.vectors, run.kernels.panel_vectors(count)
        p.w, p.a_stride, p.start, p.start_stride = data + at_w_x, run.inputs, data + at_b, 0
        p.out, p.out_stride, p.start_panel = data + at_gates, slots * run.padded, p.panel * width
        p.out_panel = slots * (p.panel // count) * width

        cdef fastrnn_forward *f = &self.forward
        f.rows, f.units, f.first, f.last = batch, run.units, 0, run.padded // width
        f.activation, f.recurrent_activation = activation, recurrent
        f.w_h, f.b_h, f.products, f.gates = data + at_w_h, data + at_b + run.wide, data + at_products, data + at_gates
        f.h_prev, f.h = data + at_h + batch * run.state, data + at_h
        f.c_prev, f.c = data + at_c + batch * run.state, data + at_c
        self.reset()

    def reset(self):
        """Set the state to zero."""
        memset(self.forward.h, 0, self.batch * self.run.state)
        memset(self.forward.c, 0, self.batch * self.run.state)

    def step(self, x, out=None):
        """The state h (B, H) after one more step with x (B, I), or (H,) with x (I,) if B is 1; into `out` if given."""
        cdef fastrnn_forward *f = &self.forward
        cdef void *h = <void *>f.h_prev
        cdef void *c = <void *>f.c_prev
        cdef cnp.npy_intp size[2]
        x = self.plain("x", x, self.run.inputs)
        if out is None:
            size[0], size[1] = self.batch, self.run.units
            out = cnp.PyArray_EMPTY(2, size, self.kind, 0) if cnp.PyArray_NDIM(x) == 2 else \
                cnp.PyArray_EMPTY(1, size + 1, self.kind, 0)
        elif self.plain("out", out, self.run.units) is not out or not cnp.PyArray_ISWRITEABLE(out):
            raise ValueError("out: expected a writeable C-contiguous array of the stepper's type")
        # the states after the last step are those before this one
        f.h_prev, f.h = f.h, h
        f.c_prev, f.c = f.c, c
        self.product.a = data_of(x)
        if self.release_gil:
            with nogil:
                self.advance()
        else:
            self.advance()
        self.copy_state(<char *>f.h, data_of(out))
        return out

    cdef void advance(self) noexcept nogil:
        self.run.kernels.product(&self.product)
        self.run.kernels.forward[self.run.index](&self.forward)

    cdef void copy_state(self, const char *state, char *to) noexcept:
        """Rows (B, Hp) without their padding."""
        cdef Py_ssize_t r, row = self.run.units * self.run.size
        for r in range(self.batch):
            memcpy(to + r * row, state + r * self.run.state, row)

    cdef plain(self, name, array, Py_ssize_t columns):
        """An array (B, columns), or (columns,) where B is 1, that C code can take as it is."""
        cdef bint fits = type(array) is np.ndarray and cnp.PyArray_TYPE(array) == self.kind \
            and cnp.PyArray_ISCARRAY_RO(array)
        if not fits:
            array = np.require(array, np.float32 if self.run.size == 4 else np.float64, "CA")
        cdef int ndim = cnp.PyArray_NDIM(array)
        cdef cnp.npy_intp *size = cnp.PyArray_DIMS(array)
        if (ndim == 2 and size[0] == self.batch and size[1] == columns) or \
                (ndim == 1 and self.batch == 1 and size[0] == columns):
            return array
        raise ValueError(f"{name}: expected shape (B, columns) = ({self.batch}, {columns}), got {array.shape}")

    @property
    def state(self):
        """Copies of h, and of c where the cell has one, each (B, H)."""
        copies = []
        for part in range(2 if self.run.cell.cell_state else 1):
            copy = np.empty((self.batch, self.run.units), np.float32 if self.run.size == 4 else np.float64)
            self.copy_state(<char *>(self.forward.c if part else self.forward.h), data_of(copy))
            copies.append(copy)
        return tuple(copies)
