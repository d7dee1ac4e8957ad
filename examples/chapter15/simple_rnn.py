# %% [markdown]
# # A simple RNN
#
# One recurrent unit: at each step it sees one value of the series and what it said itself the step before,
#
#     h[t] = tanh(w_x·x[t] + w_h·h[t-1] + b)
#
# Three numbers to learn, against 51 of the linear model, and its last output is the forecast. It beats the last value
# and nothing else.

# %%
from chapter import Network, Section, one_step, run

from fastrnn.layers import Layer, SimpleRNN


def one_unit() -> list[Layer]:
    """Three numbers to learn."""
    return [SimpleRNN(1)]


# %%
SECTION = Section(
    name="simple_rnn",
    title="A simple RNN, one step ahead",
    task=one_step,
    networks=[
        Network(
            "SimpleRNN(1), Adam 5e-3",
            one_unit,
            one_step,
            published="0.0109",
            keras=(0.0109, 0.0109, 0.0116),
            learning_rate=5e-3,
        ),
    ],
)

if __name__ == "__main__":
    run(SECTION)
