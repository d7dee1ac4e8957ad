"""The leaky integrator, the cell of echo state networks.

    h_t = (1 - leak)∘h_{t-1} + leak∘φ(x_t·w_x + h_{t-1}·w_h + b)                y_t = h_t

With layer normalization φ sees LN(x_t·w_x + h_{t-1}·w_h + b)∘ln_gain + ln_bias, as in the simple RNN, which this cell
is if leak is 1.  Source: H. Jaeger (2001); H. Jaeger, M. Lukoševičius, D. Popovici and U. Siewert (2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._activations import Spec, activation_named, clipped
from ._common import Array, finite_number, limit, ln_variance, require_shapes, result
from ._step import StepBack, StepCache, step_backward, step_forward
from ._through_time import SequenceCache, backward_through_time, forward_through_time
from .rnn import LAYER_NORM, RNN, RNNSaved


class LeakyGradients(NamedTuple):
    """Gradients of a whole sequence, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None
    dleak: Array


class LeakyStepGradients(NamedTuple):
    """Gradients of one step, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None
    dleak: Array


class LeakySaved(NamedTuple):
    """What the backward step needs."""

    inner: RNNSaved
    h_prev: Array


@dataclass(frozen=True, eq=False)
class Leaky(RNN):
    """One step of a leaky integrator: that of a simple RNN, of which only a part enters the state."""

    leak: Array  # (H,), or a number: ()

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs; the sizes by letter."""
        sizes = super().check(inputs)
        if self.leak.ndim > 0:
            require_shapes(self, sizes, leak="(H,)")
        if not ((self.leak > 0) & (self.leak <= 1)).all():
            raise ValueError(
                f"leak: expected numbers above 0 and up to 1, got {self.leak.min():g} to {self.leak.max():g}"
            )
        return sizes

    def forward(self, x_t: Array, h_in: Array, h_prev: Array) -> tuple[list[Array], Any]:
        """The new state, and what backward needs."""
        (n,), inner = super().forward(x_t, h_in, h_prev)
        # h = (1 - leak)∘h_prev + leak∘n
        h = (1 - self.leak) * h_prev + self.leak * n  # (B, H)
        return [h], LeakySaved(inner, h_prev)

    def backward(self, dstates: list[Array], saved: Any) -> StepBack:
        """The gradients, from that by the new state."""
        (dh,) = dstates
        inner, h_prev = saved
        back = super().backward([dh * self.leak], inner)
        dleak = dh * (inner.h - h_prev)  # (B, H)
        return back._replace(
            dstates=[dh * (1 - self.leak)],
            dparams={**back.dparams, "leak": dleak.sum(axis=0) if self.leak.ndim else dleak.sum()},
        )


def _maker(activation: Spec, leak: Any, clip: float | None, ln_epsilon: float) -> Any:
    """What makes a `Leaky` of its params."""
    if np.ndim(leak) == 0:
        finite_number("leak", np.asarray(leak)[()])
    phi = clipped(activation_named("activation", activation), limit("clip", clip))
    return partial(Leaky, phi=phi, epsilon=ln_variance(ln_epsilon))


def leaky_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    leak: ArrayLike = 1.0,
    clip: float | None = None,
    ln_gain: ArrayLike | None = None,
    ln_bias: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
) -> tuple[Array, StepCache]:
    """One step of a leaky integrator, h = (1 - leak)∘h_prev + leak∘φ(x_t·w_x + h_prev·w_h + b).

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev : array_like or None
        The state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent kernel (H, H), bias (H,) or None.
    activation, leak, clip, ln_gain, ln_bias, ln_epsilon
        As in `leaky_forward`.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : StepCache
        For `leaky_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.leaky_step_forward([1.0], [2.0], [[3.0]], [[0.5]], None, activation="linear", leak=0.25)
    >>> h  # three quarters of 2, one quarter of 3 + 1
    array([2.5])
    """
    params = {"w_x": w_x, "w_h": w_h, "b": b, "ln_gain": ln_gain, "ln_bias": ln_bias, "leak": leak}
    h, cache = step_forward(_maker(activation, leak, clip, ln_epsilon), x_t, {"h_prev": h_prev}, params)
    return h, cache


def leaky_step_backward(dh: ArrayLike | None, cache: StepCache) -> LeakyStepGradients:
    """Gradients of one step of a leaky integrator.

    Parameters
    ----------
    dh : array_like or None
        The gradient of the loss by the state after the step, (B, H) or (H,); None for zeros.
    cache : StepCache
        From `leaky_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db, dleak : ndarray
        A named tuple; db is None without a bias, dleak is summed up if leak is a number.  With layer normalization
        dln_gain and dln_bias stand behind.

    Examples
    --------
    >>> from fastrnn import reference
    >>> h, cache = reference.leaky_step_forward([1.0], [2.0], [[3.0]], [[0.5]], None, activation="linear", leak=0.25)
    >>> gradients = reference.leaky_step_backward([1.0], cache)
    >>> gradients.dh_prev, float(gradients.dleak)  # 0.75 + 0.25 * 0.5, and 4 - 2
    (array([0.875]), 2.0)
    """
    return result(LeakyStepGradients, step_backward(cache, dh=dh), LAYER_NORM)


def leaky_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    leak: ArrayLike = 1.0,
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
    """A leaky integrator over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0 : array_like or None
        The initial state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, H), recurrent kernel (H, H), bias (H,) or None.
    activation : str or tuple
        φ, as in `rnn_forward`.
    leak : array_like or float
        (H,), or one number for all units, above 0 and up to 1: how much of the new value enters the state at each step.
    clip, dropout_mask, recurrent_dropout_mask, zoneout_mask, ln_gain, ln_bias, ln_epsilon
        As in `rnn_forward`; (1 - leak)∘h_{t-1} has no recurrent dropout.
    lengths, reset_mask, reverse, keep_cache, num_threads
        As in `rnn_forward`.

    Returns
    -------
    y : ndarray
        The states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `leaky_backward`; ``cache.h_n`` is the state after the last step of each row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> x, zero = np.ones((4, 1)), [[0.0]]
    >>> y, cache = reference.leaky_forward(x, None, [[1.0]], zero, None, activation="linear", leak=0.5)
    >>> y[:, 0]  # a moving average
    array([0.5   , 0.75  , 0.875 , 0.9375])
    """
    return forward_through_time(
        _maker(activation, leak, clip, ln_epsilon),
        x,
        {"h0": h0},
        {"w_x": w_x, "w_h": w_h, "b": b, "ln_gain": ln_gain, "ln_bias": ln_bias, "leak": leak},
        lengths=lengths,
        reset_mask=reset_mask,
        reverse=reverse,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        zoneout_masks={"zoneout_mask": zoneout_mask},
    )


def leaky_backward(dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None) -> LeakyGradients:
    """Gradients of a leaky integrator, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `leaky_forward`.
    dh_n : array_like, optional
        The gradient by the final state, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dw_x, dw_h, db, dleak : ndarray
        A named tuple; db is None without a bias, dleak is summed up if leak is a number.  With layer normalization
        dln_gain and dln_bias stand behind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> x, zero = np.ones((4, 1)), [[0.0]]
    >>> y, cache = reference.leaky_forward(x, [0.0], [[1.0]], zero, None, activation="linear", leak=0.5)
    >>> reference.leaky_backward(None, cache, dh_n=[1.0]).dx.ravel()
    array([0.0625, 0.125 , 0.25  , 0.5   ])
    """
    return result(LeakyGradients, backward_through_time(cache, {"dy": dy}, {"dh_n": dh_n}), LAYER_NORM)
