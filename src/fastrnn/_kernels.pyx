# cython: language_level=3
"""What the C kernels have: cells, activations, instruction sets; and which of these sets is in use."""

cimport numpy as cnp

import os

import numpy as np

cnp.import_array()


def describe_cell(int index):
    """What the registry says of a cell."""
    cdef const fastrnn_cell *cell = &fastrnn_cells[index]
    return cell.name.decode(), {
        "index": index,
        "function": cell.function.decode(),
        "layer": cell.layer.decode(),
        "summary": cell.summary.decode(),
        "equations": cell.equations.decode(),
        "activation": cell.activation.decode(),
        "gates": cell.gates,
        "slots": cell.slots,
        "cell_state": bool(cell.cell_state),
        "additive": bool(cell.additive),
        "bias_rows": cell.bias_rows,
        "gated": bool(cell.gated),
        "recurrent": ("product", "elementwise", "nothing")[cell.recurrent],
        "second": cell.second,
        "norm": (None, "sum", "apart")[cell.norm],
        "unit_parameters": cell.unit_parameters,
        "unit_name": cell.unit_name.decode() if cell.unit_name != NULL else None,
    }


def describe_activation(int kind):
    """What the kernels say of an activation; `default` is how the engine wants it without constants of its own."""
    cdef const fastrnn_activation_spec *spec = &fastrnn_activation_specs[kind]
    return spec.name.decode(), {
        "kind": kind,
        "constants": spec.constants,
        "needs_argument": bool(spec.needs_argument),
        "default": (kind, spec.alpha, spec.beta),
    }


CELLS = dict(describe_cell(i) for i in range(fastrnn_cell_count))
ACTIVATIONS = dict(describe_activation(i) for i in range(FASTRNN_ACTIVATIONS))


# How weights may be stored for steps, by name; None: as they are.
FORMATS = {None: FASTRNN_AS_THEY_ARE, "float16": FASTRNN_FLOAT16, "bfloat16": FASTRNN_BFLOAT16, "int8": FASTRNN_INT8}


cdef fastrnn_activation activation_of(given):
    """An activation from what Python calls it: (kind, alpha, beta)."""
    cdef fastrnn_activation phi
    phi.kind, phi.alpha, phi.beta = given
    phi.keeps_argument = fastrnn_activation_specs[phi.kind].needs_argument
    return phi


cdef const fastrnn_isa *isa = NULL


def instruction_sets():
    """Names of the instruction sets that were compiled in and that this machine has, slowest first."""
    return [fastrnn_isa_at(i).name.decode() for i in range(fastrnn_isa_count()) if fastrnn_isa_supported(i)]


def use_instruction_set(name=None):
    """Take the kernels of one instruction set from now on; None is the fastest that this machine has."""
    global isa
    names = instruction_sets()
    name = name or names[len(names) - 1]
    if name not in names:
        raise ValueError(f"FASTRNN_ISA: expected one of {', '.join(map(repr, names))} on this machine, got {name!r}")
    for i in range(fastrnn_isa_count()):
        if fastrnn_isa_at(i).name.decode() == name:
            isa = fastrnn_isa_at(i)


def instruction_set():
    """Name of the instruction set in use."""
    return isa.name.decode()


use_instruction_set(os.environ.get("FASTRNN_ISA"))


cdef const fastrnn_kernels *kernels_for(cnp.ndarray array):
    return isa.f32 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32 else isa.f64


cdef const fastrnn_cell *cell_at(Py_ssize_t index) noexcept nogil:
    return &fastrnn_cells[index]


def multiply_add_probe(dtype, Py_ssize_t rounds):
    """Do multiply-adds on registers for a while; returns how many floating-point operations that were."""
    cdef cnp.ndarray sink = np.empty(64, dtype)
    return kernels_for(sink).multiply_add_probe(rounds, cnp.PyArray_DATA(sink))


def read_probe(cnp.ndarray values):
    """Read a float32 or float64 vector from end to end (but for a few last values), doing next to nothing with it."""
    cdef cnp.ndarray sink = np.empty(64, values.dtype)
    cdef const fastrnn_kernels *kernels = kernels_for(values)
    kernels.read_probe(cnp.PyArray_DATA(values), values.size // (8 * kernels.width) * (8 * kernels.width),
                       cnp.PyArray_DATA(sink))


def add_gram(cnp.ndarray a, cnp.ndarray b, cnp.ndarray c):
    """c (m, n) += aᵀ (m, rows) · b (rows, n), for benches; plain arrays of one type, n in whole vectors."""
    cdef const fastrnn_kernels *kernels = kernels_for(c)
    cdef fastrnn_gram p
    for array in (a, b, c):
        if array.ndim != 2 or array.dtype != c.dtype or not array.flags.c_contiguous:
            raise ValueError("expected C-contiguous matrices of one type")
    if a.shape[0] != b.shape[0] or (a.shape[1], b.shape[1]) != (c.shape[0], c.shape[1]) or c.shape[1] % kernels.width:
        raise ValueError("expected shapes (rows, m), (rows, n), (m, n), n a multiple of the vector's width")
    p.rows, p.m, p.n, p.stride, p.a_stride = a.shape[0], c.shape[0], c.shape[1], c.shape[1], a.shape[1]
    p.a, p.b, p.c = cnp.PyArray_DATA(a), cnp.PyArray_DATA(b), cnp.PyArray_DATA(c)
    kernels.add_gram(&p)
