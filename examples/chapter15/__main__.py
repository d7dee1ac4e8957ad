"""Every table of the chapter "Processing Sequences Using RNNs and CNNs" beside ours.

python -m examples.chapter15 [--only deep_rnns short_memory] [--seeds 5] [--quick] [--peers] [--jobs 2] [--json]
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the scripts import one another as they do by themselves

NAMES = ["baselines", "simple_rnn", "deep_rnns", "several_steps", "unstable_gradients", "short_memory"]


def main(arguments: list[str] | None = None) -> None:
    from chapter import make_parser, run

    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="SECTION", help=", ".join(NAMES))
    options = parser.parse_args(arguments)
    run(*(importlib.import_module(name).SECTION for name in NAMES if name in options.only), arguments=options)


if __name__ == "__main__":
    main()
