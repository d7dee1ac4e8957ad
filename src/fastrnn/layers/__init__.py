"""Layers: a forward pass that returns its cache, a backward pass that takes it."""

from fastrnn.layers.base import Layer
from fastrnn.layers.dense import Dense
from fastrnn.layers.recurrent import GRU, LSTM, SimpleRNN
from fastrnn.layers.regularization import Dropout
from fastrnn.layers.wrappers import RepeatVector, TimeDistributed

__all__ = ["GRU", "LSTM", "Dense", "Dropout", "Layer", "RepeatVector", "SimpleRNN", "TimeDistributed"]
