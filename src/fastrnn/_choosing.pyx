# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Choosing among classes by their logits: the most probable one, or one drawn by the probabilities."""

from libc.math cimport INFINITY, NAN, exp, log
from libc.string cimport memset

from ._schedule cimport data_of

import numpy as np

# ---- random numbers --------------------------------------------------------------------------------------------------

cdef unsigned long long GAMMA = 0x9E3779B97F4A7C15


cdef unsigned long long mixed(unsigned long long z) noexcept nogil:
    """The output function of SplitMix64 (Steele, Lea and Flood, 2014)."""
    z = (z ^ (z >> 30)) * <unsigned long long>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <unsigned long long>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef double uniform(unsigned long long *state) noexcept nogil:
    """The next number of a stream, in [0, 1) with 53 random bits."""
    state[0] += GAMMA
    return (mixed(state[0]) >> 11) * (1.0 / 9007199254740992.0)


# ---- choosing among classes ------------------------------------------------------------------------------------------

cdef Py_ssize_t largest(const double *values, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """The first of the largest values from `first` on; -1 if one of them is a NaN."""
    cdef Py_ssize_t k, best = first
    for k in range(first, count):
        if values[k] != values[k]:
            return -1
        if values[k] > values[best]:
            best = k
    return best


cdef Py_ssize_t drawn(double *logits, Py_ssize_t first, Py_ssize_t count, double temperature,
                      unsigned long long *state) noexcept nogil:
    """A class from `first` on, drawn by softmax(logits / temperature), which is worked out in place; -1 if a logit is a
    NaN or the largest is infinite."""
    cdef Py_ssize_t k, best = largest(logits, first, count), last = first
    cdef double top, total = 0, threshold
    if best < 0 or logits[best] - logits[best] != 0:
        return -1
    top = logits[best]
    for k in range(first, count):
        logits[k] = exp((logits[k] - top) / temperature)
        total += logits[k]
    threshold = uniform(state) * total
    total = 0
    for k in range(first, count):
        total += logits[k]
        if logits[k] > 0:
            last = k
        if total > threshold:
            return k
    return last  # rounding


cdef Py_ssize_t choose_rows(double *logits, Py_ssize_t first, Py_ssize_t classes, double temperature,
                            unsigned long long *streams, Py_ssize_t *tokens, Py_ssize_t rows) noexcept nogil:
    """One class for each row of logits (rows, classes), by softmax or, with a temperature of 0, the largest.

    Returns how many rows had none.
    """
    cdef Py_ssize_t r, failed = 0
    for r in range(rows):
        if temperature > 0:
            tokens[r] = drawn(logits + r * classes, first, classes, temperature, streams + r)
        else:
            tokens[r] = largest(logits + r * classes, first, classes)
        failed += tokens[r] < 0
    return failed


cdef streams_of(unsigned long long seed, Py_ssize_t first, Py_ssize_t rows):
    """Where the streams of rows begin, counted from the row `first`."""
    cdef Py_ssize_t r
    states = np.empty(rows, np.uint64)
    cdef unsigned long long *state = <unsigned long long *>data_of(states)
    for r in range(rows):
        state[r] = mixed(seed + <unsigned long long>(first + r) * GAMMA)
    return states


cdef double log_total(const double *logits, Py_ssize_t count) noexcept nogil:
    """log(sum(exp(logits))); NaN if a logit is."""
    cdef Py_ssize_t k, best = largest(logits, 0, count)
    cdef double total = 0
    if best < 0:
        return NAN
    if logits[best] == -INFINITY or logits[best] == INFINITY:
        return logits[best]
    for k in range(count):
        total += exp(logits[k] - logits[best])
    return logits[best] + log(total)


cdef void keep_highest(double *logits, Py_ssize_t count, Py_ssize_t kept, double *highest) noexcept nogil:
    """Set all logits below the kept-th largest to -inf; `highest` (kept,) is scratch."""
    cdef Py_ssize_t k, i, found = 0
    for k in range(count):
        if found == kept and not logits[k] > highest[kept - 1]:
            continue
        i = found if found < kept else kept - 1
        found = i + 1 if found < kept else kept
        while i > 0 and highest[i - 1] < logits[k]:  # insertion: largest first
            highest[i] = highest[i - 1]
            i -= 1
        highest[i] = logits[k]
    for k in range(count):
        if logits[k] < highest[kept - 1]:
            logits[k] = -INFINITY


NOT_FINITE = "expected finite outputs to choose from, got NaN or infinity"


def choose(outputs, Py_ssize_t first, double temperature, unsigned long long seed, streams=None):
    """One class for each row of outputs (B, classes), and the streams of random numbers to go on with."""
    logits = np.array(outputs, np.float64, order="C")
    cdef Py_ssize_t rows = logits.shape[0], classes = logits.shape[1]
    streams = streams_of(seed, 0, rows) if streams is None else streams
    tokens = np.empty(rows, np.intp)
    if choose_rows(<double *>data_of(logits), first, classes, temperature, <unsigned long long *>data_of(streams),
                   <Py_ssize_t *>data_of(tokens), rows):
        raise ValueError(f"sampler: {NOT_FINITE}")
    return tokens, streams


# ---- chosen ones as inputs -------------------------------------------------------------------------------------------

cdef void set_one_hot(char *rows, Py_ssize_t columns, Py_ssize_t size, const Py_ssize_t *classes,
                      Py_ssize_t count) noexcept nogil:
    """Rows of zeros but for a one at the class of each."""
    cdef Py_ssize_t r
    memset(rows, 0, count * columns * size)
    for r in range(count):
        if size == 4:
            (<float *>rows)[r * columns + classes[r]] = 1
        else:
            (<double *>rows)[r * columns + classes[r]] = 1
