"""The network as a forecaster."""

import numpy as np
import pytest

import fastrnn
from fastrnn.forecasting import Forecaster, LastValue, Linear, SeasonalNaive, backtest, cells, split_end
from fastrnn.forecasting.networks import STRATEGIES, WAVENET, Network, recurrent_layers


@pytest.fixture(scope="module")
def wave():
    """Two sines and noise: the last value is a poor forecast, the recent past is a good one."""
    t = np.arange(700)
    noise = np.random.default_rng(3).normal(size=t.size)
    return 10 + 3 * np.sin(2 * np.pi * t / 24) + np.sin(2 * np.pi * t / 7) + 0.1 * noise


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("horizon", [1, 5])
def test_every_strategy_learns(wave, strategy, horizon):
    network = Forecaster(units=12, window=24, horizon=horizon, strategy=strategy, epochs=20, learning_rate=0.01)
    split = split_end(len(wave), 24, horizon)
    result = backtest({"last": LastValue(horizon=horizon), "network": network}, split, wave)
    assert result.forecasts["network"].shape == (len(result.origins), horizon)
    assert result.mae("network") < 0.5 * result.mae("last")


@pytest.mark.parametrize("cell", [cell for cell in cells() if cell != WAVENET])
def test_every_cell_learns_and_layers_stack(wave, cell):
    options = {"units": 24, "layers": 2, "window": 24, "epochs": 40, "learning_rate": 0.01, "dropout": 0.0}
    network = Forecaster(cell=cell, **options)
    result = backtest({"last": LastValue(), "network": network}, split_end(len(wave), 24, 1), wave)
    assert result.mae("network") < 0.7 * result.mae("last")


def test_cells_are_the_layers_that_there_are():
    assert {"gru", "lstm", "rnn"} < set(recurrent_layers())
    for cell, kind in recurrent_layers().items():
        assert getattr(fastrnn.layers, kind.__name__) is kind
        assert kind(3).units == 3
        assert cell == cell.lower()
    assert set(cells()) == {*recurrent_layers(), WAVENET}


@pytest.mark.parametrize("strategy", ["direct", "recursive", "seq2seq"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_wavenet_learns(wave, strategy, layers):
    network = Forecaster(
        cell="wavenet",
        units=10,
        layers=layers,
        window=24,
        horizon=3,
        strategy=strategy,
        epochs=20,
        learning_rate=0.01,
        dropout=0.0,
    )
    result = backtest({"last": LastValue(3), "network": network}, split_end(len(wave), 24, 3), wave)
    assert result.mae("network") < 0.5 * result.mae("last")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("window", [24, 25])
def test_a_convolution_in_front_learns(wave, strategy, window):
    """Whatever the strides leave over is left out at the beginning: the last row always counts."""
    network = Forecaster(
        units=10, window=window, horizon=2, strategy=strategy, frontend="conv", epochs=30, learning_rate=0.01
    )
    result = backtest({"last": LastValue(2), "network": network}, split_end(len(wave), 24, 2), wave)
    assert result.mae("network") < 0.5 * result.mae("last")
    network = result.fitted["network"]
    changed = wave.copy()
    changed[500] += 1.0
    assert (network.predict_at([500], changed) != network.predict_at([500], wave)).all()


def test_the_front_end_s_steps_end_with_the_window():
    """Each of its outputs is held against what comes after the last row that it has seen."""
    for window in (4, 5, 24, 25):
        network = Network("gru", 3, 1, window, 2, "conv", "seq2seq", 2, 0.0)
        steps = (window - network.skipped - 4) // 2 + 1  # of a convolution over 4 rows that moves by 2
        np.testing.assert_array_equal(network.spoken, np.arange(steps) * 2 - 2 * (steps - 1))


@pytest.mark.parametrize("window", [2, 7, 8, 9])
def test_a_wavenet_sees_the_whole_window(rng, window):
    y = rng.normal(size=200)
    network = Forecaster("wavenet", units=4, window=window, epochs=1, dropout=0.0).fit(y)
    said = network.predict(y)
    for back in (1, window):
        changed = y.copy()
        changed[-back] += 1.0
        assert (network.predict(changed) != said).all()


@pytest.mark.parametrize("strategy", ["direct", "seq2seq", "encoder_decoder"])
def test_seasonal_differences_follow_growth_and_season(strategy):
    """The growth itself grows: the network beats the growth of the last season."""
    t = np.arange(240)
    y = 0.002 * t**2 + 5 * np.sin(2 * np.pi * t / 12)
    split = split_end(240, 12, 18, test=40, validation=30)
    options = {"units": 6, "window": 12, "horizon": 18, "strategy": strategy, "differences": 12, "dropout": 0.0}
    grown = SeasonalNaive(12, 18, growth=True)
    result = backtest({"grown": grown, "network": Forecaster(**options, epochs=25)}, split, y)
    assert result.fitted["network"].differences_ == 12
    assert result.mae("network") < 0.5 * result.mae("grown")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("differences", [0, 1, 3])
def test_a_network_that_says_nothing_repeats_what_was(rng, strategy, differences):
    """The last value, or the season before and its growth."""
    y = rng.normal(size=120).cumsum()
    options = {"units": 2, "window": 6, "horizon": 5, "epochs": 1}
    network = Forecaster(differences=differences, strategy=strategy, **options).fit(y)
    for name in network.model_.params:
        network.model_.params[name] = np.zeros_like(network.model_.params[name])
    t, growth = 100, y[100] - y[97]
    expected = [y[98] + growth, y[99] + growth, y[100] + growth, y[98] + 2 * growth, y[99] + 2 * growth]
    np.testing.assert_allclose(network.predict_at([t], y)[0], expected if differences == 3 else [y[100]] * 5)


def test_seasonal_differences_need_a_season_before_the_window(wave):
    network = Forecaster(units=2, window=6, differences=12, epochs=1).fit(wave)
    assert np.isfinite(network.predict(wave[:18])).all()
    with pytest.raises(ValueError, match=r"origins: expected at least window \+ differences - 1 = 17, got 16"):
        network.predict(wave[:17])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_column_helps(strategy):
    rng = np.random.default_rng(0)
    other = rng.normal(size=900)
    y = np.concatenate([[0.0], other[:-1]]) + 0.05 * rng.normal(size=900)  # y follows the other column by one step
    split = split_end(900, 4, 1)
    options = {"units": 8, "window": 4, "strategy": strategy, "epochs": 20, "dropout": 0.0}
    alone = backtest({"network": Forecaster(**options)}, split, y)
    both = backtest({"network": Forecaster(**options)}, split, y, other[:, None])
    assert both.mae("network") < 0.3 * alone.mae("network")


@pytest.mark.parametrize("strategy", ["direct", "recursive", "encoder_decoder"])
def test_the_calendar_helps(strategy):
    """A daily peak that a window of two hours cannot foresee without a clock."""
    hour = np.arange(24 * 40)
    time = hour.astype("datetime64[h]")
    y = np.where(hour % 24 == 17, 10.0, 0.0) + 0.1 * np.random.default_rng(1).normal(size=hour.size)
    split = split_end(hour.size, 2, 3, season=24)
    options = {
        "units": 16,
        "window": 2,
        "horizon": 3,
        "strategy": strategy,
        "epochs": 60,
        "learning_rate": 0.01,
        "loss": "mse",
    }
    blind = backtest({"network": Forecaster(**options)}, split, y)
    clock = backtest({"network": Forecaster(**options)}, split, y, time=time)
    assert clock.rmse("network") < 0.7 * blind.rmse("network")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_trend_is_followed_beyond_what_was_seen(strategy):
    t = np.arange(600)
    y = 0.1 * t + np.sin(2 * np.pi * t / 12)
    split = split_end(600, 24, 3)
    network = Forecaster(units=12, window=24, horizon=3, strategy=strategy, epochs=15, dropout=0.0)
    result = backtest({"last": LastValue(horizon=3), "network": network}, split, y)
    assert result.fitted["network"].differences_
    assert result.mae("network") < 0.4 * result.mae("last")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_forecast_depends_on_the_past_alone(wave, strategy):
    X = np.column_stack([np.roll(wave, 3), wave**2])
    time = np.arange(len(wave)).astype("datetime64[h]")
    network = Forecaster(units=4, window=8, horizon=3, strategy=strategy, epochs=1)
    network.fit(wave[:400], X[:400], time=time[:400])
    before = network.predict_at([450], wave, X, time=time)
    np.testing.assert_allclose(network.predict(wave[:451], X[:451], time=time[:451]), before[0], rtol=1e-6)
    wave, X = wave.copy(), X.copy()
    wave[451:], X[451:] = 99.0, -99.0
    np.testing.assert_array_equal(network.predict_at([450], wave, X, time=time), before)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_filled_targets_are_not_held_against_the_network(wave, strategy):
    """What a filled target of the validation part holds changes neither the loss nor the network."""
    known = np.ones(len(wave), dtype=bool)
    known[-1] = False
    options = {"strategy": strategy, "units": 4, "window": 8, "horizon": 2, "epochs": 3}
    fits = [Forecaster(**options).fit(np.append(wave[:-1], value), known=known) for value in (0.0, 1000.0)]
    assert fits[0].training_ == fits[1].training_
    np.testing.assert_array_equal(fits[0].predict(wave), fits[1].predict(wave))


def test_validation_looks_at_targets_of_the_validation_part_alone(rng):
    """Also where the network forecasts after every row: the first windows begin in the training part."""
    y, window, horizon, start = rng.normal(size=120), 10, 2, 100
    network = Forecaster(
        units=3, window=window, horizon=horizon, strategy="seq2seq", differences=False, epochs=1, validation=20
    ).fit(y)
    mean, scale = y[:start].mean(), y[:start].std()
    scaled = ((y - mean) / scale).astype(np.float32)
    errors = []
    for origin in range(start - 1, 120 - horizon):
        rows = np.arange(origin - window + 1, origin + 1)
        said = network.model_.predict(scaled[rows][None, :, None])[0]
        for row, forecast in zip(rows, said, strict=True):
            if row + 1 >= start:
                errors += list(np.abs(forecast - (y[row + 1 : row + 1 + horizon] - y[row]) / scale))
    np.testing.assert_allclose(network.training_["val_loss"], [np.mean(errors)], rtol=1e-5)


def test_filled_targets_teach_nothing():
    """A tenth of the targets is filled with nonsense; told so, the network does not learn it."""
    rng = np.random.default_rng(0)
    y = np.sin(np.arange(600) / 2)
    known = rng.random(600) > 0.1
    spoilt = np.where(known, y, np.where(rng.random(600) > 0.5, 3.0, -3.0))
    X = np.roll(y, -1)[:, None]  # the answer stands beside the question
    options = {"units": 8, "window": 4, "epochs": 60, "learning_rate": 0.01, "loss": "mse", "dropout": 0.0}
    origins = np.flatnonzero(known[10:590]) + 10
    errors = []
    for told in (known, None):
        network = Forecaster(**options).fit(spoilt, X, known=told)
        errors.append(np.abs(network.predict_at(origins, spoilt, X)[:, 0] - y[origins + 1]).mean())
    assert errors[0] < 0.5 * errors[1]


def test_same_seed_same_network(wave):
    def forecast(seed):
        return Forecaster(units=4, window=8, horizon=2, epochs=2, seed=seed).fit(wave[:300]).predict()

    np.testing.assert_array_equal(forecast(5), forecast(5))
    assert (forecast(5) != forecast(6)).any()


def test_counts_are_forecast_as_counts(rng):
    y = rng.poisson(5 + 4 * np.sin(2 * np.pi * np.arange(500) / 12)).astype(float)
    network = Forecaster(units=6, window=12, epochs=3).fit(y)
    assert network.transform_ == "sqrt"
    assert (network.predict_at(np.arange(100, 400), y) >= 0).all()
    assert Forecaster(units=2, window=3, epochs=1).fit(y + 0.5).transform_ == "none"
    with pytest.raises(ValueError, match="transform: 'sqrt' expects a target >= 0"):
        Forecaster(transform="sqrt", window=3).fit(y - 5)


def test_early_stopping_keeps_the_best_weights(wave):
    network = Forecaster(units=6, window=8, epochs=40, patience=2, learning_rate=0.03).fit(wave)
    losses = network.training_["val_loss"]
    assert len(losses) < 40
    assert len(losses) - 1 - int(np.argmin(losses)) == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_forecaster_is_saved_with_all_that_it_needs(wave, tmp_path, strategy):
    """Scaling, transform, differences, calendar, plan, calibration: the same forecasts, bit for bit."""
    X, planned = np.roll(wave, 3)[:, None], np.roll(wave, -2)[:, None]
    time = np.arange(len(wave)).astype("datetime64[h]")
    quantiles = None if strategy == "recursive" else (0.1, 0.5, 0.9)
    options = {"units": 4, "window": 8, "horizon": 3, "differences": 7, "epochs": 1, "quantiles": quantiles}
    network = Forecaster(strategy=strategy, **options).fit(np.round(wave) + 20, X, time=time, planned=planned)
    assert network.transform_ == "sqrt"
    network.save(tmp_path / "network.safetensors")
    loaded = Forecaster.load(tmp_path / "network.safetensors")
    assert loaded.get_params() == network.get_params()
    data = {"y": wave[:400], "X": X[:400], "time": time[:400], "planned": planned}
    np.testing.assert_array_equal(loaded.predict(**data), network.predict(**data))
    np.testing.assert_array_equal(loaded.predict_quantiles(**data), network.predict_quantiles(**data))
    assert loaded.training_ == network.training_
    with pytest.raises(ValueError, match="y: expected a series, this Forecaster was loaded from a file without one"):
        loaded.predict()


def test_the_network_of_a_saved_forecaster_can_be_loaded_alone(wave, tmp_path):
    network = Forecaster(units=4, window=8, epochs=1).fit(wave)
    network.save(tmp_path / "network.safetensors")
    network.model_.save(tmp_path / "model.safetensors")
    x = np.random.default_rng(0).normal(size=(3, 8, 1)).astype(np.float32)
    for name in ("network", "model"):
        loaded = fastrnn.load(tmp_path / f"{name}.safetensors")
        np.testing.assert_array_equal(loaded.predict(x), network.model_.predict(x))
    with pytest.raises(ValueError, match=r"model.safetensors: holds a network without a forecaster"):
        Forecaster.load(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="not fitted yet"):
        Forecaster().save(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "estimator",
    [Forecaster(units=3, strategy="recursive", horizon=4), LastValue(2), SeasonalNaive(7), Linear(window=5)],
)
def test_scikit_learn_can_clone(estimator):
    base = pytest.importorskip("sklearn.base")
    copy = base.clone(estimator)
    assert copy is not estimator
    assert copy.get_params() == estimator.get_params()
    assert repr(copy) == repr(estimator)
    copy.set_params(horizon=9)
    assert copy.horizon == 9
    with pytest.raises(ValueError, match="no such parameter"):
        copy.set_params(horizont=9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "gruu"}, ValueError, "cell: expected one of .*'gru', .*'wavenet', got 'gruu'"),
        ({"frontend": "cnn"}, ValueError, "frontend: expected one of 'none', 'conv', got 'cnn'"),
        ({"frontend": "conv", "window": 3}, ValueError, "window: expected at least 4 rows with frontend='conv', got 3"),
        ({"cell": "wavenet", "frontend": "conv"}, ValueError, "frontend: expected 'none' with cell='wavenet'"),
        (
            {"cell": "wavenet", "strategy": "encoder_decoder"},
            ValueError,
            "expects a recurrent cell, got cell='wavenet'",
        ),
        ({"differences": -1}, ValueError, "differences: expected an integer >= 0"),
        ({"differences": 1.5}, TypeError, "differences: expected an integer"),
        ({"quantiles": (0.1, 0.9)}, ValueError, "quantiles: expected 0.5 among them, .* got \\(0.1, 0.9\\)"),
        ({"quantiles": (0.5, 1.5)}, ValueError, "quantiles: expected a number"),
        ({"quantiles": (0.5,), "strategy": "recursive"}, ValueError, "quantiles: expected None with strategy='recurs"),
        ({"strategy": "indirect"}, ValueError, "strategy: expected one of"),
        ({"units": 0}, ValueError, "units: expected an integer >= 1, got 0"),
        ({"window": 2.5}, TypeError, "window: expected an integer"),
        ({"horizon": 0}, ValueError, "horizon: expected an integer >= 1"),
        ({"learning_rate": 0}, ValueError, "learning_rate: expected a number > 0"),
        ({"dropout": 1.0}, ValueError, "dropout: expected a number"),
        ({"validation": 1.5}, ValueError, "validation: expected a number"),
        ({"validation": 700}, ValueError, "validation: expected an integer <= 699"),
        ({"differences": "yes"}, TypeError, "differences: expected True or False"),
        ({"seed": -1}, ValueError, "seed: expected an integer >= 0"),
        ({"window": 690}, ValueError, "y: expected at least window [+] horizon = 691 rows to train on, got 630"),
        ({"loss": "mea"}, ValueError, "mea"),
    ],
)
def test_bad_options_raise_before_any_training(wave, options, error, message):
    with pytest.raises(error, match=message):
        Forecaster(**options).fit(wave)


def test_constant_target():
    with pytest.raises(ValueError, match="y: is constant over the 90 rows to train on"):
        Forecaster(window=5).fit(np.full(100, 3.0))


def test_no_real_target(wave):
    known = np.zeros(len(wave), dtype=bool)
    for estimator in (Forecaster(window=5), Linear(window=5), LastValue()):
        with pytest.raises(ValueError, match="known: expected at least one real target, got 700 times False"):
            estimator.fit(wave, known=known)
    known[-1] = True
    with pytest.raises(ValueError, match=r"known: expected a window with real targets .* among the 630 rows"):
        Forecaster(window=5).fit(wave, known=known)


@pytest.mark.parametrize("name", ["y", "X"])
def test_numbers_too_large_to_be_scaled(wave, name):
    data = {"y": wave, "X": wave[:, None].copy()}
    data[name] = data[name] * 1e299
    for estimator in (Forecaster(window=5), Linear(window=5)):
        with pytest.raises(ValueError, match=f"^{name}: its numbers are too large to be scaled, up to .*e[+]300"):
            estimator.fit(**data)
