"""Threads: how many, from many callers at once, and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import fastrnn
from fastrnn import _threads

from ..helpers import CELLS
from .cases import random_arguments, random_upstream, run

Array = np.ndarray


@pytest.fixture
def default_threads() -> Iterator[None]:
    yield
    fastrnn.set_num_threads(None)


def test_the_default_is_what_this_process_may_use(default_threads: None) -> None:
    fastrnn.set_num_threads(None)
    assert 1 <= fastrnn.get_num_threads() <= len(os.sched_getaffinity(0))


def test_set_num_threads(default_threads: None) -> None:
    fastrnn.set_num_threads(3)
    assert fastrnn.get_num_threads() == 3
    assert _threads.threads_for(None) == 3
    assert _threads.threads_for(1) == 1


@pytest.mark.parametrize("bad", [0, -1, 257, 1.5, "2", True])
def test_bad_numbers_of_threads(bad: object, default_threads: None) -> None:
    with pytest.raises((TypeError, ValueError), match="number: expected an integer"):
        fastrnn.set_num_threads(bad)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match="num_threads: expected an integer"):
        fastrnn.rnn_forward([[1.0]], None, [[1.0]], [[1.0]], None, num_threads=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "cpus"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", None)]
)
def test_the_quota_of_a_control_group(text: str, cpus: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: text)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert _threads.usable_cpus() == (8 if cpus is None else cpus)


def test_many_callers_at_once(rng: np.random.Generator) -> None:
    """Eight Python threads, each with work for two: every one gets the bits that a single caller gets."""
    cell = CELLS[-1]
    arguments = random_arguments(cell, rng, 16, 40, 9, 70, "float32")
    upstream = random_upstream(cell, rng, 16, 40, 70, "float32")
    expected = run(fastrnn, cell, arguments, upstream, num_threads=1)
    wrong: list[str] = []

    def call() -> None:
        for _ in range(10):
            for actual, right in zip(run(fastrnn, cell, arguments, upstream, num_threads=2), expected, strict=True):
                wrong.extend(name for name in right if not np.array_equal(actual[name], right[name]))

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_fifty_forked_children(rng: np.random.Generator) -> None:
    """A child forked after its parent used threads can call fastrnn, with threads of its own."""
    program = textwrap.dedent(
        """
        import os, sys
        import numpy as np
        import fastrnn

        rng = np.random.default_rng(0)
        x, w_x, w_h = rng.normal(size=(32, 50, 20)), rng.normal(size=(20, 256)), rng.normal(size=(64, 256)) / 8

        def call():
            y, cache = fastrnn.lstm_forward(x, None, None, w_x, w_h, None, num_threads=2)
            return y, fastrnn.lstm_backward(y, cache).dw_h

        expected = call()
        for _ in range(50):
            call()
            child = os.fork()
            if child == 0:
                same = all(np.array_equal(a, b) for a, b in zip(call(), expected))
                os._exit(0 if same else 1)
            _, status = os.waitpid(child, 0)
            assert status == 0, status
        assert all(np.array_equal(a, b) for a, b in zip(call(), expected))
        print("50 children")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "50 children\n"


def test_idle_workers_sleep(rng: np.random.Generator) -> None:
    """After a call with threads, half a second of sleep costs next to no processor time."""
    program = textwrap.dedent(
        """
        import time
        import numpy as np
        import fastrnn

        x = np.ones((64, 50, 20))
        fastrnn.lstm_forward(x, None, None, np.ones((20, 512)), np.ones((128, 512)), None, num_threads=4)
        before = time.process_time()
        time.sleep(0.5)
        print(time.process_time() - before)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 0.05


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_long_call(threads: int) -> None:
    program = textwrap.dedent(
        f"""
        import os, signal, threading, time
        import numpy as np
        import fastrnn

        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored from birth under a shell's "pytest &"
        x, w_x, w_h = np.ones((64, 20000, 32), "f4"), np.ones((32, 512), "f4") / 99, np.ones((128, 512), "f4") / 99
        fastrnn.lstm_forward(x[:, :10], None, None, w_x, w_h, None)

        def interrupt():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            fastrnn.lstm_forward(x, None, None, w_x, w_h, None, num_threads={threads}, keep_cache=False)
        except KeyboardInterrupt:
            y, _ = fastrnn.lstm_forward(x[:, :10], None, None, w_x, w_h, None, num_threads={threads})
            print("interrupted, and usable", np.isfinite(y).all())
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "interrupted, and usable True\n"
