"""The independently recurrent network: every unit sees of the state only itself.

    h_t = φ(x_t·w_x + w_h∘h_{t-1} + b)                  y_t = h_t

Source: S. Li, W. Li, C. Cook, C. Zhu and Y. Gao (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._activations import Activation, Spec, activation_named, clipped
from ._common import (
    Array,
    Gradients,
    StepGradients,
    limit,
    plus,
    refuse,
    require_ndim,
    require_shapes,
    require_units,
    result,
)
from ._step import StepBack, StepCache, step_backward, step_forward
from ._through_time import SequenceCache, backward_through_time, forward_through_time


class IndRNNSaved(NamedTuple):
    """What the backward step needs."""

    x_t: Array
    h_in: Array
    a: Array
    h: Array


@dataclass(frozen=True, eq=False)
class IndRNN:
    """One step of an IndRNN."""

    w_x: Array
    w_h: Array
    b: Array | None
    phi: Activation

    state_sizes = ("H",)

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs; the sizes by letter."""
        require_ndim("w_h", self.w_h, 1)
        sizes = {"I": inputs, "H": len(self.w_h)}
        require_units("w_h", sizes["H"])
        require_shapes(self, sizes, w_x="(I, H)", b="(H,)")
        return sizes

    def forward(self, x_t: Array, h_in: Array, h_prev: Array) -> tuple[list[Array], IndRNNSaved]:
        """The new state, and what backward needs."""
        # a = x_t·w_x + w_h∘h_in + b
        a = plus(x_t @ self.w_x + self.w_h * h_in, self.b)  # (B, H) = (B, I) · (I, H) + (H,) ∘ (B, H)
        h = self.phi.function(a)
        return [h], IndRNNSaved(x_t, h_in, a, h)

    def backward(self, dstates: list[Array], saved: IndRNNSaved) -> StepBack:
        """The gradients, from that by the new state."""
        x_t, h_in, a, h = saved
        (dh,) = dstates
        da = dh * self.phi.derivative(a, h)  # (B, H)
        return StepBack(
            dx_t=da @ self.w_x.T,  # (B, I) = (B, H) · (H, I)
            dh_in=da * self.w_h,  # (B, H) = (B, H) ∘ (H,)
            dstates=[np.zeros_like(dh)],
            dparams={
                "w_x": x_t.T @ da,  # (I, H) = (I, B) · (B, H)
                "w_h": (da * h_in).sum(axis=0),  # (H,)
                "b": da.sum(axis=0),  # (H,)
            },
        )


def _maker(activation: Spec, clip: float | None, ln_gain: Any, ln_bias: Any) -> Any:
    """What makes an `IndRNN` of its params."""
    why = "layer normalization would mix the units, which an IndRNN keeps independent"
    refuse(why, ln_gain=ln_gain, ln_bias=ln_bias)
    return partial(IndRNN, phi=clipped(activation_named("activation", activation), limit("clip", clip)))


def indrnn_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "relu",
    clip: float | None = None,
    ln_gain: None = None,
    ln_bias: None = None,
) -> tuple[Array, StepCache]:
    """One step of an IndRNN, h = φ(x_t·w_x + w_h∘h_prev + b).

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev : array_like or None
        The state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent weights (H,), bias (H,) or None.
    activation, clip, ln_gain, ln_bias
        As in `indrnn_forward`.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : StepCache
        For `indrnn_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.indrnn_step_forward([1.0], [2.0, 2.0], [[1.0, -9.0]], [0.5, 1.0], None)
    >>> h
    array([2., 0.])
    """
    make = _maker(activation, clip, ln_gain, ln_bias)
    h, cache = step_forward(make, x_t, {"h_prev": h_prev}, {"w_x": w_x, "w_h": w_h, "b": b})
    return h, cache


def indrnn_step_backward(dh: ArrayLike | None, cache: StepCache) -> StepGradients:
    """Gradients of one step of an IndRNN.

    Parameters
    ----------
    dh : array_like or None
        The gradient of the loss by the state after the step, (B, H) or (H,); None for zeros.
    cache : StepCache
        From `indrnn_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.indrnn_step_forward([1.0], [2.0, 2.0], [[1.0, -9.0]], [0.5, 1.0], None)
    >>> reference.indrnn_step_backward([1.0, 1.0], cache).dh_prev
    array([0.5, 0. ])
    """
    return result(StepGradients, step_backward(cache, dh=dh))


def indrnn_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "relu",
    clip: float | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    zoneout_mask: ArrayLike | None = None,
    ln_gain: None = None,
    ln_bias: None = None,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """An IndRNN over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0 : array_like or None
        The initial state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent weights (H,), bias (H,) or None.
    activation : str or tuple
        φ, as in `rnn_forward`.
    clip, dropout_mask, recurrent_dropout_mask, zoneout_mask
        As in `rnn_forward`; what recurrent dropout masks is h_{t-1} in w_h∘h_{t-1}.
    ln_gain, ln_bias : None
        Layer normalization has no meaning here, since it would mix the units.
    lengths, reset_mask, reverse, keep_cache, num_threads
        As in `rnn_forward`.

    Returns
    -------
    y : ndarray
        The states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `indrnn_backward`; ``cache.h_n`` is the state after the last step of each row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, an argument is not numeric, or layer normalization is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.indrnn_forward(np.ones((4, 1)), None, [[1.0, 1.0]], [1.0, 0.5], None)
    >>> y[:, 0], y[:, 1]  # a unit that adds up its inputs, and one that forgets half of the sum at every step
    (array([1., 2., 3., 4.]), array([1.   , 1.5  , 1.75 , 1.875]))
    """
    return forward_through_time(
        _maker(activation, clip, ln_gain, ln_bias),
        x,
        {"h0": h0},
        {"w_x": w_x, "w_h": w_h, "b": b},
        lengths=lengths,
        reset_mask=reset_mask,
        reverse=reverse,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        zoneout_masks={"zoneout_mask": zoneout_mask},
    )


def indrnn_backward(dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None) -> Gradients:
    """Gradients of an IndRNN, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `indrnn_forward`.
    dh_n : array_like, optional
        The gradient by the final state, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.indrnn_forward(np.ones((4, 1)), None, [[1.0, 1.0]], [1.0, 0.5], None)
    >>> reference.indrnn_backward(None, cache, dh_n=[1.0, 1.0]).dx.ravel()  # both units, over the steps that follow
    array([1.125, 1.25 , 1.5  , 2.   ])
    """
    return result(Gradients, backward_through_time(cache, {"dy": dy}, {"dh_n": dh_n}))
