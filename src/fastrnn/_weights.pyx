# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A user's weights and masks as the loops want them: packed, in block order, in the plan's order."""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport gather, padded_to
from ._kernels cimport FASTRNN_PRODUCT, fastrnn_pack
from ._memory cimport reserve, take
from ._packing cimport Packed, packed_weights
from ._schedule cimport data_of

cnp.import_array()


cdef class Bound:
    pass


# ---- forward ---------------------------------------------------------------------------------------------------------

cdef fastrnn_pack matrix_part(const Run *run, array, Py_ssize_t units, int first, int gates):
    """Gates `first` to before `first + gates` of a user's matrix (rows, ...)."""
    cdef fastrnn_pack part
    cdef cnp.ndarray w = array
    part.rows, part.units, part.gates, part.row_size = w.shape[0], units, gates, w.shape[1]
    part.w, part.packed = data_of(w) + first * units * run.size, NULL
    return part


cdef size_t packed_size(const Run *run, const fastrnn_pack *part):
    return part.rows * part.gates * padded_to(run.kernels, part.units) * run.size


cdef void blocks_of(const Run *run, const char *row, int gates, char *blocks) noexcept nogil:
    """A user's (gates·H,) row in block order; zeros for NULL."""
    if row == NULL:
        memset(blocks, 0, gates * run.cell_state)
    else:
        run.kernels.to_blocks(row, blocks, run.units, gates, gates)


cdef char *bind_packed(const Run *run, Bound bound, array, Py_ssize_t units, int first, int gates, bint inference):
    """The panels of a part of a matrix; an inference looks whether they were packed before."""
    cdef fastrnn_pack part = matrix_part(run, array, units, first, gates)
    cdef Packed kept
    cdef Memory memory
    if inference:
        kept = packed_weights(run.kernels, array, &part, run.size)
        bound.held.append(kept)
        return kept.panels
    memory = take(packed_size(run, &part))
    bound.held.append(memory)
    part.packed = memory.data
    with nogil:
        run.kernels.pack(&part)
    return memory.data


cdef Bound bind_weights(const Run *run, cnp.ndarray w_x, w_h, b, options, bint few, bint inference, Weights *weights):
    """All that the products of a call start from and multiply by; weights as the user holds them if `few`."""
    cdef Bound bound = Bound.__new__(Bound)
    cdef int gates = run.cell.gates
    cdef Py_ssize_t row = gates * run.units * run.size
    cdef size_t wide = max(run.wide, run.state), total = 0
    cdef size_t at_b = reserve(&total, run.wide), at_b_h = reserve(&total, run.wide)
    cdef size_t at_zeros = reserve(&total, wide if run.whole_rows else 0)
    cdef char *bias = data_of(b)
    cdef char *data
    bound.held = [bind_parameters(run, options, weights)]
    bound.memory = take(total)
    data = bound.memory.data
    weights.b, weights.b_h, weights.zeros = data + at_b, data + at_b_h, data + at_zeros
    if few:
        memset(weights.b, 0, run.wide)
        memset(weights.b_h, 0, run.wide)
        if bias != NULL:
            memcpy(weights.b, bias, row)
        if bias != NULL and run.cell.bias_rows == 2:
            memcpy(weights.b_h, bias + row, row)
    else:
        blocks_of(run, bias, gates, weights.b)
        blocks_of(run, bias + row if bias != NULL and run.cell.bias_rows == 2 else NULL, gates, weights.b_h)
        weights.w_x = bind_packed(run, bound, w_x, run.units, 0, gates, inference)
        if run.cell.recurrent == FASTRNN_PRODUCT:
            weights.w_h = bind_packed(run, bound, w_h, run.units, 0, run.first, inference)
        if run.cell.second:
            weights.w_second = bind_packed(run, bound, w_h, run.units, run.first, run.cell.second, inference)
        if run.projected:
            weights.w_proj = bind_packed(run, bound, options.w_proj, run.outputs, 0, 1, inference)
    if run.whole_rows:
        memset(weights.zeros, 0, wide)
    return bound


cdef Bound bind_parameters(const Run *run, options, Weights *weights):
    """Parameters of single units in block order."""
    cdef Bound bound = Bound.__new__(Bound)
    cdef size_t total = 0
    cdef size_t at_unit = reserve(&total, run.cell.unit_parameters * run.cell_state if run.has_unit else 0)
    cdef size_t at_gains = reserve(&total, 2 * run.wide + 3 * run.cell_state if run.norm else 0)
    weights.unit = NULL
    if not total:
        return bound
    bound.memory = take(total)
    if run.has_unit:
        weights.unit = bound.memory.data + at_unit
        blocks_of(run, data_of(options.unit), run.cell.unit_parameters, weights.unit)
    if run.norm:
        bind_gains(run, options.norm, bound.memory.data + at_gains, weights)
    return bound


cdef bind_gains(const Run *run, norm, char *data, Weights *weights):
    """Gains and what is added to them, by the names of the options; those that a cell does not have are not there."""
    cdef int gates = run.norm_wide // run.cell_state
    weights.x_gain, weights.h_gain, weights.h_add = data, data + run.wide, data + 2 * run.wide
    weights.c_gain, weights.c_add = weights.h_add + run.cell_state, weights.h_add + 2 * run.cell_state
    for name, place in (("ln_x_gain", 0), ("ln_h_gain", 1), ("ln_gain", 1)):
        if name in norm:
            blocks_of(run, data_of(norm[name]), gates, weights.h_gain if place else weights.x_gain)
    if "ln_bias" in norm:
        blocks_of(run, data_of(norm["ln_bias"]), 1, weights.h_add)
    if "ln_c_gain" in norm:
        blocks_of(run, data_of(norm["ln_c_gain"]), 1, weights.c_gain)
        blocks_of(run, data_of(norm["ln_c_bias"]), 1, weights.c_add)


# ---- backward --------------------------------------------------------------------------------------------------------

cdef char *bind_packed_transposed(const Run *run, Bound bound, array, Py_ssize_t units, int first, int gates):
    """The panels of the transpose of a part of a matrix."""
    cdef fastrnn_pack part = matrix_part(run, array, units, first, gates)
    cdef Memory memory = take(padded_to(run.kernels, part.rows) * gates * padded_to(run.kernels, units) * run.size)
    bound.held.append(memory)
    part.packed = memory.data
    with nogil:
        run.kernels.pack_transposed(&part)
    return memory.data


cdef Bound bind_transposed(const Run *run, cnp.ndarray w_x, w_h, options, Transposed *weights):
    cdef Bound bound = Bound.__new__(Bound)
    bound.held = []
    weights.w_x = bind_packed_transposed(run, bound, w_x, run.units, 0, run.cell.gates)
    if run.cell.recurrent == FASTRNN_PRODUCT:
        weights.w_h = bind_packed_transposed(run, bound, w_h, run.units, 0, run.first)
    if run.cell.second:
        weights.w_second = bind_packed_transposed(run, bound, w_h, run.units, run.first, run.cell.second)
    if run.projected:
        weights.w_proj = bind_packed_transposed(run, bound, options.w_proj, run.outputs, 0, 1)
    return bound


# ---- masks -----------------------------------------------------------------------------------------------------------

cdef Bound mixing_of(const Run *run, const Plan *plan, options, Mixing *mixing):
    """Masks of dropout in the plan's order; those of zoneout as they are, a number as an array of one."""
    cdef Bound bound = Bound.__new__(Bound)
    cdef size_t total = 0
    if options is None:
        return bound
    cdef size_t at_x = reserve(&total, plan.batch * run.inputs * run.size if run.masks_x else 0)
    cdef size_t at_h = reserve(&total, plan.batch * run.state if run.masks_h else 0)
    bound.memory = take(total)
    mixing.mask_x, mixing.mask_h = bound.memory.data + at_x, bound.memory.data + at_h
    if run.masks_x:
        gather(run, mixing.mask_x, run.inputs, data_of(options.dropout_mask), run.inputs, plan.order, 0, plan.batch)
    if run.masks_h:
        gather(run, mixing.mask_h, run.padded_outputs, data_of(options.recurrent_dropout_mask), run.outputs, plan.order,
               0, plan.batch)
    bind_zoneout(run, bound, options, mixing)
    return bound


cdef bind_zoneout(const Run *run, Bound bound, options, Mixing *mixing):
    bound.held = [options.zoneout, options.zoneout_cell]
    mixing.zone_h, mixing.zone_c = data_of(options.zoneout), data_of(options.zoneout_cell)
    mixing.zone_h_varies = run.zones_h and options.zoneout.ndim > 0
    mixing.zone_c_varies = run.zones_c and options.zoneout_cell.ndim > 0


cdef Bound numbers_of(const Run *run, options, Mixing *mixing):
    """What is left of masks at inference: zoneout's numbers."""
    cdef Bound bound = Bound.__new__(Bound)
    if options is None:
        return bound
    bind_zoneout(run, bound, options, mixing)
    if run.masks_x or run.masks_h or mixing.zone_h_varies or mixing.zone_c_varies:
        raise ValueError("options: expected no masks of dropout and numbers for zoneout where a cell is stepped")
    return bound
