from ._cache cimport Kept, Mixing, Run
from ._kernels cimport fastrnn_narrow


cdef struct Weights:  # packed and in block order; of the options only what is in use
    char *w_x
    char *w_h
    char *w_second
    char *w_proj
    char *b
    char *b_h
    char *zeros         # a row of zeros as long as any product's
    char *unit          # (U·Hp,)
    char *x_gain        # (G·Hp,)
    char *h_gain        # (G·Hp,), or (Hp,) for the norm of the sum
    char *h_add         # (Hp,): ln_bias of the norm of the sum
    char *c_gain        # (Hp,)
    char *c_add
    fastrnn_narrow narrow_x       # how each matrix is stored, where that is not as it is
    fastrnn_narrow narrow_h
    fastrnn_narrow narrow_second
    fastrnn_narrow narrow_proj


cdef struct Scratch:  # of one step
    char *products      # (B, G·Hp)
    char *second        # (B, Hp)
    char *shown         # (B, Hp)
    char *share         # (B, max(Pp, Hp)): rows of a zoneout mask


cdef struct Step:
    const Weights *weights
    const Mixing *mixing
    const Scratch *scratch
    const Py_ssize_t *origin  # of the step's rows in a user's array, see Plan
    Py_ssize_t shift
    Kept at                   # the step's first row
    char *h                   # where the new states go
    char *c


cdef void step_forward(const Run *run, const Step *step, Py_ssize_t first, Py_ssize_t last, Py_ssize_t unit,
                       Py_ssize_t end) noexcept nogil
cdef void input_product(const Run *run, const Weights *weights, const Kept *at, const char *x, Py_ssize_t x_stride,
                        Py_ssize_t rows) noexcept nogil
