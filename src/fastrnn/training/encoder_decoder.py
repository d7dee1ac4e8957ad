"""Encoder and decoder: one sequence read into states, another written from them.

.. code-block:: text

    source x  ->  encoder  --final states-->  decoder  ->  head  ->  logits or values
                     '------ outputs --------> attention ---^
                                      previous y ---^

In training the decoder reads the true previous outputs (teacher forcing), so it runs in one call over all steps; in
generation it reads its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn._threads import get_num_threads
from fastrnn.layers.attention import AdditiveAttention, Attention, DotAttention
from fastrnn.layers.base import Layer, Seed, Shape, child_seed, prefixed
from fastrnn.layers.containers import Stack
from fastrnn.layers.embedding import Embedding
from fastrnn.layers.steps import Steps
from fastrnn.training.callbacks import Callback, History
from fastrnn.training.chain import Chain, ChainCache, States, check_handover, check_head, handed_back, handed_over
from fastrnn.training.decoding import Generated, closed_loop
from fastrnn.training.losses import Loss
from fastrnn.training.metrics import Metric
from fastrnn.training.model import Model
from fastrnn.training.optimizers import Optimizer
from fastrnn.training.pairs import Form, Inputs, Pairs, checked_pairs
from fastrnn.training.schedules import Schedule, get_schedule

if TYPE_CHECKING:
    from fastrnn._writer import Writer

__all__ = ["EncoderDecoder"]

_ATTENTIONS: dict[str, type[Attention]] = {"additive": AdditiveAttention, "dot": DotAttention}
_METHODS = ("greedy", "sample", "beam")
_ROWS_OF_A_THREAD = 16  # sources that are worth a thread

Part = Layer | Iterable[Layer]


class Encoded(NamedTuple):
    """What the decoder sees of a source."""

    states: States  # initial ones of the decoder's recurrent layers
    memory: np.ndarray  # the encoder's outputs
    counted: np.ndarray | None  # which steps (B, S) of the memory count
    cache: ChainCache


class EncoderDecoderCache(NamedTuple):
    """What backward needs.  Only `weights` (B, T, S) is meant for reading: the attention's, None without it."""

    weights: np.ndarray | None
    encoded: Encoded
    decoder: ChainCache
    attention: Any
    head: ChainCache


@dataclass(frozen=True)
class DecoderState:
    """What one step of the decoder hands to the next; without attention there is no memory."""

    states: States
    time: int = 0
    future: np.ndarray | None = None
    memory: np.ndarray | None = None
    keys: np.ndarray | None = None
    counted: np.ndarray | None = None


class EncoderDecoder(Model[Pairs]):
    """An encoder whose final states start a decoder; the head makes logits of tokens, or values, of its outputs.

    Parameters
    ----------
    encoder : Layer, Sequential or iterable of Layer
        Reads the source: recurrent layers, and others before or between them.
    decoder : Layer, Sequential or iterable of Layer
        Reads the previous outputs: recurrent layers with ``return_sequences=True``, and layers that see one step at a
        time.  Its recurrent layers, n of them, start from the final states of the encoder's last n, of the same sizes;
        behind a bidirectional layer the states of both directions stand side by side.
    head : Layer, Sequential or iterable of Layer
        From the decoder's outputs (with attention ``[context, output]``) to logits or values, most often a `Dense`.
    attention : {None, "dot", "additive"} or Attention
        Whether each output of the decoder looks at all outputs of the encoder, whose last layer then has
        ``return_sequences=True`` (Luong, Pham and Manning, 2015: the context goes to the head, not to the decoder).
    start_token : int, optional
        Makes it a model of tokens 0..K-1, K being the size of the head's output: this one stands before the first.
        None makes it a model of values (B, T, K).
    stop_token : int, optional
        The token that ends a sequence; the targets hold it as their last true step.
    future_size : int
        F, how many inputs of every output step are known beforehand (a calendar, planned values); the decoder reads
        them beside the previous output.
    teacher_forcing : float or Schedule
        The probability with which an input of the decoder is the true previous output in training, and not the
        model's own: 1 is teacher forcing, less is scheduled sampling (Bengio et al., 2015).  A schedule gives it for
        each update.
    seed : int, optional
        Seed of the weights of all layers without a seed of their own, of the order of the samples in `fit`, of
        dropout and of scheduled sampling.

    Notes
    -----
    Tokens reach a decoder that begins with an `Embedding` as they are, any other as one-hot vectors of size K.  One
    with ``mask_zero`` takes 0 for padding, which is never written then.

    Parameters are named like ``encoder/0/w_x``, ``decoder/0/w_x``, ``attention/v``, ``head/0/w``.

    Under scheduled sampling the model makes its own outputs step by step, with the weights of the moment and as in
    `generate`, and is then trained on the mixture in one call; no gradient flows through what is fed back.

    Examples
    --------
    Learn to write a sequence of digits backwards, 0 being the start and the stop token:

    >>> import numpy as np
    >>> from fastrnn.layers import GRU, Dense
    >>> from fastrnn.training import Adam, EncoderDecoder
    >>> digits = np.random.default_rng(0).integers(1, 4, size=(500, 3))
    >>> x, y = np.eye(4)[digits], np.pad(digits[:, ::-1], ((0, 0), (0, 1)))
    >>> model = EncoderDecoder(
    ...     GRU(24), GRU(24, return_sequences=True), Dense(4), start_token=0, stop_token=0, seed=0
    ... )
    >>> model.compile(Adam(0.02), "sparse_categorical_crossentropy")
    >>> history = model.fit(x, y, epochs=12, verbose=0)
    >>> made = model.generate(np.eye(4)[[[1, 2, 3], [3, 3, 1]]], steps=6)
    >>> [made.tokens[i, : made.lengths[i]].tolist() for i in range(2)]
    [[3, 2, 1], [1, 3, 3]]
    """

    def __init__(
        self,
        encoder: Part,
        decoder: Part,
        head: Part,
        *,
        attention: str | Attention | None = None,
        start_token: int | None = None,
        stop_token: int | None = None,
        future_size: int = 0,
        teacher_forcing: float | Schedule = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed=seed)
        self._encoder, self._decoder, self._head = (
            _chain(name, part) for name, part in (("encoder", encoder), ("decoder", decoder), ("head", head))
        )
        self.encoder, self.decoder, self.head = self._encoder.layers, self._decoder.layers, self._head.layers
        if isinstance(attention, str):
            attention = _ATTENTIONS[_check.choice("attention", attention, tuple(_ATTENTIONS))](
                dtype=self._decoder.dtype
            )
        elif attention is not None and not isinstance(attention, Attention):
            raise TypeError(f"attention: expected None, 'dot', 'additive' or a layer, got {type(attention).__name__}")
        self.attention = attention
        self.start_token = None if start_token is None else _check.integer("start_token", start_token, 0)
        self.stop_token = None if stop_token is None else _check.integer("stop_token", stop_token, 0)
        self.future_size = _check.integer("future_size", future_size, 0)
        if not isinstance(teacher_forcing, Schedule):
            teacher_forcing = _check.number("teacher_forcing", teacher_forcing, 0.0, 1.0)
        self.teacher_forcing = teacher_forcing
        self.layers = [*self.encoder, *self.decoder, *([attention] if attention else []), *self.head]
        self.input_ndim, self.takes_integers = self._encoder.input_ndim, self._encoder.takes_integers
        self.dtype = self._encoder.dtype
        for i, layer in enumerate(self.layers):
            if any(layer is other for other in self.layers[:i]):
                raise ValueError(f"encoder, decoder, head: {layer!r} is in the model twice")
        check_handover(self._encoder, self._decoder)
        check_head(self._head)

    # -- structure ----------------------------------------------------------------------------------------------------

    def parts(self) -> dict[str, Layer]:
        attention: dict[str, Layer] = {} if self.attention is None else {"attention": self.attention}
        return {"encoder": self._encoder, "decoder": self._decoder, **attention, "head": self._head}

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        self._check_tokens()
        shapes = self._stages(input_shape)
        root = child_seed(self.seed, 0) if self.seed is not None or seed is None else seed
        for i, (name, part) in enumerate(self.parts().items()):
            if isinstance(part, Attention):
                part.build(shapes[name][0][-1], child_seed(root, i), shapes["encoder"][-1][-1])  # type: ignore[arg-type]
            else:
                part.build_for(shapes[name][0], child_seed(root, i))

    @property
    def output_size(self) -> int:
        """K, the size of the last axis of the output: the number of tokens, or of values at each step."""
        size = self._head.output_shape((None, None, 1))[-1]
        assert size is not None
        return size

    @property
    def _form(self) -> Form:
        """What the model takes as targets."""
        dtype = self._decoder.dtype
        assert dtype is not None  # recurrent layers have one
        return Form(self.start_token is not None, self.output_size, self.future_size, dtype)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], None, self.output_size)

    def _shapes(self, input_shape: Shape) -> list[Shape]:
        """The shape of the input and of each layer's output, as `summary` shows them."""
        return [input_shape, *(shape for stage in self._stages(input_shape).values() for shape in stage[1:])]

    def _stages(self, input_shape: Shape) -> dict[str, list[Shape]]:
        """For each part the shape of the input and of each layer's output."""
        read = (None, None) if self._decoder.takes_integers else (None, None, self.output_size + self.future_size)
        encoder, decoder = self._encoder.shapes(input_shape), self._decoder.shapes(read)
        seen = decoder[-1]
        stages = {"encoder": encoder, "decoder": decoder}
        if self.attention is not None:
            memory = encoder[-1]
            if len(memory) != 3 or memory[-1] is None or seen[-1] is None:
                raise ValueError("encoder: attention looks at all its outputs: return_sequences=True in its last layer")
            stages["attention"] = [seen, (*seen[:-1], memory[-1])]
            seen = (*seen[:-1], memory[-1] + seen[-1])
        return stages | {"head": self._head.shapes(seen)}

    def _check_tokens(self) -> None:
        """Refuse tokens that there is no logit for."""
        embedded = self._decoder.takes_integers
        if self.start_token is None and (self.stop_token is not None or embedded):
            raise ValueError("start_token: a model of tokens needs one, got None")
        if self.start_token is not None and embedded and self.future_size:
            raise ValueError("future_size: an Embedding reads tokens alone; expected 0, or a decoder without Embedding")
        if self.stop_token is not None:
            _check.integer("stop_token", self.stop_token, 0, self.output_size - 1)
        if self.start_token is not None and not embedded:
            _check.integer("start_token", self.start_token, 0, self.output_size - 1)
        if isinstance(table := self.decoder[0], Embedding):
            if table.input_dim < self.output_size:
                raise ValueError(
                    f"decoder[0]: expected an Embedding of the head's {self.output_size} tokens, got {table!r}"
                )
            if self.start_token is not None:  # it may be one that the head never writes
                _check.integer("start_token", self.start_token, 0, table.input_dim - 1)
            for name in ("start_token", "stop_token"):
                if table.mask_zero and getattr(self, name) == 0:
                    raise ValueError(
                        f"{name}: expected a token from 1 on, as 0 is padding to the decoder's Embedding "
                        "(mask_zero=True), got 0"
                    )

    # -- forward and backward -----------------------------------------------------------------------------------------

    def __call__(
        self,
        x: Any,
        y: Any,
        lengths: Any = None,
        target_lengths: Any = None,
        *,
        first: Any = None,
        future: Any = None,
        training: bool = False,
    ) -> np.ndarray:
        """The output of `forward`."""
        return self.forward(x, y, lengths, target_lengths, first=first, future=future, training=training)[0]

    def forward(  # type: ignore[override]
        self,
        x: Any,
        y: Any,
        lengths: Any = None,
        target_lengths: Any = None,
        *,
        first: Any = None,
        future: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, EncoderDecoderCache]:
        """Run encoder and decoder, the decoder on the true previous outputs.

        Parameters
        ----------
        x, y, lengths, target_lengths, first, future
            As for `fit`.
        training : bool
            Whether dropout acts.
        rng : numpy.random.Generator, optional
            Source of dropout masks.

        Returns
        -------
        out : ndarray (B, T, K)
            Logits or values; at step t from x and the y before t.
        cache
            For `backward`.
        """
        pairs = self._pairs(Inputs(x, lengths, target_lengths, first, future), y)
        encoded = self._encode(pairs, training, rng)
        return self._decode(pairs, self._shifted(pairs), encoded, training, rng)

    def backward(
        self,
        dout: Any,
        caches: EncoderDecoderCache,
        dfinal_state: None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the source and all parameters.

        Parameters
        ----------
        dout : array_like (B, T, K)
            Gradient by the output of `forward`.
        caches
            What `forward` returned.

        Returns
        -------
        dx : ndarray (B, S, I)
        grads : dict of str to ndarray
            The names of `params`.
        dstate : None
        """
        if dfinal_state is not None:
            raise ValueError("dfinal_state: expected None, the final states of the decoder are not handed out")
        encoded = caches.encoded
        grads: dict[str, dict[str, np.ndarray]] = {}
        dh, grads["head"], _ = self._head.run_back(dout, caches.head)
        dmemory = None
        if self.attention is not None:
            size = encoded.memory.shape[-1]
            dcontext, dh = dh[..., :size], dh[..., size:]
            dquery, grads["attention"], dmemory = self.attention.backward(dcontext, caches.attention)
            dh = dh + dquery
        _, grads["decoder"], dstates = self._decoder.run_back(dh, caches.decoder)
        dx, grads["encoder"], _ = self._encoder.run_back(
            dmemory, encoded.cache, handed_back(dstates, encoded.cache.states)
        )
        return dx, {name: g for part, own in grads.items() for name, g in prefixed(part, own).items()}, None

    def infer(self, x: Any, *args: Any, **options: Any) -> np.ndarray:
        """Refused: an output takes targets, or is written step by step."""
        raise TypeError("EncoderDecoder has no output of x alone: call model(x, y), or generate(x, steps)")

    def commit(self, caches: EncoderDecoderCache) -> None:
        """Let each layer take over what a training step left in its cache."""
        self._encoder.commit(caches.encoded.cache.caches)
        self._decoder.commit(caches.decoder.caches)
        self._head.commit(caches.head.caches)

    def _encode(self, pairs: Pairs, training: bool = False, rng: np.random.Generator | None = None) -> Encoded:
        """Read the sources."""
        memory, cache, steps = self._encoder.run(pairs.x, None, Steps(pairs.source_lengths), training, rng)
        states = handed_over(cache.states, self._decoder.recurrent)
        return Encoded(states, memory, steps.counted(memory.shape[1]) if memory.ndim == 3 else None, cache)

    def _decode(
        self,
        pairs: Pairs,
        previous: np.ndarray,
        encoded: Encoded,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, EncoderDecoderCache]:
        """Write all steps at once from the previous outputs."""
        inputs = self._vectors(previous, pairs.future)
        h, decoder, _ = self._decoder.run(inputs, encoded.states, Steps(pairs.lengths), training, rng)
        attention = weights = None
        if self.attention is not None:
            context, attention = self.attention.forward(h, encoded.memory, mask=encoded.counted)
            weights = attention.weights
            h = np.concatenate([context, h], axis=-1)
        out, head, _ = self._head.run(h, None, Steps(pairs.lengths), training, rng)
        return out, EncoderDecoderCache(weights, encoded, decoder, attention, head)

    # -- one step -----------------------------------------------------------------------------------------------------

    def _start(self, encoded: Encoded, future: np.ndarray | None) -> DecoderState:
        """The decoder's state before the first step."""
        if self.attention is None:
            return DecoderState(encoded.states, future=future)
        keys = self.attention.keys_of(encoded.memory)
        return DecoderState(encoded.states, 0, future, encoded.memory, keys, encoded.counted)

    def _step(self, previous: np.ndarray, state: DecoderState) -> tuple[np.ndarray, DecoderState]:
        """One step: previous tokens (B,) or values (B, K) to logits or values (B, K)."""
        t = state.time
        future = None if state.future is None else state.future[:, t : t + 1]
        h, cache, _ = self._decoder.run(self._vectors(previous[:, None], future), state.states)
        if self.attention is not None:
            assert state.memory is not None and state.keys is not None
            context, _ = self.attention.attend(h, state.memory, state.keys, state.counted)
            h = np.concatenate([context, h], axis=-1)
        out, _, _ = self._head.run(h)
        return out[:, 0], dataclasses.replace(state, states=cache.states, time=t + 1)

    def _vectors(self, previous: np.ndarray, future: np.ndarray | None) -> np.ndarray:
        """What the decoder reads: (B, T) tokens or (B, T, K) values, and the future inputs (B, T, F) beside them."""
        if self.start_token is not None and not self._decoder.takes_integers:
            previous = np.eye(self.output_size, dtype=self._decoder.dtype)[previous]
        return previous if future is None else np.concatenate([previous, future], axis=-1)

    def _first(self, pairs: Pairs) -> np.ndarray:
        """What stands before the first output: tokens (B,) or values (B, K)."""
        if pairs.first is not None:
            return pairs.first
        if self.start_token is not None:
            return np.full(len(pairs), self.start_token, dtype=np.intp)
        return np.zeros((len(pairs), self.output_size), self._form.dtype)

    def _shifted(self, pairs: Pairs) -> np.ndarray:
        """The outputs before each step: the targets, one step later, behind what stands before the first.

        What a target holds past its row's end is left out, as it may be anything (-1, NaN).
        """
        first = self._first(pairs)[:, None]
        assert pairs.y is not None
        known = pairs.y[:, :-1]
        if pairs.lengths is not None:
            true = np.arange(known.shape[1]) < pairs.lengths[:, None]
            known = np.where(true.reshape(true.shape + (1,) * (known.ndim - 2)), known, first.dtype.type(0))
        return np.concatenate([first, known.astype(first.dtype)], axis=1)

    # -- training -----------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | Loss | None = None,
        metrics: Iterable[str | Loss | Metric | Callable[..., float]] = (),
    ) -> None:
        """Say how the model is trained and judged.

        Parameters
        ----------
        optimizer, metrics
            As for `Sequential.compile`.
        loss : str or Loss, optional
            By default "sparse_categorical_crossentropy" for tokens, "mse" for values.
        """
        if loss is None:
            loss = "mse" if self.start_token is None else "sparse_categorical_crossentropy"
        super().compile(optimizer, loss, metrics)

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        lengths: Any = None,
        target_lengths: Any = None,
        first: Any = None,
        future: Any = None,
        validation_data: Sequence[Any] | Mapping[str, Any] | None = None,
        closed_loop_validation: bool = False,
        epochs: int = 1,
        batch_size: int = 32,
        validation_split: float = 0.0,
        shuffle: bool = True,
        callbacks: Iterable[Callback] = (),
        verbose: str | int = "auto",
        sample_weight: Any = None,
        record_gradient_norms: bool = False,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like (N, S, I), or of int (N, S) where the encoder begins with an `Embedding`
            The sources.
        y : array_like of int (N, T), or array_like (N, T, K)
            The targets: tokens, with a stop token as each row's last true one; or values, (N, T) if K is 1.
        lengths, target_lengths : array_like of int (N,), optional
            True steps of each source and of each target; loss and metrics leave out the rest.
        first : array_like (N, K), or of int (N,), optional
            What stands before each target; zeros or the start token by default.
        future : array_like (N, T, F), optional
            The inputs of the output steps, where the model has a `future_size`.
        validation_data : tuple or mapping, optional
            ``(x, y[, sample_weight])``, or the arguments of `evaluate` by name: judged after each epoch.
        closed_loop_validation : bool
            Judge a validation split, or the validation data, by what the model makes of its own outputs, not under
            teacher forcing.
        epochs, batch_size, validation_split, shuffle, callbacks, verbose, sample_weight, record_gradient_norms
            As for `Sequential.fit`.

        Returns
        -------
        History

        Notes
        -----
        A batch in which no entry counts changes nothing.
        """
        closed = _check.boolean("closed_loop_validation", closed_loop_validation)
        self._require_compiled(to_train=True)
        pairs = self._samples(Inputs(x, lengths, target_lengths, first, future, closed), y, sample_weight)
        return self._fit(
            pairs,
            None if validation_data is None else self._samples(*_validation(validation_data, closed)),
            epochs=epochs,
            batch_size=batch_size,
            validation_split=validation_split,
            shuffle=shuffle,
            callbacks=callbacks,
            verbose=verbose,
            record_gradient_norms=record_gradient_norms,
        )

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        lengths: Any = None,
        target_lengths: Any = None,
        *,
        first: Any = None,
        future: Any = None,
    ) -> float:
        """One update of the weights.

        Parameters
        ----------
        x, y, sample_weight, lengths, target_lengths, first, future
            As for `fit`, one batch.

        Returns
        -------
        float
            The loss before the update.
        """
        self._require_compiled(to_train=True)
        pairs = self._samples(Inputs(x, lengths, target_lengths, first, future), y, sample_weight)
        return self._train_step(pairs, np.random.default_rng(self._training_seed())).loss

    def _forward_batch(self, batch: Pairs, rng: np.random.Generator) -> tuple[np.ndarray, EncoderDecoderCache, Steps]:
        assert self.optimizer is not None
        encoded = self._encode(batch, training=True, rng=rng)
        previous = self._mixed(batch, encoded, get_schedule(self.teacher_forcing)(self.optimizer.iterations), rng)
        y_pred, caches = self._decode(batch, previous, encoded, training=True, rng=rng)
        return y_pred, caches, Steps(batch.lengths)

    def _mixed(self, pairs: Pairs, encoded: Encoded, rate: float, rng: np.random.Generator) -> np.ndarray:
        """The decoder's inputs: true previous outputs with the given probability, otherwise the model's own."""
        previous = self._shifted(pairs)
        if rate >= 1.0:
            return previous
        own = rng.random(previous.shape[:2]) >= rate
        state = self._start(encoded, pairs.future)
        for t in range(previous.shape[1] - 1):
            out, state = self._step(previous[:, t], state)
            made = out if self.start_token is None else self._most_probable(out)
            rows = own[:, t + 1]
            previous[rows, t + 1] = made[rows]
        return previous

    def _most_probable(self, logits: np.ndarray) -> np.ndarray:
        """The tokens (B,) that `generate` would write; 0 is none where the decoder takes it for padding."""
        first = int(getattr(self.decoder[0], "mask_zero", False))
        return logits[:, first:].argmax(axis=-1) + first

    # -- use ----------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        batch_size: int = 256,
        sample_weight: Any = None,
        lengths: Any = None,
        target_lengths: Any = None,
        first: Any = None,
        future: Any = None,
        closed_loop: bool = False,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """The loss and the metrics over all rows.

        Parameters
        ----------
        x, y, sample_weight, lengths, target_lengths, first, future
            As for `fit`.
        batch_size : int
            Rows at a time in prediction; the figures are those of all rows together.
        closed_loop : bool
            Judge what the model makes of its own outputs, not of the true previous ones.
        return_dict : bool

        Returns
        -------
        float, list of float or dict
            The loss; with metrics the list ``[loss, *metrics]``; with return_dict a dict by name.
        """
        closed = _check.boolean("closed_loop", closed_loop)
        self._require_compiled()
        pairs = self._samples(Inputs(x, lengths, target_lengths, first, future, closed), y, sample_weight)
        return self._evaluate(pairs, batch_size, return_dict)

    def predict(
        self,
        x: Any,
        steps: int,
        *,
        batch_size: int = 256,
        lengths: Any = None,
        first: Any = None,
        future: Any = None,
    ) -> np.ndarray:
        """What the model writes for all sources by itself: `generate` with nothing but the arrays.

        Parameters
        ----------
        x, steps, batch_size, lengths, first, future
            As for `generate`.

        Returns
        -------
        ndarray of int (N, steps), or ndarray (N, steps, K)
            Tokens (the most probable ones, step by step) or values.
        """
        made = self.generate(x, steps, batch_size=batch_size, lengths=lengths, first=first, future=future)
        return made.tokens if isinstance(made, Generated) else made

    def generate(
        self,
        x: Any,
        steps: int,
        *,
        lengths: Any = None,
        first: Any = None,
        future: Any = None,
        feedback: Callable[[np.ndarray], Any] | None = None,
        method: str = "greedy",
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | np.random.Generator | None = None,
        width: int = 4,
        length_penalty: float = 0.0,
        all_beams: bool = False,
        batch_size: int = 256,
    ) -> Generated | np.ndarray:
        """Write sequences for all sources, each output being the next input.

        Parameters
        ----------
        x : array_like (N, S, I), or of int (N, S) where the encoder begins with an `Embedding`
            The sources.
        steps : int
            Steps to make; a model with a stop token may end sooner.
        lengths : array_like of int (N,), optional
            True steps of each source.
        first : array_like (N, K), or of int (N,), optional
            What stands before each target; zeros or the start token by default.
        future : array_like (N, at least steps, F), optional
            The inputs of the output steps, where the model has a `future_size`.
        feedback : callable, optional
            For values: makes the next previous output (B, K) from an output (B, K).
        method : {"greedy", "sample", "beam"}
            For tokens: the most probable one at each step, one drawn by the probabilities, or beam search.
        temperature, top_k, seed
            For ``"sample"``, see `fastrnn.training.decoding.sample`.
        width, length_penalty
            For ``"beam"``, see `fastrnn.training.decoding.beam_search`.
        all_beams : bool
            For ``"beam"``: all `width` sequences of each source, best first, and not the best alone.
        batch_size : int
            Sources at a time, at most; the result does not depend on it.

        Returns
        -------
        Generated or ndarray
            For tokens ``(tokens, lengths, scores)``: tokens (N, steps), how many of them stand before the stop token,
            and the logarithm of each sequence's probability.  For values an array (N, steps, K).
        """
        steps = _check.integer("steps", steps, 1, 2**31 - 1)
        batch_size = _check.integer("batch_size", batch_size, 1)
        cancelled = Event()
        decode = self._decoding(method, temperature, top_k, seed, width, length_penalty, all_beams, feedback, cancelled)
        pairs = self._pairs(Inputs(x, lengths, None, first, future), steps=steps)
        if len(pairs) == 0:
            return self._nothing(steps, width if all_beams else None)
        threads = get_num_threads()
        batch_size = min(batch_size, max(_ROWS_OF_A_THREAD, math.ceil(len(pairs) / threads)))
        work = partial(decode, steps), pairs.batches(batch_size), range(0, len(pairs), batch_size)
        if len(pairs) <= batch_size or threads == 1:
            parts = list(map(*work))
        else:
            with ThreadPoolExecutor(threads) as pool:
                try:
                    parts = list(pool.map(*work))
                except BaseException:
                    cancelled.set()
                    raise
        if isinstance(parts[0], tuple):
            return Generated(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        return np.concatenate(parts)

    def _decoding(
        self,
        method: str,
        temperature: float,
        top_k: int | None,
        seed: Any,
        width: int,
        length_penalty: float,
        all_beams: bool,
        feedback: Callable[[np.ndarray], Any] | None,
        cancelled: Event,
    ) -> Callable[[int, Pairs, int], Any]:
        """A function of the steps, a batch, and the number of its first row; all else checked and bound."""
        method = _check.choice("method", method, _METHODS)
        temperature = _check.number("temperature", temperature, 0.0, open_minimum=True)
        kept = 0 if top_k is None else _check.integer("top_k", top_k, 1)
        width, alpha = _check.integer("width", width, 1), _check.number("length_penalty", length_penalty, 0.0)
        if feedback is not None and not callable(feedback):
            raise TypeError(f"feedback: expected a function or None, got {feedback!r:.60}")
        if _check.boolean("all_beams", all_beams) and method != "beam":
            raise ValueError(f"all_beams: expected method='beam', got {method!r}")
        if not isinstance(seed, np.random.Generator):
            seed = None if seed is None else _check.integer("seed", seed, 0)
        stop = -1 if self.stop_token is None else self.stop_token
        if self.start_token is None:
            if method != "greedy":
                raise ValueError(f"method: {method!r} is for tokens, this model has values (no start_token)")
            return partial(self._write_values, feedback, cancelled)
        if feedback is not None:
            raise ValueError("feedback: tokens are fed back as they are; expected None")
        if method == "beam":
            return partial(self._search_tokens, stop, width, alpha, all_beams, cancelled)
        if method == "greedy":
            return partial(self._write_tokens, stop, 0.0, 0, 0, cancelled)
        number = int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))
        return partial(self._write_tokens, stop, temperature, min(kept, self.output_size), number, cancelled)

    def _writer(self, batch: Pairs, cancelled: Event | None = None, beams: int = 1) -> Writer:
        """The decoder, behind the encoder, in compiled code."""
        from fastrnn import streaming

        state = self._start(self._encode(batch), batch.future)
        looked_at = state.memory, state.keys, state.counted
        return streaming.decoder_writer(self, state.states, *looked_at, state.future, beams, cancelled)

    def _write_values(
        self, feedback: Callable[[np.ndarray], Any] | None, cancelled: Event, steps: int, batch: Pairs, row: int
    ) -> np.ndarray:
        if feedback is None:
            return self._writer(batch, cancelled).values(self._first(batch), steps)
        return closed_loop(
            self._step, self._start(self._encode(batch), batch.future), self._first(batch), steps, feedback
        )

    def _write_tokens(
        self, stop: int, temperature: float, kept: int, seed: int, cancelled: Event, steps: int, batch: Pairs, row: int
    ) -> tuple[np.ndarray, ...]:
        return self._writer(batch, cancelled).tokens(self._first(batch), steps, stop, temperature, kept, seed, row)

    def _search_tokens(
        self,
        stop: int,
        width: int,
        alpha: float,
        all_beams: bool,
        cancelled: Event,
        steps: int,
        batch: Pairs,
        row: int,
    ) -> tuple[np.ndarray, ...]:
        made = self._writer(batch, cancelled, width).search(self._first(batch), steps, stop, width, alpha)
        return made if all_beams else tuple(array[:, 0] for array in made)

    def _nothing(self, steps: int, width: int | None) -> Generated | np.ndarray:
        """What is written for no source."""
        if self.start_token is None:
            return np.empty((0, steps, self.output_size), self._head.layers[-1].dtype or self._form.dtype)
        beams = () if width is None else (width,)
        return Generated(np.empty((0, *beams, steps), np.intp), np.empty((0, *beams), np.intp), np.empty((0, *beams)))

    def _infer_batch(self, batch: Pairs) -> tuple[np.ndarray, Steps]:
        """Logits or values for a batch, under teacher forcing or in the closed loop."""
        if not batch.closed_loop:
            return self._decode(batch, self._shifted(batch), self._encode(batch))[0], Steps(batch.lengths)
        assert batch.y is not None
        writer = self._writer(batch)
        write = writer.values if self.start_token is None else writer.logits
        return write(self._first(batch), batch.y.shape[1]), Steps(batch.lengths)

    # -- checks -------------------------------------------------------------------------------------------------------

    def _samples(self, inputs: Inputs, y: Any, sample_weight: Any = None) -> Pairs:
        """Checked samples with targets, at least one."""
        if y is None:
            raise TypeError("y: expected targets, got None")
        pairs = self._pairs(inputs, y, sample_weight=sample_weight)
        if len(pairs) == 0:
            raise ValueError(f"x: expected at least one row, got shape {pairs.x.shape}")
        return pairs

    def _pairs(self, inputs: Inputs, y: Any = None, *, steps: int = 0, sample_weight: Any = None) -> Pairs:
        """Everything that belongs to a batch, checked; the model is built by the first source it sees."""
        x = self._cast(inputs.x)
        if x.ndim != self.input_ndim or 0 in x.shape[1:]:
            wanted = "(N, S)" if self.takes_integers else "(N, S, I)"
            raise ValueError(f"x: expected shape {wanted} with at least one step and one input, got {x.shape}")
        return checked_pairs(self._form, x, inputs, y, steps=steps, sample_weight=sample_weight)


def _chain(name: str, part: Part) -> Chain:
    """The layers of a part, however it was given."""
    layers = part.layers if isinstance(part, Stack) else [part] if isinstance(part, Layer) else part
    try:
        chain = Chain(layers)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    if not chain.layers:
        raise ValueError(f"{name}: expected at least one layer, got none")
    return chain


def _validation(given: Sequence[Any] | Mapping[str, Any], closed: bool) -> tuple[Any, ...]:
    """Validation data as `_samples` takes them."""
    if not isinstance(given, Mapping):
        if not isinstance(given, (tuple, list)) or not 2 <= len(given) <= 3:
            raise ValueError("validation_data: expected a tuple (x, y[, sample_weight]) or the arguments of evaluate")
        given = dict(zip(("x", "y", "sample_weight"), given, strict=False))
    known = {"x", "y", "sample_weight", *Inputs._fields} - {"closed_loop"}
    if not {"x", "y"} <= set(given) <= known:
        raise ValueError(f"validation_data: expected x, y and any of {sorted(known)}, got {sorted(given)}")
    inputs = {name: value for name, value in given.items() if name in Inputs._fields}
    return Inputs(**inputs, closed_loop=closed), given["y"], given.get("sample_weight")
