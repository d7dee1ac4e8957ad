# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The closed loops of a decoder, whose output is its next input: values, tokens one by one, beam search.

A writer serves one call: it starts from the states that its stage is in, and leaves them changed.
"""

cimport numpy as cnp
from libc.math cimport INFINITY, isfinite, pow
from libc.string cimport memcpy

from ._choosing cimport NOT_FINITE, drawn, keep_highest, largest, log_total, set_one_hot, streams_of
from ._layer_stages cimport PythonStage
from ._memory cimport Memory, take
from ._schedule cimport data_of
from ._stage cimport CHUNK_WORK, CLASSES, FLOAT64, STEP_WORK, Stage, cast_rows, copy_rows, size_of, take_output

import numpy as np

cnp.import_array()

cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals" () except -1


cdef void take_logits(Stage stage, double *logits) noexcept nogil:
    """The step's output in float64, (B, K)."""
    cast_rows(stage.kind_out, stage.out, stage.out_stride, FLOAT64, <char *>logits, stage.outputs, stage.outputs,
              stage.batch)


cdef class Writer:
    """Steps of a decoder.

    Parameters
    ----------
    stage : Stage
        From what is read, [previous output, future inputs] or previous tokens, to values or logits.
    python_stages : sequence of PythonStage
        Those in the stage whose errors are to be raised.
    first_class : int
        Tokens that are written are from here on.
    future : ndarray (B, T, F), optional
        Further inputs of each step, of the type that the stage takes.
    cancelled : threading.Event, optional
        Set by another thread, it ends the loops: interrupts come to the main thread alone.
    """
    cdef Stage stage
    cdef list python_stages
    cdef object future, read, cancelled
    cdef Py_ssize_t batch, inputs, first_class, future_steps, future_size, fed, item, chunk
    cdef bint numbers
    cdef const char *known
    cdef char *x

    def __init__(self, Stage stage, python_stages=(), Py_ssize_t first_class=0, future=None, cancelled=None):
        self.cancelled = cancelled
        self.stage, self.python_stages, self.first_class = stage, list(python_stages), first_class
        self.numbers, self.item = stage.kind_in == CLASSES, size_of(stage.kind_in)
        self.batch, self.inputs, self.fed = stage.batch, stage.inputs, stage.inputs
        if future is not None:
            self.future = np.require(future, stage.dtype_in, "CA")
            self.future_steps, self.future_size = future.shape[1], future.shape[2]
            self.fed -= self.future_size
        self.known = data_of(self.future)
        self.read = np.zeros((stage.batch, stage.inputs), stage.dtype_in)
        self.x = data_of(self.read)
        self.chunk = 1 if self.python_stages else CHUNK_WORK // (stage.work + STEP_WORK) + 1

    # -- a step --------------------------------------------------------------------------------------------------------

    cdef void advance(self, Py_ssize_t t) noexcept nogil:
        """Step t from the previous outputs in x, which gets its future inputs."""
        if self.known != NULL:
            copy_rows(self.known + t * self.future_size * self.item, self.future_steps * self.future_size,
                      self.x + self.fed * self.item, self.inputs, self.future_size, self.batch, self.item)
        self.stage.advance(self.x, self.inputs)

    cdef void read_tokens(self, const Py_ssize_t *tokens) noexcept nogil:
        """The previous tokens as what the decoder reads: their numbers, or one-hot."""
        if self.numbers:
            memcpy(self.x, tokens, self.batch * sizeof(Py_ssize_t))
        else:
            set_one_hot(self.x, self.inputs, self.item, tokens, self.batch)

    cdef int look_up(self) except -1:
        """Between chunks of steps: what Python stages raised, whether another thread has given up, interrupts."""
        cdef PythonStage stage
        errors = [stage.take_error() for stage in self.python_stages]
        for error in errors:
            if error is not None:
                raise error
        if self.cancelled is not None and self.cancelled.is_set():
            raise KeyboardInterrupt
        return check_signals()

    # -- values --------------------------------------------------------------------------------------------------------

    def values(self, cnp.ndarray first, Py_ssize_t steps):
        """Outputs (B, steps, K), each the next step's previous output; `first` (B, K) is that of the first step."""
        cdef Stage stage = self.stage
        cdef Py_ssize_t t = 0, end
        given = np.require(first, stage.dtype_in, "CA")
        outputs = np.empty((stage.batch, steps, stage.outputs), stage.dtype_out)
        cdef char *target = data_of(outputs)
        copy_rows(data_of(given), self.fed, self.x, self.inputs, self.fed, self.batch, self.item)
        while t < steps:
            end = min(t + self.chunk, steps)
            with nogil:
                while t < end:
                    self.advance(t)
                    take_output(stage, target, t, steps)
                    cast_rows(stage.kind_out, stage.out, stage.out_stride, stage.kind_in, self.x, self.inputs, self.fed,
                              self.batch)
                    t += 1
            self.look_up()
        return outputs

    # -- tokens --------------------------------------------------------------------------------------------------------

    def logits(self, first, Py_ssize_t steps):
        """Logits (B, steps, K) of all steps, the most probable token of each being read by the next."""
        cdef Stage stage = self.stage
        cdef Py_ssize_t t = 0, r, end
        outputs = np.empty((stage.batch, steps, stage.outputs), stage.dtype_out)
        last, values = np.array(first, np.intp, order="C"), np.empty((stage.batch, stage.outputs))
        cdef Py_ssize_t *token = <Py_ssize_t *>data_of(last)
        cdef double *logits = <double *>data_of(values)
        cdef char *target = data_of(outputs)
        while t < steps:
            end = min(t + self.chunk, steps)
            with nogil:
                while t < end:
                    self.read_tokens(token)
                    self.advance(t)
                    take_output(stage, target, t, steps)
                    take_logits(stage, logits)
                    for r in range(stage.batch):  # a row with NaN goes on, the caller sees it
                        token[r] = max(largest(logits + r * stage.outputs, self.first_class, stage.outputs),
                                       self.first_class)
                    t += 1
            self.look_up()
        return outputs

    def tokens(self, first, Py_ssize_t steps, Py_ssize_t stop, double temperature, Py_ssize_t kept,
               unsigned long long seed, Py_ssize_t first_row):
        """One sequence for each row.

        Parameters
        ----------
        first : ndarray of int (B,)
        steps : int
        stop : int
            -1 for none.
        temperature : float
            0 takes the most probable token, more draws by ``softmax(logits / temperature)``.
        kept : int
            Draw among so many most probable tokens; 0 for all.
        seed, first_row : int
            Row r draws from the stream first_row + r.

        Returns
        -------
        tokens (B, steps), lengths (B,), scores (B,)
            As `decoding.Generated` has them.
        """
        cdef Stage stage = self.stage
        cdef Py_ssize_t t = 0, r, end, classes = stage.outputs, running = stage.batch, failed = 0
        written = np.full((stage.batch, steps), max(stop, 0), np.intp)
        counts, totals = np.zeros(stage.batch, np.intp), np.zeros(stage.batch)
        last, open_rows = np.array(first, np.intp, order="C"), np.ones(stage.batch, np.uint8)
        values, row, highest = np.empty((stage.batch, classes)), np.empty(classes), np.empty(max(kept, 1))
        streams = streams_of(seed, first_row, stage.batch)
        cdef Py_ssize_t *token = <Py_ssize_t *>data_of(last)
        cdef Py_ssize_t *tokens = <Py_ssize_t *>data_of(written)
        cdef Py_ssize_t *lengths = <Py_ssize_t *>data_of(counts)
        cdef double *scores = <double *>data_of(totals)
        cdef double *logits = <double *>data_of(values)
        cdef double *own = <double *>data_of(row)
        cdef double *best = <double *>data_of(highest)
        cdef unsigned char *is_open = <unsigned char *>data_of(open_rows)
        cdef unsigned long long *stream = <unsigned long long *>data_of(streams)
        while t < steps and running and not failed:
            end = min(t + self.chunk, steps)
            with nogil:
                while t < end and running and not failed:
                    self.read_tokens(token)
                    self.advance(t)
                    take_logits(stage, logits)
                    for r in range(stage.batch):
                        if not is_open[r]:
                            continue
                        token[r] = chosen(logits + r * classes, self.first_class, classes, temperature, kept,
                                          stream + r, own, best)
                        if token[r] < 0:
                            failed = t + 1
                            break
                        scores[r] += logits[r * classes + token[r]] - log_total(logits + r * classes, classes)
                        tokens[r * steps + t] = token[r]
                        if token[r] == stop:
                            is_open[r] = 0
                            running -= 1
                        else:
                            lengths[r] += 1
                    t += 1
            self.look_up()
        if failed:
            raise ValueError(f"logits: {NOT_FINITE} at step {failed - 1}; look for them in x and in the weights")
        return written, counts, totals

    # -- beam search ---------------------------------------------------------------------------------------------------

    def search(self, first, Py_ssize_t steps, Py_ssize_t stop, Py_ssize_t width, double length_penalty):
        """The best sequences of each source, whose rows of the stage lie side by side: see `decoding.beam_search`.

        Parameters
        ----------
        first : ndarray of int (N,)
        steps : int
        stop : int
            -1 for none.
        width : int
            W, of N·W = B rows.
        length_penalty : float

        Returns
        -------
        tokens (N, W, steps), lengths (N, W), scores (N, W)
            As `decoding.Generated` has them, best first.
        """
        cdef Stage stage = self.stage
        cdef Py_ssize_t t = 0, n, end, left, failed = 0
        cdef Search search
        sources = stage.batch // width
        searches = [Search(width, steps, stop, length_penalty, self.first_class, stage.outputs) for _ in range(sources)]
        last, origins = np.repeat(np.asarray(first, np.intp), width), np.arange(stage.batch)
        values = np.empty((stage.batch, stage.outputs))
        cdef Py_ssize_t count = sources
        cdef Memory places = take(max(count, 1) * sizeof(void *))
        cdef void **links = <void **>places.data
        cdef Py_ssize_t *token = <Py_ssize_t *>data_of(last)
        cdef Py_ssize_t *origin = <Py_ssize_t *>data_of(origins)
        cdef double *logits = <double *>data_of(values)
        for n in range(count):
            links[n] = <void *>searches[n]
        left = count
        while t < steps and left and not failed:
            end = min(t + self.chunk, steps)
            with nogil:
                while t < end and left and not failed:
                    self.read_tokens(token)
                    self.advance(t)
                    take_logits(stage, logits)
                    left = 0
                    for n in range(count):
                        if (<Search>links[n]).over:
                            continue
                        if (<Search>links[n]).grow(logits + n * width * stage.outputs, t) < 0:
                            failed = t + 1
                            break
                        (<Search>links[n]).hand_over(token + n * width, origin + n * width, n * width)
                        left += not (<Search>links[n]).over
                    if left:
                        stage.take_rows(origin)
                    t += 1
            self.look_up()
        if failed:
            raise ValueError(f"logits: {NOT_FINITE} at step {failed - 1}; look for them in x and in the weights")
        made = [search.result() for search in searches]
        return tuple([np.stack(arrays) for arrays in zip(*made)])


cdef Py_ssize_t chosen(const double *logits, Py_ssize_t first, Py_ssize_t classes, double temperature, Py_ssize_t kept,
                       unsigned long long *stream, double *own, double *highest) noexcept nogil:
    """A token; -1 if the logits are not finite.  `own` (classes,) and `highest` (kept,) are scratch."""
    cdef Py_ssize_t best
    if not temperature > 0:
        best = largest(logits, first, classes)
        return best if best < 0 or isfinite(logits[best]) else -1
    memcpy(own, logits, classes * sizeof(double))
    if 0 < kept < classes - first:
        if largest(own, first, classes) < 0:
            return -1
        keep_highest(own + first, classes - first, kept, highest)
    return drawn(own, first, classes, temperature, stream)


cdef class Search:
    """Beam search for one source.

    There are `width` open sequences, the best ones that have not ended, best first, and the best `width` that have.
    A score of -inf stands for none.
    """
    cdef Py_ssize_t width, steps, stop, first, classes, candidates, time
    cdef double penalty
    cdef bint over
    cdef object arrays
    cdef Py_ssize_t *tokens        # (W, steps), open
    cdef Py_ssize_t *grown         # (W, steps), those of the step before
    cdef Py_ssize_t *ended         # (W, steps)
    cdef Py_ssize_t *lengths       # (W,), of those that ended
    cdef Py_ssize_t *origin        # (W,): which open sequence each was before the step
    cdef Py_ssize_t *place         # (2W,): the best continuations, as sequence·classes + token
    cdef double *totals            # (W,): log p of the open ones
    cdef double *scores            # (W,): of those that ended
    cdef double *value             # (2W,): log p of the best continuations
    cdef double *shift             # (W,): log of what the probabilities are divided by

    def __cinit__(self, Py_ssize_t width, Py_ssize_t steps, Py_ssize_t stop, double penalty, Py_ssize_t first,
                  Py_ssize_t classes):
        cdef Py_ssize_t w
        self.width, self.steps, self.stop, self.penalty = width, steps, stop, penalty
        self.first, self.classes = first, classes
        numbers = np.full((3, width, steps), max(stop, 0), np.intp)
        counts = np.zeros(4 * width, np.intp)
        amounts = np.full(5 * width, -np.inf)
        self.arrays = numbers, counts, amounts
        self.tokens = <Py_ssize_t *>data_of(numbers)
        self.grown, self.ended = self.tokens + width * steps, self.tokens + 2 * width * steps
        self.lengths = <Py_ssize_t *>data_of(counts)
        self.origin, self.place = self.lengths + width, self.lengths + 2 * width
        self.totals = <double *>data_of(amounts)
        self.scores, self.value, self.shift = self.totals + width, self.totals + 2 * width, self.totals + 4 * width
        self.totals[0] = 0
        for w in range(width):
            self.origin[w] = w

    cdef int grow(self, const double *logits, Py_ssize_t t) noexcept nogil:
        """Step t, from logits (W, classes) of the open sequences; -1 if they are not finite."""
        cdef Py_ssize_t w, i, taken = 0
        for w in range(self.width):
            self.shift[w] = log_total(logits + w * self.classes, self.classes)
            if self.totals[w] > -INFINITY and not isfinite(self.shift[w]):
                return -1
        self.find_best(logits)
        self.tokens, self.grown = self.grown, self.tokens
        for i in range(self.candidates):
            if self.place[i] % self.classes == self.stop:
                if i < self.width:
                    self.put_aside(i, t)
            elif taken < self.width:
                self.go_on(i, taken, t)
                taken += 1
        for w in range(taken, self.width):
            self.totals[w] = -INFINITY
            self.origin[w] = 0
        self.time = t + 1
        # log p can but fall, and the number of tokens rise to `steps`
        self.over = self.totals[0] / pow(self.steps, self.penalty) <= self.scores[self.width - 1]
        if self.over:
            for w in range(self.width):
                self.totals[w] = -INFINITY
        return 0

    cdef void find_best(self, const double *logits) noexcept nogil:
        """The 2W best continuations of all open sequences, best first; of equal ones the first."""
        cdef Py_ssize_t w, k, i, most = 2 * self.width
        cdef double total
        self.candidates = 0
        for w in range(self.width):
            if self.totals[w] == -INFINITY:
                continue
            for k in range(self.first, self.classes):
                total = self.totals[w] + (logits[w * self.classes + k] - self.shift[w])
                if self.candidates == most and not total > self.value[most - 1]:
                    continue
                if self.candidates < most:
                    self.candidates += 1
                i = self.candidates - 1
                while i > 0 and self.value[i - 1] < total:
                    self.value[i], self.place[i] = self.value[i - 1], self.place[i - 1]
                    i -= 1
                self.value[i], self.place[i] = total, w * self.classes + k

    cdef void put_aside(self, Py_ssize_t i, Py_ssize_t t) noexcept nogil:
        """Candidate i has ended, after t tokens: among those that have, in its place by score."""
        cdef Py_ssize_t w = self.width, n = self.steps
        cdef double score = self.value[i] / pow(t + 1, self.penalty)
        if not score > self.scores[w - 1]:
            return
        w -= 1
        while w > 0 and self.scores[w - 1] < score:
            self.scores[w], self.lengths[w] = self.scores[w - 1], self.lengths[w - 1]
            memcpy(self.ended + w * n, self.ended + (w - 1) * n, n * sizeof(Py_ssize_t))
            w -= 1
        self.scores[w], self.lengths[w] = score, t
        self.write(self.ended + w * n, i, t)

    cdef void go_on(self, Py_ssize_t i, Py_ssize_t w, Py_ssize_t t) noexcept nogil:
        """Candidate i becomes the open sequence w."""
        self.origin[w] = self.place[i] // self.classes
        self.totals[w] = self.value[i]
        self.write(self.tokens + w * self.steps, i, t)

    cdef void write(self, Py_ssize_t *to, Py_ssize_t i, Py_ssize_t t) noexcept nogil:
        """The tokens of candidate i, the last of which is the t-th; the stop token behind it."""
        cdef Py_ssize_t k
        memcpy(to, self.grown + (self.place[i] // self.classes) * self.steps, t * sizeof(Py_ssize_t))
        to[t] = self.place[i] % self.classes
        for k in range(t + 1, self.steps):
            to[k] = max(self.stop, 0)

    cdef void hand_over(self, Py_ssize_t *token, Py_ssize_t *origin, Py_ssize_t start) noexcept nogil:
        """What the rows of the stage read next, and which of its rows each goes on from; `start` is the first."""
        cdef Py_ssize_t w
        for w in range(self.width):
            origin[w] = start + self.origin[w]
            token[w] = self.tokens[w * self.steps + self.time - 1] if self.totals[w] > -INFINITY else self.first

    cdef result(self):
        """Tokens (W, steps), lengths (W,) and scores (W,), best first: those that ended, then those still open."""
        numbers, counts, amounts = self.arrays
        cdef Py_ssize_t w = self.width
        left = numbers[(<Py_ssize_t>(self.tokens - <Py_ssize_t *>data_of(numbers))) // (w * self.steps)]
        scores = np.concatenate([amounts[w:2 * w], amounts[:w] / float(self.steps) ** self.penalty])
        tokens = np.concatenate([numbers[2], left])
        lengths = np.concatenate([counts[:w], np.full(w, self.steps)])
        best = np.argsort(-scores, kind="stable")[:w]
        return tokens[best], lengths[best], scores[best]
