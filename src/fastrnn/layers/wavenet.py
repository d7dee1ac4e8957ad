"""WaveNet: dilated causal convolutions in a gated residual stack, and the textbook's simple stack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check, functional
from fastrnn.layers.base import Layer, PrefixedParameters, Seed, Shape
from fastrnn.layers.convolutional import Conv1D
from fastrnn.layers.initializers import Initializer, checked_initializer
from fastrnn.layers.lengths import checked_lengths, refuse_resets, zeroed_past

__all__ = ["WaveNet", "wavenet_stack"]


def wavenet_stack(
    filters: int = 20,
    kernel_size: int = 2,
    dilations: Iterable[int] = (1, 2, 4, 8) * 2,
    activation: str | None = "relu",
    **options: Any,
) -> list[Conv1D]:
    """The textbook's simplified WaveNet: causal convolutions one behind the other, each with its dilation.

    Parameters
    ----------
    filters, kernel_size : int
        Of each convolution.
    dilations : iterable of int
        Dilation rate of each convolution.
    activation : str or None
    **options
        Further options of each `Conv1D`.

    Returns
    -------
    list of Conv1D

    Notes
    -----
    A. Géron, *Hands-On Machine Learning*, chapter "Processing Sequences Using RNNs and CNNs".

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import Conv1D, wavenet_stack
    >>> from fastrnn.training import Sequential
    >>> model = Sequential([*wavenet_stack(), Conv1D(10, 1)], seed=0)
    >>> model(np.ones((32, 50, 1))).shape
    (32, 50, 10)
    """
    return [
        Conv1D(filters, kernel_size, padding="causal", dilation_rate=rate, activation=activation, **options)
        for rate in dilations
    ]


class _Block(NamedTuple):
    """The layers of one residual block; the last block needs no way on to a next one."""

    gates: Conv1D
    skip: Conv1D
    residual: Conv1D | None

    def parts(self) -> dict[str, Conv1D]:
        """The layers by name."""
        return {name: layer for name, layer in self._asdict().items() if layer is not None}


class _BlockCache(NamedTuple):
    gates: Any
    skip: Any
    residual: Any
    tanh: np.ndarray
    sigmoid: np.ndarray


class _WaveNetCache(NamedTuple):
    lengths: np.ndarray | None
    out_shape: tuple[int, ...]
    first: Any
    blocks: list[_BlockCache]
    skips: np.ndarray
    head: list[Any]


class WaveNet(Layer):
    """A gated residual stack of dilated causal convolutions with skip connections: (B, T, C) becomes (B, T, ...).

    A causal convolution makes h of the input; then for each block, of dilation d, with * a causal convolution::

        z = tanh(h *_d w_t + b_t) ∘ sigmoid(h *_d w_s + b_s)
        skips = skips + z · w_skip + b_skip
        h = h + z · w_residual + b_residual

    and the output is ``skips``, or with `outputs` the head of the paper, ``relu(relu(skips) · w_0 + b_0) · w_1 + b_1``.
    Every output sees the steps up to its own, `receptive_field` of them.

    Parameters
    ----------
    filters : int
        Size of h and z.
    kernel_size : int
        Taps of the causal convolutions.
    dilations : iterable of int
        Dilation rates of the blocks of one stack.
    stacks : int
        How often these blocks come, one stack behind the other.
    skip_channels : int or None
        Size of the skip connections; None is `filters`.
    outputs : int or None
        Size of the output; None leaves the head out: the output is the sum of the skip connections.
    head_channels : int or None
        Size between the two layers of the head; None is that of the skip connections.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    dtype : {"float32", "float64"}
        What the layer computes in; the input is cast to it.
    seed : int, optional
        Seed of the first weights; None draws fresh ones.

    Notes
    -----
    Parameters, each with ``w`` (taps, inputs, outputs) and ``b``: ``first/...``; for each block i ``i/gates/...`` (the
    filters of tanh, then those of sigmoid), ``i/skip/...`` and, but for the last block, ``i/residual/...``;
    ``head/0/...`` and ``head/1/...``.

    With `lengths`, what x holds past the end of a row is ignored and the output there is 0.

    A. van den Oord et al., "WaveNet: a generative model for raw audio", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import WaveNet
    >>> layer = WaveNet(8, dilations=(1, 2, 4, 8), stacks=2, outputs=10, seed=0)
    >>> layer.receptive_field
    32
    >>> layer(np.ones((32, 50, 1))).shape
    (32, 50, 10)
    """

    input_ndim = 3
    takes_time = True
    takes_holes = False

    def __init__(
        self,
        filters: int,
        *,
        kernel_size: int = 2,
        dilations: Iterable[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        stacks: int = 1,
        skip_channels: int | None = None,
        outputs: int | None = None,
        head_channels: int | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        super().__init__("float32" if dtype is None else dtype, seed)
        self.filters = _check.integer("filters", filters, 1)
        self.kernel_size = _check.integer("kernel_size", kernel_size, 1)
        self.dilations = tuple(_check.integer("dilations", rate, 1) for rate in dilations)
        if not self.dilations:
            raise ValueError("dilations: expected at least one")
        self.stacks = _check.integer("stacks", stacks, 1)
        self.skip_channels = None if skip_channels is None else _check.integer("skip_channels", skip_channels, 1)
        self.outputs = None if outputs is None else _check.integer("outputs", outputs, 1)
        self.head_channels = None if head_channels is None else _check.integer("head_channels", head_channels, 1)
        if outputs is None and head_channels is not None:
            raise ValueError(f"head_channels: expected None without outputs, got {head_channels}")
        self.use_bias = _check.boolean("use_bias", use_bias)
        self.kernel_initializer = checked_initializer("kernel_initializer", kernel_initializer)
        self.bias_initializer = checked_initializer("bias_initializer", bias_initializer)

        skips = self.skip_channels or self.filters
        rates = self.dilations * self.stacks
        self._first = self._convolution(self.filters, self.kernel_size)
        self._blocks = [
            _Block(
                self._convolution(2 * self.filters, self.kernel_size, rate),
                self._convolution(skips, 1),
                self._convolution(self.filters, 1) if i < len(rates) - 1 else None,
            )
            for i, rate in enumerate(rates)
        ]
        self._head: list[Conv1D] = []
        if self.outputs is not None:
            self._head = [
                self._convolution(self.head_channels or skips, 1, activation="relu"),
                self._convolution(self.outputs, 1),
            ]

    def _convolution(self, filters: int, taps: int, rate: int = 1, activation: str | None = None) -> Conv1D:
        """A causal convolution with the options that all of them share."""
        return Conv1D(
            filters,
            taps,
            padding="causal",
            dilation_rate=rate,
            activation=activation,
            use_bias=self.use_bias,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            dtype=self.dtype,
        )

    @property
    def receptive_field(self) -> int:
        """Steps that an output sees: its own and those before it."""
        return 1 + (self.kernel_size - 1) * (1 + self.stacks * sum(self.dilations))

    def convolutions(self) -> dict[str, Conv1D]:
        """All convolutions by the prefix of their parameters, ``first``, ``0/gates``, ..., in the order of the data."""
        blocks = {f"{i}/{name}": part for i, block in enumerate(self._blocks) for name, part in block.parts().items()}
        return {"first": self._first, **blocks, **{f"head/{i}": layer for i, layer in enumerate(self._head)}}

    @property
    def params(self) -> PrefixedParameters:
        """The parameters of all convolutions, named like ``0/gates/w``; assigning reaches them."""
        parts: dict[str, Any] = {"first": self._first.params}
        for i, block in enumerate(self._blocks):
            parts[str(i)] = PrefixedParameters({name: part.params for name, part in block.parts().items()})
        if self._head:
            parts["head"] = PrefixedParameters({str(i): layer.params for i, layer in enumerate(self._head)})
        return PrefixedParameters(parts)

    def build(self, input_size: int, seed: Seed = None) -> None:
        """Create the parameters; see `Layer.build`."""
        seed = seed if self.seed is None else self.seed
        if not isinstance(seed, np.random.SeedSequence):
            seed = np.random.SeedSequence(seed)
        layers = self.convolutions().values()
        for i, (layer, size) in enumerate(zip(layers, self._input_sizes(input_size), strict=True)):
            layer.build(size, np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i)))
        self.input_size = self._first.input_size

    def _input_sizes(self, input_size: int) -> list[int]:
        """The channels that each convolution sees, in the order of `convolutions`."""
        blocks = [self.filters for block in self._blocks for _ in block.parts()]
        return [input_size, *blocks, *([self._blocks[0].skip.filters, self._head[0].filters] if self._head else [])]

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:2], self._head[-1].filters if self._head else self._blocks[0].skip.filters)

    def forward(
        self,
        x: Any,
        *,
        lengths: Any = None,
        reset_mask: None = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, _WaveNetCache]:
        """Apply the layer.

        Parameters
        ----------
        x : array_like (B, T, C)
        lengths : array_like of int (B,), optional
            True steps of each row.
        reset_mask : None
            A convolution looks across steps: it cannot be reset.
        training, rng
            Without effect.

        Returns
        -------
        out : ndarray (B, T, outputs or skip_channels)
        cache
            For `backward`.
        """
        refuse_resets(self, reset_mask)
        x = self._input(x)
        lengths = checked_lengths(lengths, *x.shape[:2])
        h, first = self._first.forward(zeroed_past(x, lengths))
        skips = np.zeros((*x.shape[:2], self._blocks[0].skip.filters), x.dtype)
        blocks = []
        for block in self._blocks:
            h, cache = self._block_forward(block, h, skips)
            blocks.append(cache)
        out, head = skips, []
        if self._head:
            out = np.maximum(skips, 0)
            for layer in self._head:
                out, head_cache = layer.forward(out)
                head.append(head_cache)
        return zeroed_past(out, lengths), _WaveNetCache(lengths, out.shape, first, blocks, skips, head)

    def _block_forward(self, block: _Block, h: np.ndarray, skips: np.ndarray) -> tuple[np.ndarray, _BlockCache]:
        """One block; adds to `skips` and returns the new h."""
        gates, gates_cache = block.gates.forward(h)
        tanh = functional.tanh(gates[..., : self.filters])
        sigmoid = functional.sigmoid(gates[..., self.filters :])
        z = tanh * sigmoid
        skip, skip_cache = block.skip.forward(z)
        skips += skip
        residual_cache = None
        if block.residual is not None:
            residual, residual_cache = block.residual.forward(z)
            h = h + residual
        return h, _BlockCache(gates_cache, skip_cache, residual_cache, tanh, sigmoid)

    def backward(
        self, dout: Any, cache: _WaveNetCache, dfinal_state: None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], None]:
        """Gradients by the input and the parameters.

        Parameters
        ----------
        dout : array_like (B, T, outputs or skip_channels)
            What it holds past the end of a row is ignored.
        cache
            What `forward` returned.

        Returns
        -------
        dx : ndarray (B, T, C)
        grads : dict of str to ndarray
            The names of `params`.
        dstate : None
        """
        self._no_state(dfinal_state)
        dskips = zeroed_past(self._array("dout", dout, cache.out_shape), cache.lengths)
        grads: dict[str, np.ndarray] = {}
        for i, layer in reversed(list(enumerate(self._head))):
            dskips, own, _ = layer.backward(dskips, cache.head[i])
            grads.update({f"head/{i}/{name}": gradient for name, gradient in own.items()})
        if self._head:
            dskips = np.where(cache.skips > 0, dskips, dskips.dtype.type(0))
        dh = np.zeros((*dskips.shape[:2], self.filters), dskips.dtype)
        for i, block in reversed(list(enumerate(self._blocks))):
            dh = self._block_backward(i, block, cache.blocks[i], dskips, dh, grads)
        dx, own, _ = self._first.backward(dh, cache.first)
        grads.update({f"first/{name}": gradient for name, gradient in own.items()})
        return dx, grads, None

    def _block_backward(
        self, i: int, block: _Block, cache: _BlockCache, dskips: np.ndarray, dh: np.ndarray, grads: dict[str, Any]
    ) -> np.ndarray:
        """The gradient by the h that a block takes, from that by the h it gives; fills `grads`."""
        dz, own, _ = block.skip.backward(dskips, cache.skip)
        grads.update({f"{i}/skip/{name}": gradient for name, gradient in own.items()})
        if block.residual is not None:
            through, own, _ = block.residual.backward(dh, cache.residual)
            grads.update({f"{i}/residual/{name}": gradient for name, gradient in own.items()})
            dz += through
        tanh, sigmoid = cache.tanh, cache.sigmoid
        dgates = np.concatenate(
            [dz * sigmoid * (1 - tanh * tanh), dz * tanh * (sigmoid * (1 - sigmoid))], axis=-1
        )  # (B, T, 2·filters)
        through, own, _ = block.gates.backward(dgates, cache.gates)
        grads.update({f"{i}/gates/{name}": gradient for name, gradient in own.items()})
        return through if block.residual is None else dh + through
