# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Where states are kept when not everything is: backpropagation through long sequences in little memory."""

from ._cache cimport Kept, kept_size
from ._memory cimport take
from ._schedule cimport chunk_start

cdef enum:
    BACKWARD_CHUNK = 512 << 10  # bytes of gate gradients kept until the weights' gradients are added up
    BACKWARD_ROWS = 256         # but at least so many rows: each chunk passes over the weights' gradients once


cdef Py_ssize_t backward_rows(const Run *run) noexcept nogil:
    """Rows of a chunk of the backward pass."""
    return max(BACKWARD_CHUNK // run.wide, BACKWARD_ROWS)


cdef Checkpoints checkpoints_for(const Run *run, const Plan *plan, budget):
    """Where to keep the states when not everything is to be kept; None where everything may be.

    Between two checkpoints the backward pass computes once more what the forward pass did not keep.  With n of them,
    rows/n·K bytes of that stand beside n·S bytes of states; the sum is smallest where both are equal.
    """
    cdef Kept ignored
    cdef Py_ssize_t kept = kept_size(run, plan.rows, plan.rows, NULL, &ignored) // max(plan.rows, 1)
    cdef Py_ssize_t states = run.state + (run.cell_state if run.cell.cell_state else 0)
    cdef Py_ssize_t rows = <Py_ssize_t>(<double>plan.rows * plan.batch * states / kept) ** 0.5
    cdef Py_ssize_t end = plan.steps, start, count = 0, saved = 0, largest = 0
    cdef Checkpoints made
    if budget and budget >= plan.rows * kept:
        return None
    starts = []
    while end > 0:  # whole chunks of the backward pass, so that its sums are cut at the same places
        start = chunk_start(plan, end, backward_rows(run))
        while start > 0 and plan.offsets[end] - plan.offsets[start] < rows:
            start = chunk_start(plan, start, backward_rows(run))
        starts.append(start)
        largest = max(largest, plan.offsets[end] - plan.offsets[start])
        saved += plan.counts[start]
        end = start
    if len(starts) < 2:
        return None
    needed = saved * states + (largest + plan.batch) * kept
    if budget and needed > budget:
        raise ValueError(f"memory: expected at least {needed} bytes for this sequence, got {budget}")
    made = Checkpoints.__new__(Checkpoints)
    made.count, made.largest = len(starts), largest
    made.memory = take((made.count + 1) * sizeof(Py_ssize_t) + saved * states + 128)
    made.starts = <Py_ssize_t *>made.memory.data
    for start in reversed(starts):
        made.starts[count] = start
        count += 1
    made.starts[count] = plan.steps
    made.h = made.memory.data + ((made.count + 1) * sizeof(Py_ssize_t) + 63) // 64 * 64
    made.c = made.h + saved * run.state
    return made
