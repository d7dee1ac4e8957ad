"""The minimal gated recurrent unit, whose gate and candidate see the input alone.

    z = σ(x_t·w_xz + b_z)                       update gate: what of the candidate enters
    n = φ(x_t·w_xn + b_n)                       candidate
    h_t = (1 - z)∘h_{t-1} + z∘n                 y_t = h_t

The two gates stand side by side in this order in w_x (I, 2*H) and b (2*H,).  With no recurrent product, w_h is None.
Source: L. Feng, F. Tung, M. O. Ahmed, Y. Bengio and H. Hajimirsadeghi (2024).  Mind that z is what a GRU calls 1 - z.
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

NO_PRODUCT = "a minGRU has no recurrent product"


class MinGRUSaved(NamedTuple):
    """What the backward step needs."""

    x_t: Array
    h_prev: Array
    a_z: Array
    a_n: Array
    z: Array
    n: Array


@dataclass(frozen=True, eq=False)
class MinGRU:
    """One step of a minGRU."""

    w_x: Array
    w_h: None
    b: Array | None
    phi: Activation
    sigma: Activation

    state_sizes = ("H",)

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs; the sizes by letter."""
        refuse(NO_PRODUCT, w_h=self.w_h)
        require_ndim("w_x", self.w_x, 2)
        sizes = {"I": inputs, "H": self.w_x.shape[1] // 2}
        require_units("w_x", sizes["H"])
        require_shapes(self, sizes, w_x="(I, 2*H)", b="(2*H,)")
        return sizes

    def forward(self, x_t: Array, h_in: Array, h_prev: Array) -> tuple[list[Array], MinGRUSaved]:
        """The new state, and what backward needs."""
        # a = x_t·w_x + b
        a = plus(x_t @ self.w_x, self.b)  # (B, 2*H) = (B, I) · (I, 2*H)
        a_z, a_n = np.split(a, 2, axis=-1)  # (B, H) each, as all below

        # h = (1 - z)∘h_prev + z∘n
        z = self.sigma.function(a_z)
        n = self.phi.function(a_n)
        h = (1 - z) * h_prev + z * n
        return [h], MinGRUSaved(x_t, h_prev, a_z, a_n, z, n)

    def backward(self, dstates: list[Array], saved: MinGRUSaved) -> StepBack:
        """The gradients, from that by the new state."""
        x_t, h_prev, a_z, a_n, z, n = saved
        (dh,) = dstates
        dz, dn = dh * (n - h_prev), dh * z  # (B, H) each
        da = np.concatenate([dz * self.sigma.derivative(a_z, z), dn * self.phi.derivative(a_n, n)], axis=-1)  # (B, 2*H)
        return StepBack(
            dx_t=da @ self.w_x.T,  # (B, I) = (B, 2*H) · (2*H, I)
            dh_in=np.zeros_like(dh),
            dstates=[dh * (1 - z)],
            dparams={"w_x": x_t.T @ da, "b": da.sum(axis=0)},  # (I, 2*H) = (I, B) · (B, 2*H), and (2*H,)
        )


def _maker(activation: Spec, recurrent_activation: Spec, clip: float | None, ln_x_gain: Any, ln_h_gain: Any) -> Any:
    """What makes a `MinGRU` of its params."""
    refuse(f"layer normalization is of both products, and {NO_PRODUCT}", ln_x_gain=ln_x_gain, ln_h_gain=ln_h_gain)
    clip = limit("clip", clip)
    return partial(
        MinGRU,
        phi=clipped(activation_named("activation", activation), clip),
        sigma=clipped(activation_named("recurrent_activation", recurrent_activation), clip),
    )


def mingru_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: None,
    b: ArrayLike | None,
    *,
    activation: Spec = "linear",
    recurrent_activation: Spec = "sigmoid",
    clip: float | None = None,
    ln_x_gain: None = None,
    ln_h_gain: None = None,
) -> tuple[Array, StepCache]:
    """One step of a minGRU.

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev : array_like or None
        The state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 2*H), None, bias (2*H,) or None; gates in the order z, n.
    activation, recurrent_activation, clip, ln_x_gain, ln_h_gain
        As in `mingru_forward`.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : StepCache
        For `mingru_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.mingru_step_forward([1.0], [0.2], [[0.0, 0.6]], None, None)
    >>> h  # the gate is half open, the candidate is 0.6
    array([0.4])
    """
    make = _maker(activation, recurrent_activation, clip, ln_x_gain, ln_h_gain)
    h, cache = step_forward(make, x_t, {"h_prev": h_prev}, {"w_x": w_x, "w_h": w_h, "b": b})
    return h, cache


def mingru_step_backward(dh: ArrayLike | None, cache: StepCache) -> StepGradients:
    """Gradients of one step of a minGRU.

    Parameters
    ----------
    dh : array_like or None
        The gradient of the loss by the state after the step, (B, H) or (H,); None for zeros.
    cache : StepCache
        From `mingru_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db : ndarray
        A named tuple; dw_h is None, and db without a bias.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.mingru_step_forward([1.0], [0.2], [[0.0, 0.6]], None, None)
    >>> reference.mingru_step_backward([1.0], cache).dh_prev  # the gate is half open
    array([0.5])
    """
    return result(StepGradients, step_backward(cache, dh=dh))


def mingru_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: None,
    b: ArrayLike | None,
    *,
    activation: Spec = "linear",
    recurrent_activation: Spec = "sigmoid",
    clip: float | None = None,
    dropout_mask: ArrayLike | None = None,
    zoneout_mask: ArrayLike | None = None,
    ln_x_gain: None = None,
    ln_h_gain: None = None,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """A minGRU over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0 : array_like or None
        The initial state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 2*H), None, bias (2*H,) or None; gates in the order z, n.
    activation, recurrent_activation : str or tuple
        φ of the candidate, σ of the gate, as in `rnn_forward`.
    clip, dropout_mask, zoneout_mask
        As in `rnn_forward`.
    ln_x_gain, ln_h_gain : None
        Layer normalization has no meaning here, since there is no recurrent product; for this reason there is no
        recurrent dropout either.
    lengths, reset_mask, reverse, keep_cache, num_threads
        As in `rnn_forward`.

    Returns
    -------
    y : ndarray
        The states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `mingru_backward`; ``cache.h_n`` is the state after the last step of each row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, an argument is not numeric, or w_h or layer normalization is
        given.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.mingru_forward(np.ones((4, 1)), None, [[0.0, 1.0]], None, None)
    >>> y[:, 0]  # the gate is half open: a moving average
    array([0.5   , 0.75  , 0.875 , 0.9375])
    """
    return forward_through_time(
        _maker(activation, recurrent_activation, clip, ln_x_gain, ln_h_gain),
        x,
        {"h0": h0},
        {"w_x": w_x, "w_h": w_h, "b": b},
        lengths=lengths,
        reset_mask=reset_mask,
        reverse=reverse,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=None,
        zoneout_masks={"zoneout_mask": zoneout_mask},
    )


def mingru_backward(dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None) -> Gradients:
    """Gradients of a minGRU, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `mingru_forward`.
    dh_n : array_like, optional
        The gradient by the final state, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dw_x, dw_h, db : ndarray
        A named tuple; dw_h is None, and db without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.mingru_forward(np.ones((4, 1)), [0.0], [[0.0, 1.0]], None, None)
    >>> reference.mingru_backward(None, cache, dh_n=[1.0]).dh0  # half of it is left after every step
    array([0.0625])
    """
    return result(Gradients, backward_through_time(cache, {"dy": dy}, {"dh_n": dh_n}))
