cdef object NOT_FINITE
cdef Py_ssize_t largest(const double *values, Py_ssize_t first, Py_ssize_t count) noexcept nogil
cdef Py_ssize_t drawn(double *logits, Py_ssize_t first, Py_ssize_t count, double temperature,
                      unsigned long long *state) noexcept nogil
cdef Py_ssize_t choose_rows(double *logits, Py_ssize_t first, Py_ssize_t classes, double temperature,
                            unsigned long long *streams, Py_ssize_t *tokens, Py_ssize_t rows) noexcept nogil
cdef double log_total(const double *logits, Py_ssize_t count) noexcept nogil
cdef void keep_highest(double *logits, Py_ssize_t count, Py_ssize_t kept, double *highest) noexcept nogil
cdef streams_of(unsigned long long seed, Py_ssize_t first, Py_ssize_t rows)
cdef void set_one_hot(char *rows, Py_ssize_t columns, Py_ssize_t size, const Py_ssize_t *classes,
                      Py_ssize_t count) noexcept nogil
