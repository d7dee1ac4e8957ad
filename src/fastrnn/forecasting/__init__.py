"""Forecasting: from a CSV to windows, baselines and a recurrent network that has to beat them."""

from .backtest import Backtest, backtest
from .baselines import LastValue, Linear, SeasonalNaive
from .forecaster import Forecaster
from .reading import Series, fill_gaps, read_csv
from .windows import Split, split_end

__all__ = [
    "Backtest",
    "Forecaster",
    "LastValue",
    "Linear",
    "SeasonalNaive",
    "Series",
    "Split",
    "backtest",
    "fill_gaps",
    "read_csv",
    "split_end",
]
