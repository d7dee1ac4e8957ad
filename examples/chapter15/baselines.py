# %% [markdown]
# # Baselines
#
# Before any network: how far does one get without? The series are sums of two sine waves, each of its own frequency
# and phase, and a little noise. From 50 values of a series we forecast the next one.
#
# * **Last value**: tomorrow is like today. This is what a forecast must beat to be one.
# * **Least squares**: the best weighted sum of the 50 values, solved for exactly. It is not in the chapter; it stays in
#   every table here, since a network that does not beat it is not worth its cost.
# * **Linear model by Adam**: the same weighted sum, learned by gradient descent as the chapter does it. After twenty
#   epochs it is still on its way to least squares.

# %%
from chapter import Network, Section, one_step, run

from fastrnn.layers import Dense, Flatten, Layer


def linear() -> list[Layer]:
    """A weighted sum of all values: 51 numbers to learn."""
    return [Flatten(), Dense(1)]


# %%
SECTION = Section(
    name="baselines",
    title="Baselines, one step ahead",
    task=one_step,
    networks=[Network("linear by Adam", linear, one_step, published="0.0042")],
)

if __name__ == "__main__":
    run(SECTION)
