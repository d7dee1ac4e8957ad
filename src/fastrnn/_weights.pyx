# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A user's weights and masks as the loops want them: packed, in block order, in the plan's order."""

cimport numpy as cnp
from libc.string cimport memcpy, memset

from ._cache cimport gather, padded_to
from ._kernels cimport FASTRNN_INT8, FASTRNN_PRODUCT, fastrnn_narrow, fastrnn_narrowing, fastrnn_pack
from ._memory cimport reserve, take
from ._packing cimport Packed, packed_weights
from ._schedule cimport data_of

import numpy as np

from ._kernels import FORMATS

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


cdef struct Place:  # a part of a user's matrix, where its panels are to be pointed to from, and how they are stored
    fastrnn_pack part
    char **panels
    fastrnn_narrow *narrow


cdef Place place_of(fastrnn_pack part, char **panels, fastrnn_narrow *narrow) noexcept:
    cdef Place place
    place.part, place.panels, place.narrow = part, panels, narrow
    return place


cdef int packed_parts(const Run *run, cnp.ndarray w_x, w_h, options, Weights *weights, Place *places):
    """What a call multiplies by; returns how many there are."""
    cdef int count = 1
    places[0] = place_of(matrix_part(run, w_x, run.units, 0, run.cell.gates), &weights.w_x, &weights.narrow_x)
    if run.cell.recurrent == FASTRNN_PRODUCT:
        places[count] = place_of(matrix_part(run, w_h, run.units, 0, run.first), &weights.w_h, &weights.narrow_h)
        count += 1
    if run.cell.second:
        places[count] = place_of(matrix_part(run, w_h, run.units, run.first, run.cell.second), &weights.w_second,
                                 &weights.narrow_second)
        count += 1
    if run.projected:
        places[count] = place_of(matrix_part(run, options.w_proj, run.outputs, 0, 1), &weights.w_proj,
                                 &weights.narrow_proj)
        count += 1
    return count


cdef int format_of(name, matrices) except -1:
    """How weights are stored, by its name; None is as they are."""
    if name not in FORMATS:
        raise ValueError(f"weights: expected one of {', '.join(map(repr, FORMATS))}, got {name!r}")
    if name is None:
        return 0
    for array in matrices:
        if array is not None and array.dtype != np.float32:
            raise ValueError(f"weights: expected float32 weights to store in {name}, got {array.dtype}")
        if array is not None and not np.isfinite(array).all():
            raise ValueError(f"weights: expected finite weights to store in {name}, got NaN or infinity")
    return FORMATS[name]


cdef Memory narrowed(const Run *run, const fastrnn_pack *part, fastrnn_narrow *narrow):
    """Packed weights in fewer bits, and behind them their scales."""
    cdef fastrnn_narrowing p
    cdef Py_ssize_t columns = part.gates * padded_to(run.kernels, part.units)
    cdef Py_ssize_t per = 4 if run.format == FASTRNN_INT8 else 2
    cdef size_t total = 0
    cdef size_t at_words = reserve(&total, (part.rows + per - 1) // per * columns * 4)
    cdef size_t at_scales = reserve(&total, columns * 4)
    cdef Memory memory = take(total)
    p.depth, p.vectors, p.format = part.rows, columns // run.kernels.width, run.format
    p.panel = run.kernels.panel_vectors(part.gates)
    p.w, p.words, p.scales = part.packed, memory.data + at_words, memory.data + at_scales
    narrow.format, narrow.scales = run.format, p.scales
    with nogil:
        run.kernels.narrow(&p)
    return memory


cdef Bound bind_weights(const Run *run, cnp.ndarray w_x, w_h, b, options, bint few, bint inference, Weights *weights):
    """All that the products of a call start from and multiply by; weights as the user holds them if `few`.

    An inference looks whether they were packed before.
    """
    cdef Bound bound = Bound.__new__(Bound)
    cdef int gates = run.cell.gates, i, count = 0
    cdef Place places[4]
    cdef size_t at[4]
    cdef Py_ssize_t row = gates * run.units * run.size
    cdef size_t wide = max(run.wide, run.state), total = 0
    cdef size_t at_b = reserve(&total, run.wide), at_b_h = reserve(&total, run.wide)
    cdef size_t at_zeros = reserve(&total, wide if run.whole_rows else 0)
    cdef char *bias = data_of(b)
    cdef char *data
    cdef Packed packed
    cdef Memory memory
    bound.held = bind_parameters(run, options, weights)
    if not few:
        count = packed_parts(run, w_x, w_h, options, weights, places)
    if not inference:
        for i in range(count):
            at[i] = reserve(&total, packed_size(run, &places[i].part))
    bound.memory = take(total)
    data = bound.memory.data
    weights.b, weights.b_h, weights.zeros = data + at_b, data + at_b_h, data + at_zeros
    for i in range(count):
        if inference:
            array = w_x if i == 0 else options.w_proj if run.projected and i == count - 1 else w_h
            packed = packed_weights(run.kernels, array, &places[i].part, run.size)
            bound.held = (bound.held, packed)
            places[i].panels[0] = packed.panels
        else:
            places[i].part.packed = places[i].panels[0] = data + at[i]
            run.kernels.pack(&places[i].part)
            if run.format:
                memory = narrowed(run, &places[i].part, places[i].narrow)
                bound.held, places[i].panels[0] = (bound.held, memory), memory.data
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
    if run.whole_rows:
        memset(weights.zeros, 0, wide)
    return bound


cdef Bound bind_parameters(const Run *run, options, Weights *weights):
    """Parameters of single units in block order; None if there are none."""
    cdef Bound bound
    cdef size_t total = 0
    cdef size_t at_unit = reserve(&total, run.cell.unit_parameters * run.cell_state if run.has_unit else 0)
    cdef size_t at_gains = reserve(&total, 2 * run.wide + 3 * run.cell_state if run.norm else 0)
    weights.unit = NULL
    if not total:
        return None
    bound = Bound.__new__(Bound)
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

cdef Bound bind_transposed(const Run *run, cnp.ndarray w_x, w_h, options, Weights *weights):
    """The same weights for products with their transposes."""
    cdef Bound bound = Bound.__new__(Bound)
    cdef Place places[4]
    cdef size_t at[4]
    cdef size_t total = 0
    cdef fastrnn_pack *part
    cdef int i, count = packed_parts(run, w_x, w_h, options, weights, places)
    for i in range(count):
        part = &places[i].part
        at[i] = reserve(&total, padded_to(run.kernels, part.rows) * part.gates * padded_to(run.kernels, part.units)
                        * run.size)
    bound.memory = take(total)
    with nogil:
        for i in range(count):
            places[i].part.packed = places[i].panels[0] = bound.memory.data + at[i]
            run.kernels.pack_transposed(&places[i].part)
    return bound


# ---- masks -----------------------------------------------------------------------------------------------------------

cdef Bound mixing_of(const Run *run, const Plan *plan, options, Mixing *mixing):
    """Masks of dropout in the plan's order; those of zoneout as they are, a number as an array of one."""
    cdef Bound bound
    cdef size_t total = 0
    if options is None:
        return None
    bound = Bound.__new__(Bound)
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
        return None
    bind_zoneout(run, bound, options, mixing)
    if run.masks_x or run.masks_h or mixing.zone_h_varies or mixing.zone_c_varies:
        raise ValueError("options: expected no masks of dropout and numbers for zoneout where a cell is stepped")
    return bound
