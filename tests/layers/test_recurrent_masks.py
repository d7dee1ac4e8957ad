"""Masks, lengths and resets together, against a loop over rows and steps that knows of one step at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import GRU, LSTM, RNN, Dense, SimpleRNN
from fastrnn.layers.masking import plan_time

from ..helpers import assert_close
from .cells import Elman, Mealy

B, T, I, H = 4, 7, 3, 4  # noqa: E741
LENGTHS = np.array([7, 4, 6, 0])
HOLES = np.array([[1, 0, 1, 1, 0, 0, 1], [0, 0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]], bool)
PADDING = np.arange(T) < np.array([7, 3, 0, 5])[:, None]
RESETS = np.array([[0, 1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1]], bool)

LAYERS: list[Callable[..., Any]] = [
    lambda **options: SimpleRNN(H, **options),
    lambda **options: LSTM(H, **options),
    lambda **options: GRU(H, **options),
    lambda **options: RNN(Elman(H), **options),
    lambda **options: RNN(Mealy(), **options),
]
layers = pytest.mark.parametrize("layer", LAYERS, ids=["rnn", "lstm", "gru", "elman", "mealy"])
masks = pytest.mark.parametrize("mask", [HOLES, PADDING], ids=["holes", "padding"])
TIMES = list(itertools.product([None, LENGTHS], [None, HOLES, PADDING], [None, RESETS]))
# return_sequences, go_backwards, zero_output
FORMS = [(True, False, False), (True, True, False), (True, False, True), (True, True, True), (False, False, False)]
# Two forms for each time, so that every form meets every kind of lengths, of mask and of resets.
TIMES_IN_FORMS = [(*time, *FORMS[(i + turn) % 5]) for i, time in enumerate(TIMES) for turn in (0, 2)]


def some_or_none(value: Any) -> str:
    return str(value) if isinstance(value, bool) else "none" if value is None else "some"


times = pytest.mark.parametrize(("lengths", "mask", "resets"), TIMES, ids=some_or_none)


def one_step_at_a_time(
    layer: Any, x: np.ndarray, initial: list[np.ndarray], lengths: Any, mask: Any, resets: Any
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """All outputs, the last ones and the final states, from calls of the layer with one row and one step."""
    lengths = np.full(B, T) if lengths is None else lengths
    mask = np.ones((B, T), bool) if mask is None else mask
    resets = np.zeros((B, T), bool) if resets is None else resets
    single = type(layer).from_config(
        layer.get_config() | {"return_sequences": False, "return_state": True, "go_backwards": False}
    )
    single.build(I)
    single.params.update(layer.params)
    outputs = np.zeros((B, T, layer.output_size))
    last = np.zeros((B, layer.output_size))
    finals = [np.zeros_like(state) for state in initial]
    for b in range(B):
        states = [state[b : b + 1] for state in initial]
        shown = np.zeros(layer.output_size)
        last[b] = 0 if isinstance(layer, RNN) else initial[0][b]
        steps = range(lengths[b])
        for place, t in enumerate(reversed(steps) if layer.go_backwards else steps):
            if resets[b, t]:
                states = [0 * state for state in states]
            if mask[b, t]:
                (shown,), *states = single(x[b : b + 1, t : t + 1], initial_state=tuple(states))
                last[b] = shown
            outputs[b, place] = shown if mask[b, t] or not layer.zero_output_for_mask else 0
        for final, state in zip(finals, states, strict=True):
            final[b] = state[0]
    return outputs, last, finals


@layers
@times
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("zero_output", [False, True])
def test_outputs_and_states(
    layer: Any, lengths: Any, mask: Any, resets: Any, go_backwards: bool, zero_output: bool, rng: np.random.Generator
) -> None:
    options = {"go_backwards": go_backwards, "zero_output_for_mask": zero_output, "return_state": True}
    built = layer(return_sequences=True, dtype="float64", **options)
    built.build(I)
    x = rng.normal(size=(B, T, I))
    initial = [rng.normal(size=(B, size)) for size in built.state_sizes.values()]
    outputs, last, finals = one_step_at_a_time(built, x, initial, lengths, mask, resets)
    time = {"lengths": lengths, "mask": mask, "reset_mask": resets}
    out, *states = built(x, initial_state=tuple(initial), **time)
    assert_close(out, outputs, "float64")
    for state, final in zip(states, finals, strict=True):
        assert_close(state, final, "float64")
    only_last = layer(dtype="float64", **options)
    only_last.build(I)
    only_last.params.update(built.params)
    assert_close(only_last(x, initial_state=tuple(initial), **time)[0], last, "float64")


@layers
@pytest.mark.parametrize(
    ("lengths", "mask", "resets", "return_sequences", "go_backwards", "zero_output"), TIMES_IN_FORMS, ids=some_or_none
)
def test_gradients(
    layer: Any,
    lengths: Any,
    mask: Any,
    resets: Any,
    return_sequences: bool,
    go_backwards: bool,
    zero_output: bool,
    rng: np.random.Generator,
) -> None:
    built = layer(
        return_sequences=return_sequences, go_backwards=go_backwards, zero_output_for_mask=zero_output, seed=0
    )
    result = fastrnn.check_gradients(
        built, rng.normal(size=(B, T, I)), lengths=lengths, mask=mask, reset_mask=resets, samples=6, verbose=False
    )
    assert result.max_error < 1e-7, result


@layers
@masks
@pytest.mark.parametrize("go_backwards", [False, True])
def test_what_is_masked_may_hold_anything(
    layer: Any, mask: np.ndarray, go_backwards: bool, rng: np.random.Generator
) -> None:
    built = layer(return_sequences=True, go_backwards=go_backwards, zero_output_for_mask=True, seed=0)
    clean = rng.normal(size=(B, T, I))
    dirty = np.where(mask[:, :, None], clean, np.nan)
    out, cache = built.forward(clean, mask=mask)
    shown = mask[:, ::-1] if go_backwards else mask
    dout = rng.normal(size=out.shape)
    expected = built.backward(dout, cache)
    out_again, cache = built.forward(dirty, mask=mask)
    np.testing.assert_array_equal(out_again, out)
    dx, grads, dstate = built.backward(np.where(shown[:, :, None], dout, np.nan), cache)
    np.testing.assert_array_equal(dx, expected[0])
    assert not dx[~mask].any()
    for name in grads:
        np.testing.assert_array_equal(grads[name], expected[1][name])
    np.testing.assert_array_equal(dstate[0], expected[2][0])


@layers
@masks
def test_a_row_by_itself_gives_the_same_bits(layer: Any, mask: np.ndarray, rng: np.random.Generator) -> None:
    built = layer(return_sequences=True, seed=0)
    x, dout = rng.normal(size=(B, T, I)), rng.normal(size=(B, T, built.output_size))
    out, cache = built.forward(x, mask=mask, reset_mask=RESETS)
    dx = built.backward(dout, cache)[0]
    for b in range(B):
        row = slice(b, b + 1)
        alone, cache = built.forward(x[row], mask=mask[row], reset_mask=RESETS[row])
        if not isinstance(built, RNN):  # NumPy's products depend on the number of rows
            np.testing.assert_array_equal(alone, out[row])
            np.testing.assert_array_equal(built.backward(dout[row], cache)[0], dx[row])
        np.testing.assert_allclose(alone, out[row], rtol=1e-5, atol=1e-6)


@layers
def test_a_mask_of_ones_changes_nothing(layer: Any, rng: np.random.Generator) -> None:
    built = layer(return_sequences=True, seed=0)
    x = rng.normal(size=(B, T, I))
    np.testing.assert_array_equal(built(x, mask=np.ones((B, T), bool)), built(x))
    np.testing.assert_array_equal(built(x, mask=np.ones((B, T), bool), lengths=LENGTHS), built(x, lengths=LENGTHS))


@layers
def test_a_padding_mask_is_lengths_with_the_last_output_held(layer: Any, rng: np.random.Generator) -> None:
    built = layer(return_sequences=True, return_state=True, seed=0)
    x = rng.normal(size=(B, T, I))
    by_mask, *states = built(x, mask=PADDING)
    by_lengths, *expected = built(x, lengths=PADDING.sum(axis=1))
    for state, value in zip(states, expected, strict=True):
        np.testing.assert_array_equal(state, value)
    np.testing.assert_array_equal(by_mask[PADDING], by_lengths[PADDING])
    np.testing.assert_array_equal(by_mask[1, 3:], np.repeat(by_lengths[1, 2][None], 4, axis=0))
    assert not by_mask[2].any()


def test_a_padding_mask_copies_nothing(rng: np.random.Generator) -> None:
    plan = plan_time(T, None, PADDING, RESETS)
    x, y, last = rng.normal(size=(B, T, I)), rng.normal(size=(B, T, H)), rng.normal(size=(B, H))
    assert plan.gather(x) is x and plan.scatter(x) is x
    assert plan.spread(y, last) is y
    assert plan.collect(y, T)[0] is y


def test_steps_that_nobody_runs_are_not_run(rng: np.random.Generator) -> None:
    plan = plan_time(T, None, HOLES[:3], None)
    assert plan.gather(rng.normal(size=(3, T, I))).shape == (3, 4, I)
    np.testing.assert_array_equal(plan.lengths, [4, 3, 0])


@pytest.mark.parametrize("go_backwards", [False, True])
def test_empty_batch(go_backwards: bool) -> None:
    layer = LSTM(H, return_sequences=True, go_backwards=go_backwards)
    out, cache = layer.forward(np.ones((0, T, I)), mask=np.ones((0, T), bool), lengths=np.ones(0, int))
    assert out.shape == (0, T, H)
    assert layer.backward(out, cache)[0].shape == (0, T, I)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"mask": np.ones((B, T))}, TypeError, "mask: expected a boolean array, got dtype float64"),
        ({"mask": np.ones((B, T + 1), bool)}, ValueError, r"mask: expected shape \(B, T\) = \(4, 7\), got \(4, 8\)"),
        ({"mask": HOLES, "lengths": [8, 1, 1, 1]}, ValueError, "lengths: expected integers from 0 to 7"),
        ({"mask": HOLES, "reset_mask": RESETS[:2]}, ValueError, "reset_mask: expected shape"),
        ({"training": 1}, TypeError, "training: expected True or False"),
    ],
)
@layers
def test_bad_arguments(layer: Any, options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        layer()(np.ones((B, T, I)), **options)


@layers
@pytest.mark.parametrize("with_mask", [False, True])
def test_arguments_are_the_callers(layer: Any, with_mask: bool, rng: np.random.Generator) -> None:
    built = layer(return_sequences=True, seed=0)
    x, mask, resets, lengths = rng.normal(size=(B, T, I)), PADDING.copy(), RESETS.copy(), LENGTHS.copy()
    dout = rng.normal(size=(B, T, built.output_size)).astype(np.float32)
    arrays = (x, mask, resets, lengths, dout)
    before = [array.copy() for array in arrays]
    _, cache = built.forward(x, mask=mask if with_mask else None, reset_mask=resets, lengths=lengths)
    expected = built.backward(dout, cache)[0]
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    # and what the caller does to them afterwards doesn't reach the cache
    mask[:], resets[:], lengths[:] = True, False, T
    np.testing.assert_array_equal(built.backward(dout, cache)[0], expected)


def test_a_mask_is_handed_on_in_a_model(rng: np.random.Generator) -> None:
    model = fastrnn.Sequential(
        [
            GRU(H, return_sequences=True, go_backwards=True, dtype="float64"),
            LSTM(H, dtype="float64"),
            Dense(1, dtype="float64"),
        ],
        seed=0,
    )
    result = fastrnn.check_gradients(model, rng.normal(size=(B, T, I)), mask=HOLES, reset_mask=RESETS, verbose=False)
    assert result.max_error < 1e-7, result
