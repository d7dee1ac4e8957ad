"""The pinball loss: its value by hand, its gradient by differences, what makes it least."""

import numpy as np
import pytest

from fastrnn.training import Pinball, Sequential
from fastrnn.training.losses import get_loss


def test_value_by_hand():
    # errors 1 and -2 at quantiles 0.1 and 0.9 of two targets: (0.1·1 + 0.9·1 + 0.9·2 + 0.1·2) / 4
    np.testing.assert_allclose(Pinball((0.1, 0.9))([[1.0, 0.0]], [[0.0, 0.0, 2.0, 2.0]]), 0.75)
    assert Pinball()([[3.0]], [[1.0]]) == 1.0  # half of the absolute error


@pytest.mark.parametrize("shape", [(4, 6), (3, 5, 6)])
def test_gradient(rng, shape):
    loss = Pinball((0.2, 0.5, 0.95))
    y_true, y_pred = rng.normal(size=(*shape[:-1], 2)), rng.normal(size=shape)
    weight = rng.uniform(size=shape[:-1])
    value, dy_pred = loss.value_and_gradient(y_true, y_pred, weight)
    assert value == loss(y_true, y_pred, weight)
    step = 1e-6
    for place in np.ndindex(shape):
        up, down = y_pred.copy(), y_pred.copy()
        up[place] += step
        down[place] -= step
        slope = (loss(y_true, up, weight) - loss(y_true, down, weight)) / (2 * step)
        np.testing.assert_allclose(dy_pred[place], slope, atol=1e-8)


def test_the_quantile_makes_it_least(rng):
    y = rng.normal(size=(2001, 1))
    for q in (0.05, 0.5, 0.8):
        candidates = np.linspace(-3, 3, 601)
        losses = [Pinball(q)(y, np.full_like(y, value)) for value in candidates]
        assert abs(candidates[int(np.argmin(losses))] - np.quantile(y, q)) < 0.02


def test_the_gradient_is_zero_where_they_are_equal():
    _, dy_pred = Pinball((0.1, 0.9)).value_and_gradient([[1.0]], [[1.0, 2.0]])
    np.testing.assert_allclose(dy_pred, [[0.0, 0.05]])


def test_other_forms_of_the_targets():
    loss = Pinball((0.1, 0.9))
    for y_true in ([1.0], [[1.0]], [[1.0, 1.0]]):
        assert loss(y_true, [[1.0, 3.0]]) == pytest.approx(0.1)


def test_it_is_known_by_name_and_saved_with_its_quantiles():
    assert isinstance(get_loss("pinball"), Pinball)
    loss = Pinball((0.1, 0.9))
    assert Pinball.from_config(loss.get_config()).quantiles == (0.1, 0.9)
    assert repr(loss) == "Pinball(quantiles=(0.1, 0.9))"


@pytest.mark.parametrize(
    ("quantiles", "message"),
    [((0.1, 1.0), "quantiles: expected a number"), ((0.1, 0.1), "expected different numbers"), ((), "at least one")],
)
def test_bad_quantiles(quantiles, message):
    with pytest.raises(ValueError, match=message):
        Pinball(quantiles)


def test_outputs_that_do_not_fit():
    with pytest.raises(ValueError, match=r"y_pred: expected a last axis of K \* 2 quantiles, got shape \(1, 3\)"):
        Pinball((0.1, 0.9))([[1.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="y_true: expected shape"):
        Pinball((0.1, 0.9))([[1.0, 2.0, 3.0]], [[1.0, 2.0]])


def test_a_model_learns_quantiles(rng):
    from fastrnn.layers import Dense

    x = rng.uniform(size=(2000, 1)).astype(np.float32)
    y = x * rng.normal(size=(2000, 1))
    model = Sequential([Dense(2)], seed=0)
    model.compile(optimizer="adam", loss=Pinball((0.1, 0.9)))
    model.fit(x, y, epochs=80, batch_size=50, verbose=0)
    inside = (model.predict(x)[:, :1] <= y) & (y <= model.predict(x)[:, 1:])
    assert 0.75 < inside.mean() < 0.85
