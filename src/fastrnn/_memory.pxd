cdef class Memory:
    cdef char *data
    cdef size_t size

cdef Memory take(size_t size)
cdef size_t reserve(size_t *total, size_t size) noexcept nogil
