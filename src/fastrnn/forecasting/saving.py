"""A forecaster in a file: the network as `fastrnn.storage` writes it, and what turns its output into values."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastrnn import storage

from .calendar import TimeStep
from .inputs import InputTable

__all__ = ["load", "save"]

# What `fit` found out, as it stands.
FITTED = ("transform_", "differences_", "epochs_", "n_features_in_", "n_planned_", "training_")


def save(forecaster: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted `Forecaster`."""
    from fastrnn.layers.config import to_plain

    state = {
        "parameters": {name: to_plain(value) for name, value in forecaster.get_params().items()},
        "fitted": {name: getattr(forecaster, name) for name in FITTED},
        "step": None if forecaster.step_ is None else list(forecaster.step_),
        "quantiles": list(forecaster.quantiles_),
        "margins": [[*pair, [float(value) for value in margin]] for pair, margin in forecaster.margins_.items()],
        "inputs": [[name, table.to_plain()] for name, table in forecaster._inputs.items()],
    }
    storage.save(forecaster.model_, path, extra={"forecaster": state})


def load(cls: type[Any], path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote."""
    from fastrnn.layers.config import from_plain

    state = storage.read(path)[1].get("extra", {}).get("forecaster")
    if state is None:
        raise ValueError(f"{os.fspath(path)}: holds a network without a forecaster; read it with fastrnn.load(path)")
    parameters = {name: from_plain(value) for name, value in state["parameters"].items()}
    if parameters["quantiles"] is not None:
        parameters["quantiles"] = tuple(parameters["quantiles"])
    forecaster = cls(**parameters)
    for name in FITTED:
        setattr(forecaster, name, state["fitted"][name])
    forecaster.step_ = None if state["step"] is None else TimeStep(*state["step"])
    forecaster.quantiles_ = tuple(state["quantiles"])
    forecaster.margins_ = {(low, high): np.array(margin) for low, high, margin in state["margins"]}
    forecaster._inputs = {name: InputTable.from_plain(table) for name, table in state["inputs"]}
    forecaster.model_ = storage.load(path)
    return forecaster
