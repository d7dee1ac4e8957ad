"""The moving average of the weights: the formula, and which weights a model has when."""

import numpy as np
import pytest

import fastrnn
from fastrnn.layers import Dense, Flatten, SimpleRNN
from fastrnn.training import SGD, Adagrad, Adam, AdamW, Callback, EarlyStopping, RMSprop, Sequential

OPTIMIZERS = [SGD, lambda **o: SGD(momentum=0.9, **o), Adam, AdamW, RMSprop, Adagrad]
MOMENTUM = 0.8


class Watch(Callback):
    """Keeps the weights after every batch, and those that each epoch ends with."""

    def on_train_begin(self):
        self.trained, self.judged = [], []

    def on_batch_end(self, batch, logs):
        self.trained.append(self.model.get_weights())

    def on_epoch_end(self, epoch, logs):
        self.judged.append(self.model.get_weights())
        self.logs = logs


def averages(trained, momentum=MOMENTUM):
    """The literal formula over a list of weights: its value after each of them."""
    values = []
    for n in range(1, len(trained) + 1):
        counts = [momentum ** (n - k) for k in range(1, n + 1)]
        values.append(
            [
                sum(count * weights[i] for count, weights in zip(counts, trained, strict=False)) / sum(counts)
                for i in range(len(trained[0]))
            ]
        )
    return values


def make(optimizer, seed=3):
    model = Sequential([SimpleRNN(3, dtype="float64"), Dense(2, dtype="float64")], input_size=2, seed=seed)
    model.compile(optimizer, loss="mse")
    return model


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(21, 4, 2)), rng.normal(size=(21, 2))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fit_trains_as_ever_and_leaves_the_average(optimizer, data):
    """The trained weights are those without averaging, bit for bit; every epoch is judged by the average so far."""
    plain, watched = Watch(), Watch()
    make(optimizer()).fit(*data, epochs=3, batch_size=6, callbacks=[plain], verbose=0)
    model = make(optimizer(use_ema=True, ema_momentum=MOMENTUM))
    history = model.fit(*data, epochs=3, batch_size=6, validation_data=data, callbacks=[watched], verbose=0)
    for given, expected in zip(watched.trained, plain.trained, strict=True):
        for a, b in zip(given, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    expected = averages(plain.trained)
    for epoch, judged in enumerate(watched.judged):
        for a, b in zip(judged, expected[4 * epoch + 3], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    for a, b in zip(model.get_weights(), watched.judged[-1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.evaluate(*data) == history.history["val_loss"][-1]


def test_a_second_fit_begins_from_the_average_with_a_new_one(data):
    model, watched = make(SGD(0.1, use_ema=True, ema_momentum=MOMENTUM)), Watch()
    model.fit(*data, epochs=2, verbose=0)
    start = model.get_weights()
    other = make(SGD(0.1))
    other.set_weights(start)
    first = Watch()
    other.optimizer.iterations = model.optimizer.iterations  # the order of the samples grows from it
    other.fit(*data, epochs=1, batch_size=21, shuffle=False, callbacks=[first], verbose=0)
    model.fit(*data, epochs=1, batch_size=21, shuffle=False, callbacks=[watched], verbose=0)
    for a, b, c in zip(watched.trained[0], first.trained[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)  # one update: its weights are the average


def test_early_stopping_restores_the_best_average(data):
    stopping, watched = EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True), Watch()
    model = make(SGD(1.2, use_ema=True, ema_momentum=MOMENTUM))
    history = model.fit(*data, epochs=12, batch_size=6, validation_data=data, callbacks=[stopping, watched], verbose=0)
    losses = history.history["val_loss"]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1, "the rate is meant to be too high"
    for a, b in zip(model.get_weights(), watched.judged[best], strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.evaluate(*data) == losses[best]


class Stop(Callback):
    """Interrupts the training within its second epoch."""

    def on_batch_end(self, batch, logs):
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches == 6:
            raise KeyboardInterrupt


def test_an_interrupt_leaves_the_average(data):
    model, watched = make(Adam(use_ema=True, ema_momentum=MOMENTUM)), Watch()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, epochs=3, batch_size=6, callbacks=[watched, Stop()], verbose=0)
    for a, b in zip(model.get_weights(), averages(watched.trained)[-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_own_loop(data):
    x, y = data
    model = make(SGD(0.1, use_ema=True, ema_momentum=MOMENTUM))
    trained = []
    for _ in range(5):
        model.train_on_batch(x, y)
        trained.append(model.get_weights())
    model.optimizer.exchange_averages(model.params)
    for a, b in zip(model.get_weights(), averages(trained)[-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    model.optimizer.exchange_averages(model.params)
    for a, b in zip(model.get_weights(), trained[-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_predictions_follow_the_exchange(data):
    """What is kept of the weights between predictions is renewed when they change place."""
    x, y = data
    model = make(SGD(0.5, use_ema=True, ema_momentum=MOMENTUM))
    model.fit(x, y, epochs=2, verbose=0)
    averaged = model.predict(x)
    model.optimizer.exchange_averages(model.params)
    trained = model.predict(x)
    model.optimizer.exchange_averages(model.params)
    assert not np.array_equal(averaged, trained)
    np.testing.assert_array_equal(model.predict(x), averaged)


def test_saved_with_the_model(tmp_path, data):
    model = make(Adam(2e-3, use_ema=True, ema_momentum=0.9))
    model.fit(*data, verbose=0)
    model.save(tmp_path / "model.safetensors")
    loaded = fastrnn.load(tmp_path / "model.safetensors")
    assert repr(loaded.optimizer) == "Adam(learning_rate=0.002, use_ema=True, ema_momentum=0.9)"
    np.testing.assert_array_equal(loaded.predict(data[0]), model.predict(data[0]))


def test_it_helps_where_the_updates_are_noisy():
    """A linear model by small batches with a constant rate: the average lies nearer to the least squares solution."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(512, 3, 2)), rng.normal(size=(6, 1))
    y = x.reshape(512, 6) @ w + 0.5 * rng.normal(size=(512, 1))
    best = np.linalg.lstsq(x.reshape(512, 6), y, rcond=None)[0]
    errors = []
    for use_ema in (False, True):
        model = Sequential([Flatten(), Dense(1, use_bias=False, dtype="float64")], input_size=(3, 2), seed=0)
        model.compile(SGD(0.1, use_ema=use_ema, ema_momentum=0.98), "mse")
        model.fit(x, y, epochs=20, batch_size=4, verbose=0)
        errors.append(float(np.square(model.params[next(iter(model.params))] - best).sum()))
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("momentum", [-0.1, 1.0, np.nan])
def test_bad_momentum(momentum):
    with pytest.raises(ValueError, match="ema_momentum"):
        Adam(use_ema=True, ema_momentum=momentum)


def test_bad_flag():
    with pytest.raises(TypeError, match="use_ema"):
        Adam(use_ema="yes")


def test_a_parameter_that_joins_later():
    optimizer, params = SGD(1.0, use_ema=True, ema_momentum=0.5), {"w": np.array([4.0])}
    optimizer.apply(params, {"w": np.array([2.0])})
    params["v"] = np.array([1.0])
    optimizer.apply(params, {"w": np.array([1.0]), "v": np.array([1.0])})
    optimizer.exchange_averages(params)
    np.testing.assert_allclose([params["w"][0], params["v"][0]], [4 / 3, 0.0])
    with pytest.raises(ValueError, match="params: expected the names"):
        optimizer.exchange_averages({})
