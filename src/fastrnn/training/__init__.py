"""Training: the sequential model, losses, metrics, optimizers, learning-rate schedules, callbacks."""

from fastrnn.training import schedules
from fastrnn.training.callbacks import Callback, EarlyStopping, History, TerminateOnNaN
from fastrnn.training.encoder_decoder import EncoderDecoder
from fastrnn.training.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Pinball,
    SparseCategoricalCrossentropy,
)
from fastrnn.training.metrics import Accuracy, LastStepMSE, Metric, RootMeanSquaredError
from fastrnn.training.monitoring import NormRecorder, NormsThroughTime, norms_through_time, plot_norms
from fastrnn.training.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastrnn.training.readout import RidgeReadout, fit_readout, ridge_readout
from fastrnn.training.sequential import Sequential

__all__ = [
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "BinaryCrossentropy",
    "Callback",
    "CategoricalCrossentropy",
    "EarlyStopping",
    "EncoderDecoder",
    "History",
    "Huber",
    "LastStepMSE",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "NormRecorder",
    "NormsThroughTime",
    "Optimizer",
    "Pinball",
    "RMSprop",
    "RidgeReadout",
    "RootMeanSquaredError",
    "Sequential",
    "SparseCategoricalCrossentropy",
    "TerminateOnNaN",
    "fit_readout",
    "norms_through_time",
    "plot_norms",
    "ridge_readout",
    "schedules",
]
