"""What the layers without time need: products and norms of rows, with the bits that a row has alone and in any batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _convolution, _normalization, _threads

Array = np.ndarray

layer_norm = _normalization.forward


def dense_forward(x: Array, w: Array, b: Array | None, activation: tuple[int, float, float]) -> tuple[Array, Any]:
    """phi(x·w + b) of x (N, I), w (I, F), and the cache of `dense_backward`: a convolution with a single tap.

    All arrays are as the engine takes them.
    """
    out, cache = _convolution.forward(
        x[None], w[None], b, len(x), activation=activation, num_threads=_threads.threads_for(None)
    )
    return out[0], cache


def dense_backward(dout: Array, cache: Any, needs_dx: bool) -> tuple[Array | None, Array, Array | None]:
    """dx (N, I), None unless it is needed, dw (I, F) and db (F,) from dout (N, F)."""
    if not len(dout):
        db = np.zeros(cache.w.shape[2], dout.dtype) if cache.has_bias else None
        return np.zeros(cache.x.shape[1:], dout.dtype) if needs_dx else None, np.zeros(cache.w.shape[1:], dout.dtype), db
    dx, dw, db = _convolution.backward(cache, dout[None], cache.num_threads, needs_dx)
    return dx[0] if needs_dx else None, dw[0], db
