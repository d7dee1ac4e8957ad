"""The command line: ``fastrnn forecast``, ``fastrnn bench``, ``fastrnn config``.

Exit status: 0 done, 2 something in the command or the data is wrong (one line on stderr says what), 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ._version import __version__

if TYPE_CHECKING:
    from .forecasting import Series

__all__ = ["main"]

DESCRIPTION = "Recurrent networks at the speed of the machine."

FORECAST = """\
Train a recurrent network on a series in a CSV file, hold it against three simple forecasts on the end of the series,
and forecast what comes next. Without a file: bikes rented in each hour of 2011 in Washington DC (bundled).
"""

FORECAST_EPILOG = """\
what happens to the file:
  The time step is the commonest distance between rows. Missing steps and values are filled from the past alone, and
  never counted as right or wrong. A column of text becomes one column of 0 and 1 for each of its values (at most 12).
  Every column but the target is an input, known up to the present, unless it has no name (row numbers); hour, weekday
  and season of the moment to forecast are inputs too. The last part of the file is the test, the part before it stops
  the training at the best moment.

what is written to the directory --out:
  forecast.png       the end of the test part, and the errors
  forecast.csv       what comes after the end of the file
  test.csv           every forecast of the test part beside the truth
  model.safetensors  the network, for fastrnn.load

examples:
  fastrnn forecast                                        the bundled series, one hour ahead
  fastrnn forecast --horizon 24 --strategy seq2seq        a day ahead, hour by hour
  fastrnn forecast sales.csv --target sold --horizon 7    your own
  fastrnn forecast sales.csv --target sold --json         one JSON object on stdout, for programs
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Text as it was written, and the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


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
    _add_forecast_arguments(forecast)
    forecast.set_defaults(run=_run_forecast)

    bench = commands.add_parser("bench", help="measure fastrnn beside its peers", formatter_class=_Help)
    bench.set_defaults(run=_run_bench)
    if "bench" in argv:  # its cases are looked up only by those who ask
        from . import benchmark

        benchmark.add_arguments(bench)

    config = commands.add_parser("config", help="show kernels, BLAS and threads in use", formatter_class=_Help)
    config.set_defaults(run=_run_config)
    return parser


def _whole_number(minimum: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {minimum}, got {text!r}")
        return value

    return convert


def _add_forecast_arguments(parser: argparse.ArgumentParser) -> None:
    count = _whole_number(1)
    parser.add_argument("file", nargs="?", metavar="FILE.csv", help="a header line, then one row for each step of time")

    data = parser.add_argument_group("the series")
    data.add_argument(
        "--target", metavar="COL", help="column to forecast (default: the first column of numbers that is no time)"
    )
    data.add_argument("--time", metavar="COL", help="column of times (default: looked for)")
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

    network = parser.add_argument_group("the network")
    network.add_argument("--cell", choices=("gru", "lstm", "rnn"), default="gru", help="kind of recurrent layer")
    network.add_argument("--units", metavar="N", type=count, default=32, help="size of a recurrent layer")
    network.add_argument("--layers", metavar="N", type=count, default=1, help="recurrent layers")
    network.add_argument("--window", metavar="N", type=count, default=48, help="steps that are read before a forecast")
    network.add_argument(
        "--strategy",
        choices=("direct", "recursive", "seq2seq"),
        default="direct",
        help="all steps ahead at once, one step fed back, or all steps after every row",
    )
    network.add_argument(
        "--epochs",
        metavar="N",
        type=count,
        help="passes over the training part, at most (default: 20 to 300 by its size)",
    )
    network.add_argument("--seed", metavar="N", type=_whole_number(0), default=0, help="same seed, same network")

    output = parser.add_argument_group("the output")
    output.add_argument("--out", metavar="DIR", default="fastrnn-forecast", help="directory for the files")
    output.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    output.add_argument("--quiet", action="store_true", help="print the table and nothing else")


def _run_forecast(arguments: argparse.Namespace) -> int:
    from .forecasting import Forecaster, pipeline, report, split_end

    pipeline.require_extras()
    started = time.perf_counter()
    series, unit = _read_series(arguments)
    split = split_end(
        len(series), arguments.window, arguments.horizon, series.season, arguments.test, arguments.validation
    )
    os.makedirs(arguments.out, exist_ok=True)

    silent = arguments.json or arguments.quiet
    if not silent:
        for line in report.reading_lines(series, split):
            print(line, flush=True)
    network = Forecaster(
        cell=arguments.cell,
        units=arguments.units,
        layers=arguments.layers,
        window=arguments.window,
        horizon=arguments.horizon,
        strategy=arguments.strategy,
        epochs=arguments.epochs,
        seed=arguments.seed,
        verbose=0 if silent else "auto",
    )
    outcome, network = pipeline.compare(series, split, network, unit)
    pipeline.write_files(outcome, network, arguments.out)
    outcome.seconds = time.perf_counter() - started
    _print_outcome(outcome, arguments)
    return 0


def _read_series(arguments: argparse.Namespace) -> tuple[Series, str]:
    """The series to forecast, and the unit of its target."""
    from . import datasets
    from .forecasting import read_csv

    if arguments.file is not None:
        series = read_csv(arguments.file, arguments.target, arguments.time, arguments.season)
        return series, series.target
    bikes = datasets.bike_sharing()
    target = arguments.target or bikes.target
    series = read_csv(datasets.path("bike_sharing"), target, arguments.time, arguments.season)
    source = f"bundled data ({bikes.source})"
    return dataclasses.replace(series, source=source), bikes.unit if target == bikes.target else target


def _print_outcome(outcome: Any, arguments: argparse.Namespace) -> None:
    from .forecasting import report

    if arguments.json:
        print(report.as_json(outcome))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    console.print(report.error_table(outcome))
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
