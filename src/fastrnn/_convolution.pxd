from ._kernels cimport fastrnn_activation, fastrnn_kernels


cdef struct Convolution:
    const fastrnn_kernels *kernels
    Py_ssize_t size                          # bytes of a value
    Py_ssize_t groups, channels, filters     # C and F of one group
    Py_ssize_t padded                        # F filled up to whole vectors
    Py_ssize_t taps, stride, dilation, left
    Py_ssize_t time, outputs                 # steps of a row of x; sums for it
    Py_ssize_t y_time, y_first, y_step       # steps of a row of y; output o is its step y_first + o·y_step
    bint side_by_side                        # whether the steps that an output sees are
    Py_ssize_t at_once                       # outputs that are one row to the grouped kernels; 0: they do not take it
    fastrnn_activation activation            # phi, where y_step is 1
    const char *x      # (B, T, groups·C)
    const char *w      # (groups,) packed (K·C, F); or (K·C, at_once, groups·F)
    const char *column  # (C,): w itself, where it is one tap and one filter that sees no padding; otherwise NULL
    const char *start  # (groups, padded); or (at_once, groups·F)
    char *y            # (B, y_time, groups·F)
    char *shown        # phi of it: the same memory, or beside it where phi's argument is kept


cdef struct Range:
    Py_ssize_t first, last


cdef void multiply_column(const fastrnn_kernels *kernels, const char *a, Py_ssize_t a_stride, Py_ssize_t depth,
                          const char *w, const char *start, char *out, Py_ssize_t rows) noexcept nogil
cdef void choose_way(Convolution *p) noexcept nogil
cdef void convolve(const Convolution *p, Py_ssize_t first, Py_ssize_t last, char *buffer) noexcept nogil
cdef Py_ssize_t buffer_bytes(const Convolution *p) noexcept nogil
cdef size_t packed_bytes(const Convolution *p) noexcept nogil
cdef Py_ssize_t start_bytes(const Convolution *p) noexcept nogil
cdef void pack_groups(const Convolution *p, const char *w, char *packed) noexcept nogil
cdef void set_start(const Convolution *p, const char *b, char *start) noexcept nogil
cdef object to_pack(const Convolution *p, w)
