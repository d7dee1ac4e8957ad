"""A network as a forecaster."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from fastrnn import _check

from .baselines import seasonal_past
from .calendar import even_times
from .estimator import ONLY, BaseForecaster, History, Panel, require_past
from .inputs import InputTable
from .intervals import conformal_margins, interval_pairs, widened
from .networks import CONV_KERNEL, FRONTENDS, STRATEGIES, WAVENET, Network, cells
from .windows import origins_between, targets_after, windows_until

if TYPE_CHECKING:
    from fastrnn.training.model import Model

__all__ = ["Forecaster"]

UPDATES = 8000  # of the weights, where the number of epochs is left open
TRANSFORMS = ("auto", "none", "sqrt")


class _Samples(NamedTuple):
    """Inputs (n, T, F), what the network should say, what counts of it (None: all), and what a decoder reads."""

    x: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None
    future: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: list[_Samples]) -> _Samples:
        """One after the other."""

        def column(values: list[Any]) -> Any:
            return None if values[0] is None else np.concatenate(values)

        return cls(*(column(list(values)) for values in zip(*parts, strict=True)))


class Forecaster(BaseForecaster):
    """Forecast a series, or many, with a network that reads a window of it.

    The network sees the scaled target, the other columns, the values that are planned for the next steps and, if the
    rows have times, sine and cosine of where the next moment stands in the year, week, day, hour (each only if it is
    longer than two steps and seen twice in the training part).  Its output is the *change* from a simple forecast, in
    scaled units: from the last known value or, with seasonal differences, from the season before plus its growth.  A
    network that has learned nothing yet says what the simple forecast says.

    Several series (see `fit`) are learned by one network, each scaled by itself.

    Parameters
    ----------
    cell : str or class of MemoryCell
        Kind of layer: one of ``fastrnn.forecasting.cells()``, "gru", "lstm", "rnn", ... or "wavenet", a stack of causal
        convolutions of two taps, dilated by 1, 2, 4, ... until they see the whole window.  Or a class of one's own
        cells (docs/custom_cells.md), made of a number of units.
    units : int
        Size of each layer.
    layers : int
        Recurrent layers, one on the other; of a WaveNet, how often the dilations are gone through.
    window : int
        Rows that the network reads before it forecasts.
    horizon : int
        Steps ahead.
    strategy : {"direct", "recursive", "seq2seq", "encoder_decoder"}
        direct: after the window, all `horizon` steps at once.  recursive: one step ahead of every column, fed back as
        if it had been observed, `horizon` times.  seq2seq: `horizon` steps at once after *every* row of the window;
        all are part of the loss, the last is the forecast.  encoder_decoder: what the layers remember of the window
        starts a second stack of such layers, which speaks once for each step ahead and reads what it said before, the
        calendar and the planned values of that step.
    frontend : {"none", "conv"}
        conv: a convolution over 4 rows that moves by 2 stands before the recurrent layers, which then have half as many
        steps to remember.
    transform : {"auto", "none", "sqrt"}
        What is done to the target before scaling.  The square root evens out the noise of counts; "auto" takes it if
        the training part of the target is whole numbers >= 0.  Forecasts are transformed back.
    differences : {"auto"}, bool or int
        Show the network the target's change in place of its level: a level that keeps growing ends where no network has
        been trained.  True: the change from row to row.  A number m of 2 or more, the steps in a season: the change
        from the season before, y[t] - y[t-m]; forecasts are then y[t+k-j·m] + j·(y[t] - y[t-m]) with j = ceil(k/m),
        plus what the network says.  "auto" is True if the means of first and last quarter of the training part are more
        than two standard deviations apart, else False.
    quantiles : tuple of float, optional
        Levels to forecast, 0.5 among them, such as (0.05, 0.5, 0.95); `predict` gives the median and
        `predict_quantiles` all, in rising order.  The loss is then `Pinball`.
    calibrate : bool
        Widen (or narrow) the interval between the quantiles q and 1 - q, for each step ahead, so that it covers its
        share of the validation part (Romano et al., Conformalized quantile regression, 2019).  That part has also
        stopped the training, and the future may differ from it: hold the coverage of a test part against the nominal.
    loss : str or Loss
        Loss on the scaled change.  "mae" aims at the median, which a transform leaves in place.
    epochs : int or None
        Passes over the training part, at most.  None: as many as make 8000 updates, but from 20 to 300.
    batch_size : int
    learning_rate : float
        First learning rate of Adam; it falls to zero along half a cosine over all epochs.
    clipnorm : float
        Gradients are scaled down to this norm over all parameters.
    dropout : float
        Fraction of the last layer's outputs dropped in training.
    validation : float or int
        The end of each series, as a fraction or in rows, that is not trained on but watched: the weights of the epoch
        that was best there are kept.  0 trains on everything.
    patience : int or None
        Epochs without improvement there before the training stops.  None: a third of all.
    seed : int or None
        Same seed, same data: same network, bit for bit.
    verbose : {"auto", 0, 1}
        Progress bar, as in ``Sequential.fit``.

    Attributes
    ----------
    model_ : fastrnn.training.Sequential or EncoderDecoder
        The trained network; `save` writes it with all that belongs to it.
    transform_ : str
        The transform in use.
    epochs_ : int
        The largest number of epochs.
    differences_ : int
        0: the network sees levels, 1: changes from row to row, m: changes from the season before.
    margins_ : dict of tuple to (horizon,) array
        By how much each interval, named by its two levels, was widened, in scaled units.
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

    Two series, one network, and the interval that should hold nine values of ten:

    >>> both = {"small": wave, "large": 1000 + 100 * wave}
    >>> network = Forecaster(units=8, window=12, epochs=5, quantiles=(0.05, 0.5, 0.95)).fit(both)
    >>> {name: forecast.shape for name, forecast in network.predict_quantiles().items()}
    {'small': (1, 3), 'large': (1, 3)}
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
        frontend: str = "none",
        transform: str = "auto",
        differences: str | bool | int = "auto",
        quantiles: Iterable[float] | None = None,
        calibrate: bool = True,
        loss: Any = "mae",
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
        self.frontend = frontend
        self.transform = transform
        self.differences = differences
        self.quantiles = quantiles
        self.calibrate = calibrate
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

    # -- use ----------------------------------------------------------------------------------------------------------

    def predict_quantiles(self, y: Any = None, X: Any = None, *, time: Any = None, planned: Any = None) -> Any:
        """All quantiles of the `horizon` values that follow a series, by default the series of `fit`.

        Parameters
        ----------
        y, X, time, planned
            As for `fit`; the last row of y is the last that is known.

        Returns
        -------
        (horizon, Q) float64 array in rising order, or a dict of such arrays by series
        """
        return self._at_end(self._quantiles_at, y, X, time, planned)

    def predict_quantiles_at(
        self, origins: Any, y: Any, X: Any = None, *, time: Any = None, planned: Any = None
    ) -> Any:
        """All quantiles from each of many rows of a series; see `predict_at`.

        Parameters
        ----------
        origins, y, X, time, planned
            As for `predict_at`.

        Returns
        -------
        (n, horizon, Q) float64 array in rising order, or a dict of such arrays by series
        """
        return self._at(self._quantiles_at, origins, y, X, time, planned)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network with its scaling, transform, differences and calibration to one safetensors file.

        ``Forecaster.load`` gives the forecaster back, ``fastrnn.load`` the network inside alone.  The series of `fit`
        is not part of the file: a loaded forecaster is given one in `predict`.

        Parameters
        ----------
        path : str or os.PathLike
            An existing file is replaced.
        """
        from . import saving

        self._require_fitted()
        saving.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a forecaster that `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Examples
        --------
        >>> import os, tempfile
        >>> import numpy as np
        >>> from fastrnn.forecasting import Forecaster
        >>> wave = 100 + np.sin(2 * np.pi * np.arange(200) / 12)
        >>> network = Forecaster(units=4, window=12, epochs=2).fit(wave)
        >>> path = os.path.join(tempfile.mkdtemp(), "wave.safetensors")
        >>> network.save(path)
        >>> bool((Forecaster.load(path).predict(wave) == network.predict()).all())
        True
        """
        from . import saving

        forecaster = saving.load(cls, path)
        assert isinstance(forecaster, cls)
        return forecaster

    # -- training -----------------------------------------------------------------------------------------------------

    def _fit(self, panel: Panel) -> None:
        self._check_parameters()
        self._start = {name: h.y.size - self._validation_rows(h.y.size) for name, h in panel.items()}
        self._choose_transform(np.concatenate([h.y[: self._start[name]] for name, h in panel.items()]))
        panel = {name: self._transformed(history) for name, history in panel.items()}
        self._choose_differences([h.y[: self._start[name]] for name, h in panel.items()])
        self._inputs: dict[str, InputTable] = {}
        for name, history in panel.items():
            rows = self._start[name]
            if np.ptp(history.y[:rows]) == 0:
                target = "y" if name == ONLY else f"y[{name!r}]"
                raise ValueError(f"{target}: is constant over the {rows} rows to train on, there is nothing to learn")
            self._inputs[name] = InputTable(self._seen(history), slice(self._lost, rows), self.step_)

        training = {name: self._origins(0, self._start[name], h.known) for name, h in panel.items()}
        self._require_training(panel, training)
        validation = {name: self._origins(self._start[name], h.y.size, h.known) for name, h in panel.items()}
        samples = self._samples(panel, training, dict.fromkeys(panel, 0))
        batches = math.ceil(len(samples.x) / self.batch_size)
        self.epochs_ = min(max(20, round(UPDATES / batches)), 300) if self.epochs is None else self.epochs
        self.model_ = self._build(samples, self.epochs_ * batches)
        watched = any(origins.size for origins in validation.values())
        self._train(samples, self._samples(panel, validation, self._start) if watched else None)
        self.margins_ = self._calibrated(panel, validation) if watched and self.calibrate else {}

    def _require_training(self, panel: Panel, training: dict[str, np.ndarray]) -> None:
        if any(origins.size for origins in training.values()):
            return
        needed = self._past + self._ahead
        rows = max(self._start.values())
        if rows >= needed:
            raise ValueError(
                f"known: expected a window with real targets in the {self._ahead} rows after it, among the "
                f"{rows} rows to train on; got none"
            )
        season = " + differences" if self._lost else ""
        raise ValueError(f"y: expected at least window + horizon{season} = {needed} rows to train on, got {rows}")

    def _check_parameters(self) -> None:
        if not _is_own_cell(self.cell):
            _check.choice("cell", self.cell, cells())
        _check.choice("strategy", self.strategy, STRATEGIES)
        _check.choice("frontend", self.frontend, FRONTENDS)
        _check.choice("transform", self.transform, TRANSFORMS)
        for name in ("units", "layers", "window", "batch_size"):
            _check.integer(name, getattr(self, name), 1)
        if self.cell == WAVENET and self.frontend != "none":
            raise ValueError("frontend: expected 'none' with cell='wavenet', which is made of convolutions")
        if self.cell == WAVENET and self.strategy == "encoder_decoder":
            raise ValueError("strategy: 'encoder_decoder' expects a recurrent cell, got cell='wavenet'")
        if self.frontend == "conv" and self.window < CONV_KERNEL:
            raise ValueError(f"window: expected at least {CONV_KERNEL} rows with frontend='conv', got {self.window}")
        self._check_quantiles()
        if self.epochs is not None:
            _check.integer("epochs", self.epochs, 1)
        if self.patience is not None:
            _check.integer("patience", self.patience, 0)
        _check.number("learning_rate", self.learning_rate, 0.0, open_minimum=True)
        _check.number("clipnorm", self.clipnorm, 0.0, open_minimum=True)
        _check.number("dropout", self.dropout, 0.0, 1.0, open_maximum=True)
        if self.differences != "auto" and not isinstance(self.differences, (bool, np.bool_)):
            if isinstance(self.differences, str):
                _check.boolean("differences", self.differences)
            _check.integer("differences", self.differences, 0)
        if self.seed is not None:
            _check.integer("seed", self.seed, 0)

    def _check_quantiles(self) -> None:
        from fastrnn.training.losses import Pinball

        _check.boolean("calibrate", self.calibrate)
        if self.quantiles is None:
            self.quantiles_: tuple[float, ...] = (0.5,)
            return
        self.quantiles_ = tuple(sorted(Pinball(self.quantiles).quantiles))
        if 0.5 not in self.quantiles_:
            raise ValueError(f"quantiles: expected 0.5 among them, the forecast itself, got {self.quantiles_}")
        if self.strategy == "recursive":
            raise ValueError("quantiles: expected None with strategy='recursive', which feeds one value back")

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

    def _choose_differences(self, series: list[np.ndarray]) -> None:
        if self.differences != "auto":
            self.differences_ = int(self.differences)
            return
        growing = [_grows(y) for y in series]
        self.differences_ = int(2 * sum(growing) > len(growing))

    def _seen(self, history: History) -> History:
        """The series as the network sees it: the target as level or as change from an earlier row."""
        steps = self.differences_
        if steps == 0:
            return history
        # seen[t] = y[t] - y[t-m]; 0 where there is nothing to compare with
        before = np.concatenate([history.y[:steps], history.y[:-steps]])[: history.y.size]
        return history._replace(y=history.y - before)

    def _table(self, series: str, history: History) -> np.ndarray:
        """Inputs (N, C + K + planned), float32."""
        return self._inputs[series].table(self._seen(history), self._ahead).astype(np.float32)

    def _scale(self, series: str) -> float:
        """What one unit of the network's output is worth in units of the (transformed) target."""
        scale = float(self._inputs[series].scaler.scale[0])
        return scale if math.isfinite(scale) else 1.0  # a straight line has differences that don't vary

    def _back(self, y: np.ndarray) -> np.ndarray:
        """The transformed target in its own units."""
        return np.maximum(y, 0.0) ** 2 if self.transform_ == "sqrt" else y

    @property
    def _ahead(self) -> int:
        """Steps that the network itself forecasts at once."""
        return 1 if self.strategy == "recursive" else self.horizon

    @property
    def _lost(self) -> int:
        """Rows at the beginning that have no season before them."""
        return self.differences_ if self.differences_ > 1 else 0

    @property
    def _past(self) -> int:
        """Rows that a forecast needs."""
        return self.window + self._lost

    @property
    def _n_columns(self) -> int:
        """C, target included; in a row of the table they stand before the calendar inputs."""
        return 1 + self.n_features_in_

    @property
    def _network(self) -> Network:
        """How the network is built."""
        width = len(self.quantiles_)
        if self.strategy == "recursive":
            width = self._n_columns
        elif self.strategy != "encoder_decoder":
            width *= self.horizon
        return Network(
            self.cell,
            self.units,
            self.layers,
            self.window,
            self.horizon,
            self.frontend,
            self.strategy,
            width,
            self.dropout,
        )

    def _origins(self, start: int, stop: int, known: np.ndarray) -> np.ndarray:
        """Origins whose targets lie in these rows and are all real."""
        origins = origins_between(start, stop, self._past, self._ahead)
        return origins[targets_after(known, self._ahead, origins).all(axis=1)]

    def _build(self, samples: _Samples, updates: int) -> Model[Any]:
        from fastrnn.training import Adam, schedules
        from fastrnn.training.losses import Pinball

        future_size = 0 if samples.future is None else samples.future.shape[-1]
        model = self._network.model(future_size, self.seed)
        model.build(samples.x.shape[-1])
        rate = schedules.CosineDecay(float(self.learning_rate), updates)
        loss = self.loss if self.quantiles is None else Pinball(self.quantiles_)
        model.compile(optimizer=Adam(rate, global_clipnorm=float(self.clipnorm)), loss=loss)
        return model

    def _train(self, samples: _Samples, validation: _Samples | None) -> None:
        from fastrnn.training import EarlyStopping

        decodes = self.strategy == "encoder_decoder"
        options: dict[str, Any] = {"future": samples.future, "closed_loop_validation": True} if decodes else {}
        if validation is not None:
            patience = max(5, self.epochs_ // 3) if self.patience is None else self.patience
            options["validation_data"] = (validation.x, validation.target, validation.weight)
            if decodes:
                options["validation_data"] = {"x": validation.x, "y": validation.target, "future": validation.future}
            options["callbacks"] = [EarlyStopping(patience=patience, restore_best_weights=True)]
        history = self.model_.fit(
            samples.x,
            samples.target,
            sample_weight=samples.weight,
            epochs=self.epochs_,
            batch_size=self.batch_size,
            verbose=self.verbose,
            **options,
        )
        self.training_ = history.history

    def _samples(self, panel: Panel, origins: dict[str, np.ndarray], start: dict[str, int]) -> _Samples:
        """The samples of all series, one series after the other."""
        return _Samples.joined(
            [
                self._samples_of(name, history, origins[name], start[name])
                for name, history in panel.items()
                if origins[name].size
            ]
        )

    def _samples_of(self, series: str, history: History, origins: np.ndarray, start: int) -> _Samples:
        """Inputs (n, T, F), what the network should say after them, and what counts of it.

        The targets that count lie in row `start` or later, as those of the origins themselves do.
        """
        table = self._table(series, history)
        x = self._windows(table, origins)
        network = self._network
        if not network.has_time_axis:
            target = self._target(series, history, table, origins)
            return _Samples(x, target, None, self._future(series, history, origins))
        # (n, T'): the rows after which the network speaks; it counts what it says where the target is real and does not
        # lie before `start` (validation begins in the middle of a window) or before the first row with a season before
        rows = origins[:, None] + network.spoken
        target = self._target(series, history, table, np.maximum(rows.ravel(), self._lost))
        target = target.reshape(*rows.shape, -1)
        if self.strategy != "seq2seq":
            return _Samples(x, target, np.broadcast_to(network.spoken == 0, rows.shape))
        real = targets_after(history.known, self.horizon, rows.ravel()).all(axis=1).reshape(rows.shape)
        return _Samples(x, target, real & (rows + 1 >= start))

    def _windows(self, table: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """What the network reads, (n, T, F)."""
        return windows_until(table, self.window - self._network.skipped, origins)

    def _target(self, series: str, history: History, table: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """What the network should say after some rows: (n, horizon), or (n, C) of one step, or (n, horizon, Q)."""
        # change (n, ahead) = (y[t+k] - base[t, k]) / scale
        change = targets_after(history.y, self._ahead, origins) - self._base(history.y, origins)
        change = (change / self._scale(series)).astype(np.float32)
        if self.strategy == "recursive":
            # (n, C): the changes of the other columns stand in the table
            return np.hstack([change, (table[origins + 1] - table[origins])[:, 1 : self._n_columns]])
        if self.strategy == "encoder_decoder":  # a decoder reads as many numbers as it says
            return np.repeat(change[..., None], len(self.quantiles_), axis=-1)
        return change

    def _future(self, series: str, history: History, origins: np.ndarray) -> np.ndarray | None:
        """What a decoder reads of each step ahead, calendar and planned values: (n, horizon, K + P), None without."""
        if self.strategy != "encoder_decoder":
            return None
        inputs, steps = self._inputs[series], origins[:, None] + np.arange(self.horizon)
        # the calendar of row t is that of t + 1, and so are the planned values
        parts = [self._calendar(series, history)[steps]]
        if self.n_planned_:
            parts.append(inputs.planned(history, origins, self.horizon).reshape(*steps.shape, -1))
        future = np.concatenate(parts, axis=-1).astype(np.float32)
        return future if future.shape[-1] else None

    def _calendar(self, series: str, history: History) -> np.ndarray:
        """Calendar inputs of all rows and of the `horizon` rows after them, (N + horizon, K)."""
        time = history.time
        if time is not None and self.step_ is not None:
            time = np.append(time, even_times(time[-2:], self.step_, self.horizon)[-self.horizon :])
        return self._inputs[series].calendar(time, history.y.size + self.horizon)

    def _base(self, y: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """The simple forecast that the network corrects, (n, ahead)."""
        season = self._lost
        if not season:
            return np.repeat(y[origins][:, None], self._ahead, axis=1)
        past, seasons = seasonal_past(y, origins, season, self._ahead)
        return past + (y[origins] - y[origins - season])[:, None] * seasons

    # -- forecasts ----------------------------------------------------------------------------------------------------

    def _predict_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        return self._quantiles_at(series, history, origins)[..., self.quantiles_.index(0.5)]

    def _quantiles_at(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        """Forecasts (n, horizon, Q), in rising order over the quantiles."""
        if series not in self._inputs:
            raise ValueError(f"y: expected series of fit, {', '.join(self._inputs)}; got {series!r}")
        if origins.size == 0:
            return np.empty((0, self.horizon, len(self.quantiles_)))
        require_past(origins, self._past, "window + differences - 1" if self._lost else "window - 1")
        history = self._transformed(history)
        if self.strategy == "recursive":
            return self._back(self._fed_back(series, history, origins))[..., None]
        changes = widened(self._changes(series, history, origins), self.quantiles_, self.margins_)
        # y[t+k] (n, horizon, Q) = base[t, k] + scale · change
        return self._back(self._base(history.y, origins)[..., None] + self._scale(series) * changes)

    def _changes(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        """What the network says, (n, horizon, Q) in rising order, float64: neighbouring quantiles may have crossed."""
        said = self._said(self._windows(self._table(series, history), origins), self._future(series, history, origins))
        return np.sort(said.reshape(len(origins), self.horizon, -1).astype(np.float64), axis=-1)

    def _said(self, x: np.ndarray, future: np.ndarray | None) -> np.ndarray:
        """What the network says after the last row of each window."""
        if self.strategy == "encoder_decoder":
            model: Any = self.model_
            return np.asarray(model.predict(x, self.horizon, future=future))
        said = self.model_.predict(x)
        return said[:, -1] if self._network.has_time_axis else said

    def _calibrated(self, panel: Panel, validation: dict[str, np.ndarray]) -> dict[tuple[float, float], np.ndarray]:
        """The margins of all intervals, from the validation part of all series together."""
        if not interval_pairs(self.quantiles_):
            return {}
        said, truth = [], []
        for name, history in panel.items():
            if validation[name].size:
                said.append(self._changes(name, history, validation[name]))
                came = targets_after(history.y, self.horizon, validation[name])
                truth.append((came - self._base(history.y, validation[name])) / self._scale(name))
        return conformal_margins(np.concatenate(said), np.concatenate(truth), self.quantiles_)

    def _fed_back(self, series: str, history: History, origins: np.ndarray) -> np.ndarray:
        """One step at a time, each forecast row appended to the window, (n, horizon)."""
        columns, inputs = self._n_columns, self._inputs[series]
        calendar = self._calendar(series, history)
        mean, scale = float(inputs.scaler.mean[0]), self._scale(series)
        x = self._windows(self._table(series, history), origins)
        # levels (n, m + 1): the target at the last rows, true at first and then forecast
        levels = history.y[origins[:, None] + np.arange(-max(1, self._lost), 1)]
        steps = []
        for ahead in range(1, self.horizon + 1):
            change = self._said(x, None).astype(np.float64)
            level = levels[:, -1] + scale * change[:, 0]
            if self._lost:  # the season before, and its growth until now
                level += levels[:, 1] - levels[:, 0]
            steps.append(level)
            # row (n, C) = the row before + change; the target as the network sees it
            row = x[:, -1, :columns] + change
            if self.differences_:
                row[:, 0] = (level - (levels[:, 1] if self._lost else levels[:, -1]) - mean) / scale
            levels = np.hstack([levels[:, 1:], level[:, None]])
            parts = [row, calendar[origins + ahead]]
            if self.n_planned_:
                parts.append(inputs.planned(history, origins + ahead, 1))
            x = np.concatenate([x[:, 1:], np.hstack(parts)[:, None].astype(np.float32)], axis=1)
        return np.stack(steps, axis=1)


def _grows(y: np.ndarray) -> bool:
    """Whether the means of first and last quarter are more than two standard deviations apart."""
    quarter = max(1, y.size // 4)
    trend = abs(float(y[-quarter:].mean() - y[:quarter].mean()))
    return trend > 2 * float(y.std())


def _is_own_cell(cell: Any) -> bool:
    """Whether this is a class of cells that the user has written."""
    from fastrnn.layers import MemoryCell

    return isinstance(cell, type) and issubclass(cell, MemoryCell)
