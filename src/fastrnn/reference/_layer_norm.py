"""Layer normalization (J. L. Ba, J. R. Kiros and G. E. Hinton, 2016) of the rows of a matrix.

n = (v - mean(v)) / sqrt(var(v) + epsilon)          mean and variance (the biased one) over the last axis
LN(v) = n∘gain + bias
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._common import Array


class LayerNormSaved(NamedTuple):
    """What `layer_norm_backward` needs."""

    n: Array  # (B, N)
    scale: Array  # (B, 1), 1 / sqrt(var + epsilon)
    gain: Array  # (N,)


def layer_norm(v: Array, gain: Array | None, bias: Array | None, epsilon: float) -> tuple[Array, LayerNormSaved | None]:
    """LN(v), and what backward needs; without a gain there is no normalization, and v comes back as it is."""
    if gain is None:
        return v, None
    scale = 1 / np.sqrt(v.var(axis=-1, keepdims=True) + epsilon)  # (B, 1)
    n = (v - v.mean(axis=-1, keepdims=True)) * scale  # (B, N)
    return n * gain if bias is None else n * gain + bias, LayerNormSaved(n, scale, gain)


def layer_norm_backward(dresult: Array, saved: LayerNormSaved | None) -> tuple[Array, Array | None, Array | None]:
    """dv, dgain and dbias.

    With dn = dresult∘gain, of which n cannot follow what moves all of v alike, nor what stretches it:

        dv = scale * (dn - mean(dn) - n * mean(dn∘n))
    """
    if saved is None:
        return dresult, None, None
    n, scale, gain = saved
    dn = dresult * gain  # (B, N)
    dv = scale * (dn - dn.mean(axis=-1, keepdims=True) - n * (dn * n).mean(axis=-1, keepdims=True))  # (B, N)
    return dv, (dresult * n).sum(axis=0), dresult.sum(axis=0)  # (B, N), (N,), (N,)
