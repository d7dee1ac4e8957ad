"""Norms through time: the gradient by the state after every step is the one of backpropagation through time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrnn.layers import GRU, LSTM, RNN, Dense, Dropout, EchoState, Embedding, IndRNN, Layer, MinGRU, SimpleRNN
from fastrnn.layers.steps import Steps
from fastrnn.layers.tracing import trace_back, trace_forward
from fastrnn.training import NormRecorder, NormsThroughTime, Sequential, norms_through_time, plot_norms

from ..helpers import assert_close, central_difference
from ..layers.cells import Elman, Mealy

B, T, I, H = 3, 6, 2, 4  # noqa: E741

LAYERS: dict[str, Callable[..., Any]] = {
    "rnn": lambda **options: SimpleRNN(H, layer_norm=True, **options),
    "lstm": lambda **options: LSTM(H, projection=3, peephole=True, **options),
    "gru": lambda **options: GRU(H, zoneout=0.2, **options),
    "indrnn": lambda **options: IndRNN(H, **options),
    "mingru": lambda **options: MinGRU(H, **options),
    "echo": lambda **options: EchoState(H, density=1.0, **options),
    "elman": lambda **options: RNN(Elman(H), **options),
    "mealy": lambda **options: RNN(Mealy(), **options),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def steps_of(rng: np.random.Generator) -> Steps:
    """A row without steps, one that ends early, masked steps and resets everywhere."""
    return Steps(np.array([T, 4, 0]), rng.random((B, T)) < 0.7, rng.random((B, T)) < 0.3)


# ---- one layer -------------------------------------------------------------------------------------------------------


@layers
@pytest.mark.parametrize("sequences", [True, False])
def test_gradients_by_states_by_finite_differences(layer: Any, sequences: bool, rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    built = layer(return_sequences=sequences, dtype="float64", seed=0)
    trace = trace_forward(built, x, Steps())
    np.testing.assert_array_equal(trace.out, built(x))
    dout = rng.normal(size=trace.out.shape)
    _, dstates = trace_back(dout, trace)
    names = list(built.state_sizes)
    for t in range(T - 1):
        states = [trace.states[name][:, t] for name in names]
        for i, name in enumerate(names):

            def loss(state: np.ndarray, t: int = t, i: int = i, states: list[np.ndarray] = states) -> float:
                start = tuple(state if k == i else other for k, other in enumerate(states))
                out, _ = built.forward(x[:, t + 1 :], initial_state=start)
                later = float((out * (dout[:, t + 1 :] if sequences else dout)).sum())
                shown = sequences and i == 0 and not isinstance(built, RNN)  # the output of step t is this state
                return later + (float((state * dout[:, t]).sum()) if shown else 0.0)

            expected = central_difference(loss, states[i])
            assert_close(dstates[name][:, t], expected, "finite_difference", f"{name} after step {t}")


@layers
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_a_trace_is_the_layer_by_steps(
    layer: Any, sequences: bool, backwards: bool, zero: bool, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(B, T, I))
    built = layer(
        return_sequences=sequences, go_backwards=backwards, zero_output_for_mask=zero, dtype="float64", seed=0
    )
    lengths, mask, reset_mask = steps_of(rng)
    for known in (Steps(), Steps(lengths), Steps(None, mask), Steps(lengths, mask, reset_mask)):
        out, cache = built.forward(x, **known.given())
        trace = trace_forward(built, x, known)
        np.testing.assert_array_equal(trace.out, out)
        end = 0 if backwards else T - 1
        for states, final in zip(trace.states.values(), cache.state, strict=True):
            assert_close(states[:, end], final, "float64")
        dout = rng.normal(size=out.shape)
        dx, dstates = trace_back(dout, trace)
        assert_close(dx, built.backward(dout, cache)[0], "float64")
        counted = known.counted(T)
        assert all(not d[2].any() for d in dstates.values()) or counted is None or counted[2].any()


def test_a_trace_starts_where_a_stateful_layer_is_and_leaves_it_there(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    layer = GRU(H, stateful=True, return_sequences=True, seed=0)
    layer(x)
    kept = layer._kept_state
    trace = trace_forward(layer, x, Steps())
    assert layer._kept_state is kept
    np.testing.assert_array_equal(trace.out, layer(x))


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_linear_layer_forgets_or_explodes_by_its_factor(factor: float) -> None:
    layer = SimpleRNN(1, activation="linear", dtype="float64", seed=0)
    layer.build(1)
    layer.params["w_h"] = np.array([[factor]])
    layer.params["w_x"] = np.array([[2.0]])
    x = np.zeros((2, 30, 1))
    x[:, 0] = 3.0
    norms = norms_through_time(layer, x, dout=np.array([[0.6], [0.8]]))
    assert_close(norms.gradients["h"], factor ** np.arange(29, -1, -1.0), "float64")
    assert_close(norms.states["h"], 6.0 * np.sqrt(2) * factor ** np.arange(30.0), "float64")


# ---- models ----------------------------------------------------------------------------------------------------------


def test_gradients_of_a_stack_are_those_of_its_backward_pass() -> None:
    """Linear layers of one unit with positive weights: the gradient by a bias is the sum of those by the states."""
    model = Sequential(
        [
            SimpleRNN(1, activation="linear", return_sequences=True, dtype="float64"),
            Dropout(0.5),
            SimpleRNN(1, activation="linear", return_sequences=True, dtype="float64"),
            Dense(1, dtype="float64"),
        ]
    )
    model.build(1)
    model.set_weights([np.full_like(weight, 0.7) for weight in model.get_weights()])
    model.compile("sgd", "mse")
    x, y = np.ones((1, 5, 1)), np.zeros((1, 5, 1))
    out, caches = model.forward(x)
    assert model.loss is not None
    grads = model.parameter_gradients(model.loss.value_and_gradient(y, out)[1], caches)
    norms = norms_through_time(model, x, y)
    assert list(norms.states) == list(norms.gradients) == ["0/h", "2/h"]
    for i in (0, 2):
        assert_close(norms.gradients[f"{i}/h"].sum(), grads[f"{i}/b"][0], "float64")
    assert_close(norms.states["2/h"], (out[0, :, 0] - 0.7) / 0.7, "float64")
    own = norms_through_time(model, x, dout=model.loss.value_and_gradient(y, out)[1])
    mae = norms_through_time(model, x, y, loss="mae")
    np.testing.assert_array_equal(own.gradients["0/h"], norms.gradients["0/h"])
    assert_close(mae.gradients["2/h"][-1], 0.7 / 5, "float64")


def test_only_what_counts_has_a_gradient(rng: np.random.Generator) -> None:
    tokens = rng.integers(1, 5, (B, T))
    tokens[:, 4:] = 0
    y = rng.normal(size=(B, T, 1))
    y[:, 4:] = np.nan
    model = Sequential([Embedding(5, 3, mask_zero=True), LSTM(H, return_sequences=True), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    norms = norms_through_time(model, tokens, y)
    assert norms.gradients["1/h"][:4].all() and not norms.gradients["1/h"][4:].any()
    assert norms.gradients["1/c"][:3].all() and not norms.gradients["1/c"][3:].any()
    x, weight = rng.normal(size=(B, T, 2)), np.arange(T) < np.full((B, 1), 2)
    model = Sequential([LSTM(H, return_sequences=True), Dense(1)], seed=0)
    norms = norms_through_time(model, x, y, loss="mse", sample_weight=weight, lengths=[T, T, 3])
    assert norms.gradients["0/h"][:2].all() and not norms.gradients["0/h"][2:].any()


def test_the_model_is_not_changed(rng: np.random.Generator) -> None:
    x = rng.normal(size=(B, T, I))
    model = Sequential([GRU(H, stateful=True, dropout=0.5), Dense(1)], seed=0)
    model.compile("adam", "mse")
    before = model.forward(x)[0]
    model.reset_states()
    weights = model.get_weights()
    norms_through_time(model, x, x[:, 0, :1])
    np.testing.assert_array_equal(model(x), before)
    for actual, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("what", "options", "error", "message"),
    [
        ([], {}, TypeError, "what: expected a layer or a model, got list"),
        (Dense(2), {"dout": np.ones((B, 2))}, ValueError, "what: expected a recurrent layer or a model with one"),
        (GRU(2), {}, TypeError, "y, dout: expected one of the two"),
        (GRU(2), {"y": np.ones((B, 2)), "dout": np.ones((B, 2))}, TypeError, "y, dout: expected one of the two"),
        (GRU(2), {"y": np.ones((B, 2))}, ValueError, "loss: expected one, because there is no compiled model"),
        (Sequential([GRU(2)]), {"y": np.ones((B, 2))}, ValueError, "loss: expected one"),
        (GRU(2), {"dout": np.ones((B, 3))}, ValueError, "dout: expected shape"),
        (GRU(2), {"dout": np.ones((B, 2)), "lengths": [1]}, ValueError, "lengths: expected"),
    ],
)
def test_bad_input(what: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        norms_through_time(what, np.ones((B, T, I)), **options)


# ---- while training, and the picture ---------------------------------------------------------------------------------


def small_model() -> Sequential:
    layers: list[Layer] = [LSTM(3, return_sequences=True), GRU(2), Dense(1)]
    model = Sequential(layers, seed=0)
    model.compile("adam", "mse")
    return model


def test_norms_are_recorded_while_a_model_learns(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, T, I)), rng.normal(size=(8, 1))
    model, plain = small_model(), small_model()
    recorder = NormRecorder(x[:2], y[:2], every=2, lengths=[T, 3])
    model.build(I)
    first = norms_through_time(model, x[:2], y[:2], lengths=[T, 3])
    model.fit(x, y, epochs=5, verbose=0, callbacks=[recorder])
    plain.fit(x, y, epochs=4, verbose=0)
    assert recorder.epochs == [0, 2, 4] and len(recorder.norms) == 3
    last = norms_through_time(plain, x[:2], y[:2], lengths=[T, 3])
    for record, expected in ((recorder.norms[0], first), (recorder.norms[-1], last)):
        for name in ("0/h", "0/c", "1/h"):
            np.testing.assert_array_equal(record.gradients[name], expected.gradients[name])
            np.testing.assert_array_equal(record.states[name], expected.states[name])


def norms_of(value: float) -> NormsThroughTime:
    array = np.full(4, value)
    return NormsThroughTime(
        {"0/h": array, "0/c": array + 1, "1/h": array + 2}, dict.fromkeys(("0/h", "0/c", "1/h"), array)
    )


def drawn(axes: Any) -> dict[str, list[float]]:
    return {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}


def test_a_picture_of_one_record_shows_all_states(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = plot_norms(norms_of(3.0))
    gradients, states = figure.axes
    assert drawn(gradients) == {name: [3.0] * 4 for name in ("0/h", "0/c", "1/h")}
    assert drawn(states) == {"0/h": [3.0] * 4, "0/c": [4.0] * 4, "1/h": [5.0] * 4}
    assert gradients.get_yscale() == states.get_yscale() == "log"
    assert [text.get_text() for text in gradients.get_legend().get_texts()] == ["0/h", "0/c", "1/h"]
    figure.savefig(tmp_path / "norms.png")
    assert (tmp_path / "norms.png").stat().st_size > 5000


def test_a_picture_of_several_records_compares_one_state() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 2)
    assert plot_norms({"a": norms_of(1.0), "b": norms_of(2.0)}, axes=axes) is axes[0].figure
    assert drawn(axes[1]) == {"a": [3.0] * 4, "b": [4.0] * 4}
    of_c = plot_norms({"a": norms_of(1.0)}, "0/c")
    assert drawn(of_c.axes[1]) == {"a": [2.0] * 4}
    gone = plot_norms({"gone": norms_of(0.0), "burst": norms_of(np.inf)}).axes[0]
    assert np.isnan(list(drawn(gone).values())).all()


def test_a_picture_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'plotting needs matplotlib: pip install "fastrnn\[forecast\]"'):
        plot_norms(norms_of(1.0))
