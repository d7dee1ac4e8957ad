# %% [markdown]
# # Deep RNNs
#
# Recurrent layers stacked on one another. All but the last return their output at every step
# (`return_sequences=True`), because the layer above reads a sequence.
#
# A last layer of one recurrent unit would have to carry its memory in a single number, and its output is a tanh. So
# the second network ends in a `Dense` layer: faster, a little better, and free in its choice of output.

# %%
from chapter import Network, Section, one_step, run

from fastrnn.layers import Dense, Layer, SimpleRNN


def recurrent_to_the_end() -> list[Layer]:
    """Three recurrent layers, the last of one unit."""
    return [SimpleRNN(20, return_sequences=True), SimpleRNN(20, return_sequences=True), SimpleRNN(1)]


def dense_at_the_end() -> list[Layer]:
    """Two recurrent layers, whose last output goes through a dense one."""
    return [SimpleRNN(20, return_sequences=True), SimpleRNN(20), Dense(1)]


# %%
SECTION = Section(
    name="deep_rnns",
    title="Deep RNNs, one step ahead",
    task=one_step,
    networks=[
        Network("SimpleRNN 20-20-1", recurrent_to_the_end, one_step, published="0.0029"),
        Network(
            "SimpleRNN 20-20, Dense(1)",
            dense_at_the_end,
            one_step,
            published="0.0026",
            keras=(0.0025, 0.0026, 0.0029),
        ),
    ],
)

if __name__ == "__main__":
    run(SECTION)
