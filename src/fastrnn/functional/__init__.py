"""Recurrent cells over whole sequences and over single steps, as functions: the drop-in for a NumPy loop.

Every function takes arrays and gives arrays; a forward function also gives a cache, which the backward function of the
same cell turns into gradients.  The equations stand at the top of ``csrc/cells/<cell>.h`` and, to be read, in
`fastrnn.reference`.

Shapes: B batch, T steps, I inputs, H units, G gates.  A 3-D ``x`` (B, T, I) is a batch, a 2-D ``x`` (T, I) one
instance, whose states are (H,).  Results are float32 if every float argument is float32, otherwise float64.
"""

from ._call import Cache
from .activations import sigmoid, tanh
from .cells import FUNCTIONS as _FUNCTIONS
from .cells import CellGradients, CellStepGradients
from .conv1d import Conv1DCache, Conv1DGradients, conv1d_backward, conv1d_forward
from .gru import GRUGradients, GRUStepGradients, gru_backward, gru_forward, gru_step_backward, gru_step_forward
from .lstm import LSTMGradients, LSTMStepGradients, lstm_backward, lstm_forward, lstm_step_backward, lstm_step_forward
from .rnn import RNNGradients, RNNStepGradients, rnn_backward, rnn_forward, rnn_step_backward, rnn_step_forward

__all__ = [
    "Cache",
    "CellGradients",
    "CellStepGradients",
    "Conv1DCache",
    "Conv1DGradients",
    "GRUGradients",
    "GRUStepGradients",
    "LSTMGradients",
    "LSTMStepGradients",
    "RNNGradients",
    "RNNStepGradients",
    "conv1d_backward",
    "conv1d_forward",
    "gru_backward",
    "gru_forward",
    "gru_step_backward",
    "gru_step_forward",
    "lstm_backward",
    "lstm_forward",
    "lstm_step_backward",
    "lstm_step_forward",
    "rnn_backward",
    "rnn_forward",
    "rnn_step_backward",
    "rnn_step_forward",
    "sigmoid",
    "tanh",
    *_FUNCTIONS,
]

globals().update(_FUNCTIONS)
