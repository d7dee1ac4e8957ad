"""Products and norms of rows, for the layers without time: a row has the same bits alone and in any batch."""

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
    if len(dout):
        dx, dw, db = _convolution.backward(cache, dout[None], cache.num_threads, needs_dx)
        return dx[0] if needs_dx else None, dw[0], db
    (_, *x_shape), (_, *w_shape) = cache.x.shape, cache.w.shape
    db = np.zeros(w_shape[1], dout.dtype) if cache.has_bias else None
    return np.zeros(x_shape, dout.dtype) if needs_dx else None, np.zeros(w_shape, dout.dtype), db
