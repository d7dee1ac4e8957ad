"""Layers: a forward pass that returns its cache, a backward pass that takes it."""

from fastrnn.layers.base import Layer
from fastrnn.layers.convolutional import Conv1D
from fastrnn.layers.dense import Dense
from fastrnn.layers.pooling import (
    AveragePooling1D,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
    UpSampling1D,
)
from fastrnn.layers.recurrent import GRU, LSTM, SimpleRNN
from fastrnn.layers.regularization import Dropout
from fastrnn.layers.wavenet import WaveNet, wavenet_stack
from fastrnn.layers.wrappers import RepeatVector, TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "AveragePooling1D",
    "Conv1D",
    "Dense",
    "Dropout",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Layer",
    "MaxPooling1D",
    "RepeatVector",
    "SimpleRNN",
    "TimeDistributed",
    "UpSampling1D",
    "WaveNet",
    "wavenet_stack",
]
