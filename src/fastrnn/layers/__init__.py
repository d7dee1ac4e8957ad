"""Layers: a forward pass that returns its cache, a backward pass that takes it."""

from fastrnn.layers.attention import AdditiveAttention, Attention, DotAttention
from fastrnn.layers.base import Layer
from fastrnn.layers.bidirectional import Bidirectional
from fastrnn.layers.custom import RNN, MemoryCell
from fastrnn.layers.dense import Activation, Dense
from fastrnn.layers.echo_state import EchoState
from fastrnn.layers.embedding import Embedding
from fastrnn.layers.merging import Parallel, Residual
from fastrnn.layers.normalization import BatchNormalization, LayerNormalization
from fastrnn.layers.recurrent import GRU, LSTM, IndRNN, MinGRU, SimpleRNN
from fastrnn.layers.regularization import Dropout, GaussianNoise, SpatialDropout1D
from fastrnn.layers.reshaping import Flatten, Reshape
from fastrnn.layers.wrappers import RepeatVector, TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdditiveAttention",
    "Attention",
    "BatchNormalization",
    "Bidirectional",
    "Dense",
    "DotAttention",
    "Dropout",
    "EchoState",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "IndRNN",
    "Layer",
    "LayerNormalization",
    "MemoryCell",
    "MinGRU",
    "Parallel",
    "RepeatVector",
    "Reshape",
    "Residual",
    "SimpleRNN",
    "SpatialDropout1D",
    "TimeDistributed",
]
