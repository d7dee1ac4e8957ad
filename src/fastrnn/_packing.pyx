# cython: language_level=3
"""Weights that were packed in an earlier call.

The rule: an inference call (`keep_cache=False`) compares weights, byte for byte, with the copy that was packed at an
earlier call with the same array; only if all bytes are the same it takes the panels of then.  So changes in place are
always seen, and so is another array at the same address.  A training call, whose weights change each time, packs anew.

At most ENTRIES arrays and LIMIT bytes are kept, those used last.  The list is guarded by the GIL; a call holds what it
uses.
"""

cimport numpy as cnp
from libc.string cimport memcmp, memcpy

from ._memory cimport reserve, take

from . import _memory

cnp.import_array()

cdef enum:
    ENTRIES = 32

cdef size_t LIMIT = <size_t>64 << 20
cdef list entries = []  # the one used last stands last
cdef Py_ssize_t hits = 0, misses = 0


cdef class Packed:
    pass


cdef bint same_part(const fastrnn_pack *a, const fastrnn_pack *b) noexcept nogil:
    return a.rows == b.rows and a.units == b.units and a.gates == b.gates and a.row_size == b.row_size


cdef Packed packed_weights(const fastrnn_kernels *kernels, cnp.ndarray w, const fastrnn_pack *part, Py_ssize_t item):
    """The panels of a part of w, packed now or before; `item` is the bytes of a value."""
    global hits, misses
    cdef const void *source = cnp.PyArray_DATA(w)
    cdef Py_ssize_t size = cnp.PyArray_NBYTES(w), offset = <const char *>part.w - <const char *>source
    cdef Packed entry
    cdef bint same
    for entry in list(entries):
        if (entry.source == source and entry.size == size and entry.offset == offset and entry.kernels == kernels
                and same_part(&entry.part, part)):
            with nogil:
                same = memcmp(entry.copy, source, size) == 0
            if same:
                hits += 1
                if entries and entries[len(entries) - 1] is not entry and entry in entries:
                    entries.remove(entry)
                    entries.append(entry)
                return entry
            if entry in entries:
                entries.remove(entry)
    misses += 1
    entry = pack(kernels, source, size, offset, part, item)
    if entry.memory.size <= LIMIT:
        entries.append(entry)
    while len(entries) > ENTRIES or held() > LIMIT:
        del entries[0]
    return entry


cdef Packed pack(const fastrnn_kernels *kernels, const void *source, Py_ssize_t size, Py_ssize_t offset,
                 const fastrnn_pack *part, Py_ssize_t item):
    cdef Packed entry = Packed.__new__(Packed)
    cdef Py_ssize_t padded = (part.units + kernels.width - 1) // kernels.width * kernels.width
    cdef size_t total = 0
    cdef size_t at_copy = reserve(&total, size), at_panels = reserve(&total, part.rows * part.gates * padded * item)
    entry.memory = take(total)
    entry.source, entry.kernels, entry.size, entry.offset, entry.part = source, kernels, size, offset, part[0]
    entry.copy, entry.panels = entry.memory.data + at_copy, entry.memory.data + at_panels
    with nogil:
        memcpy(entry.copy, source, size)
        # from the copy: should another thread write to the weights now, the panels belong to the copy all the same
        entry.part.w, entry.part.packed = entry.copy + offset, entry.panels
        kernels.pack(&entry.part)
    return entry


cdef size_t held():
    cdef size_t total = 0
    cdef Packed entry
    for entry in entries:
        total += entry.memory.size
    return total


def statistics():
    """For tests: how often packed weights were found, how often not, how many are kept, and their bytes."""
    return hits, misses, len(entries), held()


def release_workspaces():
    """Give the memory of finished calls, which is kept for the next ones, back to the system.

    fastrnn keeps at most 256 MB of workspaces and 64 MB of packed weights.

    Returns
    -------
    int
        The number of bytes.

    Examples
    --------
    >>> import fastrnn
    >>> fastrnn.release_workspaces() >= 0
    True
    >>> fastrnn.release_workspaces()
    0
    """
    entries.clear()
    return _memory.release()
