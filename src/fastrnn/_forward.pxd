cimport numpy as cnp

from ._cache cimport Kept, Mixing, Run
from ._kernels cimport fastrnn_barrier
from ._schedule cimport Plan
from ._step cimport Scratch, Weights


cdef struct Forward:
    Run run
    const Plan *plan
    Weights weights
    Mixing mixing
    Scratch scratch
    Kept kept        # of the steps to run, or of one chunk
    fastrnn_barrier barrier
    double next_look  # for interrupts
    bint[2] stop      # of chunks in turn: a member may still have to read the last chunk's when this one's is set
    Py_ssize_t start, end  # the steps to run
    bint keep        # False: no backward pass will come, states and gates are overwritten as soon as they are used
    bint few         # the weights are used as they are
    char *h_last     # (B, Pp): states of the rows that have ended
    char *c_last     # (B, Hp)
    char *row        # (G·H,) if `few`: there is only one, and one member
    char *w_x_user   # if `few`
    char *w_h_user
    char *x_user     # (B, T, I)
    char *y_user     # (B, T, P), or NULL
    char *c_user     # (B, T, H), or NULL
    Py_ssize_t *saved_steps  # where the states are saved, the last entry T; or NULL
    char *saved_h    # (rows of the saved steps, Pp)
    char *saved_c    # (the same rows, Hp)


cdef prepare(Forward *p, const Run *run, const Plan *plan, cnp.ndarray x, cnp.ndarray w_x, w_h, b, options,
             bint inference)
cdef void forward_loop(void *context, int member, int members) noexcept nogil
cdef void first_rows(const Run *run, const Plan *plan, const char *user, Py_ssize_t width, Py_ssize_t padded,
                     char *states) noexcept nogil
cdef void last_rows(const Run *run, const Plan *plan, const char *states, Py_ssize_t width, Py_ssize_t padded,
                    char *user) noexcept nogil
