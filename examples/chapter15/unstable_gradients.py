# %% [markdown]
# # Unstable gradients
#
# The same weights act at every step, so a gradient that grows or shrinks a little in one step does so fifty times.
# Normalization holds the sizes where they are.
#
# * **Batch normalization** between the recurrent layers: each feature over the batch and over time. It cannot act
#   within a layer from step to step, and helps little.
# * **Layer normalization** inside the cell: the features of each step by themselves, before the activation,
#
#       h[t] = tanh(LN(w_x·x[t] + w_h·h[t-1] + b)·gain + bias)
#
#   The chapter writes a cell of its own for it; here it is an option of the layer.

# %%
from chapter import AHEAD, Network, Section, run, ten_steps, ten_steps_everywhere

from fastrnn.layers import BatchNormalization, Dense, Layer, SimpleRNN


def batch_normalized() -> list[Layer]:
    """Normalized between the layers."""
    return [
        SimpleRNN(20, return_sequences=True),
        BatchNormalization(),
        SimpleRNN(20, return_sequences=True),
        BatchNormalization(),
        Dense(AHEAD),
    ]


def layer_normalized() -> list[Layer]:
    """Normalized within the cell, at each step."""
    return [
        SimpleRNN(20, return_sequences=True, layer_norm=True),
        SimpleRNN(20, return_sequences=True, layer_norm=True),
        Dense(AHEAD),
    ]


# %%
SECTION = Section(
    name="unstable_gradients",
    title="Unstable gradients, ten steps ahead",
    task=ten_steps,
    networks=[
        Network(
            "batch normalization",
            batch_normalized,
            ten_steps_everywhere,
            published="0.0164",
            spread=(0.0164, 0.0214),
        ),
        Network(
            "layer normalization in the cell",
            layer_normalized,
            ten_steps_everywhere,
            published="0.0121",
            spread=(0.0121, 0.0161),
        ),
    ],
)

if __name__ == "__main__":
    run(SECTION)
