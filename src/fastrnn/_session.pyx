# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops around stages: single steps, chunks of steps, and steps whose output is the next input.

One thread at a time may be in a session; a second one that enters raises.
"""

cimport numpy as cnp

from ._changes cimport changes
from ._choosing cimport NOT_FINITE, choose_rows, set_one_hot, streams_of
from ._layer_stages cimport PythonStage
from ._schedule cimport data_of
from ._stage cimport CHUNK_WORK, CLASSES, FLOAT64, STEP_WORK, Stage, cast_rows, copy_rows, size_of, take_output

import numpy as np

from . import _check
from ._writer import Writer

cnp.import_array()

cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals" () except -1

cdef enum:
    RELEASE_GIL_FROM = 1 << 16   # multiplications: smaller calls are over before another thread could start


cdef void advance_through(Stage stage, const char *x, char *y, Py_ssize_t start, Py_ssize_t end,
                          Py_ssize_t time) noexcept nogil:
    """Steps `start` to before `end` of x (B, T, I), to y (B, T, outputs)."""
    cdef Py_ssize_t t, item = size_of(stage.kind_in)
    for t in range(start, end):
        stage.advance(x + t * stage.inputs * item, time * stage.inputs)
        take_output(stage, y, t, time)


# ---- the loops -------------------------------------------------------------------------------------------------------

cdef class Loop:
    """Steps of a stage.

    Parameters
    ----------
    stage : Stage
    bindings : list of (stage, callable)
        Stages, and what returns the arguments of their `bind`: called when parameters have changed.
    stateful : list of Stage
        Those in the stage that remember something.
    python_stages : list of PythonStage
        Those in the stage whose errors are to be raised.
    first_class, classes : int
        Class numbers that go in are from the one to below the other.
    """
    cdef readonly Stage stage
    cdef readonly list bindings, stateful, python_stages
    cdef readonly Py_ssize_t first_class, classes
    cdef unsigned long long seen
    cdef bint busy

    def __init__(self, Stage stage, bindings=(), stateful=(), python_stages=(), first_class=0, classes=0):
        self.stage, self.bindings = stage, list(bindings)
        self.stateful, self.python_stages = list(stateful), list(python_stages)
        self.first_class, self.classes = first_class, classes
        self.seen = changes

    cdef int enter(self) except -1:
        """What every use of the stage begins with; `leave` ends it."""
        if self.busy:
            raise RuntimeError("session: another thread is in it, or it is called from within; give each thread its "
                               "own session of the model, which any number of them share")
        self.busy = True
        if self.seen != changes:
            try:
                self.bind_again()
            except BaseException:
                self.busy = False
                raise
        return 0

    cdef void leave(self) noexcept:
        self.busy = False

    cdef bind_again(self):
        self.seen = changes  # first: what changes meanwhile is a further change
        for stage, arguments in self.bindings:
            stage.bind(*arguments())

    def refresh(self):
        """Look at all parameters anew."""
        self.enter()
        try:
            self.bind_again()
        finally:
            self.leave()

    def read_states(self):
        """The states of all stages that have one."""
        self.enter()
        try:
            return [stage.state for stage in self.stateful]
        finally:
            self.leave()

    def write_states(self, states):
        """Set the states of all stages that have one; the arrays fit."""
        self.enter()
        try:
            for stage, state in zip(self.stateful, states):
                stage.state = state
        finally:
            self.leave()

    def reset_stages(self, rows):
        """Set rows of the states of all stages to what a sequence begins with."""
        self.enter()
        try:
            for stage in self.stateful:
                stage.reset(rows)
        finally:
            self.leave()

    # -- arguments -----------------------------------------------------------------------------------------------------

    cdef int type_number(self, int kind) noexcept:
        return cnp.NPY_INTP if kind == CLASSES else cnp.NPY_FLOAT64 if kind == FLOAT64 else cnp.NPY_FLOAT32

    cdef taken(self, x, Py_ssize_t steps_axis):
        """An input that C code can take as it is: rows of one step (steps_axis 0), or of many (1)."""
        cdef Stage stage = self.stage
        cdef bint numbers = stage.kind_in == CLASSES
        cdef bint fits = type(x) is np.ndarray and cnp.PyArray_TYPE(x) == self.type_number(stage.kind_in) \
            and cnp.PyArray_ISCARRAY_RO(x)
        if numbers:
            x = _check.as_class_numbers("x", x, self.classes)
        elif not fits:
            x = _check.as_float_array("x", x, stage.dtype_in)
        cdef int ndim = cnp.PyArray_NDIM(x)
        cdef cnp.npy_intp *size = cnp.PyArray_DIMS(x)
        cdef int rows = ndim - steps_axis - (0 if numbers else 1)  # 1 with an axis for the batch, 0 without
        if not (numbers or (ndim and size[ndim - 1] == stage.inputs)) or \
                not ((rows == 0 and stage.batch == 1) or (rows == 1 and size[0] == stage.batch)):
            self.refuse_shape(x.shape, steps_axis)
        if numbers and self.first_class and cnp.PyArray_SIZE(x) and x.min() < self.first_class:
            raise ValueError("x: expected class numbers from 1, because 0 stands for padding (mask_zero=True) and a "
                             "stream has none, got 0")
        return x

    cdef refuse_shape(self, shape, Py_ssize_t steps_axis):
        cdef Stage stage = self.stage
        axes = {"B": stage.batch}
        if steps_axis:
            axes["T"] = "T"
        if stage.kind_in != CLASSES:
            axes["I"] = stage.inputs
        alone = ", or without B for a batch of one" if stage.batch == 1 else ""
        raise ValueError(f"x: expected shape ({', '.join(axes)}) = ({', '.join(map(str, axes.values()))}){alone}, "
                         f"got {shape}")

    cdef given_out(self, out, int ndim):
        """Where a step's output goes."""
        cdef Stage stage = self.stage
        cdef cnp.npy_intp size[2]
        size[0], size[1] = stage.batch, stage.outputs
        if out is None:
            return cnp.PyArray_EMPTY(ndim, size + 2 - ndim, self.type_number(stage.kind_out), 0)
        if not (type(out) is np.ndarray and cnp.PyArray_TYPE(out) == self.type_number(stage.kind_out)
                and cnp.PyArray_ISCARRAY(out)):
            raise ValueError(f"out: expected a writeable C-contiguous array of {stage.dtype_out}")
        cdef cnp.npy_intp *given = cnp.PyArray_DIMS(out)
        if not ((cnp.PyArray_NDIM(out) == 2 and given[0] == size[0] and given[1] == size[1])
                or (cnp.PyArray_NDIM(out) == 1 and size[0] == 1 and given[0] == size[1])):
            raise ValueError(f"out: expected shape (B, outputs) = ({size[0]}, {size[1]}), got {out.shape}")
        return out

    cdef raise_errors(self):
        cdef PythonStage stage
        cdef object first = None
        for stage in self.python_stages:
            error = stage.take_error()
            first = error if first is None else first
        if first is not None:
            raise first

    # -- steps ---------------------------------------------------------------------------------------------------------

    def step(self, x, out=None):
        """One more step.

        Parameters
        ----------
        x : array_like (I,) or (B, I)
            The input of the step; without the axis of the batch only for a batch of one.  Class numbers, which an
            `Embedding` takes, have no axis I.
        out : ndarray, optional
            Where to put the output: C-contiguous, of its type and shape.

        Returns
        -------
        ndarray (outputs,) or (B, outputs)
            A fresh array, or `out`.
        """
        cdef Stage stage = self.stage
        cdef char *source
        cdef Py_ssize_t stride = stage.inputs
        self.enter()
        try:
            x = self.taken(x, 0)
            out = self.given_out(out, cnp.PyArray_NDIM(x) + (1 if stage.kind_in == CLASSES else 0))
            source = data_of(x)
            if stage.work >= RELEASE_GIL_FROM:
                with nogil:
                    stage.advance(source, stride)
            else:
                stage.advance(source, stride)
            if self.python_stages:
                self.raise_errors()
            copy_rows(stage.out, stage.out_stride, data_of(out), stage.outputs, stage.outputs, stage.batch, stage.size)
        finally:
            self.leave()
        return out

    def run(self, x):
        """Many steps in one call.

        Parameters
        ----------
        x : array_like (T, I) or (B, T, I)
            Their inputs; without the axis of the batch only for a batch of one.

        Returns
        -------
        ndarray (T, outputs) or (B, T, outputs)
            The output of every step.
        """
        cdef Stage stage = self.stage
        cdef Py_ssize_t time, t = 0, end, chunk
        cdef char *source
        cdef char *target
        self.enter()
        try:
            x = self.taken(x, 1)
            shape = x.shape if stage.kind_in == CLASSES else x.shape[:x.ndim - 1]
            out = np.empty((*shape, stage.outputs), stage.dtype_out)
            time, source, target = shape[len(shape) - 1], data_of(x), data_of(out)
            chunk = 1 if self.python_stages else CHUNK_WORK // (stage.work + STEP_WORK) + 1
            while t < time:
                end = min(t + chunk, time)
                if (end - t) * (stage.work + STEP_WORK) >= RELEASE_GIL_FROM:
                    with nogil:
                        advance_through(stage, source, target, t, end, time)
                else:
                    advance_through(stage, source, target, t, end, time)
                t = end
                if self.python_stages:
                    self.raise_errors()
                check_signals()
        finally:
            self.leave()
        return out

    # -- closed loops --------------------------------------------------------------------------------------------------

    def feed_back(self, first, Py_ssize_t steps):
        """Outputs (B, steps, outputs), each of which is the next step's input; `first` (B, I) is the first one."""
        self.enter()
        try:
            return Writer(self.stage, self.python_stages).values(first, steps)
        finally:
            self.leave()

    def choose_back(self, cnp.ndarray first, Py_ssize_t steps, double temperature, unsigned long long seed):
        """Outputs (B, steps, classes) and the classes (B, steps) chosen by them, which are the next steps' inputs, as
        they are or one-hot; `first` (B,) are the first ones.  A temperature of 0 chooses the largest."""
        cdef Stage stage = self.stage
        cdef Py_ssize_t t = 0, r, end, chunk = CHUNK_WORK // (stage.work + STEP_WORK + 10 * stage.outputs) + 1
        cdef bint numbers = stage.kind_in == CLASSES
        cdef Py_ssize_t failed = 0
        outputs = np.empty((stage.batch, steps, stage.outputs), stage.dtype_out)
        chosen, current = np.empty((stage.batch, steps), np.intp), np.ascontiguousarray(first, np.intp).copy()
        logits = np.empty((stage.batch, stage.outputs))
        value = current if numbers else np.zeros((stage.batch, stage.inputs), stage.dtype_in)
        states = streams_of(seed, 0, stage.batch)
        cdef char *target = data_of(outputs)
        cdef char *x = data_of(value)
        cdef Py_ssize_t *tokens = <Py_ssize_t *>data_of(chosen)
        cdef Py_ssize_t *token = <Py_ssize_t *>data_of(current)
        cdef double *scores = <double *>data_of(logits)
        cdef unsigned long long *streams = <unsigned long long *>data_of(states)
        if self.python_stages:
            chunk = 1
        self.enter()
        try:
            while t < steps and not failed:
                end = min(t + chunk, steps)
                with nogil:
                    while t < end and not failed:
                        if not numbers:
                            set_one_hot(x, stage.inputs, size_of(stage.kind_in), token, stage.batch)
                        stage.advance(x, stage.inputs)
                        take_output(stage, target, t, steps)
                        cast_rows(stage.kind_out, stage.out, stage.out_stride, FLOAT64, <char *>scores, stage.outputs,
                                  stage.outputs, stage.batch)
                        failed = choose_rows(scores, self.first_class, stage.outputs, temperature, streams, token,
                                             stage.batch)
                        for r in range(stage.batch):
                            tokens[r * steps + t] = token[r]
                        t += 1
                if self.python_stages:
                    self.raise_errors()
                check_signals()
        finally:
            self.leave()
        if failed:
            raise ValueError(f"sampler: {NOT_FINITE} at step {t - 1}")
        return outputs, chosen
