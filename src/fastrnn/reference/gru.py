"""The gated recurrent unit, in its two forms.

    z = σ(x_t·w_xz + h_{t-1}·w_hz + b_z)                        update gate: what of the state stays
    r = σ(x_t·w_xr + h_{t-1}·w_hr + b_r)                        reset gate: what of the state the candidate sees
    n = φ(x_t·w_xn + b_xn + r∘(h_{t-1}·w_hn + b_hn))            candidate, reset after the product
    n = φ(x_t·w_xn + (r∘h_{t-1})·w_hn + b_n)                    candidate, reset before the product
    h_t = z∘h_{t-1} + (1 - z)∘n                                 y_t = h_t

The three gates stand side by side in this order in w_x (I, 3*H) and w_h (H, 3*H).  Reset after the product, b is
(2, 3*H): the first row is added to x_t·w_x, the second to h_{t-1}·w_h.  Reset before it, b is (3*H,).  Source:
K. Cho et al. (2014), which resets before; Keras and cuDNN reset after.
"""

# mypy: allow-redefinition
from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._common import (
    Activation,
    Array,
    Gradients,
    SequenceCache,
    StepGradients,
    activation_named,
    backward_through_time,
    bias_gradient,
    forward_through_time,
    gradient_like,
    step_arguments,
    weight_gradient,
)


class GRUStepCache(NamedTuple):
    """What `gru_step_backward` needs."""

    x_t: Array
    h_prev: Array
    w_x: Array
    w_h: Array
    has_bias: bool
    phi: Activation
    sigma: Activation
    z: Array
    r: Array
    n: Array
    h_n: Array | None  # h_prev·w_hn + b_hn, what r scales; None where the reset comes before the product


def gru_step_forward(
    x_t: ArrayLike,
    h_prev: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
) -> tuple[Array, GRUStepCache]:
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
    activation, recurrent_activation : {"tanh", "sigmoid", "relu", "linear"}
        φ of the candidate, σ of the gates.
    reset_after : bool
        Whether the reset gate scales the product h_prev·w_hn, or h_prev itself.

    Returns
    -------
    h : ndarray
        The state after the step, which is also its output, (B, H) or (H,).
    cache : GRUStepCache
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
    x_t, h_prev, w_x, w_h, b = step_arguments(
        x_t, {"h_prev": h_prev}, w_x, w_h, b, gates=3, bias_rows=2 if reset_after else None
    )
    phi = activation_named("activation", activation)
    sigma = activation_named("recurrent_activation", recurrent_activation)
    gates = _gates_reset_after if reset_after else _gates_reset_before

    z, r, n, h_n = gates(x_t, h_prev, w_x, w_h, b, phi, sigma)
    h = z * h_prev + (1 - z) * n  # (B, H)
    return h, GRUStepCache(x_t, h_prev, w_x, w_h, b is not None, phi, sigma, z, r, n, h_n)


def _gates_reset_after(
    x_t: Array, h_prev: Array, w_x: Array, w_h: Array, b: Array | None, phi: Activation, sigma: Activation
) -> tuple[Array, Array, Array, Array]:
    """z, r, n = φ(x_n + r∘h_n), and h_n, with x_n = x_t·w_xn + b_xn and h_n = h_prev·w_hn + b_hn."""
    gx = x_t @ w_x  # (B, 3*H) = (B, I) · (I, 3*H)
    gh = h_prev @ w_h  # (B, 3*H) = (B, H) · (H, 3*H)
    if b is not None:
        gx, gh = gx + b[0], gh + b[1]
    x_z, x_r, x_n = np.split(gx, 3, axis=-1)  # (B, H) each
    h_z, h_r, h_n = np.split(gh, 3, axis=-1)
    z = sigma.function(x_z + h_z)
    r = sigma.function(x_r + h_r)
    n = phi.function(x_n + r * h_n)
    return z, r, n, h_n


def _gates_reset_before(
    x_t: Array, h_prev: Array, w_x: Array, w_h: Array, b: Array | None, phi: Activation, sigma: Activation
) -> tuple[Array, Array, Array, None]:
    """z, r and n = φ(x_t·w_xn + (r∘h_prev)·w_hn + b_n), a second product that has to wait for r."""
    w_hz, w_hr, w_hn = np.split(w_h, 3, axis=-1)  # (H, H) each
    gx = x_t @ w_x  # (B, 3*H) = (B, I) · (I, 3*H)
    if b is not None:
        gx = gx + b
    x_z, x_r, x_n = np.split(gx, 3, axis=-1)  # (B, H) each
    z = sigma.function(x_z + h_prev @ w_hz)  # (B, H) = (B, H) · (H, H)
    r = sigma.function(x_r + h_prev @ w_hr)  # (B, H) = (B, H) · (H, H)
    n = phi.function(x_n + (r * h_prev) @ w_hn)  # (B, H) = (B, H) · (H, H)
    return z, r, n, None


def gru_step_backward(dh: ArrayLike, cache: GRUStepCache) -> StepGradients:
    """Gradients of one step of a GRU.

    Parameters
    ----------
    dh : array_like
        The gradient of the loss by the state after the step, (B, H) or (H,).
    cache : GRUStepCache
        From `gru_step_forward`.

    Returns
    -------
    dx, dh_prev, dw_x, dw_h, db : ndarray
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> h, cache = reference.gru_step_forward([7.0], [0.6], np.zeros((1, 3)), np.zeros((1, 3)), None)
    >>> reference.gru_step_backward([1.0], cache).dh_prev  # the update gate is half open
    array([0.5])
    """
    dh = gradient_like("dh", dh, cache.n)
    return _backward_reset_before(dh, cache) if cache.h_n is None else _backward_reset_after(dh, cache, cache.h_n)


def _backward_to_gates(dh: Array, cache: GRUStepCache) -> tuple[Array, Array, Array]:
    """What both forms begin with: the gradients by a_z and a_n, the arguments of σ and φ, and h_prev's share of dh."""
    dz = dh * (cache.h_prev - cache.n)  # (B, H), as all here
    dn = dh * (1 - cache.z)
    return dz * cache.sigma.derivative(cache.z), dn * cache.phi.derivative(cache.n), dh * cache.z


def _backward_reset_after(dh: Array, cache: GRUStepCache, h_n: Array) -> StepGradients:
    """Gradients where n = φ(x_n + r∘h_n)."""
    da_z, da_n, dh_prev = _backward_to_gates(dh, cache)  # (B, H) each
    da_r = da_n * h_n * cache.sigma.derivative(cache.r)
    dgx = np.concatenate([da_z, da_r, da_n], axis=-1)  # (B, 3*H)
    dgh = np.concatenate([da_z, da_r, da_n * cache.r], axis=-1)  # (B, 3*H)
    return StepGradients(
        dx=dgx @ cache.w_x.T,  # (B, I) = (B, 3*H) · (3*H, I)
        dh_prev=dh_prev + dgh @ cache.w_h.T,  # (B, H) = (B, 3*H) · (3*H, H)
        dw_x=weight_gradient(cache.x_t, dgx),  # (I, 3*H) = (I, B) · (B, 3*H)
        dw_h=weight_gradient(cache.h_prev, dgh),  # (H, 3*H) = (H, B) · (B, 3*H)
        db=np.stack([bias_gradient(dgx), bias_gradient(dgh)]) if cache.has_bias else None,  # (2, 3*H)
    )


def _backward_reset_before(dh: Array, cache: GRUStepCache) -> StepGradients:
    """Gradients where n = φ(x_n + (r∘h_prev)·w_hn)."""
    h_prev, r = cache.h_prev, cache.r
    w_hz, w_hr, w_hn = np.split(cache.w_h, 3, axis=-1)  # (H, H) each
    da_z, da_n, dh_prev = _backward_to_gates(dh, cache)  # (B, H) each
    drh = da_n @ w_hn.T  # (B, H) = (B, H) · (H, H), the gradient by r∘h_prev
    da_r = drh * h_prev * cache.sigma.derivative(r)
    dgx = np.concatenate([da_z, da_r, da_n], axis=-1)  # (B, 3*H)
    dw_h = [weight_gradient(h_prev, da_z), weight_gradient(h_prev, da_r), weight_gradient(r * h_prev, da_n)]
    return StepGradients(
        dx=dgx @ cache.w_x.T,  # (B, I) = (B, 3*H) · (3*H, I)
        dh_prev=dh_prev + drh * r + da_z @ w_hz.T + da_r @ w_hr.T,  # (B, H) = (B, H) · (H, H), twice
        dw_x=weight_gradient(cache.x_t, dgx),  # (I, 3*H) = (I, B) · (B, 3*H)
        dw_h=np.concatenate(dw_h, axis=-1),  # (H, 3*H), each part (H, H) = (H, B) · (B, H)
        db=bias_gradient(dgx) if cache.has_bias else None,  # (3*H,)
    )


def gru_forward(
    x: ArrayLike,
    h0: ArrayLike | None,
    w_x: ArrayLike,
    w_h: ArrayLike,
    b: ArrayLike | None,
    *,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
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
    activation, recurrent_activation : {"tanh", "sigmoid", "relu", "linear"}
        φ of the candidate, σ of the gates.
    reset_after : bool
        Whether the reset gate scales the product h_prev·w_hn, or h_prev itself.
    lengths, reset_mask, reverse, keep_cache, num_threads
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
    step = partial(
        gru_step_forward,
        activation=activation,
        recurrent_activation=recurrent_activation,
        reset_after=reset_after,
    )
    return forward_through_time(
        step, x, {"h0": h0}, (w_x, w_h, b), lengths=lengths, reset_mask=reset_mask, reverse=reverse
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
        A named tuple; db is None without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn import reference
    >>> y, cache = reference.gru_forward(np.ones((9, 3)), None, np.ones((3, 15)), np.ones((5, 15)), None)
    >>> gradients = reference.gru_backward(np.ones((9, 5)), cache)
    >>> gradients.dx.shape, gradients.dw_h.shape, gradients.db
    ((9, 3), (5, 15), None)
    """
    return Gradients(*backward_through_time(gru_step_backward, dy, cache, {"dh_n": dh_n}))
