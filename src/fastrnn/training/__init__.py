"""Training: the sequential model, losses, metrics, optimizers, learning-rate schedules, callbacks."""

from fastrnn.training import schedules
from fastrnn.training.callbacks import Callback, EarlyStopping, History, TerminateOnNaN
from fastrnn.training.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from fastrnn.training.metrics import Accuracy, LastStepMSE, Metric, RootMeanSquaredError
from fastrnn.training.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
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
    "History",
    "Huber",
    "LastStepMSE",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Optimizer",
    "RMSprop",
    "RootMeanSquaredError",
    "Sequential",
    "SparseCategoricalCrossentropy",
    "TerminateOnNaN",
    "schedules",
]
