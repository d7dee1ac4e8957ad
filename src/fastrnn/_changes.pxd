cdef unsigned long long changes  # how often parameters of any layer were changed
