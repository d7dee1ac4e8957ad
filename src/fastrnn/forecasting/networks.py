"""The networks that a forecaster trains: which kinds there are, how they are stacked, after which rows they speak."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastrnn.layers import Layer, MemoryCell
    from fastrnn.training.model import Model

__all__ = ["CONV_KERNEL", "CONV_STRIDES", "FRONTENDS", "STRATEGIES", "WAVENET", "Network", "cells", "recurrent_layers"]

WAVENET = "wavenet"
STRATEGIES = ("direct", "recursive", "seq2seq", "encoder_decoder")
FRONTENDS = ("none", "conv")
TEACHER_FORCING = 0.0  # in training, too, a decoder reads what it said itself, as it will have to
CONV_KERNEL, CONV_STRIDES = 4, 2  # rows that the convolutional front end looks at, and how far it moves


def recurrent_layers() -> dict[str, type[Layer]]:
    """The recurrent layers that this fastrnn has, by the name of their cell: rnn, lstm, gru, ..."""
    from fastrnn import layers
    from fastrnn.layers.recurrent import Recurrent

    found = (getattr(layers, name) for name in layers.__all__)
    # a layer with a compiled cell, and not one that takes a cell of the user's
    recurrent = [kind for kind in found if isinstance(kind, type) and issubclass(kind, Recurrent)]
    return {
        "rnn" if kind.__name__ == "SimpleRNN" else kind.__name__.lower(): kind
        for kind in recurrent
        if "units" in inspect.signature(kind).parameters and kind is not Recurrent
    }


def cells() -> tuple[str, ...]:
    """What ``cell=`` may be: every recurrent layer, and "wavenet".

    Examples
    --------
    >>> from fastrnn.forecasting import cells
    >>> {"gru", "lstm", "rnn", "wavenet"} <= set(cells())
    True
    """
    return (*sorted(recurrent_layers()), WAVENET)


def _around(cell: type[MemoryCell]) -> Any:
    """What makes a layer of a cell of the user's, which is made of a number of units."""
    from fastrnn.layers import RNN

    return lambda units, **options: RNN(cell(units), **options)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Network:
    """How a network is built; the parameters are those of `Forecaster`, `outputs` numbers for each forecast.

    Attributes
    ----------
    cell : str or class of MemoryCell
    frontend, strategy : str
    units, layers, window, horizon : int
    outputs : int
        Size of the last axis of the output.
    dropout : float
    """

    cell: str | type[MemoryCell]
    units: int
    layers: int
    window: int
    horizon: int
    frontend: str
    strategy: str
    outputs: int
    dropout: float

    @property
    def has_time_axis(self) -> bool:
        """Whether the network speaks after rows of the window, not only after the last."""
        return self.strategy == "seq2seq" or (self.cell == WAVENET and self.strategy != "encoder_decoder")

    @property
    def skipped(self) -> int:
        """Rows at the beginning of the window that are left out, so that the front end's last step ends with it."""
        return (self.window - CONV_KERNEL) % CONV_STRIDES if self.frontend == "conv" else 0

    @property
    def spoken(self) -> np.ndarray:
        """The rows after which the network speaks, as distances from the origin: 0, or from -window + 1 to 0."""
        if not self.has_time_axis:
            return np.zeros(1, np.intp)
        if self.frontend == "conv":
            return np.arange(self.skipped + CONV_KERNEL - self.window, 1, CONV_STRIDES)
        return np.arange(1 - self.window, 1)

    def model(self, future_size: int, seed: int | None) -> Model[Any]:
        """The network, from the window (n, T, F) to outputs (n, K), (n, T', K) or, step by step, (n, horizon, K).

        Parameters
        ----------
        future_size : int
            Inputs that are known of every step ahead; a decoder reads them beside what it has said before.
        seed : int, optional
        """
        from fastrnn.training import EncoderDecoder, Sequential

        if self.strategy != "encoder_decoder":
            body = self._wavenet() if self.cell == WAVENET else self._front() + self._recurrent(self.has_time_axis)
            return Sequential(body + self._head(), seed=seed)
        return EncoderDecoder(
            self._front() + self._recurrent(False),
            self._recurrent(True),
            self._head(),
            future_size=future_size,
            teacher_forcing=TEACHER_FORCING,
            seed=seed,
        )

    def _head(self) -> list[Layer]:
        """From what the layers say to the outputs."""
        from fastrnn.layers import Dense, Dropout, TimeDistributed

        through_time = self.has_time_axis or self.strategy == "encoder_decoder"
        dropout: list[Layer] = [Dropout(self.dropout)] if self.dropout else []
        return [*dropout, TimeDistributed(Dense(self.outputs)) if through_time else Dense(self.outputs)]

    def _front(self) -> list[Layer]:
        """The convolutional front end, if there is one."""
        if self.frontend == "none":
            return []
        from fastrnn.layers import Conv1D

        return [Conv1D(self.units, CONV_KERNEL, strides=CONV_STRIDES, padding="valid", activation="relu")]

    def _recurrent(self, every_row: bool) -> list[Layer]:
        """`layers` recurrent layers."""
        kind: Any = recurrent_layers()[self.cell] if isinstance(self.cell, str) else _around(self.cell)
        last = self.layers - 1
        return [kind(self.units, return_sequences=every_row or layer < last) for layer in range(self.layers)]

    def _wavenet(self) -> list[Layer]:
        """Causal convolutions of two taps with dilations 1, 2, 4, ..., until they see the window; `layers` times."""
        from fastrnn.layers import Conv1D

        # n dilations see 2**n rows
        doublings = max(1, int(self.window - 1).bit_length())
        dilations = [2**i for i in range(doublings)] * self.layers
        return [Conv1D(self.units, 2, padding="causal", dilation_rate=d, activation="relu") for d in dilations]
