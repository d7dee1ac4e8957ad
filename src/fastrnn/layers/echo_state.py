"""Echo state networks: a fixed random reservoir of leaky units, whose states a linear read-out makes use of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from fastrnn import _check
from fastrnn.layers.recurrent import ActivationLike, Cell, EngineRecurrent, _refuse_lacking
from fastrnn.layers.through_time import RecurrentOptions

__all__ = ["EchoState", "spectral_radius"]

# Up to this size all eigenvalues are computed; beyond, squaring the matrix is faster.
_EIGENVALUES_UP_TO = 500


class EchoState(EngineRecurrent):
    """A reservoir of leaky units with fixed random weights (Jaeger, 2001).

    .. code-block:: text

        h = (1 - leak)·h_prev + leak·tanh(x·w_x + h_prev·w_h + b)

    Nothing in it is trained: its weights are `buffers`, saved with a model and never given to an optimizer.  What is
    trained is a linear layer on its states, in one go by ridge regression (`fastrnn.training.fit_readout`).

    Parameters
    ----------
    units : int
        H, the size of the reservoir.
    spectral_radius : float
        The largest absolute eigenvalue of ``w_h``.  Below 1 the past usually fades away.
    density : float
        The part of the weights in ``w_h`` that are not zero, in (0, 1]: each unit sees ``density·units`` units (at
        least one), chosen at random.
    input_scaling : float
        ``w_x`` is drawn uniformly between plus and minus this.
    leak : float
        How much of the new state is taken in at each step, in (0, 1].
    bias_scaling : float
        ``b`` is drawn uniformly between plus and minus this.
    activation : str or tuple
        Of the units; see `LSTM`.
    return_sequences, return_state, return_all_states, go_backwards, stateful, zero_output_for_mask, dtype, seed
        As for `LSTM`.

    Notes
    -----
    Buffers: ``w_x`` (I, H), ``w_h`` (H, H), ``b`` (H,).  No parameters.  State: ``(h,)``.

    The spectral radius is exact to rounding up to 500 units and to about 1e-6 beyond; see `spectral_radius`.

    Examples
    --------
    A chaotic series, Mackey and Glass's, ten steps ahead, beside the best linear forecast from the last twenty values:

    >>> import numpy as np
    >>> import fastrnn
    >>> series = [1.2] * 18
    >>> for _ in range(3000):
    ...     series.append(0.9 * series[-1] + 0.2 * series[-18] / (1 + series[-18] ** 10))
    >>> series = np.array(series[500:])[None, :, None]  # (1, T, 1)
    >>> x, y = series[:, :-10], series[:, 10:]
    >>> train, test = slice(0, 2000), slice(2000, None)
    >>> model = fastrnn.Sequential([
    ...     fastrnn.EchoState(200, leak=0.5, return_sequences=True, stateful=True, seed=0),
    ...     fastrnn.Dense(1),
    ... ])
    >>> _ = fastrnn.fit_readout(model, x[:, train], y[:, train], washout=100)
    >>> echo = np.abs(model(x[:, test]) - y[:, test]).mean()  # the state goes on where training ended
    >>> lags = np.concatenate([np.roll(x, k, axis=1) for k in range(20)], axis=-1)
    >>> w, b = fastrnn.ridge_readout(lags[:, 100:2000], y[:, 100:2000])
    >>> linear = np.abs(lags[:, test] @ w + b - y[:, test]).mean()
    >>> bool(echo < linear / 10)
    True
    """

    cell = Cell.named("leaky")
    lacks = (
        "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer", "dropout", "recurrent_dropout",
        "zoneout", "layer_norm", "ln_epsilon", "clip", "learn_initial_state",
    )  # fmt: skip

    def __init__(
        self,
        units: int,
        *,
        spectral_radius: float = 0.9,
        density: float = 0.1,
        input_scaling: float = 1.0,
        leak: float = 1.0,
        bias_scaling: float = 0.0,
        activation: ActivationLike = "tanh",
        **options: Unpack[RecurrentOptions],
    ) -> None:
        _refuse_lacking(type(self), options)
        super().__init__(units, activation=activation, **options)
        self.spectral_radius = _check.number("spectral_radius", spectral_radius, 0.0)
        self.density = _check.number("density", density, 0.0, 1.0, open_minimum=True)
        self.input_scaling = _check.number("input_scaling", input_scaling, 0.0)
        self.leak = _check.number("leak", leak, 0.0, 1.0, open_minimum=True)
        self.bias_scaling = _check.number("bias_scaling", bias_scaling, 0.0)

    def cell_parameters(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {}

    def initial_buffers(self, input_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The reservoir."""
        w_x = rng.uniform(-self.input_scaling, self.input_scaling, (input_size, self.units))
        w_h = self._sparse_matrix(rng)
        w_h *= self.spectral_radius / spectral_radius(w_h)
        b = rng.uniform(-self.bias_scaling, self.bias_scaling, self.units)
        return {name: array.astype(self.dtype) for name, array in (("w_x", w_x), ("w_h", w_h), ("b", b))}

    def _sparse_matrix(self, rng: np.random.Generator) -> np.ndarray:
        """Uniform numbers, as many of them in each column and the rest zeros: each unit sees as many others.

        As every unit sees one, the connections close a circle somewhere, so the spectral radius is above zero.
        """
        sources = max(1, round(self.density * self.units))
        order = rng.random((self.units, self.units))
        seen = np.argpartition(order, sources - 1, axis=0)[:sources]  # seen (sources, H): rows of each column
        w_h = np.zeros((self.units, self.units))
        np.put_along_axis(w_h, seen, rng.uniform(-1.0, 1.0, seen.shape), axis=0)
        return w_h

    @property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        return self.buffers

    def _cell_options(self) -> dict[str, Any]:
        return super()._cell_options() | {"leak": self.leak}


def spectral_radius(matrix: np.ndarray) -> float:
    """The largest absolute eigenvalue of a square matrix.

    Parameters
    ----------
    matrix : ndarray (H, H)

    Returns
    -------
    float

    Notes
    -----
    Up to 500 rows from all eigenvalues. Beyond, by Gelfand's formula, the limit of ``norm(A**n) ** (1 / n)``, with n
    doubled by squaring until the result changes by less than one part in a million: products of matrices are many times
    faster than eigenvalues, and unlike the power iteration they don't mind pairs of complex ones.
    """
    if len(matrix) <= _EIGENVALUES_UP_TO:
        return float(np.abs(np.linalg.eigvals(matrix)).max())
    power = np.asarray(matrix, dtype=np.float64)
    logarithm, radius, exponent = 0.0, np.inf, 1.0
    for _ in range(40):
        norm = np.linalg.norm(power)
        if norm == 0:
            return 0.0
        logarithm += np.log(norm) / exponent  # of norm(A**n) ** (1 / n)
        before, radius = radius, float(np.exp(logarithm))
        if abs(before - radius) <= 1e-6 * radius:
            break
        power = power / norm
        power = power @ power
        exponent *= 2
    return radius
