"""The same networks in PyTorch, trained with the same recipe from the same first weights: what `--peers` shows."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from chapter import BATCH, Network
from torch import nn

from fastrnn.layers import GRU, LSTM, BatchNormalization, Conv1D, Dense, Flatten, Layer, SimpleRNN
from fastrnn.training import Sequential

CLOSE = 1e-3  # first forecasts of both, before any training


class Recurrent(nn.Module):
    """PyTorch's RNN, LSTM or GRU with our weights; its second bias is fixed at zero where we have one."""

    def __init__(self, layer: SimpleRNN | LSTM | GRU) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[layer.cell.name]
        self.return_sequences = layer.return_sequences
        self.cell = kind(layer.input_size, layer.units, batch_first=True)
        w_x, w_h, b = (gates_reordered(layer, layer.params[name]) for name in ("w_x", "w_h", "b"))
        b_x, b_h = b if b.ndim == 2 else (b, np.zeros_like(b))
        with torch.no_grad():
            for name, value in {"weight_ih": w_x.T, "weight_hh": w_h.T, "bias_ih": b_x, "bias_hh": b_h}.items():
                getattr(self.cell, f"{name}_l0").copy_(torch.tensor(value))
        self.cell.bias_hh_l0.requires_grad_(b.ndim == 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.cell(x)
        return y if self.return_sequences else y[:, -1]


class LayerNormRecurrent(nn.Module):
    """The simple RNN with layer normalization in its cell, step by step: PyTorch has none of its own."""

    def __init__(self, layer: SimpleRNN) -> None:
        super().__init__()
        self.epsilon = layer.ln_epsilon
        for name, value in layer.params.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gx = x @ self.w_x + self.b
        h = torch.zeros_like(gx[:, 0])
        y = []
        for t in range(x.shape[1]):
            a = gx[:, t] + h @ self.w_h
            h = torch.tanh(nn.functional.layer_norm(a, a.shape[-1:], self.ln_gain, self.ln_bias, self.epsilon))
            y.append(h)
        return torch.stack(y, dim=1)


class Convolution(nn.Module):
    """PyTorch's convolution, which wants channels before time, behind the zeros of causal padding."""

    def __init__(self, layer: Conv1D) -> None:
        super().__init__()
        self.padding = layer.span - 1 if layer.padding == "causal" else 0
        self.relu = layer.activation == "relu"
        options = {"stride": layer.strides, "dilation": layer.dilation_rate}
        self.convolution = nn.Conv1d(layer.input_size, layer.filters, layer.kernel_size, **options)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.tensor(layer.params["w"].transpose(2, 1, 0)))
            self.convolution.bias.copy_(torch.tensor(layer.params["b"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(nn.functional.pad(x.transpose(1, 2), (self.padding, 0))).transpose(1, 2)
        return torch.relu(y) if self.relu else y


class BatchNorm(nn.Module):
    """PyTorch's batch normalization with Keras' constants, over batch and time."""

    def __init__(self, layer: BatchNormalization) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(layer.input_size, eps=layer.epsilon, momentum=1 - layer.momentum)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def linear(layer: Dense) -> nn.Linear:
    """PyTorch's fully connected layer with our weights."""
    made = nn.Linear(layer.input_size, layer.units)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(layer.params["w"].T))
        made.bias.copy_(torch.tensor(layer.params["b"]))
    return made


def gates_reordered(layer: Layer, array: np.ndarray) -> np.ndarray:
    """Our gates in PyTorch's order, side by side in the last axis: of a GRU r z n, which with us are z r n."""
    if not isinstance(layer, GRU):
        return array
    z, r, n = np.split(array, 3, axis=-1)
    return np.concatenate([r, z, n], axis=-1)


def counterpart(layer: Layer) -> nn.Module:
    """The layer of PyTorch that computes the same."""
    if isinstance(layer, SimpleRNN) and layer.layer_norm:
        return LayerNormRecurrent(layer)
    kinds: dict[type[Layer], Callable[..., nn.Module]] = {
        SimpleRNN: Recurrent,
        LSTM: Recurrent,
        GRU: Recurrent,
        Conv1D: Convolution,
        BatchNormalization: BatchNorm,
        Dense: linear,
        Flatten: lambda _: nn.Flatten(),
    }
    return kinds[type(layer)](layer)


class Peer:
    """A model of PyTorch made from one of ours."""

    def __init__(self, model: Sequential) -> None:
        self.module = nn.Sequential(*map(counterpart, model.layers))

    def fit(self, x: np.ndarray, y: np.ndarray, learning_rate: float, epochs: int, seed: int) -> None:
        """Train by Adam with Keras' epsilon, on shuffled batches."""
        optimizer = torch.optim.Adam((p for p in self.module.parameters() if p.requires_grad), learning_rate, eps=1e-7)
        rng = np.random.default_rng(seed)
        inputs, targets = torch.tensor(x), torch.tensor(y)
        self.module.train()
        for _ in range(epochs):
            for rows in torch.tensor(rng.permutation(len(x))).split(BATCH):
                optimizer.zero_grad()
                nn.functional.mse_loss(self.module(inputs[rows]), targets[rows]).backward()
                optimizer.step()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The output for all rows."""
        self.module.eval()
        with torch.no_grad():
            return self.module(torch.tensor(x)).numpy()


def trained_forecast(network: Network, seed: int, epochs: int, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The forecast for x after the training by PyTorch on one thread, and its seconds.

    Raises
    ------
    AssertionError
        If the model of PyTorch isn't ours: before the training both must say the same.
    """
    torch.set_num_threads(1)
    model = network.model(seed)
    peer = Peer(model)
    difference = np.abs(peer.predict(x) - model.predict(x)).max()
    assert difference < CLOSE, f"{network.name}: the two models differ by {difference:.2g} before any training"
    data = network.task().train
    start = perf_counter()
    peer.fit(data.x, data.y, network.learning_rate, epochs, seed)
    seconds = perf_counter() - start
    return network.forecast(peer, x), seconds
