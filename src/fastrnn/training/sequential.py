"""A stack of layers that is trained and used as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Layer
from fastrnn.layers.containers import Stack
from fastrnn.layers.steps import Steps
from fastrnn.training.callbacks import Callback, History
from fastrnn.training.model import Model, TrainingStep
from fastrnn.training.samples import Samples
from fastrnn.training.truncated import carried_states, recurrent_layers, require_windows, windows

__all__ = ["Sequential"]


class Sequential(Stack, Model[Samples]):
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
        super().__init__(layers, seed=seed)
        if input_size is not None:
            self.build(input_size)

    # -- training -----------------------------------------------------------------------------------------------------

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
        samples = self._samples(x, y, sample_weight, lengths, mask, reset_mask)
        train_step = None
        if tbptt is not None:
            train_step = partial(self._train_in_windows, _check.integer("tbptt", tbptt, 1))
            require_windows(self, samples)
        return self._fit(
            samples,
            self._validation(validation_data),
            epochs=epochs,
            batch_size=batch_size,
            validation_split=validation_split,
            shuffle=shuffle,
            callbacks=callbacks,
            verbose=verbose,
            record_gradient_norms=record_gradient_norms,
            train_step=train_step,
        )

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

    def _forward_batch(self, batch: Samples, rng: np.random.Generator) -> tuple[np.ndarray, list[Any], Steps]:
        return self.forward_with_steps(batch.x, batch.steps, training=True, rng=rng)

    def _infer_batch(self, batch: Samples) -> tuple[np.ndarray, Steps]:
        return self.infer_with_steps(batch.x, batch.steps)

    def _train_in_windows(self, steps: int, batch: Samples, rng: np.random.Generator, with_norm: bool) -> TrainingStep:
        """A training step for each window of so many steps, the states carried on; all of them taken together."""
        with carried_states(recurrent_layers(self)):
            done = [self._train_step(window, rng, with_norm) for window in windows(batch, steps)]
        entries = sum(step.entries for step in done)
        loss = sum(step.loss * (step.entries / max(1, entries)) for step in done)
        trained = [step.gradient_norm for step in done if step.entries] or [0.0]
        metrics = [(float(total), int(count)) for total, count in np.sum([step.metrics for step in done], axis=0)]
        return TrainingStep(loss, float(np.mean(trained)), metrics, entries)

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
        samples = self._samples(x, y, sample_weight, lengths, mask, reset_mask)
        return self._evaluate(samples, batch_size, return_dict)

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

    # -- checks -------------------------------------------------------------------------------------------------------

    def _validation(self, given: Sequence[Any] | None) -> Samples | None:
        """The samples to judge by."""
        if given is None:
            return None
        if not isinstance(given, (tuple, list)) or not 2 <= len(given) <= 6:
            raise ValueError(
                "validation_data: expected a tuple (x, y[, sample_weight[, lengths[, mask[, reset_mask]]]])"
            )
        return self._samples(*given)

    def _samples(self, x: Any, y: Any, *others: Any) -> Samples:
        """Checked samples with targets, at least one."""
        if y is None:
            raise TypeError("y: expected targets, got None")
        samples = Samples.checked(self._input_dtype(x), x, y, *others)
        if len(samples) == 0:
            raise ValueError(f"x: expected at least one row, got shape {samples.x.shape}")
        return samples

    def _input_dtype(self, x: Any) -> np.dtype:
        """What the input is cast to: the dtype of the first layer that has one, integers for class numbers."""
        return np.dtype(np.intp) if self.takes_integers else self.dtype or _check.float_dtype(x=x)
