"""Outputs and every gradient against PyTorch, in float64."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn import reference

from .helpers import CELL_OF, Cell, assert_close, some_resets

torch = pytest.importorskip("torch")

STEPS, INPUTS, HIDDEN = 7, 3, 5
RNN, LSTM, GRU = (CELL_OF[name] for name in ("rnn", "lstm", "gru"))  # PyTorch's GRU resets after the product
MODULES = [module for module in (reference, fastrnn) if hasattr(module, "rnn_forward")]

modules = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
batches = pytest.mark.parametrize("batch", [None, 1, 4], ids=lambda batch: f"B={batch}")
kinds = pytest.mark.parametrize(
    ("cell", "activation"), [(RNN, "tanh"), (RNN, "relu"), (LSTM, "tanh"), (GRU, "tanh")], ids=str
)


def swap_gates(cell: Cell, array: np.ndarray) -> np.ndarray:
    """Our gates in PyTorch's order, or back, along the last axis: its GRU has r z n, the LSTM is the same i f g o."""
    if cell is not GRU:
        return array
    z, r, n = np.split(array, 3, axis=-1)
    return np.concatenate([r, z, n], axis=-1)


def torch_layer(cell: Cell, activation: str, arguments: dict[str, np.ndarray]) -> Any:
    """PyTorch's layer with our weights; where we have one row of biases, its second is zero."""
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell.name]
    nonlinearity = {"nonlinearity": activation} if cell is RNN else {}
    layer = kind(INPUTS, HIDDEN, batch_first=True, dtype=torch.float64, **nonlinearity)
    b = swap_gates(cell, arguments["b"])
    b_x, b_h = b if b.ndim == 2 else (b, np.zeros_like(b))
    ours = {
        "weight_ih_l0": swap_gates(cell, arguments["w_x"]).T,
        "weight_hh_l0": swap_gates(cell, arguments["w_h"]).T,
        "bias_ih_l0": b_x,
        "bias_hh_l0": b_h,
    }
    layer.load_state_dict({name: torch.tensor(np.ascontiguousarray(value)) for name, value in ours.items()})
    return layer


def torch_result(
    cell: Cell,
    activation: str,
    arguments: dict[str, np.ndarray],
    dy: np.ndarray,
    dfinal: dict[str, np.ndarray],
    lengths: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """y, the final states, and the gradients of sum(y·dy) + sum(final·dfinal), by our names and in our layout."""
    layer = torch_layer(cell, activation, arguments)
    leaves = {name: torch.tensor(arguments[name], requires_grad=True) for name in arguments if name[0] in "xhc"}
    x, *initial = leaves.values()
    initial = [state[None] for state in initial]  # PyTorch's first axis counts layers
    packed = x
    if lengths is not None:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    y, final = layer(packed, tuple(initial) if cell is LSTM else initial[0])
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=STEPS)
    final = [state[0] for state in (final if cell is LSTM else (final,))]
    loss = (y * torch.tensor(dy)).sum()
    for state, dstate in zip(final, dfinal.values(), strict=True):
        loss = loss + (state * torch.tensor(dstate)).sum()
    loss.backward()

    db_x, db_h = layer.bias_ih_l0.grad.numpy(), layer.bias_hh_l0.grad.numpy()
    db = np.stack([db_x, db_h]) if arguments["b"].ndim == 2 else db_x
    return {
        "y": y.detach().numpy(),
        **{name[1:]: state.detach().numpy() for name, state in zip(dfinal, final, strict=True)},
        **{f"d{name}": leaf.grad.numpy() for name, leaf in leaves.items()},
        "dw_x": swap_gates(cell, layer.weight_ih_l0.grad.numpy().T),
        "dw_h": swap_gates(cell, layer.weight_hh_l0.grad.numpy().T),
        "db": swap_gates(cell, db),
    }


def our_result(
    module: ModuleType,
    cell: Cell,
    arguments: dict[str, np.ndarray],
    dy: np.ndarray,
    dfinal: dict[str, np.ndarray],
    **options: Any,
) -> dict[str, np.ndarray]:
    """The same from the module under test."""
    y, cache = cell.forward(module, arguments, **options)
    gradients = cell.backward(module, dy, cache, **dfinal)
    return {
        "y": y,
        **cell.final_states(cache),
        **{f"d{name}": getattr(gradients, f"d{name}") for name in arguments},
    }


def assert_agree(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(actual[name], value, "torch", name)


def loss_weights(cell: Cell, batch: int | None, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rows = () if batch is None else (batch,)
    return rng.normal(size=(*rows, STEPS, HIDDEN)), {
        f"d{state}_n": rng.normal(size=(*rows, HIDDEN)) for state in cell.states
    }


@modules
@batches
@kinds
def test_sequence(module: ModuleType, cell: Cell, activation: str, batch: int | None, rng: np.random.Generator) -> None:
    arguments = cell.arguments(rng, batch, STEPS, INPUTS, HIDDEN)
    dy, dfinal = loss_weights(cell, batch, rng)
    actual = our_result(module, cell, arguments, dy, dfinal, activation=activation)
    assert_agree(actual, torch_result(cell, activation, arguments, dy, dfinal))


@modules
@kinds
def test_lengths(module: ModuleType, cell: Cell, activation: str, rng: np.random.Generator) -> None:
    lengths = np.array([4, STEPS, 1, 6])  # PyTorch has no rows of length 0
    arguments = cell.arguments(rng, len(lengths), STEPS, INPUTS, HIDDEN)
    dy, dfinal = loss_weights(cell, len(lengths), rng)
    actual = our_result(module, cell, arguments, dy, dfinal, activation=activation, lengths=lengths)
    assert_agree(actual, torch_result(cell, activation, arguments, dy, dfinal, lengths))


@modules
@kinds
def test_reverse(module: ModuleType, cell: Cell, activation: str, rng: np.random.Generator) -> None:
    arguments = cell.arguments(rng, 4, STEPS, INPUTS, HIDDEN)
    dy, dfinal = loss_weights(cell, 4, rng)
    actual = our_result(module, cell, arguments, dy, dfinal, activation=activation, reverse=True)
    flipped = {**arguments, "x": arguments["x"][:, ::-1].copy()}
    expected = torch_result(cell, activation, flipped, dy[:, ::-1].copy(), dfinal)
    for name in ("y", "dx"):
        expected[name] = expected[name][:, ::-1]
    assert_agree(actual, expected)


@modules
@kinds
def test_resets(module: ModuleType, cell: Cell, activation: str, rng: np.random.Generator) -> None:
    """A row that is reset at time t is two independent sequences."""
    arguments = cell.arguments(rng, None, STEPS, INPUTS, HIDDEN)
    dy, dfinal = loss_weights(cell, None, rng)
    resets = some_resets(None, STEPS)
    cuts = [0, *np.flatnonzero(resets).tolist(), STEPS]
    assert len(cuts) > 3
    actual = our_result(module, cell, arguments, dy, dfinal, activation=activation, reset_mask=resets)

    pieces = []
    for start, stop in pairwise(cuts):
        piece = {**arguments, "x": arguments["x"][start:stop]}
        if start > 0:
            piece.update({f"{state}0": np.zeros(HIDDEN) for state in cell.states})
        weights = dfinal if stop == STEPS else {name: np.zeros(HIDDEN) for name in dfinal}
        pieces.append(torch_result(cell, activation, piece, dy[start:stop], weights))
    expected = {name: sum(piece[name] for piece in pieces) for name in ("dw_x", "dw_h", "db")}
    expected.update({name: np.concatenate([piece[name] for piece in pieces]) for name in ("y", "dx")})
    for state in cell.states:
        expected[f"d{state}0"] = pieces[0][f"d{state}0"]
        expected[f"{state}_n"] = pieces[-1][f"{state}_n"]
    assert_agree(actual, {name: expected[name] for name in actual})
