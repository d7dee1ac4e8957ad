# %% [markdown]
# # Several time steps ahead
#
# Ten values, and not one, from 50. Three ways:
#
# * **Iterated**: forecast one value, take it for the truth, forecast the next. Errors add up.
# * **Sequence to vector**: the last output has ten numbers, one for each step ahead.
# * **Sequence to sequence**: at *every* step forecast the ten values that follow it. Only the last step's forecast is
#   used, but the errors of all steps teach, and their gradients need not travel through all of time.
#
# All are judged by the ten values that follow the last step.

# %%
import numpy as np
from chapter import AHEAD, Network, Section, one_step, run, ten_steps, ten_steps_everywhere
from deep_rnns import dense_at_the_end

from fastrnn.layers import Dense, Flatten, Layer, SimpleRNN
from fastrnn.training import Sequential


def iterated(model: Sequential, x: np.ndarray) -> np.ndarray:
    """Ten values from a model that forecasts one: x grows by what it says, (N, 10)."""
    for _ in range(AHEAD):
        x = np.concatenate([x, model.predict(x)[:, None]], axis=1)
    return x[:, -AHEAD:, 0]


def linear() -> list[Layer]:
    """Ten weighted sums of all values, from zeros on: where nothing is hidden, no symmetry has to be broken."""
    return [Flatten(), Dense(AHEAD, kernel_initializer="zeros")]


def linear_from_chance() -> list[Layer]:
    """The same from random weights, Keras' default."""
    return [Flatten(), Dense(AHEAD)]


def sequence_to_vector() -> list[Layer]:
    """Ten numbers from the last output."""
    return [SimpleRNN(20, return_sequences=True), SimpleRNN(20), Dense(AHEAD)]


def sequence_to_sequence() -> list[Layer]:
    """Ten numbers at every step: `Dense` takes sequences as they are."""
    return [SimpleRNN(20, return_sequences=True), SimpleRNN(20, return_sequences=True), Dense(AHEAD)]


# %%
SECTION = Section(
    name="several_steps",
    title="Several time steps ahead: ten",
    task=ten_steps,
    networks=[
        Network(
            "linear by Adam",
            linear,
            ten_steps,
            published="0.0187",
            keras=(0.0187, 0.0190, 0.0193),
            chapter_layers=linear_from_chance,
        ),
        Network(
            "SimpleRNN 20-20, Dense(1), iterated",
            dense_at_the_end,
            one_step,
            published="0.0275",
            spread=(0.0273, 0.0285),
            forecast=iterated,
        ),
        Network(
            "SimpleRNN 20-20, sequence to vector",
            sequence_to_vector,
            ten_steps,
            published="0.0085",
            spread=(0.0081, 0.0085),
            keras=(0.0078, 0.0089, 0.0100),
        ),
        Network(
            "SimpleRNN 20-20, sequence to sequence, Adam 1e-2",
            sequence_to_sequence,
            ten_steps_everywhere,
            published="0.0096",
            spread=(0.0058, 0.0125),
            learning_rate=1e-2,
        ),
    ],
)

if __name__ == "__main__":
    run(SECTION)
