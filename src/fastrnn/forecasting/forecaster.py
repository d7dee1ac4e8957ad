"""A recurrent network as a forecaster."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn import _check

from .calendar import even_times
from .estimator import BaseForecaster, History
from .inputs import InputTable
from .windows import origins_between, targets_after, windows_until

if TYPE_CHECKING:
    from fastrnn.training import Sequential

__all__ = ["Forecaster"]

CELLS = ("gru", "lstm", "rnn")
STRATEGIES = ("direct", "recursive", "seq2seq")
UPDATES = 8000  # of the weights, where the number of epochs is left open
TRANSFORMS = ("auto", "none", "sqrt")


class Forecaster(BaseForecaster):
    """Forecast a series with a recurrent network that reads a window of it.

    The network sees the scaled target, the other columns and, if the rows have times, sine and cosine of where the
    next moment stands in the year, week, day, hour (each only if it is longer than two steps and seen twice in the
    training part).  Its output is the *change* from the last known value, in scaled units: a network that has learned
    nothing yet repeats the last value.

    Parameters
    ----------
    cell : {"gru", "lstm", "rnn"}
    units : int
        Size of each recurrent layer.
    layers : int
        Recurrent layers, one on the other.
    window : int
        Rows that the network reads before it forecasts.
    horizon : int
        Steps ahead.
    strategy : {"direct", "recursive", "seq2seq"}
        direct: after the window, all `horizon` steps at once.  recursive: one step ahead of every column, fed back as
        if it had been observed, `horizon` times.  seq2seq: `horizon` steps at once after *every* row of the window;
        all are part of the loss, the last is the forecast.
    transform : {"auto", "none", "sqrt"}
        What is done to the target before scaling.  The square root evens out the noise of counts; "auto" takes it if
        the training part of the target is whole numbers >= 0.  Forecasts are transformed back.
    differences : {"auto"} or bool
        Show the network the target's change from row to row in place of its level: a level that keeps growing ends
        where no network has been trained.  "auto" does so if the means of first and last quarter of the training part
        are more than two standard deviations apart.
    loss : str
        Loss on the scaled change.  "mae" aims at the median, which a transform leaves in place.
    epochs : int or None
        Passes over the training part, at most.  None: as many as make 8000 updates, but from 20 to 300.
    batch_size : int
    learning_rate : float
        First learning rate of Adam; it falls to zero along half a cosine over all epochs.
    clipnorm : float
        Gradients are scaled down to this norm over all parameters.
    dropout : float
        Fraction of the last recurrent layer's outputs dropped in training.
    validation : float or int
        The end of the series, as a fraction or in rows, that is not trained on but watched: the weights of the epoch
        that was best there are kept.  0 trains on everything.
    patience : int or None
        Epochs without improvement there before the training stops.  None: a third of all.
    seed : int or None
        Same seed, same data: same network, bit for bit.
    verbose : {"auto", 0, 1}
        Progress bar, as in ``Sequential.fit``.

    Attributes
    ----------
    model_ : fastrnn.training.Sequential
        The trained network; ``model_.save(path)`` writes it.
    transform_ : str
        The transform in use.
    epochs_ : int
        The largest number of epochs.
    differences_ : bool
        Whether the network sees changes.
    training_ : dict of str to list of float
        Loss and validation loss of each epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.forecasting import Forecaster
    >>> wave = np.sin(2 * np.pi * np.arange(300) / 12)
    >>> network = Forecaster(units=8, window=12, horizon=3, epochs=20).fit(wave[:-3])
    >>> bool(np.abs(network.predict() - wave[-3:]).max() < 0.3)
    True
    """

    def __init__(
        self,
        cell: str = "gru",
        units: int = 32,
        layers: int = 1,
        window: int = 48,
        horizon: int = 1,
        strategy: str = "direct",
        *,
        transform: str = "auto",
        differences: str | bool = "auto",
        loss: str = "mae",
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        clipnorm: float = 1.0,
        dropout: float = 0.2,
        validation: float | int = 0.1,
        patience: int | None = None,
        seed: int | None = 0,
        verbose: str | int = 0,
    ) -> None:
        self.cell = cell
        self.units = units
        self.layers = layers
        self.window = window
        self.horizon = horizon
        self.strategy = strategy
        self.transform = transform
        self.differences = differences
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.clipnorm = clipnorm
        self.dropout = dropout
        self.validation = validation
        self.patience = patience
        self.seed = seed
        self.verbose = verbose

    def _fit(self, history: History, known: np.ndarray) -> None:
        self._check_parameters()
        rows = history.y.size
        training_rows = rows - self._validation_rows(rows)
        self._choose_transform(history.y[:training_rows])
        history = self._transformed(history)
        self._choose_differences(history.y[:training_rows])
        self._inputs = InputTable(self._seen(history), training_rows, self.step_)
        if np.ptp(history.y[:training_rows]) == 0:
            raise ValueError(f"y: is constant over the {training_rows} rows to train on, there is nothing to learn")

        training = self._origins(0, training_rows, known)
        if training.size < 1:
            needed = self.window + self._ahead
            if training_rows >= needed:
                raise ValueError(
                    f"known: expected a window with real targets in the {self._ahead} rows after it, among the "
                    f"{training_rows} rows to train on; got none"
                )
            raise ValueError(f"y: expected at least window + horizon = {needed} rows to train on, got {training_rows}")
        table = self._table(history)
        validation = self._origins(training_rows, rows, known)
        batches = math.ceil(training.size / self.batch_size)
        self.epochs_ = min(max(20, round(UPDATES / batches)), 300) if self.epochs is None else self.epochs
        self.model_ = self._build(table.shape[1], self.epochs_ * batches)
        self._train(table, history.y, known, training, validation, training_rows)

    def _check_parameters(self) -> None:
        _check.choice("cell", self.cell, CELLS)
        _check.choice("strategy", self.strategy, STRATEGIES)
        _check.choice("transform", self.transform, TRANSFORMS)
        for name in ("units", "layers", "window", "batch_size"):
            _check.integer(name, getattr(self, name), 1)
        if self.epochs is not None:
            _check.integer("epochs", self.epochs, 1)
        if self.patience is not None:
            _check.integer("patience", self.patience, 0)
        _check.number("learning_rate", self.learning_rate, 0.0, open_minimum=True)
        _check.number("clipnorm", self.clipnorm, 0.0, open_minimum=True)
        _check.number("dropout", self.dropout, 0.0, 1.0, open_maximum=True)
        if self.differences != "auto":
            _check.boolean("differences", self.differences)
        if self.seed is not None:
            _check.integer("seed", self.seed, 0)

    def _validation_rows(self, rows: int) -> int:
        if isinstance(self.validation, (float, np.floating)):
            return int(_check.number("validation", self.validation, 0.0, 1.0, open_maximum=True) * rows)
        return _check.integer("validation", self.validation, 0, rows - 1)

    def _choose_transform(self, y: np.ndarray) -> None:
        counts = bool((y >= 0).all() and (y == np.floor(y)).all())
        self.transform_ = ("sqrt" if counts else "none") if self.transform == "auto" else self.transform
        if self.transform_ == "sqrt" and (y < 0).any():
            raise ValueError(f"transform: 'sqrt' expects a target >= 0, got {y.min():g}")

    def _transformed(self, history: History) -> History:
        return history._replace(y=np.sqrt(np.maximum(history.y, 0.0))) if self.transform_ == "sqrt" else history

    def _choose_differences(self, y: np.ndarray) -> None:
        quarter = max(1, y.size // 4)
        trend = abs(float(y[-quarter:].mean() - y[:quarter].mean()))
        self.differences_ = trend > 2 * float(y.std()) if self.differences == "auto" else bool(self.differences)

    def _seen(self, history: History) -> History:
        """The series as the network sees it: the target as level or as change from the row before."""
        return history._replace(y=np.diff(history.y, prepend=history.y[0])) if self.differences_ else history

    def _table(self, history: History) -> np.ndarray:
        """Inputs (N, C + K), float32."""
        return self._inputs.table(self._seen(history)).astype(np.float32)

    @property
    def _scale(self) -> float:
        """What one unit of the network's output is worth in units of the (transformed) target."""
        scale = float(self._inputs.scaler.scale[0])
        return scale if math.isfinite(scale) else 1.0  # a straight line has differences that don't vary

    def _back(self, y: np.ndarray) -> np.ndarray:
        """The transformed target in its own units."""
        return np.maximum(y, 0.0) ** 2 if self.transform_ == "sqrt" else y

    @property
    def _ahead(self) -> int:
        """Steps that the network itself forecasts at once."""
        return 1 if self.strategy == "recursive" else self.horizon

    @property
    def _n_columns(self) -> int:
        """C, target included; in a row of the table they stand before the calendar inputs."""
        return 1 + self.n_features_in_

    def _origins(self, start: int, stop: int, known: np.ndarray) -> np.ndarray:
        """Origins whose targets lie in these rows and are all real."""
        origins = origins_between(start, stop, self.window, self._ahead)
        return origins[targets_after(known, self._ahead, origins).all(axis=1)]

    def _build(self, inputs: int, updates: int) -> Sequential:
        from fastrnn.layers import GRU, LSTM, Dense, Dropout, SimpleRNN, TimeDistributed
        from fastrnn.training import Adam, Sequential, schedules

        recurrent: Any = {"gru": GRU, "lstm": LSTM, "rnn": SimpleRNN}[self.cell]
        every_row = self.strategy == "seq2seq"
        outputs = self._n_columns if self.strategy == "recursive" else self.horizon
        stack: list[Any] = [
            recurrent(self.units, return_sequences=every_row or layer < self.layers - 1) for layer in range(self.layers)
        ]
        if self.dropout:
            stack.append(Dropout(self.dropout))
        stack.append(TimeDistributed(Dense(outputs)) if every_row else Dense(outputs))
        model = Sequential(stack, input_size=inputs, seed=self.seed)
        rate = schedules.CosineDecay(float(self.learning_rate), updates)
        model.compile(optimizer=Adam(rate, global_clipnorm=float(self.clipnorm)), loss=self.loss)
        return model

    def _train(
        self,
        table: np.ndarray,
        y: np.ndarray,
        known: np.ndarray,
        training: np.ndarray,
        validation: np.ndarray,
        training_rows: int,
    ) -> None:
        from fastrnn.training import EarlyStopping

        options: dict[str, Any] = {}
        if validation.size:
            patience = max(5, self.epochs_ // 3) if self.patience is None else self.patience
            options["validation_data"] = self._samples(table, y, known, validation, training_rows)
            options["callbacks"] = [EarlyStopping(patience=patience, restore_best_weights=True)]
        x, changes, weight = self._samples(table, y, known, training, 0)
        history = self.model_.fit(
            x,
            changes,
            sample_weight=weight,
            epochs=self.epochs_,
            batch_size=self.batch_size,
            verbose=self.verbose,
            **options,
        )
        self.training_ = history.history

    def _samples(
        self, table: np.ndarray, y: np.ndarray, known: np.ndarray, origins: np.ndarray, start: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Inputs (n, window, C + K), what the network should say after them, and what counts of it (None: all).

        The targets that count lie in row `start` or later, as those of the origins themselves do.
        """
        x = windows_until(table, self.window, origins)
        if self.strategy == "direct":
            return x, self._changes(y, origins), None
        if self.strategy == "recursive":
            # (n, C): the target's change, and the changes of the other columns as they stand in the table
            others = (table[origins + 1] - table[origins])[:, 1 : self._n_columns]
            return x, np.hstack([self._changes(y, origins), others]), None
        # (n, window, horizon): the same after every row of the window; where a target was filled or lies before
        # `start` (validation begins in the middle of a window), it doesn't count
        rows = origins[:, None] + np.arange(1 - self.window, 1)
        weight = targets_after(known, self.horizon, rows.ravel()).all(axis=1).reshape(rows.shape) & (rows + 1 >= start)
        return x, self._changes(y, rows.ravel()).reshape(*rows.shape, self.horizon), weight

    def _changes(self, y: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """(y[t + k] - y[t]) / scale for k from 1 to the steps that the network forecasts at once, float32."""
        changes = targets_after(y, self._ahead, origins) - y[origins][:, None]
        return (changes / self._scale).astype(np.float32)

    def _predict_at(self, history: History, origins: np.ndarray) -> np.ndarray:
        if origins.size == 0:
            return np.empty((0, self.horizon))
        if origins.min() + 1 < self.window:
            raise ValueError(f"origins: expected at least window - 1 = {self.window - 1}, got {origins.min()}")
        history = self._transformed(history)
        if self.strategy == "recursive":
            changes = self._feed_back(history, origins)
        else:
            changes = self.model_.predict(windows_until(self._table(history), self.window, origins))
            if self.strategy == "seq2seq":
                changes = changes[:, -1]
        # y[t + k] (n, horizon) = y[t] + scale · changes
        return self._back(history.y[origins][:, None] + self._scale * changes.astype(np.float64))

    def _feed_back(self, history: History, origins: np.ndarray) -> np.ndarray:
        """One step at a time, each forecast row appended to the window; changes since the last known row."""
        rows, columns = history.y.size, self._n_columns
        time = history.time
        if time is not None and self.step_ is not None:
            time = np.append(time, even_times(time[-2:], self.step_, self.horizon)[-self.horizon :])
        calendar = self._inputs.calendar(time, rows + self.horizon).astype(np.float32)
        mean = np.float32(self._inputs.scaler.mean[0] / self._scale)
        x = windows_until(self._table(history), self.window, origins)
        steps = []
        for ahead in range(1, self.horizon + 1):
            change = self.model_.predict(x)
            steps.append(change[:, 0])
            # row (n, C) = the row before + change; a target seen as its change from row to row *is* the change
            row = x[:, -1, :columns] + change
            if self.differences_:
                row[:, 0] = change[:, 0] - mean
            x = np.concatenate([x[:, 1:], np.hstack([row, calendar[origins + ahead]])[:, None]], axis=1)
        return np.cumsum(np.stack(steps, axis=1), axis=1, dtype=np.float64)
