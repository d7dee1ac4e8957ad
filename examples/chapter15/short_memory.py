# %% [markdown]
# # Short memory
#
# A simple RNN rewrites its whole state at each step, and soon has forgotten the first ones. Four ways to a longer
# memory:
#
# * **LSTM**: a second state `c`, which is only scaled by a gate and added to. What is to be kept is kept.
# * **GRU**: the same idea with one state and fewer gates.
# * **A convolution in front**: kernels of four steps, every other step, halve the sequence, so that the GRU has half as
#   far to remember. Its first output has seen steps 0 to 3, so its targets are those of steps 3, 5, 7, ...
# * **WaveNet**: no recurrence at all. Convolutions with gaps of 1, 2, 4, 8 steps, and the same again, see ever further
#   back.

# %%
from chapter import AHEAD, Network, Section, Task, run, ten_steps, ten_steps_everywhere

from fastrnn.layers import GRU, LSTM, Conv1D, Dense, Layer, wavenet_stack


def lstm() -> list[Layer]:
    """Two layers with a cell state."""
    return [LSTM(20, return_sequences=True), LSTM(20, return_sequences=True), Dense(AHEAD)]


def gru() -> list[Layer]:
    """Two gated layers."""
    return [GRU(20, return_sequences=True), GRU(20, return_sequences=True), Dense(AHEAD)]


def convolution_and_gru() -> list[Layer]:
    """A convolution that halves the sequence, and two gated layers."""
    convolution = Conv1D(20, kernel_size=4, strides=2, padding="valid")
    return [convolution, GRU(20, return_sequences=True), GRU(20, return_sequences=True), Dense(AHEAD)]


def every_other_step() -> Task:
    """The targets of the steps at which the windows of the convolution end."""
    x, y = ten_steps_everywhere()
    return Task(x, y[:, 3::2])


def wavenet() -> list[Layer]:
    """Eight causal convolutions, dilated by 1, 2, 4, 8, 1, 2, 4, 8, and a last one of a single step."""
    return [*wavenet_stack(20, kernel_size=2, dilations=(1, 2, 4, 8) * 2, activation="relu"), Conv1D(AHEAD, 1)]


# %%
SECTION = Section(
    name="short_memory",
    title="Short memory, ten steps ahead",
    task=ten_steps,
    networks=[
        Network("LSTM 20-20", lstm, ten_steps_everywhere, published="0.0086", spread=(0.0085, 0.0086)),
        Network("GRU 20-20", gru, ten_steps_everywhere, published="0.0103", spread=(0.0103, 0.0111)),
        Network(
            "Conv1D, GRU 20-20", convolution_and_gru, every_other_step, published="0.0080", spread=(0.0067, 0.0081)
        ),
        Network("WaveNet, simplified", wavenet, ten_steps_everywhere, published="0.0072", spread=(0.0072, 0.0095)),
    ],
)

if __name__ == "__main__":
    run(SECTION)
