# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The layers without a recurrent cell as stages, and layers around layers."""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport padded_to
from ._convolution cimport (
    buffer_bytes,
    choose_way,
    convolve,
    multiply_column,
    pack_groups,
    packed_bytes,
    set_start,
    start_bytes,
    to_pack,
)
from ._kernels cimport (
    FASTRNN_LINEAR,
    FASTRNN_RELU,
    FASTRNN_SIGMOID,
    FASTRNN_TANH,
    activation_of,
    fastrnn_pack,
    fastrnn_product,
)
from ._memory cimport reserve, take
from ._normalization cimport normalise_rows, set_gains
from ._packing cimport packed_weights
from ._schedule cimport data_of
from ._stage cimport CLASSES, FLOAT32, copy_rows, kernels_of, kind_of, size_of, zero_rows

import numpy as np

cnp.import_array()


cdef Packed packed_matrix(const fastrnn_kernels *kernels, cnp.ndarray w, Py_ssize_t size):
    """The panels of w (..., F) with all its axes but the last as one."""
    cdef fastrnn_pack part
    part.units = part.row_size = w.shape[w.ndim - 1]
    part.rows, part.gates, part.w, part.packed = w.size // part.units, 1, data_of(w), NULL
    return packed_weights(kernels, w, &part, size)


# ---- products --------------------------------------------------------------------------------------------------------

cdef class DenseStage(Stage):
    """phi(x·w + b): w (I, F), b (F,) or None."""

    def __cinit__(self, Py_ssize_t batch, cnp.ndarray w, b, activation):
        cdef size_t total = 0
        self.kind_in = self.kind_out = kind_of(w.dtype)
        self.kernels, self.size, self.activation = kernels_of(self.kind_in), w.itemsize, activation_of(activation)
        self.batch, self.inputs, self.outputs = batch, w.shape[0], w.shape[1]
        self.work, self.out_stride = batch * w.size, padded_to(self.kernels, self.outputs)
        cdef size_t at_start = reserve(&total, self.out_stride * self.size)
        if self.outputs == 1:
            self.out_stride = 1
        cdef size_t at_out = reserve(&total, batch * self.out_stride * self.size)
        cdef size_t at_column = reserve(&total, self.inputs * self.size)
        self.memory = take(total)
        memset(self.memory.data, 0, self.memory.size)
        self.start, self.out = self.memory.data + at_start, self.memory.data + at_out
        self.column = self.memory.data + at_column if self.outputs == 1 else NULL
        self.bind(w, b)

    def bind(self, w, b):
        """Take other weights of the same shapes."""
        if self.outputs == 1:
            memcpy(self.column, data_of(w), self.inputs * self.size)
        else:
            self.packed = packed_matrix(self.kernels, w, self.size)
        if b is not None:
            memcpy(self.start, data_of(b), self.outputs * self.size)

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        if self.column != NULL:
            multiply_column(self.kernels, x, x_stride, self.inputs, self.column, self.start, self.out, self.batch)
        else:
            self.multiply(x, x_stride)
        if self.activation.kind != FASTRNN_LINEAR:
            self.kernels.activate(&self.activation, self.out, self.out, self.batch * self.out_stride)

    cdef void multiply(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        """out (B, F) = b + x (B, I) · w (I, F)"""
        cdef fastrnn_product product
        cdef Py_ssize_t width = self.kernels.width
        product.rows, product.depth, product.panel = self.batch, self.inputs, self.kernels.panel_vectors(1)
        product.vectors = product.last = self.out_stride // width
        product.first, product.a, product.a_stride, product.w = 0, x, x_stride, self.packed.panels
        product.start, product.start_stride, product.start_panel = self.start, 0, product.panel * width
        product.out, product.out_stride, product.out_panel = self.out, self.out_stride, product.panel * width
        self.kernels.product(&product)


cdef class ConvolutionStage(Stage):
    """A causal convolution: w (K, C/groups, F), b (F,) or None.

    The inputs of the last `span` steps stand in a ring that is there twice, one behind the other: wherever the oldest
    of them lies, from there on they follow one another, as the steps of a sequence do.  The rows of the batch, 2·span
    steps apart, are to the convolution the outputs of one sequence with that stride.
    """

    def __cinit__(self, Py_ssize_t batch, cnp.ndarray w, b, Py_ssize_t dilation, Py_ssize_t groups, activation):
        cdef Convolution *c = &self.convolution
        cdef size_t total = 0
        self.kind_in = self.kind_out = kind_of(w.dtype)
        self.size, self.batch = w.itemsize, batch
        self.inputs, self.outputs = groups * w.shape[1], w.shape[2]
        self.out_stride, self.span = self.outputs, (w.shape[0] - 1) * dilation + 1
        self.work = batch * w.size
        c.kernels, c.size, c.groups = kernels_of(self.kind_in), self.size, groups
        c.channels, c.filters, c.taps = w.shape[1], self.outputs // groups, w.shape[0]
        c.dilation, c.stride, c.left = dilation, 2 * self.span, 0
        c.time, c.outputs = 2 * self.span * batch, batch
        c.y_time, c.y_first, c.y_step, c.activation = batch, 0, 1, activation_of(activation)
        choose_way(c)
        cdef size_t at_ring = reserve(&total, batch * 2 * self.span * self.inputs * self.size)
        cdef size_t at_out = reserve(&total, batch * self.outputs * self.size)
        cdef size_t at_start = reserve(&total, start_bytes(c))
        cdef size_t at_buffer = reserve(&total, buffer_bytes(c))
        cdef size_t at_panels = reserve(&total, packed_bytes(c) if groups > 1 else 0)
        self.memory = take(total)
        memset(self.memory.data, 0, self.memory.size)
        self.ring, self.out = self.memory.data + at_ring, self.memory.data + at_out
        self.start, self.buffer = self.memory.data + at_start, self.memory.data + at_buffer
        self.panels = self.memory.data + at_panels
        c.y, c.shown, c.start = self.out, self.out, self.start
        self.bind(w, b)

    def bind(self, w, b):
        """Take other weights of the same shapes."""
        cdef Convolution *c = &self.convolution
        if c.groups == 1:
            self.packed = packed_matrix(c.kernels, w, self.size)
            c.w = self.packed.panels
        else:
            parts = to_pack(c, w)
            pack_groups(c, data_of(parts), self.panels)
            c.w = self.panels
        set_start(c, data_of(b), self.start)

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t r, step = self.inputs * self.size
        cdef char *place
        self.newest = self.newest + 1 if self.newest + 1 < self.span else 0
        for r in range(self.batch):
            place = self.ring + (2 * self.span * r + self.newest) * step
            memcpy(place, x + r * x_stride * self.size, step)
            memcpy(place + self.span * step, place, step)
        self.convolution.x = self.ring + (self.newest + 1) * step
        convolve(&self.convolution, 0, self.batch, self.buffer)

    @property
    def state(self):
        """The last span - 1 inputs (B, span - 1, C), the oldest first; nothing where a window is one step."""
        cdef Py_ssize_t past = (self.span - 1) * self.inputs
        if self.span == 1:
            return ()
        history = np.empty((self.batch, self.span - 1, self.inputs), self.dtype_in)
        copy_rows(self.ring + (self.newest + 2) * self.inputs * self.size, 2 * self.span * self.inputs,
                  data_of(history), past, past, self.batch, self.size)
        return (history,)

    @state.setter
    def state(self, arrays):
        cdef Py_ssize_t past = (self.span - 1) * self.inputs, step = self.inputs * self.size
        (given,) = arrays
        history = np.require(np.broadcast_to(given, (self.batch, self.span - 1, self.inputs)), self.dtype_in, "CA")
        self.newest = self.span - 1  # the next input goes to the front, over what is there now
        for copy in range(2):
            copy_rows(data_of(history), past, self.ring + (<Py_ssize_t>copy * self.span + 1) * step,
                      2 * self.span * self.inputs, past, self.batch, self.size)

    def reset(self, rows=None):
        zero_rows(self.ring, 2 * self.span * self.inputs * self.size, self.batch, rows)


# ---- value by value --------------------------------------------------------------------------------------------------

cdef class ActivationStage(Stage):
    """phi(x)"""

    def __cinit__(self, Py_ssize_t batch, Py_ssize_t columns, dtype, activation):
        self.kind_in = self.kind_out = kind_of(dtype)
        self.kernels, self.size = kernels_of(self.kind_in), size_of(self.kind_in)
        self.activation = activation_of(activation)
        self.batch, self.inputs, self.outputs, self.out_stride = batch, columns, columns, columns
        self.work = batch * columns
        self.memory = take(batch * columns * self.size)
        self.out = self.memory.data

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t r
        for r in range(self.batch):
            self.kernels.activate(&self.activation, x + r * x_stride * self.size,
                                  self.out + r * self.outputs * self.size, self.outputs)


cdef class ScaleStage(Stage):
    """((x + shift)·rate)·gamma + beta, each operation rounded by itself: batch normalization at inference."""

    def __cinit__(self, Py_ssize_t batch, shift, rate, gamma, beta):
        self.kind_in = self.kind_out = kind_of(shift.dtype)
        self.kernels, self.size = kernels_of(self.kind_in), size_of(self.kind_in)
        self.batch, self.inputs, self.outputs, self.out_stride = batch, shift.size, shift.size, shift.size
        self.work = batch * self.outputs
        self.memory = take(batch * self.outputs * self.size)
        self.out = self.memory.data
        self.bind(shift, rate, gamma, beta)

    def bind(self, *arrays):
        """Take other parameters."""
        self.arrays = [None if array is None else array.copy() for array in arrays]
        self.shift, self.rate = data_of(self.arrays[0]), data_of(self.arrays[1])
        self.gamma, self.beta = data_of(self.arrays[2]), data_of(self.arrays[3])

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t r, n = self.outputs
        cdef char *out
        for r in range(self.batch):
            out = self.out + r * n * self.size
            memcpy(out, x + r * x_stride * self.size, n * self.size)
            self.kernels.add(self.shift, out, n)
            self.kernels.multiply(out, self.rate, out, n)
            if self.gamma != NULL:
                self.kernels.multiply(out, self.gamma, out, n)
            if self.beta != NULL:
                self.kernels.add(self.beta, out, n)


cdef class NormStage(Stage):
    """Layer normalization; gain and add (F,) or None."""

    def __cinit__(self, Py_ssize_t batch, Py_ssize_t columns, dtype, gain, add, double epsilon):
        cdef Norm *p = &self.norm
        cdef size_t total = 0
        self.kind_in = self.kind_out = kind_of(dtype)
        self.size, self.batch, self.inputs, self.outputs = size_of(self.kind_in), batch, columns, columns
        p.kernels, p.size, p.units, p.epsilon = kernels_of(self.kind_in), self.size, columns, epsilon
        p.padded = self.out_stride = padded_to(p.kernels, columns)
        self.work = 4 * batch * columns
        cdef size_t row = p.padded * self.size
        cdef size_t at_gain = reserve(&total, row), at_add = reserve(&total, row)
        cdef size_t at_x = reserve(&total, batch * row), at_scales = reserve(&total, batch * self.size)
        cdef size_t at_out = reserve(&total, batch * row)
        self.memory = take(total)
        memset(self.memory.data, 0, self.memory.size)
        p.gain, p.add = self.memory.data + at_gain, self.memory.data + at_add
        self.x, self.scales = self.memory.data + at_x, self.memory.data + at_scales
        self.out = self.memory.data + at_out
        self.bind(gain, add)

    def bind(self, gain, add):
        """Take other parameters."""
        set_gains(&self.norm, gain, add)

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        copy_rows(x, x_stride, self.x, self.out_stride, self.outputs, self.batch, self.size)
        normalise_rows(&self.norm, self.x, self.batch, self.x, self.scales, self.out)


cdef class EmbeddingStage(Stage):
    """Rows of a table (V, D) by class number, which the caller has checked."""

    def __cinit__(self, Py_ssize_t batch, cnp.ndarray table):
        self.kind_in, self.kind_out = CLASSES, kind_of(table.dtype)
        self.size, self.batch, self.inputs = table.itemsize, batch, 1
        self.outputs = self.out_stride = table.shape[1]
        self.memory = take(batch * self.outputs * self.size)
        self.out = self.memory.data
        self.bind(table)

    def bind(self, table):
        """Take another table: the array itself, not a copy."""
        self.table, self.rows = table, data_of(table)

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t r, row = self.outputs * self.size
        for r in range(self.batch):
            memcpy(self.out + r * row, self.rows + (<const Py_ssize_t *>x)[r * x_stride] * row, row)


# ---- layers around layers --------------------------------------------------------------------------------------------

MERGE_MODES = {"concat": 0, "sum": 1, "ave": 2, "mul": 3}


cdef class MergeStage(Stage):
    """Stages that get the same input, all of one type, and their outputs merged into one."""

    def __cinit__(self, branches, mode):
        cdef Stage branch = branches[0]
        cdef size_t total = 0
        cdef Py_ssize_t i
        self.branches, self.count, self.mode = list(branches), len(branches), MERGE_MODES[mode]
        self.batch, self.inputs = branch.batch, branch.inputs
        self.kind_in, self.kind_out = branch.kind_in, branch.kind_out
        self.kernels, self.size = kernels_of(self.kind_out), size_of(self.kind_out)
        self.outputs = sum(b.outputs for b in branches) if mode == "concat" else branch.outputs
        self.out_stride = self.outputs
        cdef size_t at_out = reserve(&total, self.batch * self.outputs * self.size)
        cdef size_t at_other = reserve(&total, self.batch * self.outputs * self.size)
        cdef size_t at_links = reserve(&total, self.count * sizeof(void *))
        self.memory = take(total)
        self.out, self.other = self.memory.data + at_out, self.memory.data + at_other
        self.links = <void **>(self.memory.data + at_links)
        for i in range(self.count):
            self.links[i] = <void *>self.branches[i]
            self.work += (<Stage>self.links[i]).work

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef Py_ssize_t i, column = 0, n = self.batch * self.outputs
        for i in range(self.count):
            (<Stage>self.links[i]).advance(x, x_stride)
            if self.mode == 0 or i == 0:
                self.take_over(<Stage>self.links[i], self.out + column * self.size)
                column += (<Stage>self.links[i]).outputs
            else:
                self.take_over(<Stage>self.links[i], self.other)
                if self.mode == 3:
                    self.kernels.multiply(self.out, self.other, self.out, n)
                else:
                    self.kernels.add(self.other, self.out, n)
        if self.mode == 2:
            divide(self.kind_out, self.out, n, self.count)

    cdef void take_over(self, Stage branch, char *to) noexcept nogil:
        copy_rows(branch.out, branch.out_stride, to, self.outputs, branch.outputs, self.batch, self.size)


cdef void divide(Kind kind, char *values, Py_ssize_t n, Py_ssize_t by) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if kind == FLOAT32:
            (<float *>values)[i] /= <float>by
        else:
            (<double *>values)[i] /= <double>by


cdef class WaveNetStage(Stage):
    """The stages of a `layers.WaveNet`: the first, (gates, skip, residual or None) of each block, two of the head."""

    def __cinit__(self, Stage first, blocks, head):
        cdef Stage stage = blocks[0][1]
        cdef size_t total = 0
        cdef Py_ssize_t i
        self.first, self.blocks, self.count = first, list(blocks), len(blocks)
        self.hidden, self.last = head if head else (None, None)
        self.batch, self.inputs, self.kind_in, self.kind_out = first.batch, first.inputs, first.kind_in, first.kind_in
        self.kernels, self.size = kernels_of(self.kind_in), first.size
        self.filters, self.skip_channels = first.outputs, stage.outputs
        self.work = first.work
        cdef size_t row = self.batch * self.filters * self.size
        cdef size_t at_h = reserve(&total, row), at_tanh = reserve(&total, row), at_sigmoid = reserve(&total, row)
        cdef size_t at_skips = reserve(&total, self.batch * self.skip_channels * self.size)
        cdef size_t at_links = reserve(&total, self.count * sizeof(Block))
        self.memory = take(total)
        self.h, self.tanh = self.memory.data + at_h, self.memory.data + at_tanh
        self.sigmoid, self.skips = self.memory.data + at_sigmoid, self.memory.data + at_skips
        self.links = <Block *>(self.memory.data + at_links)
        for i, (gates, skip, residual) in enumerate(self.blocks):
            self.links[i].gates, self.links[i].skip = <void *>gates, <void *>skip
            self.links[i].residual = NULL if residual is None else <void *>residual
            for stage in (gates, skip, residual):
                self.work += 0 if stage is None else stage.work
        self.out, self.out_stride, self.outputs = self.skips, self.skip_channels, self.skip_channels
        if head:
            self.work += self.hidden.work + self.last.work
            self.out, self.out_stride, self.outputs = self.last.out, self.last.out_stride, self.last.outputs

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        cdef fastrnn_activation relu
        cdef Py_ssize_t i
        self.first.advance(x, x_stride)
        copy_rows(self.first.out, self.first.out_stride, self.h, self.filters, self.filters, self.batch, self.size)
        memset(self.skips, 0, self.batch * self.skip_channels * self.size)
        for i in range(self.count):
            self.block(&self.links[i])
        if self.hidden is not None:
            relu.kind = FASTRNN_RELU
            self.kernels.activate(&relu, self.skips, self.skips, self.batch * self.skip_channels)
            self.hidden.advance(self.skips, self.skip_channels)
            self.last.advance(self.hidden.out, self.hidden.out_stride)

    cdef void block(self, const Block *link) noexcept nogil:
        """skips += z·w_skip + b_skip,  h += z·w_residual + b_residual"""
        self.gate(<Stage>link.gates)
        self.add_product(<Stage>link.skip, self.skips, self.skip_channels)
        if link.residual != NULL:
            self.add_product(<Stage>link.residual, self.h, self.filters)

    cdef void gate(self, Stage gates) noexcept nogil:
        """z = tanh(...)∘sigmoid(...), in the place of tanh"""
        cdef fastrnn_activation tanh, sigmoid
        cdef Py_ssize_t r, row = self.filters * self.size
        cdef char *a
        tanh.kind, sigmoid.kind = FASTRNN_TANH, FASTRNN_SIGMOID
        gates.advance(self.h, self.filters)
        for r in range(self.batch):
            a = gates.out + r * gates.out_stride * self.size
            self.kernels.activate(&tanh, a, self.tanh + r * row, self.filters)
            self.kernels.activate(&sigmoid, a + row, self.sigmoid + r * row, self.filters)
        self.kernels.multiply(self.tanh, self.sigmoid, self.tanh, self.batch * self.filters)

    cdef void add_product(self, Stage stage, char *to, Py_ssize_t columns) noexcept nogil:
        """to (B, columns) += the stage's output for z"""
        cdef Py_ssize_t r
        stage.advance(self.tanh, self.filters)
        for r in range(self.batch):
            self.kernels.add(stage.out + r * stage.out_stride * self.size, to + r * columns * self.size, columns)


# ---- in Python -------------------------------------------------------------------------------------------------------

cdef class PythonStage(Stage):
    """A step in Python: an object that takes x (B, inputs) and returns y (B, outputs), with `state` and `reset`.

    What it raises waits until `take_error` asks for it.
    """

    def __cinit__(self, step, Py_ssize_t batch, Py_ssize_t inputs, Py_ssize_t outputs, dtype):
        self.step, self.batch, self.inputs, self.outputs, self.out_stride = step, batch, inputs, outputs, outputs
        self.kind_in = self.kind_out = kind_of(dtype)
        self.size = size_of(self.kind_in)
        self.memory = take(batch * outputs * self.size)
        self.out = self.memory.data

    cdef void advance(self, const char *x, Py_ssize_t x_stride) noexcept nogil:
        with gil:
            self.call(x, x_stride)

    cdef void call(self, const char *x, Py_ssize_t x_stride) noexcept:
        try:
            rows = np.empty((self.batch, self.inputs), self.dtype_in)
            copy_rows(x, x_stride, data_of(rows), self.inputs, self.inputs, self.batch, self.size)
            y = np.require(self.step(rows), self.dtype_out, "CA").reshape(self.batch, self.outputs)
            memcpy(self.out, data_of(y), self.batch * self.outputs * self.size)
        except BaseException as error:
            self.error = error

    cdef void take_rows(self, const Py_ssize_t *origin) noexcept nogil:
        with gil:
            self.take_in_python(origin)

    cdef void take_in_python(self, const Py_ssize_t *origin) noexcept:
        try:
            rows = np.empty(self.batch, np.intp)
            memcpy(data_of(rows), origin, self.batch * sizeof(Py_ssize_t))
            self.step.state = tuple([array[rows] for array in self.step.state])
        except BaseException as error:
            self.error = error

    def take_error(self):
        """What the last step raised, or None."""
        error, self.error = self.error, None
        return error

    @property
    def state(self):
        return self.step.state

    @state.setter
    def state(self, arrays):
        self.step.state = arrays

    def reset(self, rows=None):
        self.step.reset(rows)
