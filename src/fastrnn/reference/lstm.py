"""The long short-term memory cell.

    i = σ(x_t·w_xi + h_{t-1}·w_hi + b_i)        input gate: what of the candidate enters
    f = σ(x_t·w_xf + h_{t-1}·w_hf + b_f)        forget gate: what of the cell state stays
    g = φ(x_t·w_xg + h_{t-1}·w_hg + b_g)        candidate
    o = σ(x_t·w_xo + h_{t-1}·w_ho + b_o)        output gate: what of the cell state is shown
    c_t = f∘c_{t-1} + i∘g
    h_t = o∘ψ(c_t)                              y_t = h_t; ψ is φ unless another is named

The four gates stand side by side in this order in w_x (I, 4*H), w_h (H, 4*H) and b (4*H,).  Source: S. Hochreiter and
J. Schmidhuber (1997), with the forget gate of F. Gers, J. Schmidhuber and F. Cummins (2000).  The options:

    i = σ(... + p_i∘c_{t-1}), f = σ(... + p_f∘c_{t-1}), o = σ(... + p_o∘c_t)      peepholes, Gers and Schmidhuber (2000)
    f = 1 - i                                                                     coupled, K. Greff et al. (2017)
    h_t = (o∘ψ(c_t))·w_proj                                                       projection, H. Sak et al. (2014)
    σ, φ of LN(x_t·w_x)∘ln_x_gain + LN(h_{t-1}·w_h)∘ln_h_gain + b, each LN over all four gates together,
    and ψ of LN(c_t)∘ln_c_gain + ln_c_bias            layer normalization, J. L. Ba, J. R. Kiros and G. E. Hinton (2016)
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
    boolean,
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

LAYER_NORM = ("ln_x_gain", "ln_h_gain", "ln_c_gain", "ln_c_bias")


class LSTMGradients(NamedTuple):
    """Gradients of a whole sequence, each of the shape of what it belongs to; None by what is not there."""

    dx: Array
    dh0: Array
    dc0: Array
    dw_x: Array
    dw_h: Array
    db: Array | None
    dpeephole: Array | None = None


class LSTMStepGradients(NamedTuple):
    """Gradients of one step, each of the shape of what it belongs to; `db` is None without a bias."""

    dx: Array
    dh_prev: Array
    dc_prev: Array
    dw_x: Array
    dw_h: Array
    db: Array | None


class LSTMSaved(NamedTuple):
    """What the backward step needs."""

    x_t: Array
    h_in: Array
    c_prev: Array
    norms: tuple[LayerNormSaved | None, ...]  # of x_t·w_x, of h_in·w_h, of c
    arguments: tuple[Array, ...]  # a_i, a_f, a_g, a_o, before clipping, and u, the argument of ψ
    gates: tuple[Array, ...]  # i, f, g, o
    c_free: Array  # the cell state before clipping
    c: Array
    psi: Array  # ψ(u)
    m: Array  # o∘ψ(u), which is h if there is no projection


@dataclass(frozen=True, eq=False)
class LSTM:
    """One step of an LSTM."""

    w_x: Array
    w_h: Array
    b: Array | None
    peephole: Array | None
    w_proj: Array | None
    ln_x_gain: Array | None
    ln_h_gain: Array | None
    ln_c_gain: Array | None
    ln_c_bias: Array | None
    phi: Activation
    sigma: Activation
    psi: Activation
    cell_clip: float | None
    coupled: bool
    epsilon: float

    @property
    def state_sizes(self) -> tuple[str, str]:
        """The letters of the sizes of h and c."""
        return ("H" if self.w_proj is None else "P"), "H"

    def check(self, inputs: int) -> dict[str, int]:
        """Raise unless the weights fit each other and the inputs; the sizes by letter."""
        name, square = ("w_h", self.w_h) if self.w_proj is None else ("w_proj", self.w_proj)
        require_ndim(name, square, 2)
        sizes = {"I": inputs, "H": square.shape[0], "P": square.shape[1]}
        require_units(name, min(square.shape))
        require_shapes(
            self,
            sizes,
            w_h=f"({self.state_sizes[0]}, 4*H)",
            w_x="(I, 4*H)",
            b="(4*H,)",
            peephole="(3, H)",
            ln_x_gain="(4*H,)",
            ln_h_gain="(4*H,)",
            ln_c_gain="(H,)",
            ln_c_bias="(H,)",
        )
        together("layer normalization", **{name: getattr(self, name) for name in LAYER_NORM})
        return sizes

    def forward(self, x_t: Array, h_in: Array, h_prev: Array, c_prev: Array) -> tuple[list[Array], LSTMSaved]:
        """The new h and c, and what backward needs."""
        # a = LN(x_t·w_x)∘ln_x_gain + LN(h_in·w_h)∘ln_h_gain + b
        gx, norm_x = layer_norm(x_t @ self.w_x, self.ln_x_gain, None, self.epsilon)  # (B, 4*H) = (B, I) · (I, 4*H)
        gh, norm_h = layer_norm(h_in @ self.w_h, self.ln_h_gain, None, self.epsilon)  # (B, 4*H) = (B, P) · (P, 4*H)
        a_i, a_f, a_g, a_o = np.split(plus(gx + gh, self.b), 4, axis=-1)  # (B, H) each, as all below

        # c = f∘c_prev + i∘g
        if self.peephole is not None:
            a_i = a_i + self.peephole[0] * c_prev
            a_f = a_f + self.peephole[1] * c_prev
        i = self.sigma.function(a_i)
        f = 1 - i if self.coupled else self.sigma.function(a_f)
        g = self.phi.function(a_g)
        c_free = f * c_prev + i * g
        c = c_free if self.cell_clip is None else np.clip(c_free, -self.cell_clip, self.cell_clip)

        # h = (o∘ψ(LN(c)∘ln_c_gain + ln_c_bias))·w_proj
        if self.peephole is not None:
            a_o = a_o + self.peephole[2] * c
        o = self.sigma.function(a_o)
        u, norm_c = layer_norm(c, self.ln_c_gain, self.ln_c_bias, self.epsilon)
        psi = self.psi.function(u)
        m = o * psi
        h = m if self.w_proj is None else m @ self.w_proj  # (B, P) = (B, H) · (H, P)
        norms, arguments, gates = (norm_x, norm_h, norm_c), (a_i, a_f, a_g, a_o, u), (i, f, g, o)
        return [h, c], LSTMSaved(x_t, h_in, c_prev, norms, arguments, gates, c_free, c, psi, m)

    def backward(self, dstates: list[Array], saved: LSTMSaved) -> StepBack:
        """The gradients, from those by the new h and c."""
        dh, dc = dstates
        x_t, h_in, c_prev, (norm_x, norm_h, norm_c), arguments, (i, f, g, o), c_free, c, psi, m = saved
        a_i, a_f, a_g, a_o, u = arguments

        # h = m·w_proj, m = o∘ψ(u), u = LN(c)∘ln_c_gain + ln_c_bias; o sees c through its peephole
        dm = dh if self.w_proj is None else dh @ self.w_proj.T  # (B, H) = (B, P) · (P, H)
        da_o = dm * psi * self.sigma.derivative(a_o, o)  # (B, H), as all gates and states here
        du = dm * o * self.psi.derivative(u, psi)
        dc_shown, dln_c_gain, dln_c_bias = layer_norm_backward(du, norm_c)
        dc = dc + dc_shown
        if self.peephole is not None:
            dc = dc + da_o * self.peephole[2]

        # c = f∘c_prev + i∘g
        if self.cell_clip is not None:
            dc = np.where(np.abs(c_free) < self.cell_clip, dc, 0)
        di, df, dg = dc * g, dc * c_prev, dc * i
        if self.coupled:  # f = 1 - i
            di, df = di - df, np.zeros_like(df)
        da_i = di * self.sigma.derivative(a_i, i)
        da_f = df if self.coupled else df * self.sigma.derivative(a_f, f)
        da_g = dg * self.phi.derivative(a_g, g)
        dc_prev = dc * f
        if self.peephole is not None:
            dc_prev = dc_prev + da_i * self.peephole[0] + da_f * self.peephole[1]

        # a = LN(x_t·w_x)∘ln_x_gain + LN(h_in·w_h)∘ln_h_gain + b
        da = np.concatenate([da_i, da_f, da_g, da_o], axis=-1)  # (B, 4*H)
        dgx, dln_x_gain, _ = layer_norm_backward(da, norm_x)  # (B, 4*H)
        dgh, dln_h_gain, _ = layer_norm_backward(da, norm_h)  # (B, 4*H)
        return StepBack(
            dx_t=dgx @ self.w_x.T,  # (B, I) = (B, 4*H) · (4*H, I)
            dh_in=dgh @ self.w_h.T,  # (B, P) = (B, 4*H) · (4*H, P)
            dstates=[np.zeros_like(dh), dc_prev],
            dparams={
                "w_x": x_t.T @ dgx,  # (I, 4*H) = (I, B) · (B, 4*H)
                "w_h": h_in.T @ dgh,  # (P, 4*H) = (P, B) · (B, 4*H)
                "b": da.sum(axis=0),  # (4*H,)
                "peephole": np.stack([(da_i * c_prev).sum(0), (da_f * c_prev).sum(0), (da_o * c).sum(0)]),  # (3, H)
                "w_proj": m.T @ dh,  # (H, P) = (H, B) · (B, P)
                "ln_x_gain": dln_x_gain,
                "ln_h_gain": dln_h_gain,
                "ln_c_gain": dln_c_gain,
                "ln_c_bias": dln_c_bias,
            },
        )


def _maker(
    activation: Spec,
    recurrent_activation: Spec,
    output_activation: Spec | None,
    clip: float | None,
    cell_clip: float | None,
    coupled: bool,
    ln_epsilon: float,
) -> Any:
    """What makes an `LSTM` of its params."""
    phi = activation_named("activation", activation)
    sigma = activation_named("recurrent_activation", recurrent_activation)
    clip = limit("clip", clip)
    return partial(
        LSTM,
        phi=clipped(phi, clip),
        sigma=clipped(sigma, clip),
        psi=phi if output_activation is None else activation_named("output_activation", output_activation),
        cell_clip=limit("cell_clip", cell_clip),
        coupled=boolean("coupled", coupled),
        epsilon=ln_variance(ln_epsilon),
    )


def lstm_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    c_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    recurrent_activation: Spec = "sigmoid",
    output_activation: Spec | None = None,
    peephole: ArrayLike | None = None,
    w_proj: ArrayLike | None = None,
    clip: float | None = None,
    cell_clip: float | None = None,
    coupled: bool = False,
    ln_x_gain: ArrayLike | None = None,
    ln_h_gain: ArrayLike | None = None,
    ln_c_gain: ArrayLike | None = None,
    ln_c_bias: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
) -> tuple[Array, Array, StepCache]:
    """One step of an LSTM.

    Parameters
    ----------
    x_t : array_like
        The input of this step, (B, I), or (I,) for one instance.
    h_prev, c_prev : array_like or None
        Hidden state and cell state before it, (B, H) or (H,); None for zeros.  With a projection h_prev is (B, P).
    w_x, w_h, b : array_like
        Kernel (I, 4*H), recurrent kernel (H, 4*H), bias (4*H,) or None; gates in the order i, f, g, o.
    activation, recurrent_activation, output_activation, peephole, w_proj, clip, cell_clip, coupled
        As in `lstm_forward`.
    ln_x_gain, ln_h_gain, ln_c_gain, ln_c_bias, ln_epsilon
        As in `lstm_forward`.

    Returns
    -------
    h, c : ndarray
        Hidden state, which is also the output, and cell state after the step, (B, H) or (H,).
    cache : StepCache
        For `lstm_step_backward`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, c, cache = reference.lstm_step_forward([7.0], [0.0], [0.6], np.zeros((1, 4)), np.zeros((1, 4)), None)
    >>> c  # every gate is half open, the candidate is 0
    array([0.3])
    """
    make = _maker(activation, recurrent_activation, output_activation, clip, cell_clip, coupled, ln_epsilon)
    params = {
        "w_x": w_x, "w_h": w_h, "b": b, "peephole": peephole, "w_proj": w_proj,
        "ln_x_gain": ln_x_gain, "ln_h_gain": ln_h_gain, "ln_c_gain": ln_c_gain, "ln_c_bias": ln_c_bias,
    }  # fmt: skip
    h, c, cache = step_forward(make, x_t, {"h_prev": h_prev, "c_prev": c_prev}, params)
    return h, c, cache


def lstm_step_backward(dh: ArrayLike | None, dc: ArrayLike | None, cache: StepCache) -> LSTMStepGradients:
    """Gradients of one step of an LSTM.

    Parameters
    ----------
    dh, dc : array_like or None
        The gradients of the loss by hidden state and cell state after the step, (B, H) or (H,).  `dc` is what later
        steps say; what h says about c is added here.  None stands for zeros.
    cache : StepCache
        From `lstm_step_forward`.

    Returns
    -------
    dx, dh_prev, dc_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.  With peepholes, a projection or layer normalization dpeephole,
        dw_proj, dln_x_gain, dln_h_gain, dln_c_gain and dln_c_bias stand behind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, c, cache = reference.lstm_step_forward([7.0], [0.0], [0.6], np.zeros((1, 4)), np.zeros((1, 4)), None)
    >>> reference.lstm_step_backward([0.0], [1.0], cache).dc_prev  # the forget gate is half open
    array([0.5])
    """
    return result(LSTMStepGradients, step_backward(cache, dh=dh, dc=dc), ("peephole", "w_proj", *LAYER_NORM))


def lstm_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    c0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: Spec = "tanh",
    recurrent_activation: Spec = "sigmoid",
    output_activation: Spec | None = None,
    peephole: ArrayLike | None = None,
    w_proj: ArrayLike | None = None,
    clip: float | None = None,
    cell_clip: float | None = None,
    coupled: bool = False,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    zoneout_mask: ArrayLike | None = None,
    zoneout_cell_mask: ArrayLike | None = None,
    ln_x_gain: ArrayLike | None = None,
    ln_h_gain: ArrayLike | None = None,
    ln_c_gain: ArrayLike | None = None,
    ln_c_bias: ArrayLike | None = None,
    ln_epsilon: float = 1e-3,
    lengths: ArrayLike | None = None,
    reset_mask: ArrayLike | None = None,
    reverse: bool = False,
    keep_cache: bool = True,
    num_threads: int | None = None,
) -> tuple[Array, SequenceCache]:
    """An LSTM over whole sequences.

    Parameters
    ----------
    x : array_like
        The inputs, (B, T, I), or (T, I) for one instance.
    h0, c0 : array_like or None
        The initial hidden state and cell state, (B, H) or (H,); None for zeros.
    w_x, w_h, b : array_like
        Kernel (I, 4*H), recurrent kernel (H, 4*H), bias (4*H,) or None; gates in the order i, f, g, o.
    activation, recurrent_activation, output_activation : str or tuple
        φ of the candidate, σ of the gates, ψ of the cell state on its way to h, as in `rnn_forward`; ψ is φ unless
        it is named.
    peephole : array_like, optional
        (3, H): what of c_{t-1} the gates i and f see, and what of c_t the gate o sees.
    w_proj : array_like, optional
        (H, P): h = (o∘ψ(c))·w_proj.  Then h0, y and h_n have P units, and w_h is (P, 4*H).
    clip : float, optional
        As in `rnn_forward`, peepholes included; ψ has nothing clipped.
    cell_clip : float, optional
        c_t is clipped to [-cell_clip, cell_clip]; at a limit and beyond it the gradient is 0.
    coupled : bool
        f = 1 - i: the columns of f in w_x, w_h, b, and its peepholes, are not used.
    dropout_mask, recurrent_dropout_mask, zoneout_mask
        As in `rnn_forward`; with a projection (B, P) and (B, T, P).
    zoneout_cell_mask : array_like or float, optional
        (B, T, H) or (T, H), or one number: the same for c.  h_t is made from c_t before its zoneout.
    ln_x_gain, ln_h_gain, ln_c_gain, ln_c_bias : array_like, optional
        (4*H,), (4*H,), (H,) and (H,): layer normalization of x_t·w_x, of h_{t-1}·w_h, and of c_t on its way to h.
    ln_epsilon, lengths, reset_mask, reverse, keep_cache, num_threads
        As in `rnn_forward`; a reset zeroes both states.

    Returns
    -------
    y : ndarray
        The hidden states after every step, (B, T, H) or (T, H).
    cache : SequenceCache
        For `lstm_backward`; ``cache.h_n`` and ``cache.c_n`` are the states after the last step of each row, ``cache.c``
        is the cell state after every step, (B, T, H) or (T, H).

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit each other, T or I is 0, or an argument is not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> rng = np.random.default_rng(0)
    >>> x, w_x, w_h, b = rng.normal(size=(4, 9, 3)), rng.normal(size=(3, 20)), rng.normal(size=(5, 20)), np.zeros(20)
    >>> y, cache = reference.lstm_forward(x, None, None, w_x, w_h, b)
    >>> y.shape, cache.h_n.shape, cache.c_n.shape, cache.c.shape
    ((4, 9, 5), (4, 5), (4, 5), (4, 9, 5))
    """
    params = {
        "w_x": w_x, "w_h": w_h, "b": b, "peephole": peephole, "w_proj": w_proj,
        "ln_x_gain": ln_x_gain, "ln_h_gain": ln_h_gain, "ln_c_gain": ln_c_gain, "ln_c_bias": ln_c_bias,
    }  # fmt: skip
    return forward_through_time(
        _maker(activation, recurrent_activation, output_activation, clip, cell_clip, coupled, ln_epsilon),
        x,
        {"h0": h0, "c0": c0},
        params,
        lengths=lengths,
        reset_mask=reset_mask,
        reverse=reverse,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        zoneout_masks={"zoneout_mask": zoneout_mask, "zoneout_cell_mask": zoneout_cell_mask},
    )


def lstm_backward(
    dy: ArrayLike | None,
    cache: SequenceCache,
    *,
    dh_n: ArrayLike | None = None,
    dc_n: ArrayLike | None = None,
    dc: ArrayLike | None = None,
) -> LSTMGradients:
    """Gradients of an LSTM, by backpropagation through time.

    Parameters
    ----------
    dy : array_like or None
        The gradient of the loss by every output, (B, T, H) or (T, H); ignored past the end of a row.  None for zeros.
    cache : SequenceCache
        From `lstm_forward`.
    dh_n, dc_n : array_like, optional
        The gradients by the final states, (B, H) or (H,).
    dc : array_like, optional
        The gradient by every cell state, ``cache.c``, (B, T, H) or (T, H); ignored past the end of a row.

    Returns
    -------
    dx, dh0, dc0, dw_x, dw_h, db, dpeephole : ndarray
        A named tuple; db is None without a bias, dpeephole without peepholes.  With a projection or layer normalization
        dw_proj, dln_x_gain, dln_h_gain, dln_c_gain and dln_c_bias stand behind.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.lstm_forward(np.ones((9, 3)), None, None, np.ones((3, 20)), np.ones((5, 20)), np.zeros(20))
    >>> gradients = reference.lstm_backward(np.ones((9, 5)), cache)
    >>> gradients.dx.shape, gradients.dc0.shape, gradients.dw_h.shape
    ((9, 3), (5,), (5, 20))
    """
    gradients = backward_through_time(cache, {"dy": dy, "dc": dc}, {"dh_n": dh_n, "dc_n": dc_n})
    return result(LSTMGradients, gradients, ("w_proj", *LAYER_NORM))
