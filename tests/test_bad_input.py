"""What does not fit raises at the boundary, names the argument, and leaves everything as it was."""

from __future__ import annotations

import gc
import inspect
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastrnn
from fastrnn import _memory
from fastrnn.functional._options import names_of

from .engine.cases import in_type
from .helpers import CELLS, Cell, spec_of

Array = np.ndarray
BATCH, STEPS, INPUTS, HIDDEN = 4, 6, 3, 5

cells = pytest.mark.parametrize("cell", CELLS, ids=str)


class Bad(NamedTuple):
    """One argument made bad, what that raises, and how the message begins."""

    argument: str
    what: str
    change: Callable[[Array], Any]
    error: type[Exception]
    message: str

    def __str__(self) -> str:
        return f"{self.argument} {self.what}"


def with_value(value: Any) -> Callable[[Array], Any]:
    """Whatever there was, this instead."""
    return lambda _: value


NOT_REAL = [
    ("complex", lambda a: a.astype(complex), TypeError, "expected an array of real numbers, got dtype complex128"),
    ("objects", lambda a: a.astype(object), TypeError, "expected an array of real numbers, got dtype object"),
    ("strings", lambda a: a.astype(str), TypeError, "expected an array of real numbers, got dtype <U"),
    ("bytes", lambda a: a.astype("S9"), TypeError, "expected an array of real numbers, got dtype |S"),
    ("times", lambda a: a.astype("m8[s]"), TypeError, "expected an array of real numbers, got dtype timedelta64"),
    ("a record", lambda a: a.view([("v", a.dtype)]), TypeError, "expected an array of real numbers, got dtype [('v'"),
    ("ragged", with_value([[1.0], [1.0, 2.0]]), ValueError, "expected an array of numbers, got a ragged sequence"),
    ("a dict", with_value({"v": 1.0}), TypeError, "expected an array of real numbers, got dtype object"),
]

ARRAYS = [
    *(Bad(name, *case) for name in ("x", "h0", "c0", "w_x", "w_h", "b") for case in NOT_REAL),
    Bad("w_x", "None", with_value(None), TypeError, "expected an array of real numbers"),
    Bad("x", "None", with_value(None), ValueError, "expected 2-D (T, I) or 3-D (B, T, I), got 0-D"),
    Bad("x", "a number", with_value(1.0), ValueError, "expected 2-D (T, I) or 3-D (B, T, I), got 0-D"),
    Bad("x", "1-D", lambda a: a[0, 0], ValueError, "expected 2-D (T, I) or 3-D (B, T, I), got 1-D"),
    Bad("x", "4-D", lambda a: a[None], ValueError, "expected 2-D (T, I) or 3-D (B, T, I), got 4-D"),
    Bad("x", "without steps", lambda a: a[:, :0], ValueError, "expected at least one time step and one input"),
    Bad("x", "without inputs", lambda a: a[:, :, :0], ValueError, "expected at least one time step and one input"),
    Bad("x", "without rows and steps", lambda a: a[:0, :0], ValueError, "expected at least one time step and one"),
    Bad("h0", "of fewer rows", lambda a: a[1:], ValueError, "expected shape (B, H) = (4, 5), got (3, 5)"),
    Bad("h0", "of fewer units", lambda a: a[:, 1:], ValueError, "expected shape (B, H) = (4, 5), got (4, 4)"),
    Bad("h0", "of one row", lambda a: a[:1], ValueError, "expected shape (B, H) = (4, 5), got (1, 5)"),
    Bad("h0", "1-D", lambda a: a[0], ValueError, "expected shape (B, H) = (4, 5), got (5,)"),
    Bad("h0", "a number", with_value(0.0), ValueError, "expected shape (B, H) = (4, 5), got ()"),
    Bad("h0", "3-D", lambda a: a[None], ValueError, "expected shape (B, H) = (4, 5), got (1, 4, 5)"),
    Bad("c0", "of fewer rows", lambda a: a[1:], ValueError, "expected shape (B, H) = (4, 5), got (3, 5)"),
    Bad("c0", "transposed", lambda a: a.T, ValueError, "expected shape (B, H) = (4, 5), got (5, 4)"),
    Bad("w_x", "of fewer inputs", lambda a: a[1:], ValueError, "expected shape (I, "),
    Bad("w_x", "of fewer columns", lambda a: a[:, 1:], ValueError, "expected shape (I, "),
    Bad("w_x", "transposed", lambda a: a.T, ValueError, "expected shape (I, "),
    Bad("w_x", "1-D", lambda a: a[0], ValueError, "expected shape (I, "),
    Bad("b", "of fewer columns", lambda a: a[..., 1:], ValueError, "expected shape ("),
    Bad("b", "a number", with_value(0.0), ValueError, "expected shape ("),
    Bad("b", "of another rank", lambda a: a[None] if a.ndim == 1 else a[0], ValueError, "expected shape ("),
]

WEIGHTS = {
    "matrix": [
        Bad("w_h", "None", with_value(None), TypeError, "expected an array of real numbers"),
        Bad("w_h", "of fewer units", lambda a: a[:, 1:], ValueError, "expected shape (H, "),
        Bad("w_h", "of fewer rows", lambda a: a[1:], ValueError, "expected shape (H, "),
        Bad("w_h", "1-D", lambda a: a[0], ValueError, "expected 2-D, got 1-D"),
        Bad("w_h", "3-D", lambda a: a[None], ValueError, "expected 2-D, got 3-D"),
        Bad("w_h", "without units", lambda a: a[:0, :0], ValueError, "expected at least one unit"),
    ],
    "vector": [
        Bad("w_h", "None", with_value(None), TypeError, "expected an array of real numbers"),
        Bad("w_h", "a number", with_value(1.0), ValueError, "expected shape (H,) with at least one unit, got ()"),
        Bad("w_h", "a matrix", with_value(np.ones((5, 5))), ValueError, "expected shape (H,) with at least one unit"),
        Bad("w_h", "a column", with_value(np.ones((5, 1))), ValueError, "expected shape (H,) with at least one unit"),
        Bad("w_h", "without units", lambda a: a[:0], ValueError, "expected shape (H,) with at least one unit"),
    ],
    None: [
        Bad("w_h", "a matrix", with_value(np.ones((5, 10))), ValueError, "expected None, the cell has no recurrent"),
        Bad("w_h", "a number", with_value(0.0), ValueError, "expected None, the cell has no recurrent weights"),
        Bad("w_x", "half a gate", lambda a: a[:, :7], ValueError, "expected shape (I, 2*H), got (3, 7)"),
        Bad("w_x", "without units", lambda a: a[:, :0], ValueError, "expected shape (I, 2*H), got (3, 0)"),
    ],
}

OPTIONS = [
    Bad("lengths", "too few", with_value([1, 2, 3]), ValueError, "expected shape (B,) = (4,), got (3,)"),
    Bad("lengths", "a number", with_value(3), ValueError, "expected shape (B,) = (4,), got ()"),
    Bad("lengths", "2-D", with_value([[1, 2, 3, 4]]), ValueError, "expected shape (B,) = (4,), got (1, 4)"),
    Bad("lengths", "beyond T", with_value([1, 2, 3, 7]), ValueError, "expected integers from 0 to 6, got 1 to 7"),
    Bad("lengths", "far beyond T", with_value([1, 2, 3, 2**62]), ValueError, "expected integers from 0 to 6"),
    Bad("lengths", "unsigned", with_value(np.uint64([2**64 - 1] * 4)), ValueError, "expected integers from 0 to 6"),
    Bad("lengths", "no int64", with_value([1, 2, 3, 2**80]), TypeError, "expected an array of real numbers"),
    Bad("lengths", "negative", with_value([1, 2, 3, -1]), ValueError, "expected integers from 0 to 6, got -1 to 3"),
    Bad("lengths", "NaN", with_value([1, 2, 3, np.nan]), ValueError, "expected finite numbers, got 1 NaN or infinite"),
    Bad("lengths", "infinite", with_value([1, 2, np.inf, 3]), ValueError, "expected finite numbers, got 1 NaN or inf"),
    Bad("lengths", "fractional", with_value([1, 2, 3, 2.5]), ValueError, "expected integers, got [1.0, 2.0, 3.0, 2.5]"),
    Bad("lengths", "huge floats", with_value([1e300] * 4), ValueError, "expected integers from 0 to 6"),
    Bad("lengths", "booleans", with_value([True] * 4), TypeError, "expected integers, got dtype bool"),
    Bad("lengths", "strings", with_value(list("1234")), TypeError, "expected an array of real numbers, got dtype <U1"),
    Bad("lengths", "complex", with_value([1j] * 4), TypeError, "expected an array of real numbers"),
    Bad("lengths", "objects", with_value([None] * 4), TypeError, "expected an array of real numbers"),
    Bad("lengths", "ragged", with_value([[1], [1, 2]]), ValueError, "expected an array of numbers, got a ragged"),
    Bad(
        "reset_mask", "integers", with_value(np.ones((4, 6), int)), TypeError, "expected a boolean array, got dtype int"
    ),
    Bad("reset_mask", "floats", with_value(np.ones((4, 6))), TypeError, "expected a boolean array, got dtype float64"),
    Bad("reset_mask", "indices", with_value([0, 3]), TypeError, "expected a boolean array, got dtype"),
    Bad("reset_mask", "one value", with_value(True), ValueError, "expected shape (B, T) = (4, 6), got ()"),
    Bad("reset_mask", "of one row", with_value([True] * 6), ValueError, "expected shape (B, T) = (4, 6), got (6,)"),
    Bad("reset_mask", "too long", with_value(np.ones((4, 7), bool)), ValueError, "expected shape (B, T) = (4, 6), got"),
    Bad("reset_mask", "objects", with_value(np.ones((4, 6), object)), TypeError, "expected a boolean array"),
    Bad(
        "reset_mask",
        "ragged",
        with_value([[True], [True, False]]),
        ValueError,
        "expected a boolean array, got a rag",
    ),
    Bad("reverse", "a number", with_value(1), TypeError, "expected True or False, got 1"),
    Bad("reverse", "a string", with_value("yes"), TypeError, "expected True or False, got 'yes'"),
    Bad("reverse", "None", with_value(None), TypeError, "expected True or False, got None"),
    Bad("activation", "unknown", with_value("tan"), ValueError, "expected one of 'linear', 'tanh', 'sigmoid', 'relu'"),
    Bad("activation", "a function", with_value(np.tanh), TypeError, "expected one of 'linear', 'tanh', 'sigmoid'"),
    Bad("activation", "None", with_value(None), TypeError, "expected one of 'linear', 'tanh', 'sigmoid', 'relu'"),
    Bad("activation", "a set", with_value({"tanh"}), TypeError, "expected one of 'linear', 'tanh', 'sigmoid', 'relu'"),
    Bad("activation", "empty", with_value(()), ValueError, "expected one of 'linear', 'tanh', 'sigmoid', 'relu'"),
    Bad("activation", "unknown with constants", with_value(("tan", 1)), ValueError, "expected one of 'linear', 'tanh'"),
    Bad("activation", "without constants", with_value(("relu", 1)), ValueError, "relu takes no constants, got ("),
    Bad("activation", "too many constants", with_value(("elu", 1, 2)), ValueError, "elu takes 1 constants, got ("),
    Bad("last_only", "a number", with_value(1), TypeError, "expected True or False, got 1"),
    Bad("keep_cache", "None", with_value(None), TypeError, "expected True or False, got None"),
    Bad("num_threads", "zero", with_value(0), ValueError, "expected an integer >= 1, got 0"),
    Bad("num_threads", "negative", with_value(-2), ValueError, "expected an integer >= 1, got -2"),
    Bad("num_threads", "a float", with_value(2.0), TypeError, "expected an integer, got 2.0"),
    Bad("num_threads", "a bool", with_value(True), TypeError, "expected an integer, got True"),
    Bad("num_threads", "a string", with_value("2"), TypeError, "expected an integer, got '2'"),
]

UPSTREAM = [
    *(Bad(name, *case) for name in ("dy", "dh_n", "dc_n", "dc", "dgates") for case in NOT_REAL),
    Bad("dy", "of fewer rows", lambda a: a[1:], ValueError, "expected shape (B, T, H) = (4, 6, 5), got (3, 6, 5)"),
    Bad("dy", "of fewer steps", lambda a: a[:, 1:], ValueError, "expected shape (B, T, H) = (4, 6, 5), got (4, 5, 5)"),
    Bad("dy", "of one row", lambda a: a[0], ValueError, "expected shape (B, T, H) = (4, 6, 5), got (6, 5)"),
    Bad("dy", "a number", with_value(1.0), ValueError, "expected shape (B, T, H) = (4, 6, 5), got ()"),
    Bad("dy", "empty", with_value([]), ValueError, "expected shape (B, T, H) = (4, 6, 5), got (0,)"),
    Bad("dh_n", "of one row", lambda a: a[0], ValueError, "expected shape (B, H) = (4, 5), got (5,)"),
    Bad("dh_n", "too large", lambda a: a[None], ValueError, "expected shape (B, H) = (4, 5), got (1, 4, 5)"),
    Bad("dc_n", "of fewer units", lambda a: a[:, 1:], ValueError, "expected shape (B, H) = (4, 5), got (4, 4)"),
    Bad("dc", "of one step", lambda a: a[:, 0], ValueError, "expected shape (B, T, H) = (4, 6, 5), got (4, 5)"),
    Bad("dgates", "of one row", lambda a: a[0], ValueError, "expected shape (B, T, G*H) = (4, 6, "),
]

# ---- options of the cells: what they refuse, by the cells that have them ---------------------------------------------

OF_STEPS = "(B, T, H) = (4, 6, 5)"
FROM_0_TO_1 = "expected numbers from 0 to 1, got "
MASKS = {"dropout_mask": "(B, I) = (4, 3)", "recurrent_dropout_mask": "(B, H) = (4, 5)"}
ZONEOUT = ("zoneout_mask", "zoneout_cell_mask")
LIMITS = ("clip", "cell_clip")
CELL_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(({name: 0}, ValueError, f"{name}: expected a number > 0, got 0") for name in LIMITS),
    *(({name: -1.0}, ValueError, f"{name}: expected a number > 0, got -1") for name in LIMITS),
    *(({name: np.inf}, ValueError, f"{name}: expected a finite number, got inf") for name in LIMITS),
    *(({name: "1"}, TypeError, f"{name}: expected a number, got '1' of type str") for name in LIMITS),
    *(({name: [1, 2]}, TypeError, f"{name}: expected a number, got [1, 2]") for name in LIMITS),
    *(({name: True}, TypeError, f"{name}: expected a number, got True") for name in LIMITS),
    *(({name: np.ones((4, 9))}, ValueError, f"{name}: expected shape {s}, got (4, 9)") for name, s in MASKS.items()),
    *(({name: np.ones(5)}, ValueError, f"{name}: expected shape {shape}, got (5,)") for name, shape in MASKS.items()),
    *(({name: 0.5}, ValueError, f"{name}: expected shape {shape}, got ()") for name, shape in MASKS.items()),
    *(({name: "yes"}, TypeError, f"{name}: expected an array of real numbers, got dtype <U3") for name in MASKS),
    *(({name: [[1], [1, 2]]}, ValueError, f"{name}: expected an array of numbers, got a ragged") for name in MASKS),
    *(({name: np.ones((4, 6))}, ValueError, f"{name}: expected shape {OF_STEPS}, got (4, 6)") for name in ZONEOUT),
    *(({name: 1.5}, ValueError, f"{name}: {FROM_0_TO_1}1.5") for name in ZONEOUT),
    *(({name: -0.5}, ValueError, f"{name}: {FROM_0_TO_1}-0.5") for name in ZONEOUT),
    *(({name: np.nan}, ValueError, f"{name}: {FROM_0_TO_1}nan") for name in ZONEOUT),
    *(({name: np.full((4, 6, 5), 2)}, ValueError, f"{name}: {FROM_0_TO_1}2 to 2") for name in ZONEOUT),
    *(({name: np.full((4, 6, 5), np.nan)}, ValueError, f"{name}: {FROM_0_TO_1}nan") for name in ZONEOUT),
    *(({name: "0.5"}, TypeError, f"{name}: expected an array of real numbers") for name in ZONEOUT),
    ({"ln_epsilon": -1e-9}, ValueError, "ln_epsilon: expected a number >= 0, got -1e-09"),
    ({"ln_epsilon": None, "ln_gain": np.ones(5)}, ValueError, "ln_bias: layer norm needs ln_gain, ln_bias"),
    ({"ln_gain": np.ones(5)}, ValueError, "ln_bias: layer norm needs ln_gain, ln_bias, got ln_gain alone"),
    ({"ln_bias": np.ones(5)}, ValueError, "ln_gain: layer norm needs ln_gain, ln_bias, got ln_bias alone"),
    ({"ln_gain": np.ones(9), "ln_bias": np.ones(5)}, ValueError, "ln_gain: expected shape (H,) = (5,), got (9,)"),
    ({"ln_x_gain": np.ones(5)}, ValueError, "ln_h_gain: layer norm needs ln_x_gain, ln_h_gain"),
    ({"ln_c_gain": np.ones(5)}, ValueError, "ln_x_gain: layer norm needs ln_x_gain, ln_h_gain, ln_c_gain, ln_c_bias"),
    ({"peephole": np.ones(15)}, ValueError, "peephole: expected shape (3, H) = (3, 5), got (15,)"),
    ({"peephole": np.ones((3, 5), complex)}, TypeError, "peephole: expected an array of real numbers"),
    ({"w_proj": np.ones(5)}, ValueError, "w_proj: expected 2-D, got 1-D"),
    ({"w_proj": np.ones((5, 3))}, ValueError, "w_h: expected shape (P, 4*H) = (3, 20), got (5, 20)"),
    ({"w_proj": np.ones((5, 0))}, ValueError, "w_proj: expected shape (H, P), got (5, 0)"),
    ({"w_proj": np.ones((0, 5))}, ValueError, "w_proj: expected at least one unit, got shape (0, 5)"),
    ({"coupled": 1}, TypeError, "coupled: expected True or False, got 1"),
    ({"output_activation": "softmax"}, ValueError, "output_activation: expected one of 'linear', 'tanh'"),
    ({"leak": 0}, ValueError, "leak: expected numbers > 0 and <= 1, got 0 to 0"),
    ({"leak": 1.01}, ValueError, "leak: expected numbers > 0 and <= 1, got 1.01"),
    ({"leak": [0.1, 0.2, 0.3, 0.4, np.nan]}, ValueError, "leak: expected numbers > 0 and <= 1, got nan"),
    ({"leak": [0.5]}, ValueError, "leak: expected shape (H,) = (5,), got (1,)"),
    ({"leak": True}, TypeError, "leak: expected a number, got True"),
]  # fmt: skip

# Why a cell has no layer norm; all others without are told to normalise their input.
WITHOUT_NORM = {
    "gru-reset_after=False": "layer norm needs reset_after=True: it spans all gates, and the candidate's product waits",
}


def assert_raises(bad: Bad, call: Callable[[], Any], given: dict[str, Any], name: str = "") -> None:
    """`call` raises what the table says, begins with the argument's name, and writes to nothing."""
    arrays = {key: value for key, value in given.items() if isinstance(value, np.ndarray) and value.dtype != object}
    before = {key: value.tobytes() for key, value in arrays.items()}
    with pytest.raises(bad.error) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is bad.error
    assert message.startswith(f"{name or bad.argument}: {bad.message}"), message
    assert "\n" not in message and len(message) < 300
    assert caught.value.__cause__ is None
    for key, value in arrays.items():
        assert value.tobytes() == before[key], f"{key} was written to"


def takes(cell: Cell, argument: str) -> bool:
    """The argument is one of the cell's."""
    if argument == "w_h":
        return cell.recurrent is not None
    return "c" in cell.states or argument not in ("c0", "dc_n", "dc")


def has(cell: Cell, options: dict[str, Any]) -> bool:
    """All of the options are the cell's."""
    return options.keys() <= names_of(spec_of(cell))


def cells_and(table: list[Bad]) -> pytest.MarkDecorator:
    """Every line of a table for every cell that has the argument."""
    pairs = [(cell, bad) for cell in CELLS for bad in table if takes(cell, bad.argument)]
    return pytest.mark.parametrize(("cell", "bad"), pairs, ids=str)


weights = pytest.mark.parametrize(
    ("cell", "bad"), [(cell, bad) for cell in CELLS for bad in WEIGHTS[cell.recurrent]], ids=str
)


@pytest.fixture
def arguments(cell: Cell, rng: np.random.Generator) -> dict[str, Any]:
    return cell.arguments(rng, BATCH, STEPS, INPUTS, HIDDEN)


@cells_and(ARRAYS)
def test_arrays(cell: Cell, bad: Bad, arguments: dict[str, Any]) -> None:
    arguments[bad.argument] = bad.change(arguments[bad.argument])
    assert_raises(bad, lambda: cell.forward(fastrnn, arguments), arguments)


@weights
def test_recurrent_weights(cell: Cell, bad: Bad, arguments: dict[str, Any]) -> None:
    test_arrays(cell, bad, arguments)


@cells_and([bad for bad in ARRAYS if bad.argument != "x"])
def test_arrays_of_a_step(cell: Cell, bad: Bad, arguments: dict[str, Any]) -> None:
    arguments[bad.argument] = bad.change(arguments[bad.argument])
    names = {"x": "x_t", "h0": "h_prev", "c0": "c_prev"}
    step = {names.get(name, name): value for name, value in arguments.items()}
    step["x_t"] = step["x_t"][:, 0]
    name = names.get(bad.argument, bad.argument)
    assert_raises(bad, lambda: cell.step_forward(fastrnn, step), step, name)


@weights
def test_recurrent_weights_of_a_step(cell: Cell, bad: Bad, arguments: dict[str, Any]) -> None:
    test_arrays_of_a_step(cell, bad, arguments)


@cells
@pytest.mark.parametrize(
    ("x_t", "error", "message"),
    [
        (1.0, ValueError, r"expected 1-D \(I,\) or 2-D \(B, I\), got 0-D"),
        (np.ones((4, 6, 3)), ValueError, r"expected 1-D \(I,\) or 2-D \(B, I\), got 3-D"),
        (np.ones((4, 0)), ValueError, "expected at least one input"),
        (None, ValueError, r"expected 1-D \(I,\) or 2-D \(B, I\), got 0-D"),
        (np.ones((4, 3), complex), TypeError, "expected an array of real numbers"),
    ],
    ids=["number", "3-D", "no inputs", "None", "complex"],
)
def test_input_of_a_step(cell: Cell, x_t: Any, error: type[Exception], message: str, arguments: dict[str, Any]) -> None:
    states = [None] * len(cell.states)
    with pytest.raises(error, match=f"^x_t: {message}"):
        cell.step_forward(fastrnn, dict(enumerate([x_t, *states, *(arguments[n] for n in ("w_x", "w_h", "b"))])))


@cells_and(OPTIONS)
def test_options(cell: Cell, bad: Bad, arguments: dict[str, Any]) -> None:
    option = bad.change(np.empty(0))
    call = lambda: cell.forward(fastrnn, arguments, **{bad.argument: option})  # noqa: E731
    assert_raises(bad, call, {**arguments, bad.argument: option})


@cells_and([bad for bad in OPTIONS if bad.argument == "activation"])
def test_recurrent_activation(cell: Cell, bad: Bad, arguments: dict[str, Any]) -> None:
    option = {"recurrent_activation": bad.change(np.empty(0))}
    if spec_of(cell)["gated"]:
        assert_raises(bad, lambda: cell.forward(fastrnn, arguments, **option), arguments, "recurrent_activation")
    else:
        with pytest.raises(TypeError, match="unexpected keyword argument 'recurrent_activation'"):
            cell.forward(fastrnn, arguments, **option)


@pytest.mark.parametrize(
    ("cell", "options", "error", "message"),
    [
        pytest.param(cell, *case, id=f"{cell}-{case[2]}")
        for cell in CELLS
        for case in CELL_OPTIONS
        if has(cell, case[0])
    ],
)
@pytest.mark.parametrize("kind", ["sequence", "step"])
def test_cell_options(
    cell: Cell, options: dict[str, Any], error: type[Exception], message: str, kind: str, arguments: dict[str, Any]
) -> None:
    call = cell.forward
    if kind == "step":
        arguments["x"], call = arguments["x"][:, 0], cell.step_forward
        options = {name: v[:, 0] if isinstance(v, np.ndarray) and v.ndim == 3 else v for name, v in options.items()}
        message = message.replace(OF_STEPS, "(B, H) = (4, 5)")
    bad = Bad(message.split(":")[0], "", with_value(None), error, message.split(": ", 1)[1])
    assert_raises(bad, lambda: call(fastrnn, arguments, **options), {**arguments, **options})


def keywords_of(cell: Cell) -> set[str]:
    """The parameters of the cell's function, as the signature of the reference spells them out."""
    return set(inspect.signature(getattr(fastrnn.reference, f"{cell.name}_forward")).parameters)


def has_not(cell: Cell) -> list[str]:
    """The parameters of other cells; those of a layer norm that is refused with a reason are not among them."""
    every = set().union(*map(keywords_of, CELLS)) - keywords_of(cell)
    return sorted(name for name in every if spec_of(cell)["norm"] or not name.startswith("ln_"))


@pytest.mark.parametrize(("cell", "name"), [(cell, name) for cell in CELLS for name in has_not(cell)], ids=str)
def test_options_of_other_cells(cell: Cell, name: str, arguments: dict[str, Any]) -> None:
    for value in (None, np.ones(5), True):
        with pytest.raises(TypeError, match=rf"^{cell.name}_forward\(\) got an unexpected keyword argument '{name}'$"):
            cell.forward(fastrnn, arguments, **{name: value})
    arguments["x"] = arguments["x"][:, 0]
    with pytest.raises(TypeError, match=rf"^{cell.name}_step_forward\(\) got an unexpected keyword argument '{name}'$"):
        cell.step_forward(fastrnn, arguments, **{name: None})


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not spec_of(cell)["norm"]], ids=str)
def test_cells_without_layer_norm_say_why(cell: Cell, arguments: dict[str, Any]) -> None:
    gains = {name: np.ones(5 * cell.gates) for name in ("ln_x_gain", "ln_h_gain")}
    why = f"{cell.name} has no recurrent product to normalise; normalise its input instead"
    with pytest.raises(ValueError, match=f"^ln_x_gain: {WITHOUT_NORM.get(str(cell), why)}"):
        cell.forward(fastrnn, arguments, **gains)


@cells
@pytest.mark.parametrize(
    "name", ["lengths", "reset_mask", "reverse", "keep_cache", "memory", "num_threads", "last_only"]
)
def test_a_step_refuses_what_only_a_sequence_has(cell: Cell, name: str, arguments: dict[str, Any]) -> None:
    arguments["x"] = arguments["x"][:, 0]
    with pytest.raises(TypeError, match=rf"^{cell.name}_step_forward\(\) got an unexpected keyword argument '{name}'$"):
        cell.step_forward(fastrnn, arguments, **{name: None})


@cells_and(UPSTREAM)
def test_upstream_gradients(cell: Cell, bad: Bad, arguments: dict[str, Any], rng: np.random.Generator) -> None:
    y, cache = cell.forward(fastrnn, arguments)
    upstream = {"dy": rng.normal(size=y.shape), "dh_n": cache.h_n.copy(), "dgates": cache.gates}
    upstream |= {"dc_n": cache.c_n.copy(), "dc": cache.c.copy()} if "c" in cell.states else {}
    expected = cell.backward(fastrnn, y, cache)
    wrong = {**upstream, bad.argument: bad.change(upstream[bad.argument])}
    assert_raises(bad, lambda: cell.backward(fastrnn, wrong["dy"], cache, **without_dy(wrong)), wrong)
    np.testing.assert_array_equal(cell.backward(fastrnn, y, cache)[0], expected[0])  # the cache is as it was


def without_dy(upstream: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in upstream.items() if name != "dy"}


@cells
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("h0", np.ones((1, HIDDEN)), r"h0: expected shape \(H,\) = \(5,\), got \(1, 5\)"),
        ("lengths", [3, 3], r"lengths: expected shape \(B,\) = \(1,\), got \(2,\)"),
        ("lengths", 7, "lengths: expected integers from 0 to 6"),
        ("reset_mask", np.ones((1, STEPS), bool), r"reset_mask: expected shape \(T,\) = \(6,\), got \(1, 6\)"),
    ],
    ids=["h0", "lengths", "length", "mask"],
)
def test_one_instance(cell: Cell, name: str, value: Any, message: str, rng: np.random.Generator) -> None:
    arguments, options = cell.arguments(rng, None, STEPS, INPUTS, HIDDEN), {}
    (arguments if name in arguments else options)[name] = value
    with pytest.raises(ValueError, match=f"^{message}"):
        cell.forward(fastrnn, arguments, **options)


# ---- sizes that no memory holds --------------------------------------------------------------------------------------


def vast(*shape: int) -> Array:
    """An array of any size that takes four bytes."""
    return np.broadcast_to(np.float32(0), shape)


VAST = [
    ("x", vast(2**38, 2**20, INPUTS), "x: .* cannot be addressed"),
    ("x", vast(1, 2**58, INPUTS), "x: .* cannot be addressed"),
    ("x", vast(2**58, INPUTS), "x: .* cannot be addressed"),
    ("x", np.empty((0, 2**58, 1), np.float32), "x: .* cannot be addressed"),  # no rows, but so many steps
    ("x", vast(1, 1, 2**40), "I: expected at most 2147483583, got 1099511627776"),
    ("h0", vast(2**30, 2**30), "h0: expected shape"),
    ("w_x", vast(2**30, 2**30), "w_x: expected shape"),
    ("w_h", vast(2**20, 2**38), "w_h: expected shape"),
    ("b", vast(2**60), "b: expected shape"),
    ("lengths", vast(2**60), "lengths: expected shape"),
    ("reset_mask", np.broadcast_to(False, (2**30, 2**30)), "reset_mask: expected shape"),
    ("dy", vast(2**30, 2**20, HIDDEN), "dy: expected shape"),
    ("dh_n", vast(2**50, HIDDEN), "dh_n: expected shape"),
]


@pytest.mark.parametrize(
    ("cell", "name", "value", "message"),
    [
        pytest.param(cell, name, value, message, id=f"{cell}-{name}{value.shape}")
        for cell in CELLS
        for name, value, message in VAST
        if takes(cell, name)
    ],
)
def test_vast_sizes_raise_at_once(
    cell: Cell, name: str, value: Array, message: str, arguments: dict[str, Any], rng: np.random.Generator
) -> None:
    """Neither memory nor time is spent on what cannot be."""
    single = in_type(arguments, np.float32)
    y, cache = cell.forward(fastrnn, single)
    options: dict[str, Any] = {}
    if name in single:
        single |= {"h0": None} | ({"c0": None} if "c" in cell.states else {}) if name == "x" else {}
        single[name] = value
    elif name not in ("dy", "dh_n"):
        options[name] = value
    gc.collect()  # caches of earlier tests that wait in reference cycles would come back to the pool in between
    gc.disable()
    held = _memory.held()
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"^{message}"):
            if name == "dy":
                cell.backward(fastrnn, value, cache)
            elif name == "dh_n":
                cell.backward(fastrnn, y, cache, dh_n=value)
            else:
                cell.forward(fastrnn, single, **options)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
        gc.enable()
    assert time.process_time() - started < 5
    assert _memory.held() == held


@cells
def test_a_vast_step_raises_at_once(cell: Cell, arguments: dict[str, Any]) -> None:
    weights = {name: value for name, value in in_type(arguments, np.float32).items() if name in ("w_x", "w_h", "b")}
    states = dict.fromkeys(cell.states)
    with pytest.raises(ValueError, match=r"^x: .* cannot be addressed"):
        cell.step_forward(fastrnn, {"x_t": vast(2**58, INPUTS), **states, **weights})
    with pytest.raises(ValueError, match=r"^w_x: expected shape"):
        cell.step_forward(fastrnn, {"x_t": vast(2**10, 2**30), **states, **weights})
