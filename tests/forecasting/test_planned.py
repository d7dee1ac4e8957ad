"""What is known of the future: planned values."""

import numpy as np
import pytest

from fastrnn.forecasting import Forecaster, LastValue, Linear, backtest, split_end
from fastrnn.forecasting.networks import STRATEGIES


@pytest.fixture(scope="module")
def promotion():
    """Sales that a planned promotion doubles at once, at days that nothing else tells."""
    rng = np.random.default_rng(0)
    plan = (rng.random(700) < 0.3).astype(float)
    y = 10 + 10 * plan + 0.3 * rng.normal(size=700)
    return y, plan[:, None]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_plan_helps_at_every_step_ahead(promotion, strategy):
    y, plan = promotion
    options = {"units": 12, "window": 5, "horizon": 3, "strategy": strategy, "epochs": 40, "learning_rate": 0.01}
    split = split_end(700, 5, 3)
    blind = backtest({"network": Forecaster(**options, dropout=0.0)}, split, y)
    told = backtest({"network": Forecaster(**options, dropout=0.0)}, split, y, planned=plan)
    assert (told.mae_by_step("network") < 0.4 * blind.mae_by_step("network")).all()


def test_least_squares_is_told_the_same(promotion):
    y, plan = promotion
    result = backtest({"linear": Linear(5, 3)}, split_end(700, 5, 3), y, planned=plan)
    assert result.mae("linear") < 0.5


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_plan_is_all_of_the_future_that_counts(promotion, strategy):
    y, plan = promotion
    network = Forecaster(units=3, window=5, horizon=2, strategy=strategy, epochs=1).fit(y[:500], planned=plan[:500])
    said = network.predict_at([300], y, planned=plan)
    np.testing.assert_allclose(network.predict(y[:301], planned=plan[:303])[None], said, rtol=1e-6)
    for row, matters in ((301, True), (302, True), (303, False)):
        changed = plan.copy()
        changed[row:] = 1 - changed[row:]
        assert (network.predict_at([300], y, planned=changed) != said).any() == matters


def test_a_plan_must_reach_as_far_as_the_forecast(promotion):
    y, plan = promotion
    network = Forecaster(units=2, window=3, horizon=4, epochs=1).fit(y, planned=plan)
    with pytest.raises(ValueError, match=r"planned: expected at least 704 rows, up to the last step .*, got 700"):
        network.predict()
    assert network.predict(y, planned=np.vstack([plan, plan[:4]])).shape == (4,)
    with pytest.raises(ValueError, match="planned: expected 1 columns as in fit, got 0"):
        network.predict(y)
    with pytest.raises(ValueError, match=r"planned: expected shape \(N \+ M, P\) with N = 700 as in y, got \(10, 1\)"):
        network.predict(y, planned=plan[:10])
    with pytest.raises(ValueError, match="planned: expected finite numbers"):
        LastValue().fit(y, planned=plan * np.nan)


def test_plans_of_several_series(promotion):
    y, plan = promotion
    y, plan = {"a": y, "b": 100 * y[:600]}, {"a": plan, "b": plan[:600]}
    network = Forecaster(units=8, window=4, horizon=2, epochs=30, learning_rate=0.01, dropout=0.0)
    result = backtest({"network": network}, split_end({"a": 700, "b": 600}, 4, 2), y, planned=plan)
    assert result.of_series("a").mae("network") < 1.0
    assert result.of_series("b").mae("network") < 100.0
