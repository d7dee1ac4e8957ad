"""Vanishing and exploding gradients made visible: how large states and the gradients by them are at every time step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer
from fastrnn.layers.containers import Stack
from fastrnn.layers.steps import Steps
from fastrnn.layers.through_time import Recurrent
from fastrnn.layers.tracing import Trace, trace_back, trace_forward
from fastrnn.training.callbacks import Callback
from fastrnn.training.losses import Loss, combined_weights, get_loss

__all__ = ["NormRecorder", "NormsThroughTime", "norms_through_time", "plot_norms"]


@dataclass(frozen=True)
class NormsThroughTime:
    """How large states and gradients are at each of T steps, by the names of the states.

    A state of a layer by itself is called ``h`` or ``c``; one of a model has the layer's number in front, ``0/h``.

    Attributes
    ----------
    states : dict of str to ndarray (T,)
        The norm of the states of all rows after each step, ``||h_t||``.
    gradients : dict of str to ndarray (T,)
        The norm of the gradient of the loss by them, ``||dL/dh_t||``.
    """

    states: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]


def norms_through_time(
    what: Layer,
    x: Any,
    y: Any = None,
    *,
    dout: Any = None,
    loss: str | Loss | None = None,
    sample_weight: Any = None,
    lengths: Any = None,
    mask: Any = None,
    reset_mask: Any = None,
) -> NormsThroughTime:
    """The norms of all states, and of the gradients of the loss by them, at every time step.

    The gradient by h_t is the one of backpropagation through time, exactly: through the output of step t and through
    all steps behind.  Where it falls towards the first steps, what happened there has no influence on learning; where
    it grows, the first steps drown all others.

    Parameters
    ----------
    what : Layer or Sequential
        Not changed; dropout and zoneout are as at inference.
    x : array_like (B, T, I)
    y : array_like, optional
        Targets, as the loss takes them.
    dout : array_like, optional
        In place of y: the gradient of the loss by the output.
    loss : str or Loss, optional
        By default that of the compiled model.
    sample_weight, lengths, mask, reset_mask
        As for ``Sequential.fit``.

    Returns
    -------
    NormsThroughTime
        Of all recurrent layers that stand in the model itself, not inside another layer of it.

    Raises
    ------
    ValueError, TypeError
        If there is no recurrent layer, no loss, or an argument does not fit.

    Notes
    -----
    The norms are L2 norms over all rows and units.  The gradient by the cell state c_t of an LSTM is that through the
    steps behind; what h_t shows of c_t is in the gradient by h_t.

    Each step is run by itself, forward and back: some tens of microseconds a step.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import SimpleRNN
    >>> from fastrnn.training import norms_through_time
    >>> layer = SimpleRNN(8, seed=0)
    >>> norms = norms_through_time(layer, np.ones((1, 50, 1)), dout=np.ones((1, 8)))
    >>> first, last = norms.gradients["h"][[0, -1]]
    >>> bool(first < 0.01 * last)  # what the first step did has been forgotten
    True
    """
    if not isinstance(what, Layer):
        raise TypeError(f"what: expected a layer or a model, got {type(what).__name__}")
    layers, prefix = (what.layers, "{}/") if isinstance(what, Stack) else ([what], "")
    if not any(isinstance(layer, Recurrent) for layer in layers):
        raise ValueError(f"what: expected a recurrent layer or a model with one, got {what!r}")
    x = _as_input(what, x)
    known = Steps.checked(x, lengths, mask, reset_mask, min_ndim=2 if what.takes_integers else 3)
    way: list[tuple[Layer, Any]] = []
    for layer in layers:
        cache: Any
        if isinstance(layer, Recurrent):
            cache = trace_forward(layer, x, known)
            out = cache.out
        else:
            out, cache = layer.forward(x, **layer.time_arguments(known))
        way.append((layer, cache))
        x, known = out, layer.output_steps(x, known)
    if (y is None) == (dout is None):
        raise TypeError("y, dout: expected one of the two")
    if dout is None:
        weight = combined_weights(
            None if sample_weight is None else _check.as_real_array("sample_weight", sample_weight),
            known.counted(x.shape[1]),
        )
        dout = _loss_of(what, loss).value_and_gradient(y, x, weight)[1]
    states: dict[str, np.ndarray] = {}
    gradients: dict[str, np.ndarray] = {}
    for i, (layer, cache) in reversed(list(enumerate(way))):
        if not isinstance(cache, Trace):
            dout = layer.backward(dout, cache)[0]
            continue
        dout, found = trace_back(dout, cache)
        names = {name: prefix.format(i) + name for name in found}
        states = {long: _norms(cache.states[name]) for name, long in names.items()} | states
        gradients = {long: _norms(found[name]) for name, long in names.items()} | gradients
    return NormsThroughTime(states, gradients)


def _as_input(what: Layer, x: Any) -> np.ndarray:
    """The input as the first layer takes it; builds what is not built yet."""
    return what._cast(x) if isinstance(what, Stack) else what._input(x)


def _loss_of(what: Layer, loss: str | Loss | None) -> Loss:
    """The loss that was given, or else the one that the model is compiled with."""
    found = getattr(what, "loss", None) if loss is None else get_loss(loss)
    if found is None:
        raise ValueError("loss: expected one, because there is no compiled model that has it")
    return found


def _norms(states: np.ndarray) -> np.ndarray:
    """The norm of all rows (B, T, H) at each step, (T,)."""
    return np.sqrt(np.square(states, dtype=np.float64).sum(axis=(0, 2)))


class NormRecorder(Callback):
    """Record `norms_through_time` while a model is trained.

    Parameters
    ----------
    x, y : array_like
        A few rows to judge by, as for `norms_through_time`.
    every : int
        Record before the first epoch and after every so many.
    **options
        `sample_weight`, `lengths`, `mask`, `reset_mask` for `norms_through_time`.

    Attributes
    ----------
    epochs : list of int
        Epochs that were done at each record, 0 first.
    norms : list of NormsThroughTime

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Dense, SimpleRNN
    >>> from fastrnn.training import NormRecorder, Sequential
    >>> x = np.random.default_rng(0).normal(size=(32, 20, 1))
    >>> model = Sequential([SimpleRNN(8), Dense(1)], seed=0)
    >>> model.compile("adam", "mse")
    >>> recorder = NormRecorder(x[:4], x[:4, 0])
    >>> history = model.fit(x, x[:, 0], epochs=2, verbose=0, callbacks=[recorder])
    >>> recorder.epochs, recorder.norms[-1].gradients["0/h"].shape
    ([0, 1, 2], (20,))
    """

    def __init__(self, x: Any, y: Any, *, every: int = 1, **options: Any) -> None:
        self.x, self.y, self.options = x, y, options
        self.every = _check.integer("every", every, 1)
        self.epochs: list[int] = []
        self.norms: list[NormsThroughTime] = []

    def on_train_begin(self) -> None:
        self.epochs, self.norms = [], []
        self._record(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if (epoch + 1) % self.every == 0:
            self._record(epoch + 1)

    def _record(self, done: int) -> None:
        self.epochs.append(done)
        self.norms.append(norms_through_time(self.model, self.x, self.y, **self.options))


def plot_norms(
    norms: NormsThroughTime | Mapping[str, NormsThroughTime], state: str | None = None, axes: Any = None
) -> Any:
    """Draw gradients and states over time, with logarithmic scales.

    Parameters
    ----------
    norms : NormsThroughTime or mapping of str to it
        One record, or several by the names that the legend shows.
    state : str, optional
        The state that is drawn of several records, by default the last layer's h; of one record all are drawn.
    axes : pair of matplotlib.axes.Axes, optional
        For the gradients and for the states; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Without Matplotlib: ``pip install "fastrnn[forecast]"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import SimpleRNN
    >>> from fastrnn.training import norms_through_time, plot_norms
    >>> norms = {}
    >>> for activation in ("tanh", "relu"):
    ...     layer = SimpleRNN(8, activation=activation, seed=0)
    ...     norms[activation] = norms_through_time(layer, np.ones((1, 50, 1)), dout=np.ones((1, 8)))
    >>> plot_norms(norms).savefig("norms.png")
    """
    gradients, states = _two_axes() if axes is None else axes
    for label, of_gradient, of_state in _curves(norms, state):
        for panel, values in ((gradients, of_gradient), (states, of_state)):
            panel.plot(np.where((values > 0) & np.isfinite(values), values, np.nan), label=label, lw=1.6)
    for panel, title in ((gradients, "Gradient of the loss by the state"), (states, "State")):
        panel.set_title(f"{title}, norm", loc="left", fontsize=10)
        panel.set_yscale("log")
        panel.set_xlabel("time step")
        panel.grid(color="#e6e8ec", lw=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    gradients.legend(frameon=False, fontsize=9)
    return gradients.figure


def _curves(
    norms: NormsThroughTime | Mapping[str, NormsThroughTime], state: str | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What is drawn: the label, and the norms of gradients and states."""
    if isinstance(norms, NormsThroughTime):
        for name in norms.states if state is None else [state]:
            yield name, norms.gradients[name], norms.states[name]
        return
    for label, record in norms.items():
        name = [known for known in record.states if known.endswith("h")][-1] if state is None else state
        yield label, record.gradients[name], record.states[name]


def _two_axes() -> Any:
    """Two panels side by side in a figure of their own."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('plotting needs matplotlib: pip install "fastrnn[forecast]"') from None
    figure = Figure(figsize=(11, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots(1, 2)
