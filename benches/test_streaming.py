"""Sessions beside PyTorch's cells, ONNX Runtime and the NumPy loop: steps, small models, batches, blocks of audio.

    pytest benches/test_streaming.py --benchmark-only
    python -m benches.test_streaming              # the same as one table, all in turns, and the latencies

Everyone owns a state, which starts at zero, and gets one input after the other from Python; every result is checked
before it is timed.  Times are those of a call: a step of all rows of the batch, or a block of steps of one row.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastrnn
from fastrnn import benchmark as bench
from fastrnn import reference
from fastrnn.benchmark.peers import reorder_gates, two_biases
from fastrnn.benchmark.probe import Machine
from fastrnn.layers import GRU, LSTM, Dense
from fastrnn.training import Sequential

from .conftest import THREADS, note_environment, note_ratio

Array = np.ndarray
Run = Callable[[Array], Array]  # x (B, I), or (block, I), to the outputs

STEPS = 1_000_000  # of the latencies
PEERS_STEPS = 20_000
TOLERANCE = 1e-5


class Workload(NamedTuple):
    """Recurrent layers of one kind, perhaps a dense head, and how they are fed.

    `most` is the time that is aimed at, in microseconds; None: a multiple of the floor, the weights' bytes by the
    bandwidth of the cache that holds them.
    """

    name: str
    cell: str
    inputs: int
    units: tuple[int, ...]
    outputs: int | None = None
    batch: int = 1
    block: int | None = None
    most: float | None = None

    def __str__(self) -> str:
        return self.name

    def model(self) -> Sequential:
        """The model, built; the weights are the same at every call."""
        kind = {"lstm": LSTM, "gru": GRU}[self.cell]
        layers: list[Any] = [kind(units, return_sequences=True) for units in self.units]
        if self.outputs is not None:
            layers.append(Dense(self.outputs))
        return Sequential(layers, input_size=self.inputs, seed=0)

    def x(self, steps: int) -> Array:
        """As many inputs as steps, (steps, B or block, I)."""
        shape = (steps, self.block or self.batch, self.inputs)
        return np.random.default_rng(1).normal(size=shape).astype("float32")

    def expected(self, x: Array) -> Array:
        """The outputs for all of them, by the reference in float64."""
        y = x.reshape(1, -1, self.inputs) if self.block else x.swapaxes(0, 1)
        y = y.astype("float64")
        model = self.model()
        for layer in model.layers:
            p = {name: array.astype("float64") for name, array in layer.params.items()}
            if "w_h" in p:
                states = (None, None) if self.cell == "lstm" else (None,)
                y, _ = getattr(reference, f"{self.cell}_forward")(y, *states, p["w_x"], p["w_h"], p["b"])
            else:
                y = y @ p["w"] + p["b"]
        return y.reshape(len(x), self.block, -1) if self.block else y.swapaxes(0, 1)

    def case(self) -> bench.Case:
        """The same as `fastrnn bench` has it, for the floor; a single layer."""
        return bench.Case(self.cell, "step", bench.Shape(self.batch, 1, self.inputs, self.units[0]))


WORKLOADS = [
    Workload("LSTM 1,20", "lstm", 1, (20,), most=0.7),
    Workload("LSTM 40,64", "lstm", 40, (64,), most=2.0),
    Workload("LSTM 128,256", "lstm", 128, (256,)),
    Workload("LSTM 512,512", "lstm", 512, (512,)),
    Workload("2 x GRU 32 + Dense", "gru", 8, (32, 32), outputs=1, most=3.0),
    Workload("64 streams of LSTM 32", "lstm", 8, (32,), batch=64, most=64 * 0.25),
    Workload("64 streams of GRU 32", "gru", 8, (32,), batch=64, most=64 * 0.25),
    Workload("64 samples, LSTM 16 + Dense", "lstm", 1, (16,), outputs=1, block=64, most=64 / 48_000 / 20 * 1e6),
]


# ---- who runs them ---------------------------------------------------------------------------------------------------


def fastrnn_session(workload: Workload) -> Run:
    session = fastrnn.stream(workload.model(), workload.batch)
    return session.run if workload.block else session.step


def numpy_loop(workload: Workload) -> Run:
    """What one writes by hand, on weights and states of its own."""
    model = workload.model()
    layers = [(dict(layer.params), [np.zeros((workload.batch, units), "float32")] * 2)
              for layer, units in zip(model.layers, workload.units, strict=False)]  # fmt: skip
    head = model.layers[-1].params if workload.outputs is not None else None

    def sigmoid(a: Array) -> Array:
        return 1 / (1 + np.exp(-a))

    def lstm(x: Array, p: Any, states: list[Array]) -> Array:
        h, c = states
        i, f, g, o = np.split(x @ p["w_x"] + h @ p["w_h"] + p["b"], 4, axis=-1)
        states[1] = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        states[0] = sigmoid(o) * np.tanh(states[1])
        return states[0]

    def gru(x: Array, p: Any, states: list[Array]) -> Array:
        h = states[0]
        gx, gh = x @ p["w_x"] + p["b"][0], h @ p["w_h"] + p["b"][1]
        (x_z, x_r, x_n), (h_z, h_r, h_n) = np.split(gx, 3, axis=-1), np.split(gh, 3, axis=-1)
        z = sigmoid(x_z + h_z)
        states[0] = z * h + (1 - z) * np.tanh(x_n + sigmoid(x_r + h_r) * h_n)
        return states[0]

    cell = {"lstm": lstm, "gru": gru}[workload.cell]
    layers = [(p, list(states)) for p, states in layers]

    def step(x: Array) -> Array:
        for p, states in layers:
            x = cell(x, p, states)
        return x if head is None else x @ head["w"] + head["b"]

    return (lambda x: np.concatenate([step(x_t[None]) for x_t in x])) if workload.block else step


def torch_cells(workload: Workload) -> Run:
    """nn.LSTMCell or nn.GRUCell one behind the other; for blocks nn.LSTM."""
    import torch

    torch.set_num_threads(THREADS)
    whole = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[workload.cell]
    single = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[workload.cell]
    order = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}[workload.cell]
    modules, model = [], workload.model()
    for layer, units in zip(model.layers, workload.units, strict=False):
        inputs = layer.params["w_x"].shape[0]
        module = whole(inputs, units, batch_first=True) if workload.block else single(inputs, units)
        suffix = "_l0" if workload.block else ""
        b = two_biases(layer.params["b"])
        for name, array in (("weight_ih", layer.params["w_x"].T), ("weight_hh", layer.params["w_h"].T),
                            ("bias_ih", b[0]), ("bias_hh", b[1])):  # fmt: skip
            ordered = reorder_gates(array.T, order).T
            getattr(module, name + suffix).data = torch.tensor(np.ascontiguousarray(ordered))
        modules.append(module)
    head = None
    if workload.outputs is not None:
        head = {name: torch.tensor(array) for name, array in model.layers[-1].params.items()}
    states: list[Any] = [None] * len(modules)

    def run(array: Array) -> Array:
        with torch.inference_mode():
            x = torch.from_numpy(array[None] if workload.block else array)
            for i, module in enumerate(modules):
                if workload.block:
                    x, states[i] = module(x, states[i])
                else:
                    states[i] = module(x, states[i])
                    x = states[i][0] if workload.cell == "lstm" else states[i]
            if head is not None:
                x = torch.addmm(head["b"], x[0] if workload.block else x, head["w"])
            elif workload.block:
                x = x[0]
            return x.numpy()

    return run


def onnx_runtime(workload: Workload) -> Run:
    """One model of LSTM or GRU nodes and a head, its states among the inputs and outputs."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    order = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2)}[workload.cell]
    names = ("h", "c") if workload.cell == "lstm" else ("h",)
    steps, batch = workload.block or 1, workload.batch
    nodes, weights, model = [], {"axis": np.array([1], np.int64)}, workload.model()
    x, shapes_in, shapes_out = "x", {"x": (steps, batch, workload.inputs)}, {}
    for i, (layer, units) in enumerate(zip(model.layers, workload.units, strict=False)):
        weights[f"w{i}"] = reorder_gates(layer.params["w_x"], order).T[None]
        weights[f"r{i}"] = reorder_gates(layer.params["w_h"], order).T[None]
        weights[f"b{i}"] = reorder_gates(two_biases(layer.params["b"]), order).reshape(1, -1)
        given, left = [f"{name}{i}_0" for name in names], [f"{name}{i}_n" for name in names]
        options = {"linear_before_reset": 1} if workload.cell == "gru" else {}
        nodes.append(helper.make_node(workload.cell.upper(), [x, f"w{i}", f"r{i}", f"b{i}", "", *given],
                                      [f"y{i}", *left], hidden_size=units, **options))  # fmt: skip
        nodes.append(helper.make_node("Squeeze", [f"y{i}", "axis"], [f"rows{i}"]))
        x = f"rows{i}"
        shapes_in |= dict.fromkeys(given, (1, batch, units))
        shapes_out |= dict.fromkeys(left, (1, batch, units))
    if workload.outputs is not None:
        weights["w"], weights["b"] = model.layers[-1].params["w"], model.layers[-1].params["b"]
        nodes += [helper.make_node("MatMul", [x, "w"], ["product"]), helper.make_node("Add", ["product", "b"], ["out"])]
        x = "out"
    shapes_out[x] = (steps, batch, workload.outputs or workload.units[-1])
    infos = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
             for shapes in (shapes_in, shapes_out)]  # fmt: skip
    constants = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "stream", *infos, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = THREADS, 1, 3
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [x, *(name for name in shapes_out if name != x)]
    feeds = {name: np.zeros(shape, "float32") for name, shape in shapes_in.items() if name != "x"}

    def run(array: Array) -> Array:
        out, *states = session.run(wanted, {"x": array.reshape(steps, batch, -1), **feeds})
        feeds.update(zip(feeds, states, strict=True))
        return out[:, 0] if workload.block else out[0]

    return run


RUNNERS: dict[str, Callable[[Workload], Run]] = {"fastrnn": fastrnn_session, "numpy": numpy_loop}
if find_spec("torch"):
    RUNNERS["torch"] = torch_cells
if find_spec("onnxruntime") and find_spec("onnx"):
    RUNNERS["onnxruntime"] = onnx_runtime


def checked(workload: Workload, name: str) -> Callable[[], Array]:
    """A call that is right: the first ones are compared with the reference."""
    run, x = RUNNERS[name](workload), workload.x(5)
    y = np.stack([np.array(run(x_t)) for x_t in x])
    expected = workload.expected(x)
    assert y.shape == expected.shape, f"{name}: {y.shape} for {expected.shape}"
    error = np.abs(y - expected).max() / np.abs(expected).max()
    assert error <= TOLERANCE, f"{name}: {error:.1e}"
    again = x[0, 0] if name == "fastrnn" and workload.batch == 1 and not workload.block else x[0]
    return lambda: run(again)


def goal(workload: Workload, machine: Machine) -> float:
    """Seconds that a call may take."""
    return 1.3 * machine.floor(workload.case()) if workload.most is None else workload.most * 1e-6


# ---- benches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNNERS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
@pytest.mark.benchmark(min_rounds=5, max_time=0.3)
def test_stream(benchmark: Any, workload: Workload, name: str) -> None:
    run = checked(workload, name)
    benchmark.group = str(workload)
    note_environment(benchmark)
    benchmark(run)
    if name != "fastrnn" and benchmark.enabled:
        note_ratio(benchmark, name, run, checked(workload, "fastrnn"))
    elif benchmark.enabled:
        seconds = bench.time_in_turns({name: run}, 0.3)[name]
        benchmark.extra_info["of the goal"] = round(seconds / goal(workload, Machine("float32", 1)), 3)


def latencies(run: Callable[[], Any], steps: int) -> dict[str, float]:
    """Microseconds of a call that half, 99 % and 99.99 % of the calls do not exceed, and of the slowest."""
    ticks = np.empty(steps + 1, np.int64)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i in range(steps):
            ticks[i] = perf_counter_ns()
            run()
        ticks[steps] = perf_counter_ns()
    finally:
        if collecting:
            gc.enable()
    micros = np.diff(ticks) / 1e3
    shares = {"p50": 50, "p99": 99, "p99.99": 99.99, "worst": 100}
    return {name: round(float(np.percentile(micros, share)), 2) for name, share in shares.items()}


@pytest.mark.parametrize("name", RUNNERS)
@pytest.mark.benchmark(min_rounds=1, max_time=0.1)
def test_latency(benchmark: Any, name: str) -> None:
    run = checked(WORKLOADS[0], name)
    benchmark.group = "latency"
    benchmark(run)
    if benchmark.enabled:
        benchmark.extra_info.update(latencies(run, STEPS if name == "fastrnn" else PEERS_STEPS))


# ---- one table -------------------------------------------------------------------------------------------------------


def main() -> None:
    machine = Machine("float32", 1)
    print(f"{'':<28}" + "".join(f"{name:>14}" for name in RUNNERS) + f"{'goal':>10}   microseconds a call, medians")
    with bench.limited_threads(THREADS):
        for workload in WORKLOADS:
            runs = {name: checked(workload, name) for name in RUNNERS}
            seconds = bench.time_in_turns(runs, 2.0)
            reached = "reached" if seconds["fastrnn"] <= goal(workload, machine) else "MISSED"
            times = "".join(f"{1e6 * seconds[name]:>14.2f}" for name in runs)
            print(f"{workload.name:<28}{times}{1e6 * goal(workload, machine):>10.2f}   {reached}")
            if workload.block:
                rate = workload.block / 48_000 / seconds["fastrnn"]
                print(f"{'':<28}{rate:>13.0f}x   real time at 48 kHz")
            elif workload.batch > 1:
                print(f"{'':<28}{1e6 * seconds['fastrnn'] / workload.batch:>14.3f}   a stream and step")
        print(f"\nlatency of a step, {WORKLOADS[0].name}, microseconds, clock included")
        for name in RUNNERS:
            steps = STEPS if name == "fastrnn" else PEERS_STEPS
            found = latencies(checked(WORKLOADS[0], name), steps)
            print(f"{name:<14}" + "".join(f"{key:>8} {value:<9}" for key, value in found.items()) + f"{steps:,} steps")


if __name__ == "__main__":
    main()
