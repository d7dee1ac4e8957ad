from ._kernels cimport fastrnn_kernels


cdef struct Norm:  # of rows over all their values
    const fastrnn_kernels *kernels
    Py_ssize_t size, units, padded  # bytes of a value; F; F filled up to whole vectors
    double epsilon
    char *gain                      # (padded,)
    char *add


cdef void normalise_rows(const Norm *p, const char *x, Py_ssize_t rows, char *hat, char *scales,
                         char *out) noexcept nogil
cdef void set_gains(const Norm *p, gain, add)
