"""The gated recurrent unit, in its two forms.

    z = σ(x_t·w_xz + h_{t-1}·w_hz + b_z)                        update gate: what of the state stays
    r = σ(x_t·w_xr + h_{t-1}·w_hr + b_r)                        reset gate: what of the state the candidate sees
    n = φ(x_t·w_xn + b_xn + r∘(h_{t-1}·w_hn + b_hn))            candidate, reset after the product
    n = φ(x_t·w_xn + (r∘h_{t-1})·w_hn + b_n)                    candidate, reset before the product
    h_t = z∘h_{t-1} + (1 - z)∘n                                 y_t = h_t

The three gates stand side by side in this order in w_x (I, 3*H) and w_h (H, 3*H).  Reset after the product, b is
(2, 3*H): the first row is added to x_t·w_x, the second to h_{t-1}·w_h.  Reset before it, b is (3*H,).  Source:
K. Cho et al. (2014), which resets before; Keras and cuDNN reset after.

With layer normalization (J. L. Ba, J. R. Kiros and G. E. Hinton, 2016) LN(x_t·w_x)∘ln_x_gain stands for x_t·w_x, and
LN(h_{t-1}·w_h)∘ln_h_gain for h_{t-1}·w_h, each over all three gates together.  That needs the second product whole,
which the form that resets before it has not.
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
    boolean,
    limit,
    ln_variance,
    plus,
    refuse,
    require_ndim,
    require_shapes,
    require_units,
    result,
    together,
)
from ._layer_norm import LayerNormSaved, layer_norm, layer_norm_backward
from ._step import StepBack, StepCache, step_backward, step_forward
from ._through_time import SequenceCache, backward_through_time, forward_through_time

LAYER_NORM = ("ln_x_gain", "ln_h_gain")


class GRUSaved(NamedTuple):
    """What the backward step needs."""

    x_t: Array
    h_in: Array
    h_prev: Array
    arguments: tuple[Array, Array, Array]  # a_z, a_r, a_n
    gates: tuple[Array, Array, Array]  # z, r, n


class GRUResetAfterSaved(NamedTuple):
    """What the backward step needs besides, where the reset comes after the product."""

    base: GRUSaved
    h_n: Array  # LN(h_in·w_hn)∘gain + b_hn, what r scales
    norm_x: LayerNormSaved | None
    norm_h: LayerNormSaved | None


@dataclass(frozen=True, eq=False)
class _GRU:
    """What both forms share."""

    w_x: Array
    w_h: Array
    b: Array | None
    ln_x_gain: Array | None
    ln_h_gain: Array | None
    phi: Activation
    sigma: Activation
    epsilon: float

    state_sizes = ("H",)
    bias_shape = "(3*H,)"

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs; the sizes by letter."""
        require_ndim("w_h", self.w_h, 2)
        sizes = {"I": inputs, "H": len(self.w_h)}
        require_units("w_h", sizes["H"])
        require_shapes(self, sizes, w_h="(H, 3*H)", w_x="(I, 3*H)", b=self.bias_shape)
        require_shapes(self, sizes, ln_x_gain="(3*H,)", ln_h_gain="(3*H,)")
        together("layer normalization", ln_x_gain=self.ln_x_gain, ln_h_gain=self.ln_h_gain)
        return sizes

    def backward_to_gates(self, dh: Array, saved: GRUSaved) -> tuple[Array, Array, Array]:
        """From h = z∘h_prev + (1 - z)∘n: the gradients by a_z and a_n, and by h_prev as it stands there."""
        a_z, _, a_n = saved.arguments
        z, _, n = saved.gates
        dz = dh * (saved.h_prev - n)  # (B, H), as all here
        dn = dh * (1 - z)
        return dz * self.sigma.derivative(a_z, z), dn * self.phi.derivative(a_n, n), dh * z


class GRUResetAfter(_GRU):
    """One step of a GRU whose reset gate scales the product h_in·w_hn."""

    bias_shape = "(2, 3*H)"

    def forward(self, x_t: Array, h_in: Array, h_prev: Array) -> tuple[list[Array], GRUResetAfterSaved]:
        """The new state, and what backward needs."""
        # gx = LN(x_t·w_x)∘ln_x_gain + b_x, gh = LN(h_in·w_h)∘ln_h_gain + b_h
        gx, norm_x = layer_norm(x_t @ self.w_x, self.ln_x_gain, None, self.epsilon)  # (B, 3*H) = (B, I) · (I, 3*H)
        gh, norm_h = layer_norm(h_in @ self.w_h, self.ln_h_gain, None, self.epsilon)  # (B, 3*H) = (B, H) · (H, 3*H)
        if self.b is not None:
            gx, gh = gx + self.b[0], gh + self.b[1]
        x_z, x_r, x_n = np.split(gx, 3, axis=-1)  # (B, H) each
        h_z, h_r, h_n = np.split(gh, 3, axis=-1)  # (B, H) each

        # n = φ(x_n + r∘h_n), h = z∘h_prev + (1 - z)∘n
        a_z, a_r = x_z + h_z, x_r + h_r
        z = self.sigma.function(a_z)
        r = self.sigma.function(a_r)
        a_n = x_n + r * h_n
        n = self.phi.function(a_n)
        h = z * h_prev + (1 - z) * n
        base = GRUSaved(x_t, h_in, h_prev, (a_z, a_r, a_n), (z, r, n))
        return [h], GRUResetAfterSaved(base, h_n, norm_x, norm_h)

    def backward(self, dstates: list[Array], saved: GRUResetAfterSaved) -> StepBack:
        """The gradients, from that by the new state."""
        (x_t, h_in, _, (_, a_r, _), (_, r, _)), h_n, norm_x, norm_h = saved
        da_z, da_n, dh_prev = self.backward_to_gates(dstates[0], saved.base)  # (B, H) each
        da_r = da_n * h_n * self.sigma.derivative(a_r, r)
        dgx = np.concatenate([da_z, da_r, da_n], axis=-1)  # (B, 3*H)
        dgh = np.concatenate([da_z, da_r, da_n * r], axis=-1)  # (B, 3*H)
        db = np.stack([dgx.sum(axis=0), dgh.sum(axis=0)])  # (2, 3*H)
        dgx, dln_x_gain, _ = layer_norm_backward(dgx, norm_x)  # (B, 3*H)
        dgh, dln_h_gain, _ = layer_norm_backward(dgh, norm_h)  # (B, 3*H)
        return StepBack(
            dx_t=dgx @ self.w_x.T,  # (B, I) = (B, 3*H) · (3*H, I)
            dh_in=dgh @ self.w_h.T,  # (B, H) = (B, 3*H) · (3*H, H)
            dstates=[dh_prev],
            dparams={
                "w_x": x_t.T @ dgx,  # (I, 3*H) = (I, B) · (B, 3*H)
                "w_h": h_in.T @ dgh,  # (H, 3*H) = (H, B) · (B, 3*H)
                "b": db,
                "ln_x_gain": dln_x_gain,
                "ln_h_gain": dln_h_gain,
            },
        )


class GRUResetBefore(_GRU):
    """One step of a GRU whose reset gate scales h_in itself, so that the candidate's product has to wait for it."""

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs, or if there is layer normalization."""
        why = "with reset_after=False h_prev·w_h is no single product, of which layer normalization could be"
        refuse(why, ln_x_gain=self.ln_x_gain, ln_h_gain=self.ln_h_gain)
        return super().check(inputs)

    def forward(self, x_t: Array, h_in: Array, h_prev: Array) -> tuple[list[Array], GRUSaved]:
        """The new state, and what backward needs."""
        # gx = x_t·w_x + b
        gx = plus(x_t @ self.w_x, self.b)  # (B, 3*H) = (B, I) · (I, 3*H)
        x_z, x_r, x_n = np.split(gx, 3, axis=-1)  # (B, H) each
        w_hz, w_hr, w_hn = np.split(self.w_h, 3, axis=-1)  # (H, H) each
        a_z = x_z + h_in @ w_hz  # (B, H) = (B, H) · (H, H)
        a_r = x_r + h_in @ w_hr  # (B, H) = (B, H) · (H, H)
        z = self.sigma.function(a_z)
        r = self.sigma.function(a_r)

        # n = φ(x_n + (r∘h_in)·w_hn), h = z∘h_prev + (1 - z)∘n
        a_n = x_n + (r * h_in) @ w_hn  # (B, H) = (B, H) · (H, H)
        n = self.phi.function(a_n)
        h = z * h_prev + (1 - z) * n
        return [h], GRUSaved(x_t, h_in, h_prev, (a_z, a_r, a_n), (z, r, n))

    def backward(self, dstates: list[Array], saved: GRUSaved) -> StepBack:
        """The gradients, from that by the new state."""
        x_t, h_in, _, (_, a_r, _), (_, r, _) = saved
        w_hz, w_hr, w_hn = np.split(self.w_h, 3, axis=-1)  # (H, H) each
        da_z, da_n, dh_prev = self.backward_to_gates(dstates[0], saved)  # (B, H) each
        drh = da_n @ w_hn.T  # (B, H) = (B, H) · (H, H), by r∘h_in
        da_r = drh * h_in * self.sigma.derivative(a_r, r)
        dgx = np.concatenate([da_z, da_r, da_n], axis=-1)  # (B, 3*H)
        dw_h = [h_in.T @ da_z, h_in.T @ da_r, (r * h_in).T @ da_n]  # (H, H) = (H, B) · (B, H), thrice
        return StepBack(
            dx_t=dgx @ self.w_x.T,  # (B, I) = (B, 3*H) · (3*H, I)
            dh_in=drh * r + da_z @ w_hz.T + da_r @ w_hr.T,  # (B, H) = (B, H) · (H, H), twice
            dstates=[dh_prev],
            dparams={
                "w_x": x_t.T @ dgx,  # (I, 3*H) = (I, B) · (B, 3*H)
                "w_h": np.concatenate(dw_h, axis=-1),  # (H, 3*H)
                "b": dgx.sum(axis=0),  # (3*H,)
            },
        )


def _maker(
    activation: Spec, recurrent_activation: Spec, reset_after: bool, clip: float | None, ln_epsilon: float
) -> Any:
    """What makes a GRU of its params."""
    clip = limit("clip", clip)
    return partial(
        GRUResetAfter if boolean("reset_after", reset_after) else GRUResetBefore,
        phi=clipped(activation_named("activation", activation), clip),
        sigma=clipped(activation_named("recurrent_activation", recurrent_activation), clip),
        epsilon=ln_variance(ln_epsilon),
    )


def gru_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    recurrent_activation: Spec = "sigmoid",
    reset_after: bool = True,
    clip: float | None = None,
    ln_x_gain: ArrayLike | None = None,
    ln_h_gain: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
) -> tuple[Array, StepCache]:
    """One step of a GRU.

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev : array_like or None
        The state before it, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 3*H), recurrent kernel (H, 3*H), and bias, (2, 3*H) with `reset_after`, (3*H,) without, or None;
        gates in the order z, r, n.
    activation, recurrent_activation, reset_after, clip, ln_x_gain, ln_h_gain, ln_epsilon
        As in `gru_forward`.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : StepCache
        For `gru_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, cache = reference.gru_step_forward([7.0], [0.6], np.zeros((1, 3)), np.zeros((1, 3)), None)
    >>> h  # the update gate is half open, the candidate is 0
    array([0.3])
    """
    make = _maker(activation, recurrent_activation, reset_after, clip, ln_epsilon)
    params = {"w_x": w_x, "w_h": w_h, "b": b, "ln_x_gain": ln_x_gain, "ln_h_gain": ln_h_gain}
    h, cache = step_forward(make, x_t, {"h_prev": h_prev}, params)
    return h, cache


def gru_step_backward(dh: ArrayLike | None, cache: StepCache) -> StepGradients:
    """Gradients of one step of a GRU.

    Parameters
    ----------
    dh : array_like or None
        The gradient of the loss by the state after the step, (B, H) or (H,); None for zeros.
    cache : StepCache
        From `gru_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.  With layer normalization dln_x_gain and dln_h_gain stand behind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, cache = reference.gru_step_forward([7.0], [0.6], np.zeros((1, 3)), np.zeros((1, 3)), None)
    >>> reference.gru_step_backward([1.0], cache).dh_prev  # the update gate is half open
    array([0.5])
    """
    return result(StepGradients, step_backward(cache, dh=dh), LAYER_NORM)


def gru_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    recurrent_activation: Spec = "sigmoid",
    reset_after: bool = True,
    clip: float | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    zoneout_mask: ArrayLike | None = None,
    ln_x_gain: ArrayLike | None = None,
    ln_h_gain: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """A GRU over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0 : array_like or None
        The initial state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 3*H), recurrent kernel (H, 3*H), and bias, (2, 3*H) with `reset_after`, (3*H,) without, or None;
        gates in the order z, r, n.
    activation, recurrent_activation : str or tuple
        φ of the candidate, σ of the gates, as in `rnn_forward`.
    reset_after : bool
        Whether the reset gate scales the product h_prev·w_hn, or h_prev itself.
    clip, dropout_mask, recurrent_dropout_mask, zoneout_mask
        As in `rnn_forward`; z∘h_{t-1} has no recurrent dropout.
    ln_x_gain, ln_h_gain : array_like, optional
        (3*H,) both: layer normalization of x_t·w_x and of h_{t-1}·w_h, before their biases.  Only with `reset_after`.
    ln_epsilon, lengths, reset_mask, reverse, keep_cache, num_threads
        As in `rnn_forward`.

    Returns
    -------
    y : ndarray
        The states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `gru_backward`; ``cache.h_n`` is the state after the last step of each row.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h = rng.normal(size=(4, 9, 3)), rng.normal(size=(3, 15)), rng.normal(size=(5, 15))
    >>> y, cache = reference.gru_forward(x, None, w_x, w_h, np.zeros((2, 15)), reverse=True)
    >>> y.shape, np.array_equal(cache.h_n, y[:, 0])
    ((4, 9, 5), True)
    """
    return forward_through_time(
        _maker(activation, recurrent_activation, reset_after, clip, ln_epsilon),
        x,
        {"h0": h0},
        {"w_x": w_x, "w_h": w_h, "b": b, "ln_x_gain": ln_x_gain, "ln_h_gain": ln_h_gain},
        lengths=lengths,
        reset_mask=reset_mask,
        reverse=reverse,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        zoneout_masks={"zoneout_mask": zoneout_mask},
    )


def gru_backward(dy: ArrayLike | None, cache: SequenceCache, *, dh_n: ArrayLike | None = None) -> Gradients:
    """Gradients of a GRU, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `gru_forward`.
    dh_n : array_like, optional
        The gradient by the final state, (B, H) or (H,).

    Returns
    -------
    dx, dh0, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.  With layer normalization dln_x_gain and dln_h_gain stand behind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.gru_forward(np.ones((9, 3)), None, np.ones((3, 15)), np.ones((5, 15)), None)
    >>> gradients = reference.gru_backward(np.ones((9, 5)), cache)
    >>> gradients.dx.shape, gradients.dw_h.shape, gradients.db
    ((9, 3), (5, 15), None)
    """
    return result(Gradients, backward_through_time(cache, {"dy": dy}, {"dh_n": dh_n}), LAYER_NORM)
