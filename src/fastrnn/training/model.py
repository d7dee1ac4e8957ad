"""What every model that is trained has: how it is compiled, fitted to data, judged and saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer, Shape
from fastrnn.layers.containers import Container
from fastrnn.layers.steps import Steps
from fastrnn.training.callbacks import Callback, History, ProgressBar, wants_progress
from fastrnn.training.losses import BinaryCrossentropy, Loss, combined_weights, get_loss
from fastrnn.training.metrics import Metric, get_metric
from fastrnn.training.optimizers import Optimizer, get_optimizer, global_norm
from fastrnn.training.samples import Samples

__all__ = ["Model", "TrainingStep"]

_SEED_OF_TRAINING = 1  # the branch of a model's seed that order and dropout grow from; 0 is that of the weights

S = TypeVar("S", bound=Samples)


class TrainingStep(NamedTuple):
    """What one training step found out."""

    loss: float
    gradient_norm: float
    metrics: list[tuple[float, int]]  # total and count of each
    entries: int = 1  # that the loss is the mean of


class Model(Container, Generic[S]):
    """Base class of the models that are trained, on samples of the kind S.

    A subclass writes, beside what every container writes, `_shapes` and the two ways from a batch to the output,
    `_forward_batch` for training and `_infer_batch` for use; then `fit`, `train_on_batch`, `evaluate` and `predict`,
    which make samples of what its users have and hand them to `_fit`, `_train_step`, `_evaluate` and `_predict`.

    Parameters
    ----------
    dtype : {"float32", "float64"} or None
    seed : int, optional
        Of the weights, of the order of the samples and of dropout.

    Attributes
    ----------
    layers : list of Layer
    optimizer, loss, metrics
        As set by `compile`.
    stop_training : bool
        Set to True by a callback, it ends the training.
    """

    layers: list[Layer]

    def __init__(self, dtype: Any = None, seed: int | None = None) -> None:
        super().__init__(dtype, seed)
        self.optimizer: Optimizer | None = None
        self._identity = object()  # what the optimizer knows the model by; copied and pickled along with both
        self.loss: Loss | None = None
        self.metrics: list[Metric] = []
        self.stop_training = False

    # -- what a subclass says -----------------------------------------------------------------------------------------

    def _shapes(self, input_shape: Shape) -> list[Shape]:
        """The shape of the input and of each layer's output."""
        raise NotImplementedError

    def _forward_batch(self, batch: S, rng: np.random.Generator) -> tuple[np.ndarray, Any, Steps]:
        """In training: the output, the caches that `parameter_gradients` takes, what is known of the output's steps."""
        raise NotImplementedError

    def _infer_batch(self, batch: S) -> tuple[np.ndarray, Steps]:
        """In use: the output, and what is known of its steps."""
        raise NotImplementedError

    def fit(self, x: Any, y: Any, *args: Any, **options: Any) -> History:
        """Train the model."""
        raise NotImplementedError

    def train_on_batch(self, x: Any, y: Any, *args: Any, **options: Any) -> float:
        """One update of the weights; the loss before it."""
        raise NotImplementedError

    def evaluate(self, x: Any, y: Any, *args: Any, **options: Any) -> float | list[float] | dict[str, float]:
        """The loss and the metrics over all rows."""
        raise NotImplementedError

    def predict(self, x: Any, *args: Any, **options: Any) -> np.ndarray:
        """The output for all rows of x."""
        raise NotImplementedError

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

    def _fit(
        self,
        samples: S,
        validation: S | None,
        *,
        epochs: int,
        batch_size: int,
        validation_split: float,
        shuffle: bool,
        callbacks: Iterable[Callback],
        verbose: str | int,
        record_gradient_norms: bool,
        train_step: Callable[[S, np.random.Generator, bool], TrainingStep] | None = None,
    ) -> History:
        """Train on samples, by another training step than `_train_step` where one is given."""
        epochs = _check.integer("epochs", epochs, 1)
        batch_size = _check.integer("batch_size", batch_size, 1)
        shuffle = _check.boolean("shuffle", shuffle)
        show = wants_progress(verbose)
        fraction = _check.number("validation_split", validation_split, 0.0, 1.0, open_maximum=True)
        if fraction > 0:
            if validation is not None:
                raise ValueError("validation_split: expected 0 where validation_data is given")
            samples, validation = samples.split(fraction)
        train_step = train_step or self._train_step
        rng = np.random.default_rng(self._training_seed())

        history = History()
        watchers = [*callbacks, history]
        if show:
            watchers.append(ProgressBar(epochs, math.ceil(len(samples) / batch_size)))
        for watcher in watchers:
            if not isinstance(watcher, Callback):
                raise TypeError(f"callbacks: expected Callback objects, got {type(watcher).__name__}")
            watcher.model = self
        assert self.optimizer is not None
        self.optimizer.restart_averages()
        self.stop_training = False
        try:
            for watcher in watchers:
                watcher.on_train_begin()
            for epoch in range(epochs):
                for watcher in watchers:
                    watcher.on_epoch_begin(epoch)
                order = rng.permutation(len(samples)) if shuffle else None
                batches = samples.batches(batch_size, order)
                if epoch > 0:
                    self.optimizer.exchange_averages(self.params)  # back to the weights that are trained
                try:
                    logs = self._run_epoch(batches, rng, watchers, train_step, record_gradient_norms)
                finally:
                    self.optimizer.exchange_averages(self.params)
                if validation is not None:
                    logs |= {f"val_{name}": value for name, value in self._judged(validation, batch_size).items()}
                for watcher in watchers:
                    watcher.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        finally:
            for watcher in watchers:
                watcher.on_train_end()
        return history

    def _run_epoch(
        self,
        batches: Iterable[S],
        rng: np.random.Generator,
        watchers: list[Callback],
        train_step: Callable[[S, np.random.Generator, bool], TrainingStep],
        with_norms: bool,
    ) -> dict[str, float]:
        """Train on all batches once; the figures of the epoch."""
        losses, norms, rows = [], [], []
        totals = np.zeros((len(self.metrics), 2))
        for i, batch in enumerate(batches):
            step = train_step(batch, rng, with_norms)
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

    def _train_step(self, batch: S, rng: np.random.Generator, with_norm: bool = False) -> TrainingStep:
        """Forward, loss, backward, update; a batch in which no entry counts changes nothing."""
        assert self.loss is not None and self.optimizer is not None and batch.y is not None
        y_pred, caches, steps = self._forward_batch(batch, rng)
        mask = steps.counted(y_pred.shape[1])
        weight = combined_weights(batch.sample_weight, mask)
        loss, dy_pred = self.loss.value_and_gradient(batch.y, y_pred, weight)
        metrics = self._metric_totals(batch, y_pred, mask)
        entries = _count_of(_selected(batch, y_pred, mask), y_pred)
        if entries == 0:
            return TrainingStep(loss, 0.0, metrics, 0)
        grads = self.parameter_gradients(dy_pred, caches)
        norm = global_norm(grads) if with_norm else math.nan
        self.optimizer.apply(self.params, grads)
        self.commit(caches)
        return TrainingStep(loss, norm, metrics, entries)

    # -- use ----------------------------------------------------------------------------------------------------------

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

    def _evaluate(self, samples: S, batch_size: int, return_dict: bool) -> float | list[float] | dict[str, float]:
        """The loss and the metrics as `evaluate` returns them."""
        figures = self._judged(samples, _check.integer("batch_size", batch_size, 1))
        if return_dict:
            return figures
        return list(figures.values()) if self.metrics else figures["loss"]

    def _predict(self, samples: S, batch_size: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The output for all samples, and which of its entries count."""
        if len(samples) == 0:
            return self._infer_batch(samples)[0], None
        out, counted = None, None
        start = 0
        for batch in samples.batches(batch_size):
            part, steps = self._infer_batch(batch)
            if out is None:
                out = np.empty((len(samples), *part.shape[1:]), part.dtype)
            rows = slice(start, start + len(part))
            out[rows] = part
            mask = steps.counted(part.shape[1])
            if mask is not None:
                counted = np.ones(out.shape[:2], bool) if counted is None else counted
                counted[rows] = mask
            start += len(part)
        assert out is not None
        return out, counted

    def _judged(self, samples: S, batch_size: int) -> dict[str, float]:
        """The loss and the metrics by name."""
        assert self.loss is not None
        y_pred, mask = self._predict(samples, batch_size)
        loss = self.loss(samples.y, y_pred, combined_weights(samples.sample_weight, mask))
        totals = np.array(self._metric_totals(samples, y_pred, mask)).reshape(len(self.metrics), 2)
        return {"loss": loss} | self._finished_metrics(totals)

    def _metric_totals(self, samples: S, y_pred: np.ndarray, mask: np.ndarray | None) -> list[tuple[float, int]]:
        """Total and count of each metric; of the sample weights the boolean ones count here, as they select."""
        mask = _selected(samples, y_pred, mask)
        return [metric.total(np.asarray(samples.y), y_pred, mask) for metric in self.metrics]

    def _finished_metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Each metric from its total and count."""
        return {
            metric.name: metric.finish(total / count) if count else math.nan
            for metric, (total, count) in zip(self.metrics, totals.tolist(), strict=True)
        }

    def _training_seed(self) -> np.random.SeedSequence:
        """Where the order of samples and dropout start from: the seed and how far the training has come."""
        done = self.optimizer.iterations if self.optimizer is not None else 0
        return np.random.SeedSequence(self.seed, spawn_key=(_SEED_OF_TRAINING, done))

    def _require_compiled(self, to_train: bool = False) -> None:
        if self.loss is None or self.optimizer is None:
            raise ValueError("the model has no loss and no optimizer yet: call compile(optimizer=..., loss=...) first")
        if to_train:
            self.optimizer.serve(self._identity)


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
