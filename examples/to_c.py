"""From training to a C program: a GRU learns to take the noise off a sine wave, and goes on without Python.

The model is trained, written as net.c and net.h, compiled together with the few lines of main.c below where there is a
C compiler, and run on new waves; the program's numbers are then compared with the model's.

    python examples/to_c.py [--epochs 8] [--directory DIR] [--seed 0]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import fastrnn
from fastrnn.layers import GRU, Dense
from fastrnn.training import Sequential

STEPS = 80

MAIN = """\
#include <stdio.h>
#include "net.h"

int main(void)
{
    net_state state;
    float x[1], y[1];
    net_init(&state);
    while (scanf("%f", x) == 1) {
        net_step(&state, x, y);
        printf("%.9g\\n", y[0]);
    }
    return 0;
}
"""


def waves(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sine waves of different frequencies with noise and without, each (count, STEPS, 1)."""
    phase = rng.uniform(0.1, 0.6, (count, 1)) * np.arange(STEPS) + rng.uniform(0, 6.3, (count, 1))
    clean = np.sin(phase)[..., None].astype("float32")
    return clean + rng.normal(scale=0.4, size=clean.shape).astype("float32"), clean


def rmse(made: np.ndarray, true: np.ndarray) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean(np.square(made - true))))


def run_program(directory: Path, x: np.ndarray) -> np.ndarray | None:
    """What the C program makes of the numbers x (T,); None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    (directory / "main.c").write_text(MAIN)
    subprocess.run([compiler, "-std=c99", "-O2", "net.c", "main.c", "-o", "net", "-lm"], cwd=directory, check=True)
    lines = "\n".join(f"{value:.9g}" for value in x)
    done = subprocess.run([directory / "net"], input=lines, capture_output=True, text=True, check=True)
    return np.array(done.stdout.split(), "float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training waves (default: 8)")
    parser.add_argument("--directory", type=Path, help="where to put the files (default: a temporary directory)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the waves (default: 0)")
    args = parser.parse_args()
    directory = (args.directory or Path(tempfile.mkdtemp())).resolve()

    rng = np.random.default_rng(args.seed)
    model = Sequential([GRU(16, return_sequences=True), GRU(16, return_sequences=True), Dense(1)], seed=args.seed)
    model.compile("adam", "mse")
    model.fit(*waves(1000, rng), epochs=args.epochs, verbose=0)

    sizes = fastrnn.interop.to_c(model, directory / "net.c", header=directory / "net.h")
    print(f"{directory / 'net.c'}: {sizes.parameters:,} bytes of constants, {sizes.state} of state, "
          f"about {sizes.stack} of stack")  # fmt: skip

    noisy, clean = waves(1, rng)
    expected = model.predict(noisy)
    print(f"error of a new wave: {rmse(noisy, clean):.3f} as it is, {rmse(expected, clean):.3f} behind the model")
    made = run_program(directory, noisy[0, :, 0])
    if made is None:
        print("no C compiler here: the files are not compiled")
    else:
        difference = np.abs(made - expected[0, :, 0]).max()
        print(f"the C program's {len(made)} numbers differ from the model's by at most {difference:.1e}")
        assert difference < 1e-6


if __name__ == "__main__":
    main()
