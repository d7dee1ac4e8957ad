"""Layers: a forward pass that returns its cache, a backward pass that takes it."""

from fastrnn.layers.attention import AdditiveAttention, Attention, DotAttention
from fastrnn.layers.base import Layer
from fastrnn.layers.bidirectional import Bidirectional
from fastrnn.layers.convolutional import Conv1D
from fastrnn.layers.custom import RNN, MemoryCell
from fastrnn.layers.dense import Activation, Dense
from fastrnn.layers.echo_state import EchoState
from fastrnn.layers.embedding import Embedding
from fastrnn.layers.merging import Parallel, Residual
from fastrnn.layers.normalization import BatchNormalization, LayerNormalization
from fastrnn.layers.pooling import (
    AveragePooling1D,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    MaxPooling1D,
    UpSampling1D,
)
from fastrnn.layers.recurrent import GRU, LSTM, IndRNN, MinGRU, SimpleRNN
from fastrnn.layers.regularization import Dropout, GaussianNoise, SpatialDropout1D
from fastrnn.layers.reshaping import Flatten, Reshape
from fastrnn.layers.wavenet import WaveNet, wavenet_stack
from fastrnn.layers.wrappers import RepeatVector, TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AdditiveAttention",
    "Attention",
    "AveragePooling1D",
    "BatchNormalization",
    "Bidirectional",
    "Conv1D",
    "Dense",
    "DotAttention",
    "Dropout",
    "EchoState",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "IndRNN",
    "Layer",
    "LayerNormalization",
    "MaxPooling1D",
    "MemoryCell",
    "MinGRU",
    "Parallel",
    "RepeatVector",
    "Reshape",
    "Residual",
    "SimpleRNN",
    "SpatialDropout1D",
    "TimeDistributed",
    "UpSampling1D",
    "WaveNet",
    "wavenet_stack",
]
