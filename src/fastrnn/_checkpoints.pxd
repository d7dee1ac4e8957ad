from ._cache cimport Checkpoints, Run
from ._schedule cimport Plan

cdef Py_ssize_t backward_rows(const Run *run) noexcept nogil
cdef Checkpoints checkpoints_for(const Run *run, const Plan *plan, budget)
