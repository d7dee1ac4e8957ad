"""Every cell and option against the equations written out, against PyTorch, and against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastrnn import reference

from ..helpers import CELL_OF, CELLS, Cell, assert_close
from ..options import build, covering, label, levels_of, plain
from . import literal

STEPS, INPUTS, HIDDEN = 5, 2, 3
BY_ROW = ("dropout_mask", "recurrent_dropout_mask", "zoneout_mask", "zoneout_cell_mask", "lengths", "reset_mask")


def row_of(values: dict[str, Any], names: tuple[str, ...], row: int) -> dict[str, Any]:
    """Those that have an axis B without it."""
    return {name: value[row] if name in names and np.ndim(value) else value for name, value in values.items()}


def check_against_the_equations(cell: Cell, choice: dict[str, Any], rng: np.random.Generator) -> None:
    arguments, options = build(cell, choice, rng, steps=STEPS, inputs=INPUTS, hidden=HIDDEN)
    y, cache = cell.forward(reference, arguments, **options)
    states = [y] if cell.states == ("h",) else [y, cache.c]
    finals = list(cell.final_states(cache).values())
    every = {**cell.options, **options}
    if choice["batch"] is None:
        rows = [(arguments, every, slice(None))]
    else:
        shared = ("x", *(f"{state}0" for state in cell.states))
        rows = [(row_of(arguments, shared, row), row_of(every, BY_ROW, row), row) for row in range(choice["batch"])]
    for row_arguments, row_options, row in rows:
        histories, last = literal.run_row(cell.name, row_arguments, row_options)
        for actual, expected in zip((*states, *finals), (*histories, *last), strict=True):
            assert_close(actual[row], expected, "float64")


@pytest.mark.parametrize(
    ("cell", "choice"),
    [pytest.param(cell, row, id=label(row, cell)) for cell in CELLS for row in covering(levels_of(cell), seed=1)],
)
def test_options_together(cell: Cell, choice: dict[str, Any], rng: np.random.Generator) -> None:
    check_against_the_equations(cell, choice, rng)


def single_changes(cell: Cell) -> list[Any]:
    changes = [(name, value) for name, values in levels_of(cell).items() for value in values[1:]]
    return [
        pytest.param(cell, plain(cell, **{name: value}), id=label(plain(cell, **{name: value}), cell))
        for name, value in changes
    ]


@pytest.mark.parametrize(("cell", "choice"), [param for cell in CELLS for param in single_changes(cell)])
def test_one_option(cell: Cell, choice: dict[str, Any], rng: np.random.Generator) -> None:
    check_against_the_equations(cell, choice, rng)


@pytest.mark.parametrize(
    ("cell", "name", "value"),
    [
        pytest.param(cell, name, value, id=f"{cell}-{name}={value}")
        for cell in CELLS
        for name, values in levels_of(cell).items()
        for value in values[1:]
        if name not in ("batch", "bias", "leak")
    ],
)
def test_every_option_changes_the_result(cell: Cell, name: str, value: Any, rng: np.random.Generator) -> None:
    """Only where it is on: what is tested above is not the plain cell under other names."""
    with_option = build(cell, plain(cell, **{name: value}), rng, steps=STEPS, inputs=INPUTS, hidden=HIDDEN)
    arguments, options = with_option
    without = {key: option for key, option in options.items() if key in ("activation", "recurrent_activation")}
    if name.endswith("activation"):
        without[name] = "tanh" if name == "activation" else None if name == "output_activation" else "sigmoid"
    if name == "projection":
        square = cell.arguments(rng, 3, STEPS, INPUTS, HIDDEN)
        assert cell.forward(reference, arguments, **options)[0].shape != cell.forward(reference, square)[0].shape
        return
    y, _ = cell.forward(reference, arguments, **options)
    plainly, _ = cell.forward(reference, {**arguments, "x": np.nan_to_num(arguments["x"])}, **without)
    assert np.abs(y - plainly).max() > 1e-3


# ---- by hand --------------------------------------------------------------------------------------------------------

ONE = [[1.0]]  # an input of one step
HALF_OPEN = (np.zeros((1, 4)), np.zeros((1, 4)), None)  # an LSTM of one unit whose gates are all 1/2, its candidate 0


def test_zoneout_by_hand() -> None:
    """h = 3/4 · 2 + 1/4 · 6"""
    y, _ = reference.rnn_forward(ONE, [2.0], [[6.0]], [[0.0]], None, activation="linear", zoneout_mask=0.75)
    assert y.item() == 3.0


def test_zoneout_of_the_cell_state_comes_after_the_output() -> None:
    y, cache = reference.lstm_forward(ONE, None, [8.0], *HALF_OPEN, activation="linear", zoneout_cell_mask=[[True]])
    assert (y.item(), cache.c.item(), cache.c_n.item()) == (2.0, 8.0, 8.0)  # o · (f · 8) = 1/2 · 4, and the held 8


def test_dropout_by_hand() -> None:
    """h = 3 · (1 · 2) + 5 · (7 · 0.5)"""
    masks = {"dropout_mask": [2.0], "recurrent_dropout_mask": [0.5]}
    y, _ = reference.rnn_forward(ONE, [7.0], [[3.0]], [[5.0]], None, activation="linear", **masks)
    assert y.item() == 6.0 + 17.5


def test_recurrent_dropout_leaves_the_direct_way_alone() -> None:
    """GRU: z = 1/2 and n = 0, so that h = 1/2 · 8; leaky: 1/4 · (0 + 0) + 3/4 · 8."""
    mask = {"recurrent_dropout_mask": [0.0]}
    for reset_after in (True, False):
        w_h = [[0.0, 0.0, 1.0]]
        y, _ = reference.gru_forward(ONE, [8.0], np.zeros((1, 3)), w_h, None, reset_after=reset_after, **mask)
        assert y.item() == 4.0
    y, _ = reference.leaky_forward(ONE, [8.0], [[0.0]], [[1.0]], None, leak=0.25, **mask)
    assert y.item() == 6.0


def test_peepholes_by_hand() -> None:
    """With the identity for every activation: i = f = c_prev · p, g = 3, o = p · c."""
    w_x = [[0.0, 0.0, 3.0, 0.0]]
    options = {"activation": "linear", "recurrent_activation": "linear", "peephole": [[2.0], [5.0], [7.0]]}
    y, cache = reference.lstm_forward(ONE, None, [0.5], w_x, np.zeros((1, 4)), None, **options)
    c = (5 * 0.5) * 0.5 + (2 * 0.5) * 3
    assert (cache.c.item(), y.item()) == (c, 7 * c * c)


def test_coupled_by_hand() -> None:
    """i = 1/4, f = 3/4, g = 2, and o = 1."""
    w_x = [[0.25, 9.0, 2.0, 1.0]]
    options = {"activation": "linear", "recurrent_activation": "linear", "coupled": True}
    y, cache = reference.lstm_forward(ONE, None, [4.0], w_x, np.zeros((1, 4)), None, **options)
    assert y.item() == cache.c.item() == 0.25 * 2 + 0.75 * 4


def test_clips_by_hand() -> None:
    """g = 9 is clipped to 2, c = 1 · 100 + 1 · 2 to 50, and the pre-activation of o from 3 to 2."""
    w_x = [[1.0, 1.0, 9.0, 3.0]]
    options = {"activation": "linear", "recurrent_activation": "linear", "clip": 2.0}
    y, cache = reference.lstm_forward(ONE, None, [100.0], w_x, np.zeros((1, 4)), None, **options)
    assert (cache.c.item(), y.item()) == (102.0, 204.0)
    y, cache = reference.lstm_forward(ONE, None, [100.0], w_x, np.zeros((1, 4)), None, cell_clip=50.0, **options)
    assert (cache.c.item(), y.item()) == (50.0, 100.0)


def test_projection_by_hand() -> None:
    """Two units of which each shows o · c = 1/2 · (1/2 · 4), projected to one."""
    zeros = np.zeros((1, 8))
    y, cache = reference.lstm_forward(ONE, None, [4.0, 4.0], zeros, zeros, None, activation="linear", w_proj=[[3], [5]])
    assert y.tolist() == [[8.0]] and cache.h_n.shape == (1,) and cache.c_n.tolist() == [2.0, 2.0]


def test_layer_norm_by_hand() -> None:
    """Of 1 and 3, whose mean is 2 and whose variance is 1."""
    options = {"ln_gain": [10.0, 20.0], "ln_bias": [0.0, 1.0], "ln_epsilon": 3.0}
    y, _ = reference.rnn_forward(ONE, None, [[1.0, 3.0]], np.zeros((2, 2)), None, activation="linear", **options)
    assert y.tolist() == [[-5.0, 11.0]]


def test_output_activation_by_hand() -> None:
    y, _ = reference.lstm_forward(ONE, None, [-4.0], *HALF_OPEN, activation="linear", output_activation="relu")
    assert y.item() == 0.0
    y, _ = reference.lstm_forward(ONE, None, [-4.0], *HALF_OPEN, activation="relu", output_activation="linear")
    assert y.item() == -1.0


# ---- one cell as another --------------------------------------------------------------------------------------------


def assert_same(actual: tuple[Any, Any, Any], expected: tuple[Any, Any, Any]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, "float64")


def run(name: str, arguments: dict[str, Any], dy: Any, **options: Any) -> tuple[Any, Any, Any]:
    """y, dx and dh0."""
    y, cache = getattr(reference, f"{name}_forward")(*arguments.values(), **options)
    gradients = getattr(reference, f"{name}_backward")(dy, cache)
    return y, gradients.dx, gradients.dh0


def test_leak_of_one_is_a_simple_rnn(rng: np.random.Generator) -> None:
    arguments, dy = CELL_OF["rnn"].arguments(rng, 3, STEPS, INPUTS, HIDDEN), rng.normal(size=(3, STEPS, HIDDEN))
    for leak in ({}, {"leak": 1}, {"leak": np.ones(HIDDEN)}):
        assert_same(run("leaky", arguments, dy, **leak), run("rnn", arguments, dy))


def test_indrnn_is_a_simple_rnn_with_a_diagonal(rng: np.random.Generator) -> None:
    arguments, dy = CELL_OF["indrnn"].arguments(rng, 3, STEPS, INPUTS, HIDDEN), rng.normal(size=(3, STEPS, HIDDEN))
    square = {**arguments, "w_h": np.diag(arguments["w_h"])}
    assert_same(run("indrnn", arguments, dy), run("rnn", square, dy, activation="relu"))


def test_mingru_is_a_gru_that_sees_no_state(rng: np.random.Generator) -> None:
    """With 1 - z for z, that is, with the argument of its sigmoid negated."""
    arguments, dy = CELL_OF["mingru"].arguments(rng, 3, STEPS, INPUTS, HIDDEN), rng.normal(size=(3, STEPS, HIDDEN))

    def three_gates(w: np.ndarray) -> np.ndarray:
        z, n = np.split(w, 2, axis=-1)
        return np.concatenate([-z, np.zeros_like(z), n], axis=-1)

    gru = {
        **arguments,
        "w_x": three_gates(arguments["w_x"]),
        "w_h": np.zeros((HIDDEN, 3 * HIDDEN)),
        "b": three_gates(arguments["b"]),
    }
    assert_same(run("mingru", arguments, dy), run("gru", gru, dy, activation="linear", reset_after=False))


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_options_that_change_nothing(cell: Cell, rng: np.random.Generator) -> None:
    arguments = cell.arguments(rng, 3, STEPS, INPUTS, HIDDEN)
    expected, _ = cell.forward(reference, arguments)
    neutral: dict[str, Any] = {"clip": 1e9, "zoneout_mask": 0, "dropout_mask": np.ones((3, INPUTS))}
    if cell.recurrent is not None:
        neutral["recurrent_dropout_mask"] = np.ones((3, HIDDEN), dtype=bool)
    if cell.name == "lstm":
        neutral |= {"cell_clip": 1e9, "peephole": np.zeros((3, HIDDEN)), "w_proj": np.eye(HIDDEN), "coupled": False}
        neutral |= {"zoneout_cell_mask": np.zeros((3, STEPS, HIDDEN), dtype=bool), "output_activation": "tanh"}
    y, _ = cell.forward(reference, arguments, **neutral)
    assert_close(y, expected, "float64")


# ---- PyTorch --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 3], ids="B={}".format)
def test_pytorch_lstm_with_projection(batch: int | None, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    lstm, projected = CELL_OF["lstm"], 2
    arguments, options = build(
        lstm, plain(lstm, batch=batch, projection=True), rng, steps=STEPS, inputs=INPUTS, hidden=4, projected=projected
    )
    y, cache = lstm.forward(reference, arguments, **options)
    dy, dh_n, dc_n = (rng.normal(size=value.shape) for value in (y, cache.h_n, cache.c_n))
    gradients = lstm.backward(reference, dy, cache, dh_n=dh_n, dc_n=dc_n)

    theirs = torch.nn.LSTM(INPUTS, 4, proj_size=projected, batch_first=True, dtype=torch.float64)
    ours = {
        "weight_ih_l0": arguments["w_x"].T,
        "weight_hh_l0": arguments["w_h"].T,
        "bias_ih_l0": arguments["b"],
        "bias_hh_l0": 0 * arguments["b"],
        "weight_hr_l0": options["w_proj"].T,
    }
    theirs.load_state_dict({name: torch.tensor(np.ascontiguousarray(value)) for name, value in ours.items()})
    x, h0, c0 = (torch.tensor(arguments[name], requires_grad=True) for name in ("x", "h0", "c0"))
    output, (h_n, c_n) = theirs(x, (h0[None], c0[None]))
    weighted = ((output, dy), (h_n[0], dh_n), (c_n[0], dc_n))
    sum((value * torch.tensor(weight)).sum() for value, weight in weighted).backward()
    for actual, expected in (
        (y, output), (cache.h_n, h_n[0]), (cache.c_n, c_n[0]), (gradients.dx, x.grad), (gradients.dh0, h0.grad),
        (gradients.dc0, c0.grad), (gradients.dw_x, theirs.weight_ih_l0.grad.T),
        (gradients.dw_h, theirs.weight_hh_l0.grad.T), (gradients.db, theirs.bias_ih_l0.grad),
        (gradients.dw_proj, theirs.weight_hr_l0.grad.T),
    ):  # fmt: skip
        assert_close(actual, expected.detach().numpy(), "torch")


def test_pytorch_layer_norm(rng: np.random.Generator) -> None:
    """With an input kernel that is the identity, one step of a linear RNN is the normalization of its inputs."""
    torch = pytest.importorskip("torch")
    x, gain, bias, dy = rng.normal(size=(4, 1, 6)), *rng.normal(size=(2, 6)), rng.normal(size=(4, 1, 6))
    options = {"activation": "linear", "ln_gain": gain, "ln_bias": bias, "ln_epsilon": 0.01}
    y, cache = reference.rnn_forward(x, None, np.eye(6), np.zeros((6, 6)), None, **options)
    gradients = reference.rnn_backward(dy, cache)
    tensors = [torch.tensor(value, requires_grad=True) for value in (x, gain, bias)]
    expected = torch.nn.functional.layer_norm(tensors[0], (6,), *tensors[1:], eps=0.01)
    (expected * torch.tensor(dy)).sum().backward()
    assert_close(y, expected.detach().numpy(), "torch")
    ours = (gradients.dx, gradients.dln_gain, gradients.dln_bias)
    for actual, tensor in zip(ours, tensors, strict=True):
        assert_close(actual, tensor.grad.numpy(), "torch")
