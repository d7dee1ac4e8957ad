# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Who does what of a call, and whether it should stop.

Each member of a team has rows of the batch; or, when the batch is too small for that, units of all rows.
"""

from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from ._schedule cimport is_reset, share_start

cdef enum:
    GATE_COST = 200             # a gate's activations cost as much as so many multiplications
    TASK_COST = 10_000_000      # multiplications a member must have to be worth waking
    STEP_COST = 60_000          # multiplications of a step that a member must have for its units to be worth splitting


# ---- who does what ---------------------------------------------------------------------------------------------------

cdef int members_for(const Run *run, const Plan *plan, int most) noexcept nogil:
    """How many members a call is worth."""
    cdef Py_ssize_t step = run.cell.gates * run.units * (run.inputs + run.outputs + GATE_COST)
    cdef Py_ssize_t members = 1 + plan.rows * step // TASK_COST
    if splits_units(run, plan, most) and (run.whole_rows or plan.batch * step < STEP_COST * most):
        return 1
    return <int>min(members, most)


cdef bint splits_units(const Run *run, const Plan *plan, int members) noexcept nogil:
    """Whether the rows of the batch are too few to be shared."""
    return plan.batch < 2 * members


cdef Share share_of(const Run *run, const Plan *plan, int member, int members) noexcept nogil:
    cdef Share share
    cdef Py_ssize_t group = 4 * run.kernels.width, groups = (run.padded + group - 1) // group  # whole panels
    share.all_units = members == 1 or not splits_units(run, plan, members)
    if share.all_units:
        share.first, share.last = share_start(plan, member, members), share_start(plan, member + 1, members)
        share.unit, share.end = 0, run.padded
    else:
        share.first, share.last = 0, plan.batch
        share.unit, share.end = groups * member // members * group, groups * (member + 1) // members * group
        share.unit, share.end = min(share.unit, run.padded), min(share.end, run.padded)
    share.columns = max(min(share.end, run.units) - share.unit, 0)
    return share


cdef void zero_reset_rows(const Run *run, const Plan *plan, const Share *share, Py_ssize_t t, char *states,
                          Py_ssize_t row) noexcept nogil:
    """Set a member's part of the states, rows of `row` bytes, to zero where they are thrown away before step t."""
    cdef Py_ssize_t r, unit = 0 if share.all_units else share.unit * run.size
    cdef Py_ssize_t bytes = row if share.all_units else (share.end - share.unit) * run.size
    for r in range(share.first, min(share.last, plan.counts[t])):
        if is_reset(plan, t, r):
            memset(states + r * row + unit, 0, bytes)


# ---- interrupts ------------------------------------------------------------------------------------------------------

cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals" () noexcept

cdef double seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + 1e-9 * now.tv_nsec


cdef bint signalled() noexcept with gil:
    """Whether a signal handler has raised, as Ctrl-C does; the exception waits for `raise_signal`."""
    return check_signals() < 0


cdef bint interrupted(double *next_look) noexcept nogil:
    """The same, at most ten times a second: getting the GIL may take as long as another thread wants to keep it."""
    cdef double now = seconds()
    if next_look[0] == 0:
        next_look[0] = now + 0.1
    if now < next_look[0]:
        return False
    next_look[0] = now + 0.1
    return signalled()


cdef int raise_signal() except -1:
    return -1
