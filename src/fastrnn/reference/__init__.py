"""The functions of `fastrnn.functional` in plain NumPy, written to be read.

The same names, signatures and results as the fast functions, one file per cell with the equations beside the code.
It is what the fast functions are tested against, and it is itself tested against finite differences.

`rnn`, `lstm`, `gru`, `indrnn`, `mingru` and `leaky` hold one step of a cell each, forward and backward; `_through_time`
holds the loop that calls it, and with it all that is the same for every cell: lengths, resets, reversal, dropout and
zoneout.  `_activations` and `_layer_norm` are what their names say.  `conv1d` is the convolution along time.
"""

from ._activations import sigmoid, tanh
from .conv1d import conv1d_backward, conv1d_forward
from .gru import gru_backward, gru_forward, gru_step_backward, gru_step_forward
from .indrnn import indrnn_backward, indrnn_forward, indrnn_step_backward, indrnn_step_forward
from .leaky import leaky_backward, leaky_forward, leaky_step_backward, leaky_step_forward
from .lstm import lstm_backward, lstm_forward, lstm_step_backward, lstm_step_forward
from .mingru import mingru_backward, mingru_forward, mingru_step_backward, mingru_step_forward
from .rnn import rnn_backward, rnn_forward, rnn_step_backward, rnn_step_forward

__all__ = [
    "conv1d_backward",
    "conv1d_forward",
    "gru_backward",
    "gru_forward",
    "gru_step_backward",
    "gru_step_forward",
    "indrnn_backward",
    "indrnn_forward",
    "indrnn_step_backward",
    "indrnn_step_forward",
    "leaky_backward",
    "leaky_forward",
    "leaky_step_backward",
    "leaky_step_forward",
    "lstm_backward",
    "lstm_forward",
    "lstm_step_backward",
    "lstm_step_forward",
    "mingru_backward",
    "mingru_forward",
    "mingru_step_backward",
    "mingru_step_forward",
    "rnn_backward",
    "rnn_forward",
    "rnn_step_backward",
    "rnn_step_forward",
    "sigmoid",
    "tanh",
]
