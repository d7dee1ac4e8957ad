"""What the options promise besides their equations: types, rows past their end, resets, and what is refused."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from fastrnn import reference

from ..helpers import CELL_OF, CELLS, Cell, assert_close, spec_of
from ..options import LEARNED, build, keywords_of, levels_of, plain

BATCH, STEPS, INPUTS, HIDDEN = 3, 5, 2, 4
RNN, LSTM, GRU, GRU_BEFORE, INDRNN, MINGRU, LEAKY = (
    CELL_OF[name] for name in ("rnn", "lstm", "gru", "gru_reset_before", "indrnn", "mingru", "leaky")
)
EVERYTHING = {
    "lengths": True, "resets": True, "activation": "gelu", "clip": 0.6, "dropout": True, "zoneout": "numbers",
    "recurrent_dropout": True, "recurrent_activation": "hard_sigmoid", "layer_norm": 0.2, "leak": "array",
    "output_activation": "softsign", "peephole": True, "projection": True, "cell_clip": 0.4, "zoneout_cell": "numbers",
}  # fmt: skip

cells = pytest.mark.parametrize("cell", CELLS, ids=str)
reversals = pytest.mark.parametrize("reverse", [False, True], ids=["onward", "reverse"])


def everything(cell: Cell, rng: np.random.Generator, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments and options with all options of the cell at once."""
    known = {name: value for name, value in EVERYTHING.items() if name in levels_of(cell)}
    choice = plain(cell, **{**known, **changes})
    return build(cell, choice, rng, steps=STEPS, inputs=INPUTS, hidden=HIDDEN)


def results(cell: Cell, arguments: dict[str, Any], options: dict[str, Any], dy: Any = None) -> dict[str, np.ndarray]:
    """Outputs, final states and gradients by name."""
    y, cache = cell.forward(reference, arguments, **options)
    by_step = {"dc": cache.c} if "c" in cell.states else {}
    dfinal = {f"d{name}": np.ones_like(state) for name, state in cell.final_states(cache).items()}
    gradients = cell.backward(reference, y if dy is None else dy, cache, **dfinal, **by_step)
    present = {name: value for name, value in gradients._asdict().items() if value is not None}
    return {"y": y, **cell.final_states(cache), **present}


@cells
@reversals
def test_single_precision(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    """Of every result, if every array but the masks is of it; masks and numbers follow."""
    arguments, options = everything(cell, rng, reverse=reverse)

    def cast(values: dict[str, Any], dtype: Any) -> dict[str, Any]:
        return {k: v.astype(dtype) if np.ndim(v) and np.asarray(v).dtype.kind == "f" else v for k, v in values.items()}

    single = results(cell, cast(arguments, np.float32), cast(options, np.float32))
    rounded = [cast(cast(values, np.float32), np.float64) for values in (arguments, options)]
    double = results(cell, *rounded)
    for name, value in single.items():
        assert value.dtype == np.float32, name
        assert_close(value, double[name], "float32_gradient", name)
    for name in options:
        if np.ndim(options[name]) and np.asarray(options[name]).dtype.kind == "f":
            y, _ = cell.forward(
                reference, cast(arguments, np.float32), **{**cast(options, np.float32), name: options[name]}
            )
            assert y.dtype == (np.float64 if name in LEARNED else np.float32), name


@cells
@reversals
def test_past_the_end_nothing_counts(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    """Neither what the zoneout masks hold there nor the inputs, whatever the dropout masks make of them."""
    arguments, options = everything(cell, rng, reverse=reverse)
    expected = results(cell, arguments, options)
    lengths = options["lengths"]
    past = (np.arange(STEPS) >= lengths[:, np.newaxis])[..., np.newaxis]
    assert past.any() and not past.all()
    arguments["x"] = np.where(past, np.inf, arguments["x"])
    for name in ("zoneout_mask", "zoneout_cell_mask"):
        if options.get(name) is not None:
            options[name] = np.where(past, 1 - options[name], options[name])
    for name, value in results(cell, arguments, options).items():
        np.testing.assert_array_equal(value, expected[name], name)


@cells
def test_a_held_state_stays_and_a_reset_empties_it(cell: Cell, rng: np.random.Generator) -> None:
    arguments, options = everything(cell, rng, lengths=False, resets=False, zoneout=1.0)
    y, cache = cell.forward(reference, arguments, **options)
    np.testing.assert_array_equal(y, np.repeat(arguments["h0"][:, np.newaxis], STEPS, axis=1))
    resets = np.zeros((BATCH, STEPS), dtype=bool)
    resets[1, 2] = True
    y, cache = cell.forward(reference, arguments, **options, reset_mask=resets)
    assert not y[1, 2:].any() and not cache.h_n[1].any() and y[1, :2].all() and y[[0, 2]].all()
    gradients = cell.backward(reference, np.ones_like(y), cache)
    assert_close(gradients.dh0[[0, 2]], np.full((2, y.shape[-1]), float(STEPS)), "float64")
    assert_close(gradients.dh0[1], np.full(y.shape[-1], 2.0), "float64")


@cells
@reversals
def test_one_instance_is_a_batch_of_one(cell: Cell, reverse: bool, rng: np.random.Generator) -> None:
    one = everything(cell, rng, batch=None, reverse=reverse)
    shared = {"w_x", "w_h", "b", *LEARNED}
    batch = [
        {
            name: value[np.newaxis] if np.ndim(value) and name not in shared and name != "activation" else value
            for name, value in values.items()
        }
        for values in one
    ]
    batch[1]["lengths"] = [one[1]["lengths"]]
    batched = results(cell, *batch)
    for name, value in results(cell, *one).items():
        assert_close(value, batched[name].reshape(value.shape), "float64", name)


@cells
def test_an_empty_batch(cell: Cell, rng: np.random.Generator) -> None:
    arguments, options = everything(cell, rng, batch=0)
    y, cache = cell.forward(reference, arguments, **options)
    gradients = cell.backward(reference, y, cache)
    for field, gradient in gradients._asdict().items():
        given = {**arguments, **cell.options, **options}[field[1:]]
        assert gradient.shape == np.shape(given) if gradient is not None else given is None, field
        assert not np.any(gradient), field


@cells
def test_inputs_are_not_written_to(cell: Cell, rng: np.random.Generator) -> None:
    arguments, options = everything(cell, rng)
    for value in (*arguments.values(), *options.values()):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    first, second = results(cell, arguments, options), results(cell, arguments, options)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_gradient_by_every_cell_state(rng: np.random.Generator) -> None:
    """On top of the rest, and by the last one it is the gradient by the final cell state."""
    arguments = LSTM.arguments(rng, BATCH, STEPS, INPUTS, HIDDEN)
    y, cache = LSTM.forward(reference, arguments, zoneout_cell_mask=0.25)
    np.testing.assert_array_equal(cache.c[:, -1], cache.c_n)
    dy, dc_n = rng.normal(size=y.shape), rng.normal(size=(BATCH, HIDDEN))
    dc = np.zeros_like(cache.c)
    dc[:, -1] = dc_n
    for actual, expected in zip(
        reference.lstm_backward(dy, cache, dc=dc), reference.lstm_backward(dy, cache, dc_n=dc_n), strict=True
    ):
        if expected is not None:
            assert_close(actual, expected, "float64")
    with pytest.raises(ValueError, match=r"dc: expected shape \(B, T, H\) = \(3, 5, 4\), got \(3, 4\)"):
        reference.lstm_backward(dy, cache, dc=dc_n)


# ---- what is refused ------------------------------------------------------------------------------------------------

NUMBER = "expected a number"
FOR_ALL: list[tuple[dict[str, Any], type, str]] = [
    (
        {"dropout_mask": np.ones((BATCH, 9))},
        ValueError,
        r"dropout_mask: expected shape \(B, I\) = \(3, 2\), got \(3, 9\)",
    ),
    ({"dropout_mask": np.ones(INPUTS)}, ValueError, r"dropout_mask: expected shape \(B, I\)"),
    ({"dropout_mask": "yes"}, TypeError, "dropout_mask: expected an array of real numbers"),
    ({"zoneout_mask": np.ones((BATCH, STEPS))}, ValueError, r"zoneout_mask: expected shape \(B, T, H\) = \(3, 5, 4\)"),
    ({"zoneout_mask": 1.5}, ValueError, "zoneout_mask: expected numbers from 0 to 1, got 1.5"),
    ({"zoneout_mask": -0.5}, ValueError, "zoneout_mask: expected numbers from 0 to 1"),
    ({"zoneout_mask": np.nan}, ValueError, "zoneout_mask: expected numbers from 0 to 1"),
    ({"zoneout_mask": np.full((BATCH, STEPS, HIDDEN), 2)}, ValueError, "zoneout_mask: expected numbers from 0 to 1"),
    ({"zoneout_mask": np.full((BATCH, STEPS, HIDDEN), np.nan)}, ValueError, "zoneout_mask: expected numbers from 0"),
    ({"zoneout_mask": "0.5"}, TypeError, "zoneout_mask: expected an array of real numbers"),
    ({"clip": 0}, ValueError, "clip: expected a number > 0, got 0"),
    ({"clip": -1.0}, ValueError, "clip: expected a number > 0, got -1"),
    ({"clip": np.inf}, ValueError, "clip: expected a finite number"),
    ({"clip": "1"}, TypeError, f"clip: {NUMBER}"),
    ({"clip": True}, TypeError, f"clip: {NUMBER}"),
    ({"activation": ("relu", 1)}, ValueError, "activation: expected no constants with 'relu'"),
    ({"reverse": 1}, TypeError, "reverse: expected True or False"),
    ({"no_such_option": None}, TypeError, "no_such_option"),
]
ones = np.ones
FOR_SOME: list[tuple[Cell, dict[str, Any], type, str]] = [
    *((cell, {"recurrent_dropout_mask": ones((BATCH, 9))}, ValueError, r"mask: expected shape \(B, H\) = \(3, 4\)")
      for cell in CELLS if cell.recurrent is not None),
    *((cell, {"recurrent_activation": "softmax"}, ValueError, "recurrent_activation: expected one of")
      for cell in CELLS if spec_of(cell)["gated"]),
    *((cell, {"ln_epsilon": -1e-9}, ValueError, "ln_epsilon: expected a number >= 0")
      for cell in CELLS if spec_of(cell)["norm"]),
    *((cell, {"ln_gain": ones(HIDDEN)}, ValueError, "ln_bias: expected an array, because layer normalization takes")
      for cell in CELLS if spec_of(cell)["norm"] == "sum"),
    (RNN, {"ln_bias": ones(HIDDEN)}, ValueError, "ln_gain: expected an array"),
    (RNN, {"ln_gain": ones(9), "ln_bias": ones(HIDDEN)}, ValueError, r"ln_gain: expected shape \(H,\) = \(4,\)"),
    (GRU, {"ln_x_gain": ones(12)}, ValueError, "ln_h_gain: expected an array"),
    (GRU, {"ln_x_gain": ones(4), "ln_h_gain": ones(12)}, ValueError, r"ln_x_gain: expected shape \(3\*H,\) = \(12,\)"),
    (LSTM, {"ln_x_gain": ones(16), "ln_h_gain": ones(16)}, ValueError, "ln_c_gain: expected an array"),
    (LSTM, {"peephole": ones(12)}, ValueError, r"peephole: expected shape \(3, H\) = \(3, 4\), got \(12,\)"),
    (LSTM, {"w_proj": ones(4)}, ValueError, "w_proj: expected 2-D, got 1-D"),
    (LSTM, {"w_proj": ones((4, 3))}, ValueError, r"w_h: expected shape \(P, 4\*H\) = \(3, 16\), got \(4, 16\)"),
    (LSTM, {"w_proj": ones((4, 0))}, ValueError, "w_proj: expected at least one unit"),
    (LSTM, {"cell_clip": 0}, ValueError, "cell_clip: expected a number > 0"),
    (LSTM, {"coupled": 1}, TypeError, "coupled: expected True or False"),
    (LSTM, {"output_activation": "softmax"}, ValueError, "output_activation: expected one of"),
    (LSTM, {"zoneout_cell_mask": 2}, ValueError, "zoneout_cell_mask: expected numbers from 0 to 1"),
    (LSTM, {"zoneout_cell_mask": ones((3, 5))}, ValueError, r"zoneout_cell_mask: expected shape \(B, T, H\)"),
    (GRU, {"reset_after": None}, TypeError, "reset_after: expected True or False"),
    (GRU, {"reset_after": False}, ValueError, r"b: expected shape \(3\*H,\) = \(12,\), got \(2, 12\)"),
    (GRU_BEFORE, {"reset_after": True}, ValueError, r"b: expected shape \(2, 3\*H\) = \(2, 12\), got \(12,\)"),
    (GRU_BEFORE, {"ln_x_gain": ones(12), "ln_h_gain": ones(12)}, ValueError, "ln_x_gain: expected None, because with"),
    (INDRNN, {"ln_gain": ones(4), "ln_bias": ones(4)}, ValueError, "ln_gain: expected None, because layer normalizat"),
    (MINGRU, {"ln_x_gain": ones(8), "ln_h_gain": ones(8)}, ValueError, "ln_x_gain: expected None, because layer norm"),
    (LEAKY, {"leak": 0}, ValueError, "leak: expected numbers above 0 and up to 1, got 0"),
    (LEAKY, {"leak": 1.01}, ValueError, "leak: expected numbers above 0 and up to 1"),
    (LEAKY, {"leak": [0.1, 0.2, 0.3, np.nan]}, ValueError, "leak: expected numbers above 0 and up to 1"),
    (LEAKY, {"leak": [0.5]}, ValueError, r"leak: expected shape \(H,\) = \(4,\), got \(1,\)"),
    (LEAKY, {"leak": None}, TypeError, f"leak: {NUMBER}"),
    (LEAKY, {"leak": True}, TypeError, f"leak: {NUMBER}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "options", "error", "message"), [*((cell, *case) for cell in CELLS for case in FOR_ALL), *FOR_SOME]
)
def test_refused(cell: Cell, options: dict[str, Any], error: type, message: str, rng: np.random.Generator) -> None:
    arguments = cell.arguments(rng, BATCH, STEPS, INPUTS, HIDDEN)
    with pytest.raises(error, match=message):
        cell.forward(reference, arguments, **options)


@pytest.mark.parametrize("function", dict.fromkeys(cell.name for cell in CELLS))
def test_a_cell_takes_its_options_and_no_others(function: str) -> None:
    """Those that the registry has for it, all of them built by tests/options.py; a layer norm that has no meaning is
    taken to be refused with a reason."""
    forms = [cell for cell in CELLS if cell.name == function]
    given = set().union(*(everything(cell, np.random.default_rng(0))[1] for cell in forms))
    own = {name for cell in forms for name in cell.options}
    of_calls = {"x", "h0", "c0", "w_x", "w_h", "b", "activation", "lengths", "reset_mask", "reverse", "keep_cache"}
    taken = set(inspect.signature(getattr(reference, f"{function}_forward")).parameters)
    if any(spec_of(cell)["norm"] is None for cell in forms):
        taken = {name for name in taken if not name.startswith("ln_") or name in given}
    registered = set().union(*map(keywords_of, forms))
    assert taken - of_calls - {"num_threads"} - own == registered - own
    untested = registered - given - own
    assert not untested, f"give {untested} a line in FACTORS and a value in `build`, both in tests/options.py"


def test_mingru_refuses_recurrent_weights_and_half_a_gate(rng: np.random.Generator) -> None:
    arguments = MINGRU.arguments(rng, BATCH, STEPS, INPUTS, HIDDEN)
    with pytest.raises(ValueError, match="w_h: expected None, because a minGRU has no recurrent product"):
        MINGRU.forward(reference, {**arguments, "w_h": np.ones((HIDDEN, 2 * HIDDEN))})
    with pytest.raises(ValueError, match=r"w_x: expected shape \(I, 2\*H\) = \(2, 6\), got \(2, 7\)"):
        MINGRU.forward(reference, {**arguments, "w_x": arguments["w_x"][:, :7]})


def test_steps_refuse_what_only_a_sequence_has(rng: np.random.Generator) -> None:
    for cell in CELLS:
        sequence = cell.arguments(rng, BATCH, STEPS, INPUTS, HIDDEN)
        arguments = {**sequence, "x": sequence["x"][:, 0]}
        for name in ("zoneout_mask", "dropout_mask", "lengths", "reset_mask", "reverse"):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                cell.step_forward(reference, arguments, **{name: None})
        with pytest.raises(ValueError, match=r"x_t: expected \(B, I\) or \(I,\)"):
            cell.step_forward(reference, sequence)
