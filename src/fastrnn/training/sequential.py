"""A stack of layers that is trained and used as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.containers import Stack
from fastrnn.layers.steps import Steps
from fastrnn.training.callbacks import Callback, History, ProgressBar, wants_progress
from fastrnn.training.losses import BinaryCrossentropy, Loss, combined_weights, get_loss
from fastrnn.training.metrics import Metric, get_metric
from fastrnn.training.optimizers import Optimizer, get_optimizer, global_norm
from fastrnn.training.samples import Samples
from fastrnn.training.truncated import carried_states, recurrent_layers, require_windows, windows

__all__ = ["Sequential"]

_SEED_OF_TRAINING = 1  # the branch of a model's seed that order and dropout grow from; 0 is that of the weights


class _Step(NamedTuple):
    """What one training step found out."""

    loss: float
    gradient_norm: float
    metrics: list[tuple[float, int]]  # total and count of each
    entries: int = 1  # that the loss is the mean of


class Sequential(Stack):
    """Layers one after the other.

    A model is a layer too and can be part of another.

    Parameters
    ----------
    layers : iterable of Layer
    input_size : int or tuple of int, optional
        Size of the last axis of the input, or the whole shape but for the batch, (T, I), which a `Dense` behind a
        `Flatten` has to know; without it the first data tell.
    seed : int, optional
        Seed of the weights of all layers without a seed of their own, of the order of the samples in `fit` and of
        dropout.

    Attributes
    ----------
    layers : list of Layer
    optimizer, loss, metrics
        As set by `compile`.

    Notes
    -----
    A model holds parameters and how it is trained, nothing about the data that went through it: several threads may
    predict with one model at once. A float64 model is one whose layers are float64.

    `lengths`, `mask` and `reset_mask` go to every layer that takes them, up to the layer that ends the time axis. Where
    the output still has its time axis, the loss and the metrics leave out the steps past a row's end and those that the
    mask leaves out. An `Embedding` with ``mask_zero`` makes a mask by itself.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import LSTM, Dense
    >>> from fastrnn.training import Sequential
    >>> model = Sequential([LSTM(8), Dense(1)], seed=0)
    >>> model.compile(optimizer="adam", loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 10, 2))
    >>> history = model.fit(x, x[:, -1, :1], epochs=3, verbose=0)
    >>> len(history.history["loss"])
    3
    >>> model.predict(x).shape
    (64, 1)
    """

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        input_size: int | Sequence[int] | None = None,
        seed: int | None = None,
    ) -> None:
        self.optimizer: Optimizer | None = None
        self._identity = object()  # what the optimizer knows the model by; copied and pickled along with both
        self.loss: Loss | None = None
        self.metrics: list[Metric] = []
        self.stop_training = False
        super().__init__(layers, seed=seed)
        if input_size is not None:
            self.build(input_size)

    # -- structure ----------------------------------------------------------------------------------------------------

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all arrays: in the order of `params`, then in that of `buffers`."""
        return [array.copy() for array in (*self.params.values(), *self.buffers.values())]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all arrays.

        Parameters
        ----------
        weights : sequence of array_like
            As many and of such shapes as `get_weights` returns.
        """
        present = {**self.params, **self.buffers}
        if len(weights) != len(present):
            raise ValueError(f"weights: expected {len(present)} arrays, got {len(weights)}")
        checked = {}
        for (name, array), weight in zip(present.items(), weights, strict=True):
            checked[name] = _check.as_float_array(name, weight, array.dtype)
            _check.require_shape(name, checked[name], array.shape)
        for arrays in (self.params, self.buffers):
            arrays.update({name: checked[name] for name in arrays})

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print a table of the layers, the shapes of their outputs and their numbers of parameters.

        Parameters
        ----------
        print_fn : callable
            Takes each line.
        """
        shapes: list[Shape] = [()] * len(self.layers)
        if self.input_size is not None:
            shapes = self._shapes(self._shape_for(self.input_size))[1:]
        rows = [("layer", "output shape", "parameters")]
        for layer, shape in zip(self.layers, shapes, strict=True):
            shown = "(" + ", ".join(str(size) for size in shape) + ")" if shape else "not built"
            rows.append((repr(layer), shown, f"{layer.count_params():,}"))
        rows.append(("total", "", f"{self.count_params():,}"))
        fixed = sum(array.size for array in self.buffers.values())
        if fixed:
            rows.append(("not learned", "", f"{fixed:,}"))
        wide, middle, last = (max(len(row[i]) for row in rows) for i in range(3))
        lines = [f"{a:<{wide}}  {b:<{middle}}  {c:>{last}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        end = len(self.layers) + 1
        for line in (lines[0], rule, *lines[1:end], rule, *lines[end:]):
            print_fn(line.rstrip())

    def _input_dtype(self, x: Any) -> np.dtype:
        """What the input is cast to: the dtype of the first layer that has one, integers for class numbers."""
        return np.dtype(np.intp) if self.takes_integers else self.dtype or _check.float_dtype(x=x)

    # -- training -----------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | Loss = "mse",
        metrics: Iterable[str | Loss | Metric | Callable[..., float]] = (),
    ) -> None:
        """Say how the model is trained and judged.

        Parameters
        ----------
        optimizer : str or Optimizer
            "sgd", "rmsprop", "adam", "adamw", "adagrad" or an object, which serves this model alone.
        loss : str or Loss
            "mse", "mae", "huber", "binary_crossentropy", "categorical_crossentropy",
            "sparse_categorical_crossentropy" or an object.  The cross-entropies take logits: the last layer has no
            activation.
        metrics : iterable
            Names ("rmse", "accuracy", "last_step_mse" or a loss), objects, or functions of y_true and y_pred.
        """
        optimizer, loss = get_optimizer(optimizer), get_loss(loss)
        if isinstance(metrics, str):
            raise TypeError(f"metrics: expected a list, got the string {metrics!r}")
        judges = [get_metric(metric, loss) for metric in metrics]
        names = [judge.name for judge in judges]
        if len(set(names)) != len(names) or "loss" in names:
            raise ValueError(f"metrics: expected different names other than 'loss', got {', '.join(names)}")
        last = getattr(self.layers[-1], "activation", None) if self.layers else None
        if isinstance(loss, BinaryCrossentropy) and loss.from_logits and last == "sigmoid":
            raise ValueError(
                "loss: binary_crossentropy takes logits, but the last layer's activation is sigmoid; "
                "use activation=None there or BinaryCrossentropy(from_logits=False)"
            )
        optimizer.serve(self._identity)
        self.optimizer, self.loss, self.metrics = optimizer, loss, judges

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        callbacks: Iterable[Callback] = (),
        verbose: str | int = "auto",
        sample_weight: Any = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        tbptt: int | None = None,
        record_gradient_norms: bool = False,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like (N, T, I) or (N, I)
        y : array_like
            Targets, N rows, as the loss takes them.
        epochs, batch_size : int
        validation_data : tuple, optional
            ``(x, y[, sample_weight[, lengths[, mask[, reset_mask]]]])``: judged after each epoch.
        validation_split : float
            In place of validation_data: this fraction of the rows, taken from the end.
        shuffle : bool
            Draw a new order of the rows for each epoch.
        callbacks : iterable of Callback
        verbose : {"auto", 0, 1}
            1 shows a progress bar, 0 nothing, "auto" a bar on a terminal and in a notebook.
        sample_weight : array_like, optional
            (N,) or (N, T); booleans select what counts, numbers weigh it.
        lengths : array_like of int (N,), optional
            True steps of each row.
        mask : array_like of bool (N, T), optional
            True at the steps that count.
        reset_mask : array_like of bool (N, T), optional
            True where states are zeroed before that step.
        tbptt : int, optional
            Truncated backpropagation through time: work on each batch of sequences in windows of so many steps.  Every
            window is one update, with gradients that reach back to its first step; the states go on from window to
            window, and with a `stateful` layer from batch to batch.  For models that give an output for each step, from
            that step and those before.
        record_gradient_norms : bool
            Record ``"gradient_norm"``, each epoch's mean of the batches' global norms before clipping.

        Returns
        -------
        History
            ``.history`` is a dict of lists with one number for each epoch.  The training loss is the mean over the
            batches while the weights change, each batch counting by its rows.

        Notes
        -----
        A window starts from the states that the one before ended in, made with the weights before its update.  Dropout
        masks are drawn for each window, callbacks are called for each batch.  A batch's loss is the mean over all its
        windows, and so are its metrics.  With `tbptt` >= T training is bit for bit what it is without.

        A batch or window in which no entry counts changes nothing.

        With the same seed, data and options, training gives the same weights bit for bit. An interrupt from the
        keyboard is raised again after the callbacks' ``on_train_end``; the weights are then those of the last finished
        batch, or the best ones if `EarlyStopping` restores them.
        """
        self._require_compiled(to_train=True)
        epochs = _check.integer("epochs", epochs, 1)
        batch_size = _check.integer("batch_size", batch_size, 1)
        shuffle = _check.boolean("shuffle", shuffle)
        show = wants_progress(verbose)
        samples = self._samples(x, y, sample_weight, lengths, mask, reset_mask)
        if tbptt is not None:
            tbptt = _check.integer("tbptt", tbptt, 1)
            require_windows(self, samples)
        samples, validation = self._with_validation(samples, validation_data, validation_split)
        rng = np.random.default_rng(self._training_seed())

        history = History()
        watchers = [*callbacks, history]
        if show:
            watchers.append(ProgressBar(epochs, math.ceil(len(samples) / batch_size)))
        for watcher in watchers:
            if not isinstance(watcher, Callback):
                raise TypeError(f"callbacks: expected Callback objects, got {type(watcher).__name__}")
            watcher.model = self
        self.stop_training = False
        try:
            for watcher in watchers:
                watcher.on_train_begin()
            for epoch in range(epochs):
                for watcher in watchers:
                    watcher.on_epoch_begin(epoch)
                order = rng.permutation(len(samples)) if shuffle else None
                batches = samples.batches(batch_size, order)
                logs = self._run_epoch(batches, rng, watchers, tbptt, record_gradient_norms)
                if validation is not None:
                    logs |= {f"val_{name}": value for name, value in self._judge(validation, batch_size).items()}
                for watcher in watchers:
                    watcher.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        finally:
            for watcher in watchers:
                watcher.on_train_end()
        return history

    def train_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, lengths: Any = None, mask: Any = None, reset_mask: Any = None
    ) -> float:
        """One update of the weights.

        Parameters
        ----------
        x, y, sample_weight, lengths, mask, reset_mask
            As for `fit`, one batch.

        Returns
        -------
        float
            The loss before the update.
        """
        self._require_compiled(to_train=True)
        samples = self._samples(x, y, sample_weight, lengths, mask, reset_mask)
        return self._train_step(samples, np.random.default_rng(self._training_seed())).loss

    def _run_epoch(
        self,
        batches: Iterable[Samples],
        rng: np.random.Generator,
        watchers: list[Callback],
        tbptt: int | None,
        with_norms: bool,
    ) -> dict[str, float]:
        """Train on all batches once; the figures of the epoch."""
        losses, norms, rows = [], [], []
        totals = np.zeros((len(self.metrics), 2))
        for i, batch in enumerate(batches):
            if tbptt is None:
                step = self._train_step(batch, rng, with_norms)
            else:
                step = self._train_in_windows(batch, tbptt, rng, with_norms)
            losses.append(step.loss)
            norms.append(step.gradient_norm)
            rows.append(len(batch))
            totals += np.array(step.metrics).reshape(totals.shape)
            for watcher in watchers:
                watcher.on_batch_end(i, {"loss": step.loss})
            if self.stop_training:
                break
        logs = {"loss": float(np.average(losses, weights=rows))}
        logs |= self._finished_metrics(totals)
        if with_norms:
            logs["gradient_norm"] = float(np.mean(norms))
        return logs

    def _train_step(self, batch: Samples, rng: np.random.Generator, with_norm: bool = False) -> _Step:
        """Forward, loss, backward, update."""
        assert self.loss is not None and self.optimizer is not None and batch.y is not None
        y_pred, caches, steps = self.forward_with_steps(batch.x, batch.steps, training=True, rng=rng)
        mask = _entry_mask(steps, y_pred)
        weight = combined_weights(batch.sample_weight, mask)
        loss, dy_pred = self.loss.value_and_gradient(batch.y, y_pred, weight)
        metrics = self._metric_totals(batch, y_pred, mask)
        entries = _count_of(_selected(batch, y_pred, mask), y_pred)
        if entries == 0:
            return _Step(loss, 0.0, metrics, 0)
        grads = self.parameter_gradients(dy_pred, caches)
        norm = global_norm(grads) if with_norm else math.nan
        self.optimizer.apply(self.params, grads)
        self.commit(caches)
        return _Step(loss, norm, metrics, entries)

    def _train_in_windows(self, batch: Samples, steps: int, rng: np.random.Generator, with_norm: bool) -> _Step:
        """A training step for each window of so many steps, the states carried on; all of them taken together."""
        with carried_states(recurrent_layers(self)):
            done = [self._train_step(window, rng, with_norm) for window in windows(batch, steps)]
        entries = sum(step.entries for step in done)
        loss = sum(step.loss * (step.entries / max(1, entries)) for step in done)
        trained = [step.gradient_norm for step in done if step.entries] or [0.0]
        metrics = [(float(total), int(count)) for total, count in np.sum([step.metrics for step in done], axis=0)]
        return _Step(loss, float(np.mean(trained)), metrics, entries)

    def _with_validation(
        self, samples: Samples, validation_data: Sequence[Any] | None, validation_split: float
    ) -> tuple[Samples, Samples | None]:
        """Samples to train on and samples to judge by."""
        fraction = _check.number("validation_split", validation_split, 0.0, 1.0, open_maximum=True)
        if validation_data is None:
            return samples.split(fraction) if fraction > 0 else (samples, None)
        if fraction > 0:
            raise ValueError("validation_split: expected 0 where validation_data is given")
        if not isinstance(validation_data, (tuple, list)) or not 2 <= len(validation_data) <= 6:
            raise ValueError(
                "validation_data: expected a tuple (x, y[, sample_weight[, lengths[, mask[, reset_mask]]]])"
            )
        return samples, self._samples(*validation_data)

    # -- use ----------------------------------------------------------------------------------------------------------

    def predict(
        self, x: Any, *, batch_size: int = 256, lengths: Any = None, mask: Any = None, reset_mask: Any = None
    ) -> np.ndarray:
        """The output for all rows of x, worked on in batches.

        Parameters
        ----------
        x : array_like (N, T, I) or (N, I)
        batch_size : int
            Rows at a time; it bounds the memory and does not change the meaning.
        lengths, mask, reset_mask
            As for `fit`.

        Returns
        -------
        ndarray
            N rows.
        """
        batch_size = _check.integer("batch_size", batch_size, 1)
        samples = Samples.checked(self._input_dtype(x), x, lengths=lengths, mask=mask, reset_mask=reset_mask)
        return self._predict(samples, batch_size)[0]

    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int = 256,
        sample_weight: Any = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """The loss and the metrics over all rows.

        Parameters
        ----------
        x, y, sample_weight, lengths, mask, reset_mask
            As for `fit`.
        batch_size : int
            Rows at a time in prediction; the figures are those of all rows together.
        return_dict : bool

        Returns
        -------
        float, list of float or dict
            The loss; with metrics the list ``[loss, *metrics]``; with return_dict a dict by name.
        """
        self._require_compiled()
        batch_size = _check.integer("batch_size", batch_size, 1)
        figures = self._judge(self._samples(x, y, sample_weight, lengths, mask, reset_mask), batch_size)
        if return_dict:
            return figures
        return list(figures.values()) if self.metrics else figures["loss"]

    def generate(
        self,
        first: Any,
        steps: int,
        feedback: Callable[[np.ndarray], Any] | None = None,
        sampler: str | Callable[[np.ndarray], Any] | None = None,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> Any:
        """Run on from the model's own output: a closed loop, from zero states.

        Parameters
        ----------
        first : array_like
            The first input, (I,) or (B, I); class numbers, which have no axis I, where a sampler chooses them.
        steps : int
        feedback, sampler, temperature, seed
            As for `fastrnn.streaming.Session.generate`, which also goes on from where a session is.

        Returns
        -------
        ndarray (steps, outputs) or (B, steps, outputs), or `fastrnn.streaming.Sampled`
            The outputs; with a sampler the chosen classes beside them.
        """
        from fastrnn import streaming

        first = _check.as_real_array("first", first)
        has_axis = first.ndim == (1 if self.takes_integers or (sampler is not None and feedback is None) else 2)
        session = streaming.stream(self, len(first) if has_axis else 1)
        return session.generate(steps, first, feedback, sampler, temperature=temperature, seed=seed)

    def save(self, path: Any) -> None:
        """Write the model to one safetensors file, its configuration inside; ``fastrnn.load`` reads it.

        Parameters
        ----------
        path : str or os.PathLike
            An existing file is replaced in one step, so no reader ever sees half a model.

        Notes
        -----
        Parameters, layers, loss, metrics and the optimizer's settings are saved, but not what the optimizer remembers
        of past gradients: training goes on after loading as with a fresh optimizer. If a metric is a function of
        yours, none of this but parameters and layers is saved, and the loaded model has to be compiled.
        """
        from fastrnn import storage

        storage.save(self, path)

    def _predict(self, samples: Samples, batch_size: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The output for all samples, and which of its entries count."""
        if len(samples) == 0:
            return self.infer_with_steps(samples.x, samples.steps)[0], None
        out, counted = None, None
        start = 0
        for batch in samples.batches(batch_size):
            part, steps = self.infer_with_steps(batch.x, batch.steps)
            if out is None:
                out = np.empty((len(samples), *part.shape[1:]), part.dtype)
            rows = slice(start, start + len(part))
            out[rows] = part
            mask = _entry_mask(steps, part)
            if mask is not None:
                counted = np.ones(out.shape[:2], bool) if counted is None else counted
                counted[rows] = mask
            start += len(part)
        assert out is not None
        return out, counted

    def _judge(self, samples: Samples, batch_size: int) -> dict[str, float]:
        """The loss and the metrics by name."""
        assert self.loss is not None
        y_pred, mask = self._predict(samples, batch_size)
        loss = self.loss(samples.y, y_pred, combined_weights(samples.sample_weight, mask))
        totals = np.array(self._metric_totals(samples, y_pred, mask)).reshape(len(self.metrics), 2)
        return {"loss": loss} | self._finished_metrics(totals)

    def _metric_totals(self, samples: Samples, y_pred: np.ndarray, mask: np.ndarray | None) -> list[tuple[float, int]]:
        """Total and count of each metric; of the sample weights the boolean ones count here, as they select."""
        mask = _selected(samples, y_pred, mask)
        return [metric.total(np.asarray(samples.y), y_pred, mask) for metric in self.metrics]

    def _finished_metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Each metric from its total and count."""
        return {
            metric.name: metric.finish(total / count) if count else math.nan
            for metric, (total, count) in zip(self.metrics, totals.tolist(), strict=True)
        }

    def _samples(self, x: Any, y: Any, *others: Any) -> Samples:
        """Checked samples with targets, at least one."""
        if y is None:
            raise TypeError("y: expected targets, got None")
        samples = Samples.checked(self._input_dtype(x), x, y, *others)
        if len(samples) == 0:
            raise ValueError(f"x: expected at least one row, got shape {samples.x.shape}")
        return samples

    def _training_seed(self) -> np.random.SeedSequence:
        """Where the order of samples and dropout start from: the seed and how far the training has come."""
        done = self.optimizer.iterations if self.optimizer is not None else 0
        return np.random.SeedSequence(self.seed, spawn_key=(_SEED_OF_TRAINING, done))

    def _require_compiled(self, to_train: bool = False) -> None:
        if self.loss is None or self.optimizer is None:
            raise ValueError("the model has no loss and no optimizer yet: call compile(optimizer=..., loss=...) first")
        if to_train:
            self.optimizer.serve(self._identity)


def _entry_mask(steps: Steps, y_pred: np.ndarray) -> np.ndarray | None:
    """Which steps (B, T) of the output count; None where all do, or where the output has no time axis."""
    return steps.counted(y_pred.shape[1])


def _selected(samples: Samples, y_pred: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """The entries of the output that a mask of steps and boolean sample weights leave; None for all."""
    weight = samples.sample_weight
    if weight is None or weight.dtype != np.bool_:
        return mask
    return combined_weights(weight.reshape(len(weight), *[-1] * (y_pred.ndim - 2)), mask)


def _count_of(selected: np.ndarray | None, y_pred: np.ndarray) -> int:
    """How many entries of the output count."""
    shape = y_pred.shape[:-1]
    return math.prod(shape) if selected is None else int(np.count_nonzero(np.broadcast_to(selected, shape)))
