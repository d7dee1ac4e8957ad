"""Linear read-outs by ridge regression: the best weights on given features, in one go and without an optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn import _check
from fastrnn.layers import Dense, TimeDistributed

if TYPE_CHECKING:
    from fastrnn.training.sequential import Sequential

__all__ = ["RidgeReadout", "fit_readout", "ridge_readout"]


class RidgeReadout:
    """Ridge regression over data that come in batches.

    Minimises ``sum((features·w + b - targets)²) + alpha·sum(w²)`` by the normal equations.  They are kept about the
    mean of all features seen, so that an intercept costs no precision, and solved by their eigenvalues, so that
    features that depend on one another do no harm.

    Parameters
    ----------
    alpha : float
        How much large weights cost.
    intercept : bool
        Whether there is a b, which costs nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training import RidgeReadout
    >>> readout = RidgeReadout(alpha=0.0)
    >>> for start in (0.0, 10.0):
    ...     features = start + np.arange(8.0).reshape(4, 2) ** 2
    ...     readout.add(features, features @ [[1.0], [2.0]] + 3.0)
    >>> w, b = readout.solve()
    >>> w.ravel().round(6), b.round(6)
    (array([1., 2.]), array([3.]))
    """

    def __init__(self, alpha: float = 1e-6, *, intercept: bool = True) -> None:
        self.alpha = _check.number("alpha", alpha, 0.0)
        self.intercept = _check.boolean("intercept", intercept)
        self.count = 0
        self._mean = self._products = np.empty(0)
        self._features = 0

    def add(self, features: Any, targets: Any) -> None:
        """Take in more data.

        Parameters
        ----------
        features : array_like (..., F)
        targets : array_like (..., O)
            With the same leading axes.
        """
        features = _rows("features", features)
        targets = _rows("targets", targets)
        if len(features) != len(targets):
            raise ValueError(f"targets: expected {len(features)} rows, as many as features, got {len(targets)}")
        data = np.hstack([features, targets])  # data (N, F + O)
        if self.count and (features.shape[1], data.shape[1]) != (self._features, self._mean.size):
            raise ValueError(
                f"features, targets: expected {self._features} and {self._mean.size - self._features} columns, as "
                f"before, got {features.shape[1]} and {targets.shape[1]}"
            )
        if not len(data):
            return
        mean = data.mean(axis=0) if self.intercept else np.zeros(data.shape[1])
        data -= mean
        products = data.T @ data  # (F + O, F + O) = dataᵀ (F + O, N) · data (N, F + O)
        if self.count:  # Chan et al. (1983): products about the mean of both parts
            total = self.count + len(data)
            step = mean - self._mean
            products += self._products + np.outer(step, step) * (self.count * len(data) / total)
            mean = self._mean + step * (len(data) / total)
        self._mean, self._products, self._features = mean, products, features.shape[1]
        self.count += len(data)

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """The weights for all data so far.

        Returns
        -------
        w : ndarray (F, O)
        b : ndarray (O,)
            Zeros without an intercept.
        """
        if not self.count:
            raise ValueError("features: expected at least one row before the read-out is solved, got none")
        size = self._features
        gram, moments = self._products[:size, :size], self._products[:size, size:]
        values, vectors = np.linalg.eigh(gram)
        values = np.maximum(values, 0.0)
        smallest = size * np.finfo(np.float64).eps * values.max()  # below, a value is rounding error
        inverse = np.divide(1.0, values + self.alpha, out=np.zeros(size), where=(values > smallest) | (self.alpha > 0))
        w = vectors @ (inverse[:, None] * (vectors.T @ moments))  # w (F, O) = (gram + alpha)⁻¹ (F, F) · moments (F, O)
        return w, self._mean[size:] - self._mean[:size] @ w


def ridge_readout(
    features: Any, targets: Any, *, alpha: float = 1e-6, intercept: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The linear map from features to targets with the least squared error, large weights costing `alpha`.

    Parameters
    ----------
    features : array_like (..., F)
        Like the states of a reservoir, (B, T, H).
    targets : array_like (..., O)
        With the same leading axes.
    alpha : float
        Factor of ``sum(w²)`` beside the sum of the squared errors.
    intercept : bool
        Whether there is a b.

    Returns
    -------
    w : ndarray (F, O)
    b : ndarray (O,)
        In float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training import ridge_readout
    >>> features = np.random.default_rng(0).normal(size=(50, 2))
    >>> w, b = ridge_readout(features, features[:, :1] - 1, alpha=0.0)
    >>> bool(np.allclose(w.ravel(), [1, 0]) and np.allclose(b, -1))
    True
    """
    readout = RidgeReadout(alpha, intercept=intercept)
    readout.add(features, targets)
    return readout.solve()


def fit_readout(
    model: Sequential | Dense,
    x: Any,
    y: Any,
    *,
    alpha: float = 1e-6,
    washout: int = 0,
    lengths: Any = None,
) -> Sequential | Dense:
    """Set the last layer of a model, a linear Dense, by ridge regression on what the layers before it make of x.

    Parameters
    ----------
    model : Sequential or Dense
        A model that ends in ``Dense(O)`` or ``TimeDistributed(Dense(O))``, or such a Dense itself, whose input x is.
    x : array_like (N, T, I) or (N, I)
    y : array_like (N, T, O) or (N, O)
    alpha : float
        Factor of ``sum(w²)``.
    washout : int
        Steps at the start of each row that don't count, because the state still remembers how it began.
    lengths : array_like of int (N,), optional
        True steps of each row; the others don't count.

    Returns
    -------
    Sequential or Dense
        The model itself.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> x = np.random.default_rng(0).normal(size=(4, 300, 1))
    >>> before = np.roll(x, 1, axis=1)  # the task: remember the value before
    >>> reservoir = fastrnn.EchoState(50, input_scaling=0.3, return_sequences=True, seed=0)
    >>> model = fastrnn.Sequential([reservoir, fastrnn.Dense(1)])
    >>> _ = fastrnn.fit_readout(model, x, before, washout=10)
    >>> bool(np.abs(model(x) - before)[:, 10:].mean() < 0.05)
    True
    """
    layers = [model] if isinstance(model, Dense) else list(model.layers)
    dense = layers[-1].layer if layers and isinstance(layers[-1], TimeDistributed) else (layers or [None])[-1]
    if not isinstance(dense, Dense) or dense.activation not in (None, "linear"):
        raise ValueError(f"model: expected a model that ends in a Dense without activation, got {dense!r}")
    washout = _check.integer("washout", washout, 0)
    features = x if isinstance(model, Dense) else _features(model, x, lengths)
    features = _check.as_real_array("features", features)
    targets = _check.as_real_array("y", y)
    if targets.shape != (*features.shape[:-1], dense.units):
        raise ValueError(f"y: expected shape {(*features.shape[:-1], dense.units)}, got {targets.shape}")
    if features.ndim == 3:
        counts = _counts(features.shape[:2], washout, lengths)
        features, targets = features[counts], targets[counts]
    elif washout:
        raise ValueError(f"washout: expected 0 for features without a time axis, got {washout}")
    w, b = ridge_readout(features, targets, alpha=alpha, intercept=dense.use_bias)
    dense.build(features.shape[-1])
    dense.params.update({"w": w, "b": b} if dense.use_bias else {"w": w})
    return model


def _features(model: Sequential, x: Any, lengths: Any) -> np.ndarray:
    """What the last layer of a model sees."""
    from fastrnn.training.sequential import Sequential

    if not model.built:
        model.build(np.shape(x)[-1])
    before = model.layers[:-1]
    return Sequential(before)(x, lengths=lengths) if before else x


def _counts(shape: tuple[int, ...], washout: int, lengths: Any) -> np.ndarray:
    """The steps (N, T) that count."""
    rows, time = shape
    t = np.arange(time)
    if lengths is None:
        return np.broadcast_to(t >= washout, shape)
    return (t >= washout) & (t < _check.as_int_vector("lengths", lengths, rows, 0, time, "(N,)")[:, None])


def _rows(name: str, value: Any) -> np.ndarray:
    """Any array of finite numbers as a float64 matrix of its last axis."""
    array = _check.as_float_array(name, value, np.float64)
    if array.ndim < 2:
        raise ValueError(f"{name}: expected at least 2-D, got {array.ndim}-D with shape {array.shape}")
    return _check.require_finite(name, array.reshape(-1, array.shape[-1]))
