"""Forecasting: from a CSV to windows, baselines and a recurrent network that has to beat them."""

from .backtest import Backtest, Coverage, backtest
from .baselines import HoltWinters, LastValue, Linear, SeasonalNaive
from .forecaster import Forecaster
from .networks import cells
from .reading import Series, fill_gaps, read_csv, read_panel
from .windows import Split, split_end

__all__ = [
    "Backtest",
    "Coverage",
    "Forecaster",
    "HoltWinters",
    "LastValue",
    "Linear",
    "SeasonalNaive",
    "Series",
    "Split",
    "backtest",
    "cells",
    "fill_gaps",
    "read_csv",
    "read_panel",
    "split_end",
]
