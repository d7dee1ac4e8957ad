"""What happens beside the training: history, early stopping, progress."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn import _check

if TYPE_CHECKING:
    from fastrnn.training.model import Model

__all__ = ["Callback", "EarlyStopping", "History", "ProgressBar", "TerminateOnNaN"]


class Callback:
    """Base class: override what you need.

    ``fit`` sets `model` before it calls anything.  Setting ``self.model.stop_training = True`` ends the training
    after the batch or epoch at hand.

    Examples
    --------
    >>> from fastrnn.training import Callback
    >>> class PrintLoss(Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(epoch, logs["loss"])
    """

    model: Model[Any]

    def on_train_begin(self) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch, counted from 0."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """After a batch; ``logs["loss"]`` is the batch's loss."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch; logs holds what the history will."""

    def on_train_end(self) -> None:
        """After the last epoch, also when an error or an interrupt ended the training."""


class History(Callback):
    """The figures of each epoch; ``fit`` returns one.

    Attributes
    ----------
    history : dict of str to list of float
        ``"loss"``, the metrics, the same with ``val_`` in front, and ``"gradient_norm"`` if recorded.
    epoch : list of int
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class EarlyStopping(Callback):
    """Stop when a figure has not become better for a number of epochs.

    Parameters
    ----------
    monitor : str
        A name in the history.
    min_delta : float
        Smaller changes are no improvement.
    patience : int
        Epochs without improvement before the training stops; 0 stops at the first.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better; "auto" is "max" for names with ``acc`` in them, otherwise "min".
    baseline : float, optional
        An epoch counts as better only if it beats this too.
    restore_best_weights : bool
        Put the best epoch's weights back when the training ends, however it ends.
    start_from_epoch : int
        Epochs to wait before looking.

    Attributes
    ----------
    best : float
        The best figure so far; NaN before the first.
    best_epoch : int or None
    stopped_epoch : int or None
        Where the training was stopped.

    Examples
    --------
    >>> from fastrnn.training import EarlyStopping
    >>> stopping = EarlyStopping(patience=5, restore_best_weights=True)  # model.fit(..., callbacks=[stopping])
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self.monitor = monitor
        self.min_delta = _check.number("min_delta", min_delta, 0.0)
        self.patience = _check.integer("patience", patience, 0)
        self.mode = _check.choice("mode", mode, ("auto", "min", "max"))
        self.baseline = None if baseline is None else _check.number("baseline", baseline)
        self.restore_best_weights = _check.boolean("restore_best_weights", restore_best_weights)
        self.start_from_epoch = _check.integer("start_from_epoch", start_from_epoch, 0)
        self.on_train_begin()

    def on_train_begin(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._best_weights: list[np.ndarray] | None = None
        self._waited = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.monitor not in logs:
            raise ValueError(f"monitor: expected one of {', '.join(map(repr, logs))}, got {self.monitor!r}")
        if epoch < self.start_from_epoch:
            return
        value = logs[self.monitor]
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._best_weights = self.model.get_weights()
            if self.baseline is None or self._better(value, self.baseline):
                self._waited = 0
                return
        self._waited += 1
        if self._waited >= max(1, self.patience):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)

    def _better(self, value: float, than: float) -> bool:
        """Whether a figure is better by at least min_delta; anything but NaN is better than NaN."""
        if math.isnan(value) or math.isnan(than):
            return math.isnan(than) and not math.isnan(value)
        highest = self.mode == "max" or (self.mode == "auto" and "acc" in self.monitor)
        return value - self.min_delta > than if highest else value + self.min_delta < than


class TerminateOnNaN(Callback):
    """Stop the training as soon as a batch's loss is NaN or infinite."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            self.model.stop_training = True


class ProgressBar(Callback):
    """One bar over all batches of all epochs, with the loss and the time left.

    Parameters
    ----------
    epochs, batches : int
        Epochs, and batches in each.
    """

    def __init__(self, epochs: int, batches: int) -> None:
        self.epochs = epochs
        self.batches = batches
        self._bar: Any = None
        self._figures: dict[str, float] = {}

    def on_train_begin(self) -> None:
        from tqdm.auto import tqdm

        self._figures = {}
        self._bar = tqdm(total=self.epochs * self.batches, unit="batch", dynamic_ncols=True)

    def on_epoch_begin(self, epoch: int) -> None:
        self._bar.set_description(f"epoch {epoch + 1}/{self.epochs}", refresh=False)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._figures["loss"] = logs["loss"]
        self._show(refresh=False)
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._figures.update({name: logs[name] for name in ("loss", "val_loss") if name in logs})
        self._show(refresh=True)

    def on_train_end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, refresh: bool) -> None:
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in self._figures.items()}, refresh=refresh)


def wants_progress(verbose: str | int) -> bool:
    """Whether to show a bar: 0 and 1 say so, "auto" does on a terminal and in a notebook."""
    if verbose in (0, 1) and not isinstance(verbose, str):
        return verbose == 1
    if verbose != "auto":
        raise ValueError(f"verbose: expected 'auto', 0 or 1, got {verbose!r}")
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
