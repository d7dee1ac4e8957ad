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

from ._kernels cimport fastrnn_pack
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


cdef Packed packed_weights(const Run *run, cnp.ndarray w):
    """The panels of w (rows, G·H), packed now or before."""
    global hits, misses
    cdef const void *source = cnp.PyArray_DATA(w)
    cdef Py_ssize_t rows = cnp.PyArray_DIMS(w)[0], size = cnp.PyArray_NBYTES(w)
    cdef Packed entry
    cdef bint same
    for entry in list(entries):
        if (entry.source == source and entry.rows == rows and entry.units == run.units and entry.size == size
                and entry.gates == run.cell.gates and entry.kernels == run.kernels):
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
    entry = pack(run, source, rows, size)
    if entry.memory.size <= LIMIT:
        entries.append(entry)
    while len(entries) > ENTRIES or held() > LIMIT:
        del entries[0]
    return entry


cdef Packed pack(const Run *run, const void *source, Py_ssize_t rows, Py_ssize_t size):
    cdef Packed entry = Packed.__new__(Packed)
    cdef fastrnn_pack p
    cdef size_t total = 0
    cdef size_t at_copy = reserve(&total, size), at_panels = reserve(&total, rows * run.wide)
    entry.memory = take(total)
    entry.source, entry.kernels, entry.size = source, run.kernels, size
    entry.rows, entry.units, entry.gates = rows, run.units, run.cell.gates
    entry.copy, entry.panels = entry.memory.data + at_copy, entry.memory.data + at_panels
    with nogil:
        memcpy(entry.copy, source, size)
        # from the copy: should another thread write to the weights now, the panels belong to the copy all the same
        p.rows, p.units, p.gates, p.w, p.packed = rows, run.units, run.cell.gates, entry.copy, entry.panels
        run.kernels.pack(&p)
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
