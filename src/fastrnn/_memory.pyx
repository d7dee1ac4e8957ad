# cython: language_level=3
"""Aligned memory that is used again.

The first touch of fresh memory costs the system more than the arithmetic on it, so what a call no longer needs goes
back to a pool.  The pool is bounded: what does not fit is given back to the system.  It is guarded by
the GIL.
"""

from libc.stdlib cimport free
from libc.string cimport memset

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef enum:
    ALIGNMENT = 64
    SLOTS = 64

cdef size_t LIMIT = <size_t>256 << 20
cdef char *free_data[SLOTS]
cdef size_t free_size[SLOTS]
cdef int free_count = 0
cdef size_t free_total = 0
cdef bint poisoned = False


cdef class Memory:
    """A piece of memory; back to the pool when the last reference goes."""

    def __dealloc__(self):
        give_back(self.data, self.size)


cdef void give_back(char *data, size_t size) noexcept:
    global free_count, free_total
    if data == NULL:
        return
    if free_count == SLOTS or free_total + size > LIMIT:
        free(data)
        return
    free_data[free_count] = data
    free_size[free_count] = size
    free_count += 1
    free_total += size


cdef Memory take(size_t size):
    """At least `size` bytes, aligned to a cache line, with anything in them."""
    global free_count, free_total
    cdef Memory memory = Memory.__new__(Memory)
    cdef int i, best = -1
    cdef void *fresh = NULL
    for i in range(free_count):  # the smallest that fits and is not wastefully large
        if size <= free_size[i] <= 2 * size + 4096 and (best < 0 or free_size[i] < free_size[best]):
            best = i
    if best >= 0:
        memory.data, memory.size = free_data[best], free_size[best]
        free_count -= 1
        free_total -= memory.size
        free_data[best], free_size[best] = free_data[free_count], free_size[free_count]
    else:
        size = (size + ALIGNMENT) // ALIGNMENT * ALIGNMENT
        if posix_memalign(&fresh, ALIGNMENT, size) != 0:
            raise MemoryError(f"no memory for {size} bytes of workspace")
        memory.data, memory.size = <char *>fresh, size
    if poisoned:
        memset(memory.data, 0xFF, memory.size)  # every float a NaN
    return memory


cdef size_t reserve(size_t *total, size_t size) noexcept nogil:
    """The offset of a part of `size` bytes in a piece of memory that is being planned."""
    cdef size_t offset = total[0]
    total[0] = offset + (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return offset


def release():
    """Give all memory that waits for its next use back to the system; returns the number of bytes."""
    global free_count, free_total
    cdef size_t total = free_total
    while free_count:
        free_count -= 1
        free(free_data[free_count])
    free_total = 0
    return total


def held():
    """Bytes that wait for their next use."""
    return free_total


def poison(bint on):
    """For tests: fill every piece of memory with NaN before it is handed out."""
    global poisoned
    poisoned = on
