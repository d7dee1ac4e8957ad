"""The command line: ``fastrnn forecast``, ``fastrnn bench``, ``fastrnn config``.

Exit status: 0 done, 2 something in the command or the data is wrong (one line on stderr says what), 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from ._threads import MOST as MOST_THREADS
from ._threads import get_num_threads, set_num_threads
from ._version import __version__

if TYPE_CHECKING:
    from .forecasting import Forecaster, Series, Split
    from .forecasting.report import Outcome

__all__ = ["main"]

DESCRIPTION = "Recurrent networks at the speed of the machine."

FORECAST = """\
Train a network on a series in a CSV file, or on several at once, hold it against simple forecasts on the end of the
file, and forecast what comes next. Without a file: bikes rented in each hour of 2011 in Washington DC (bundled).
"""

FORECAST_EPILOG = """\
what happens to the file:
  The time step is the commonest distance between rows. Missing steps and values are filled from the past alone, and
  never counted as right or wrong. A column of text becomes one column of 0 and 1 for each of its values (at most 12).
  Every column but the target is an input, known up to the present, unless it has no name (row numbers); hour, weekday
  and season of the moment to forecast are inputs too. The last part of the file is the test, the part before it stops
  the training at the best moment.

what you may know of the future:
  Columns named by --planned (prices, holidays, a schedule) are known ahead: the network sees their values at the steps
  it forecasts. To forecast past the end of the file, add rows there with the target left empty and the plan filled in.

several series in one file:
  --series names the column that says which series a row belongs to. One network learns them all, each scaled by
  itself; errors are shown for each and for all.

how sure it is:
  --intervals 0.9 forecasts an interval for nine true values of ten. It is adjusted to the validation part; how much it
  really held of the test part is printed beside the nominal share.

a series that grows:
  --difference 12 (the steps in a season) lets the network correct "the season before plus its growth", and adds that
  forecast and Holt-Winters (if the extra holt-winters is installed) to the table.

rolling origins:
  Forecasts start at every row of the test part that has all its true values after it; --stride 6 takes every sixth
  row, --refit 24 trains anew after every 24 rows. Above one step ahead, errors are shown by steps ahead too.

what is written to the directory --out:
  forecast.png       the end of the test part, and the errors (above one step: by steps ahead)
  forecast.csv       what comes after the end of the file
  test.csv           every forecast of the test part beside the truth
  model.safetensors  the network with its scaling, for fastrnn.forecasting.Forecaster.load

examples:
  fastrnn forecast                                        the bundled bikes, one hour ahead
  fastrnn forecast co2                                    the bundled CO2 at Mauna Loa, 24 months ahead, ten years
  fastrnn forecast --horizon 24 --strategy seq2seq        a day ahead, hour by hour
  fastrnn forecast --horizon 24 --intervals 0.9           the same with intervals
  fastrnn forecast --cell wavenet                         causal dilated convolutions in place of a GRU
  fastrnn forecast sales.csv --target sold --horizon 7    your own
  fastrnn forecast sales.csv --target sold --series shop --planned price --planned holiday
  fastrnn forecast sales.csv --target sold --json         one JSON object on stdout, for programs
"""

CO2 = "co2"  # in place of a file
# Chosen by examples/forecast_co2.py on the years before the test part.
CO2_OPTIONS = {
    "horizon": 24,
    "window": 36,
    "units": 16,
    "cell": "gru",
    "difference": 12,
    "epochs": 100,
    "test": 120,
    "validation": 60,
    "refit": 24,
}


class _Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Text as it was written, and the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        without = action.default is None or action.default is False or action.default == []
        return action.help if without else super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; ``sys.argv`` by default.

    Returns
    -------
    int
        Exit status.

    Examples
    --------
    >>> from fastrnn.cli import main
    >>> status = main(["forecast", "no-such-file.csv"])  # tells stderr that there is no such file
    >>> status
    2
    """
    command = "fastrnn"
    try:
        arguments = _parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
        command = f"fastrnn {arguments.command}"
        return int(arguments.run(arguments))
    except SystemExit as stop:  # --help, --version, or an error that has been told
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print(f"\n{command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output has left; keep the interpreter from complaining when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, ImportError, NotImplementedError, OSError, MemoryError) as error:
        print(f"{command}: {_one_line(error)}", file=sys.stderr)
        return 2


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="fastrnn", description=DESCRIPTION, formatter_class=_Help)
    parser.add_argument("--version", action="version", version=f"fastrnn {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    forecast = commands.add_parser(
        "forecast",
        help="forecast a series in a CSV file (or the bundled one)",
        description=FORECAST,
        epilog=FORECAST_EPILOG,
        formatter_class=_Help,
    )
    forecast.set_defaults(run=_run_forecast)
    if "forecast" in argv:  # the kinds of cells are looked up only for those who ask
        _add_forecast_arguments(forecast)
        if _names_co2(argv):
            forecast.set_defaults(**CO2_OPTIONS)

    bench = commands.add_parser("bench", help="measure fastrnn beside its peers", formatter_class=_Help)
    bench.set_defaults(run=_run_bench)
    if "bench" in argv:  # its cases are looked up only by those who ask
        from . import benchmark

        benchmark.add_arguments(bench)

    config = commands.add_parser("config", help="show kernels, BLAS and threads in use", formatter_class=_Help)
    config.set_defaults(run=_run_config)
    return parser


def _whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {text!r}")
        return value

    return convert


def _names_co2(argv: Sequence[str]) -> bool:
    """Whether the bundled CO2 is asked for, and not a file of that name."""
    return list(argv[1:2]) == [CO2] and not os.path.exists(CO2)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return value


def _add_forecast_arguments(parser: argparse.ArgumentParser) -> None:
    from .forecasting import cells
    from .forecasting.networks import FRONTENDS, STRATEGIES

    count = _whole_number(1)
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE.csv",
        help=f"a header line, then one row for each step of time; or {CO2}, a bundled series with options of its own",
    )

    data = parser.add_argument_group("the series")
    data.add_argument(
        "--target", metavar="COL", help="column to forecast (default: the first column of numbers that is no time)"
    )
    data.add_argument("--time", metavar="COL", help="column of times (default: looked for)")
    data.add_argument("--series", metavar="COL", help="column that names the series, if the file holds several")
    data.add_argument(
        "--planned",
        metavar="COL",
        action="append",
        default=[],
        help="column whose values are known ahead; may be given several times",
    )
    data.add_argument("--horizon", metavar="N", type=count, default=1, help="steps ahead")
    data.add_argument(
        "--season", metavar="N", type=count, help="steps in a season (default: from the time step, such as 168 hours)"
    )
    data.add_argument(
        "--test", metavar="N", type=count, help="rows of the test, at the end (default: 15 %% in whole seasons)"
    )
    data.add_argument(
        "--validation",
        metavar="N",
        type=count,
        help="rows before the test that stop the training (default: half as many)",
    )
    data.add_argument(
        "--stride", metavar="N", type=count, default=1, help="rows from one forecast of the test to the next"
    )
    data.add_argument("--refit", metavar="N", type=count, help="train anew after N rows of the test (default: once)")

    network = parser.add_argument_group("the network")
    network.add_argument("--cell", choices=cells(), default="gru", help="kind of layer")
    network.add_argument("--units", metavar="N", type=count, default=32, help="size of a layer")
    network.add_argument(
        "--layers", metavar="N", type=count, default=1, help="recurrent layers; rounds of dilations of a wavenet"
    )
    network.add_argument(
        "--frontend", choices=FRONTENDS, default="none", help="a convolution that halves the steps before the layers"
    )
    network.add_argument("--window", metavar="N", type=count, default=48, help="steps that are read before a forecast")
    network.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="direct",
        help="all steps ahead at once; one step, fed back; all steps after every row; or a second stack of layers that "
        "speaks once for each step",
    )
    network.add_argument(
        "--difference",
        metavar="N",
        type=_whole_number(0),
        help="1: see changes from row to row, N: changes from N rows before, a season (default: 0, or 1 where the "
        "series grows)",
    )
    network.add_argument(
        "--intervals", metavar="P", type=_share, help="forecast an interval for this share of the true values, too"
    )
    network.add_argument(
        "--epochs",
        metavar="N",
        type=count,
        help="passes over the training part, at most (default: 20 to 300 by its size)",
    )
    network.add_argument("--seed", metavar="N", type=_whole_number(0), default=0, help="same seed, same network")
    network.add_argument(
        "--threads",
        metavar="N",
        type=_whole_number(1, MOST_THREADS),
        help="threads at most, with the same result for any number; 1 is fastest on a machine that is busy with other "
        "work (default: the CPUs that it may use)",
    )

    output = parser.add_argument_group("the output")
    output.add_argument("--out", metavar="DIR", default="fastrnn-forecast", help="directory for the files")
    output.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    output.add_argument("--quiet", action="store_true", help="print the tables and nothing else")


def _run_forecast(arguments: argparse.Namespace) -> int:
    before = get_num_threads()
    set_num_threads(arguments.threads or before)
    try:
        return _forecast(arguments)
    finally:
        set_num_threads(before)


def _forecast(arguments: argparse.Namespace) -> int:
    from .forecasting import pipeline, report

    pipeline.require_extras()
    started = time.perf_counter()
    panel, unit = _read_panel(arguments)
    splits = _split(panel, arguments)
    os.makedirs(arguments.out, exist_ok=True)

    silent = arguments.json or arguments.quiet
    if not silent:
        for line in report.reading_lines(panel, splits):
            print(line, flush=True)
    growing = arguments.difference is not None and arguments.difference > 1
    outcome, network = pipeline.compare(
        panel,
        splits,
        _network(arguments, silent),
        unit,
        growing=growing,
        stride=arguments.stride,
        refit=arguments.refit,
    )
    pipeline.write_files(outcome, network, arguments.out)
    outcome.seconds = time.perf_counter() - started
    _print_outcome(outcome, arguments)
    return 0


def _network(arguments: argparse.Namespace, silent: bool) -> Forecaster:
    """The forecaster that the options describe."""
    from .forecasting import Forecaster
    from .forecasting.intervals import interval_quantiles

    return Forecaster(
        cell=arguments.cell,
        units=arguments.units,
        layers=arguments.layers,
        window=arguments.window,
        horizon=arguments.horizon,
        strategy=arguments.strategy,
        frontend=arguments.frontend,
        differences="auto" if arguments.difference is None else arguments.difference,
        quantiles=None if arguments.intervals is None else interval_quantiles(arguments.intervals),
        epochs=arguments.epochs,
        seed=arguments.seed,
        verbose=0 if silent else "auto",
    )


def _split(panel: Mapping[str, Series], arguments: argparse.Namespace) -> Mapping[str, Split]:
    """Where training, validation and test of every series begin."""
    from .forecasting import split_end

    rows = {name: len(series) for name, series in panel.items()}
    season = next(iter(panel.values())).season
    return split_end(rows, arguments.window, arguments.horizon, season, arguments.test, arguments.validation)


def _read_panel(arguments: argparse.Namespace) -> tuple[Mapping[str, Series], str]:
    """The series to forecast by name (one has the empty string), and the unit of the target."""
    from .forecasting import read_csv, read_panel

    reading = (arguments.target, arguments.time, arguments.season)
    if arguments.file is None or _names_co2(["forecast", arguments.file]):
        if arguments.series is not None:
            raise ValueError("--series: the bundled data are one series; give a file")
        return _bundled(arguments)
    if arguments.series is not None:
        panel = read_panel(arguments.file, arguments.series, *reading, planned=arguments.planned)
        return panel, next(iter(panel.values())).target
    series = read_csv(arguments.file, *reading, planned=arguments.planned)
    return {"": series}, series.target


def _bundled(arguments: argparse.Namespace) -> tuple[Mapping[str, Series], str]:
    """The bundled bikes or CO2."""
    from . import datasets
    from .forecasting import read_csv
    from .forecasting.reading import make_series

    if arguments.file == CO2:
        for option in ("target", "time"):
            if getattr(arguments, option) is not None:
                raise ValueError(f"--{option}: the bundled CO2 has one column and its times; leave it out")
        co2 = datasets.co2_monthly()
        moments = co2.time.astype("datetime64[us]")
        source = f"bundled data ({co2.source}), monthly means"
        return {"": make_series([co2.target], co2.y[:, None], moments, arguments.season, source=source)}, co2.unit
    bikes = datasets.bike_sharing()
    target = arguments.target or bikes.target
    file = datasets.path("bike_sharing")
    series = read_csv(file, target, arguments.time, arguments.season, planned=arguments.planned)
    unit = bikes.unit if target == bikes.target else target
    return {"": dataclasses.replace(series, source=f"bundled data ({bikes.source})")}, unit


def _print_outcome(outcome: Outcome, arguments: argparse.Namespace) -> None:
    from .forecasting import report

    if arguments.json:
        print(report.as_json(outcome))
        return
    tables = [report.error_table(outcome)]
    if outcome.horizon > 1:
        tables.append(report.step_table(outcome))
    if outcome.backtest.series_names:
        tables.append(report.series_table(outcome))
    report.show(tables)
    for line in report.coverage_lines(outcome):
        print(line)
    if arguments.quiet:
        return
    print(report.verdict(outcome))
    print()
    for name, path in outcome.files.items():
        print(f"{name + ':':<10}{path}")
    print(f"{outcome.seconds:.1f} seconds")


def _run_bench(arguments: argparse.Namespace) -> int:
    from . import benchmark

    return benchmark.run(arguments)


def _run_config(arguments: argparse.Namespace) -> int:
    from ._config import show_config

    show_config()
    return 0
