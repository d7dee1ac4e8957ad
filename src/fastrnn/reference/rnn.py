"""The simple recurrent network.

    a_t = x_t·w_x + h_{t-1}·w_h + b
    h_t = φ(a_t)                                        y_t = h_t
    h_t = φ(LN(a_t)∘ln_gain + ln_bias)                  with layer normalization

Equations 15-1 and 15-2 of A. Géron, *Hands-On Machine Learning*, chapter "Processing Sequences Using RNNs and CNNs",
which also normalizes in this way.
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
    ln_variance,
    plus,
    require_ndim,
    require_shapes,
    require_units,
    result,
    together,
)
from ._layer_norm import LayerNormSaved, layer_norm, layer_norm_backward
from ._step import StepBack, StepCache, step_backward, step_forward
from ._through_time import SequenceCache, backward_through_time, forward_through_time

LAYER_NORM = ("ln_gain", "ln_bias")


class RNNSaved(NamedTuple):
    """What the backward step needs."""

    x_t: Array
    h_in: Array
    norm: LayerNormSaved | None
    a: Array
    h: Array


@dataclass(frozen=True, eq=False)
class RNN:
    """One step of a simple RNN."""

    w_x: Array
    w_h: Array
    b: Array | None
    ln_gain: Array | None
    ln_bias: Array | None
    phi: Activation
    epsilon: float

    state_sizes = ("H",)

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs; the sizes by letter."""
        require_ndim("w_h", self.w_h, 2)
        sizes = {"I": inputs, "H": len(self.w_h)}
        require_units("w_h", sizes["H"])
        require_shapes(self, sizes, w_h="(H, H)", w_x="(I, H)", b="(H,)", ln_gain="(H,)", ln_bias="(H,)")
        together("layer normalization", ln_gain=self.ln_gain, ln_bias=self.ln_bias)
        return sizes

    def forward(self, x_t: Array, h_in: Array, h_prev: Array) -> tuple[list[Array], RNNSaved]:
        """The new state, and what backward needs."""
        # v = x_t·w_x + h_in·w_h + b
        v = plus(x_t @ self.w_x + h_in @ self.w_h, self.b)  # (B, H) = (B, I) · (I, H) + (B, H) · (H, H)
        a, norm = layer_norm(v, self.ln_gain, self.ln_bias, self.epsilon)  # (B, H)
        h = self.phi.function(a)
        return [h], RNNSaved(x_t, h_in, norm, a, h)

    def backward(self, dstates: list[Array], saved: RNNSaved) -> StepBack:
        """The gradients, from that by the new state."""
        x_t, h_in, norm, a, h = saved
        (dh,) = dstates
        da = dh * self.phi.derivative(a, h)  # (B, H)
        dv, dln_gain, dln_bias = layer_norm_backward(da, norm)  # (B, H), (H,), (H,)
        return StepBack(
            dx_t=dv @ self.w_x.T,  # (B, I) = (B, H) · (H, I)
            dh_in=dv @ self.w_h.T,  # (B, H) = (B, H) · (H, H)
            dstates=[np.zeros_like(dh)],
            dparams={
                "w_x": x_t.T @ dv,  # (I, H) = (I, B) · (B, H)
                "w_h": h_in.T @ dv,  # (H, H) = (H, B) · (B, H)
                "b": dv.sum(axis=0),  # (H,)
                "ln_gain": dln_gain,
                "ln_bias": dln_bias,
            },
        )


def _maker(activation: Spec, clip: float | None, ln_epsilon: float) -> Any:
    """What makes an `RNN` of its params."""
    phi = clipped(activation_named("activation", activation), limit("clip", clip))
    return partial(RNN, phi=phi, epsilon=ln_variance(ln_epsilon))


def rnn_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    clip: float | None = None,
    ln_gain: ArrayLike | None = None,
    ln_bias: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
) -> tuple[Array, StepCache]:
    """One step of a simple RNN, h = φ(x_t·w_x + h_prev·w_h + b).

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev : array_like or None
        The state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent kernel (H, H), bias (H,) or None.
    activation, clip, ln_gain, ln_bias, ln_epsilon
        As in `rnn_forward`.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : StepCache
        For `rnn_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, cache = reference.rnn_step_forward([1.0, 2.0], [0.5], [[0.1], [0.2]], [[0.3]], [0.0])
    >>> np.allclose(h, np.tanh(0.1 + 0.4 + 0.15))
    True
    """
    params = {"w_x": w_x, "w_h": w_h, "b": b, "ln_gain": ln_gain, "ln_bias": ln_bias}
    h, cache = step_forward(_maker(activation, clip, ln_epsilon), x_t, {"h_prev": h_prev}, params)
    return h, cache


def rnn_step_backward(dh: ArrayLike | None, cache: StepCache) -> StepGradients:
    """Gradients of one step of a simple RNN.

    Parameters
    ----------
    dh : array_like or None
        The gradient of the loss by the state after the step, (B, H) or (H,); None for zeros.
    cache : StepCache
        From `rnn_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.  With layer normalization dln_gain and dln_bias stand behind.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.rnn_step_forward([3.0], [0.5], [[2.0]], [[4.0]], None, activation="linear")
    >>> gradients = reference.rnn_step_backward([1.0], cache)
    >>> gradients.dx, gradients.dh_prev, gradients.dw_x, gradients.dw_h, gradients.db
    (array([2.]), array([4.]), array([[3.]]), array([[0.5]]), None)
    """
    return result(StepGradients, step_backward(cache, dh=dh), LAYER_NORM)


def rnn_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    clip: float | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    zoneout_mask: ArrayLike | None = None,
    ln_gain: ArrayLike | None = None,
    ln_bias: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """A simple RNN over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0 : array_like or None
        The initial state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent kernel (H, H), bias (H,) or None.
    activation : str or tuple
        φ, one of tanh, sigmoid, relu, linear, hard_sigmoid, hard_tanh, softsign, softplus, elu, selu, leaky_relu,
        thresholded_relu, gelu, silu, exponential, affine, scaled_tanh, or a tuple (name, alpha[, beta]) that sets the
        constants of one that has constants: ``("leaky_relu", 0.01)``.
    clip : float, optional
        Every pre-activation, the argument of an activation, is first clipped to [-clip, clip]; at a limit and beyond
        it the gradient is 0.
    dropout_mask, recurrent_dropout_mask : array_like, optional
        (B, I) and (B, H), without B for one instance: what every x_t, and h_{t-1} on its way into its product, is
        multiplied by.
    zoneout_mask : array_like or float, optional
        (B, T, H) or (T, H), in the order of the inputs, or one number; booleans or numbers m from 0 to 1.  The state
        becomes m∘h_{t-1} + (1 - m)∘h_t.
    ln_gain, ln_bias : array_like, optional
        (H,) both: layer normalization of x_t·w_x + h_{t-1}·w_h + b.
    ln_epsilon : float
        Added to the variance in layer normalization.
    lengths : array_like of int, optional
        The number of true steps of each row, (B,), from 0 to T in any order; for one instance a number.  Past its end
        a row's y is 0 and its inputs are not looked at.
    reset_mask : array_like of bool, optional
        (B, T) or (T,).  Where it is True, the state is zeroed before that step, and no gradient passes.
    reverse : bool
        Run each row from its last true step to its first; y stays in the order of the inputs.
    keep_cache, num_threads
        Ignored; here so that the signature is that of the fast function.

    Returns
    -------
    y : ndarray
        The states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `rnn_backward`; ``cache.h_n`` is the state after the last step of each row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, or an argument is not numeric.

    Notes
    -----
    Computes in float32 if every float array among inputs, states and weights is float32, otherwise in float64; numbers
    and masks follow.  The cache refers to the weights: do not write to them between forward and backward.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h, b = rng.normal(size=(4, 9, 3)), rng.normal(size=(3, 5)), rng.normal(size=(5, 5)), np.zeros(5)
    >>> y, cache = reference.rnn_forward(x, None, w_x, w_h, b, lengths=[9, 2, 0, 5])
    >>> y.shape, cache.h_n.shape
    ((4, 9, 5), (4, 5))
    >>> np.array_equal(cache.h_n[1], y[1, 1])
    True
    """
    return forward_through_time(
        _maker(activation, clip, ln_epsilon),
        x,
        {"h0": h0},
        {"w_x": w_x, "w_h": w_h, "b": b, "ln_gain": ln_gain, "ln_bias": ln_bias},
        lengths=lengths,
        reset_mask=reset_mask,
        reverse=reverse,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        zoneout_masks={"zoneout_mask": zoneout_mask},
    )


def rnn_backward(dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None) -> Gradients:
    """Gradients of a simple RNN, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `rnn_forward`.
    dh_n : array_like, optional
        The gradient by the final state, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.  With layer normalization dln_gain and dln_bias stand behind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.rnn_forward(np.ones((9, 3)), None, np.ones((3, 5)) / 3, np.eye(5), np.zeros(5))
    >>> gradients = reference.rnn_backward(np.ones((9, 5)), cache)
    >>> gradients.dx.shape, gradients.dh0.shape, gradients.dw_h.shape
    ((9, 3), (5,), (5, 5))
    """
    return result(Gradients, backward_through_time(cache, {"dy": dy}, {"dh_n": dh_n}), LAYER_NORM)
