"""Who is timed: fastrnn, its NumPy reference, and the libraries that people would use instead, if they are installed.

Every implementation gets its weights, states and inputs beforehand and in its own form (tensors, time first, gates in
its order), so that only its computation is timed, and hands its results back by our names and in our layout.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import _engine
from .cases import MODES, Array, Case

Results = dict[str, Array]


class Prepared(NamedTuple):
    """A case made ready: `run()` is what is timed, `results(run())` are its results by name.

    For steps `run` keeps the state, which is zero before its first call.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Results]


class Implementation(ABC):
    """One way to compute a case."""

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()  # what has to be installed; the first one's version is shown
    cells: ClassVar[tuple[str, ...]] = ("rnn", "lstm", "gru")
    modes: ClassVar[tuple[str, ...]] = MODES
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")

    @classmethod
    def installed(cls) -> bool:
        """Whether everything it needs is there."""
        return all(find_spec(package) is not None for package in cls.packages)

    @classmethod
    def version(cls) -> str:
        """The installed version."""
        return version(cls.packages[0])

    def supports(self, case: Case) -> bool:
        """Whether it can compute the case at all."""
        return case.cell in self.cells and case.mode in self.modes and case.dtype in self.dtypes

    @abstractmethod
    def prepare(self, case: Case, threads: int) -> Prepared:
        """Everything that is done once, before the clock runs."""


def reorder_gates(array: Array, order: Sequence[int]) -> Array:
    """The gates, side by side in the last axis, in another order."""
    return np.concatenate([np.split(array, len(order), axis=-1)[gate] for gate in order], axis=-1)


def two_biases(b: Array) -> Array:
    """The bias as (2, G*H), of the input and of the recurrence; where we have one row, the second is zero."""
    return b if b.ndim == 2 else np.stack([b, np.zeros_like(b)])


# ---- functions with our names ----------------------------------------------------------------------------------------


class FunctionsOfModule(Implementation):
    """A module with the functions of `fastrnn.functional`."""

    def functions(self, threads: int) -> tuple[Any, dict[str, Any]]:
        """The module, and the keywords for its functions over sequences."""
        raise NotImplementedError

    def supports(self, case: Case) -> bool:
        return case.mode in self.modes and case.dtype in self.dtypes  # every cell there is

    def prepare(self, case: Case, threads: int) -> Prepared:
        module, keywords = self.functions(threads)
        if case.mode == "step":
            return self._stepping(case, getattr(module, f"{case.cell}_step_forward"))
        arguments, dy = case.arguments(), case.dy()
        values = tuple(arguments.values())
        forward = getattr(module, f"{case.cell}_forward")
        backward = getattr(module, f"{case.cell}_backward")

        def forward_backward() -> tuple[Array, Any]:
            y, cache = forward(*values, **keywords)
            return y, backward(dy, cache)

        def forward_results(raw: tuple[Array, Any]) -> Results:
            y, cache = raw
            return {"y": y, **{f"{state}_n": getattr(cache, f"{state}_n") for state in case.states}}

        def gradient_results(raw: tuple[Array, Any]) -> Results:
            y, gradients = raw
            return {"y": y, **{f"d{name}": getattr(gradients, f"d{name}") for name in arguments}}

        return {
            "forward": Prepared(lambda: forward(*values, **keywords, keep_cache=False), forward_results),
            "forward+backward": Prepared(forward_backward, gradient_results),
        }[case.mode]

    @staticmethod
    def _stepping(case: Case, step: Callable[..., Any]) -> Prepared:
        x, *values = case.arguments().values()
        states, weights = values[:-3], values[-3:]

        def run() -> list[Array]:
            nonlocal states
            *states, _ = step(x, *states, *weights)
            return states

        return Prepared(run, lambda raw: dict(zip(case.states, raw, strict=True)))


class StepFunction(FunctionsOfModule):
    """`fastrnn.functional`, of which ``<cell>_step_forward`` is timed beside what `FastRNN` does for steps."""

    name, title, packages = "fastrnn_function", "fastrnn function", ("fastrnn",)
    modes: ClassVar[tuple[str, ...]] = ("step",)

    def functions(self, threads: int) -> tuple[Any, dict[str, Any]]:
        from .. import functional

        return functional, {"num_threads": threads}


class FastRNN(StepFunction):
    """`fastrnn.functional` for sequences; for steps a bound cell, which packs the weights once and keeps the state."""

    name, title = "fastrnn", "fastrnn"
    modes = MODES

    def prepare(self, case: Case, threads: int) -> Prepared:
        return self._bound_steps(case) if case.mode == "step" else super().prepare(case, threads)

    @staticmethod
    def _bound_steps(case: Case) -> Prepared:
        from .._recurrent_stage import RecurrentStage
        from .._session import Loop

        x, *_, w_x, w_h, b = case.arguments().values()
        index, activations = _engine.CELLS[case.cell]["index"], _engine.ACTIVATIONS
        tanh, sigmoid = activations["tanh"]["default"], activations["sigmoid"]["default"]
        stage = RecurrentStage(index, case.shape.batch, w_x, w_h, b, tanh, sigmoid)

        def results(h: Array) -> Results:
            return {**dict(zip(case.states, stage.state, strict=True)), "h": h}

        return Prepared(partial(Loop(stage).step, x), results)


class Reference(FunctionsOfModule):
    """`fastrnn.reference`: the loop in plain NumPy."""

    name, title, packages = "reference", "NumPy", ("numpy",)

    def functions(self, threads: int) -> tuple[Any, dict[str, Any]]:
        from .. import reference

        return reference, {}


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


class PyTorch(Implementation):
    """nn.RNN, nn.LSTM, nn.GRU on (B, T, I); for single steps nn.RNNCell, nn.LSTMCell, nn.GRUCell."""

    name, title, packages = "torch", "PyTorch", ("torch",)
    gate_order: ClassVar = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}  # GRU: r z n, its own inverse

    def prepare(self, case: Case, threads: int) -> Prepared:
        import torch

        torch.set_num_threads(threads)
        arguments = case.arguments()
        module = self._module(torch, case, arguments)
        x, *states = (torch.from_numpy(array) for name, array in arguments.items() if name in ("x", "h0", "c0"))
        if case.mode != "step":
            states = [state[None] for state in states]  # (1, B, H): its first axis counts layers
        state = tuple(states) if len(states) > 1 else states[0]
        if case.mode == "forward+backward":
            return self._training(torch, case, module, x, states, state)
        if case.mode == "step":
            return self._stepping(torch, case, module, x, state)

        def run() -> Any:
            with torch.inference_mode():
                return module(x, state)

        def results(raw: Any) -> Results:
            y, final = raw
            final = final if isinstance(final, tuple) else (final,)
            return {
                "y": y.numpy(),
                **{f"{name}_n": value[0].numpy() for name, value in zip(case.states, final, strict=True)},
            }

        return Prepared(run, results)

    def _module(self, torch: Any, case: Case, arguments: dict[str, Array]) -> Any:
        """Its layer or cell with our weights."""
        kind = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[case.cell] + ("Cell" if case.mode == "step" else "")
        options = {} if case.mode == "step" else {"batch_first": True}
        module = getattr(torch.nn, kind)(
            case.shape.inputs, case.shape.hidden, dtype=getattr(torch, case.dtype), **options
        )
        order = self.gate_order[case.cell]
        ours = [reorder_gates(arguments[name], order).T for name in ("w_x", "w_h")]
        ours += list(reorder_gates(two_biases(arguments["b"]), order))
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), ours, strict=True):
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        return module

    @staticmethod
    def _stepping(torch: Any, case: Case, module: Any, x: Any, state: Any) -> Prepared:
        """One step after another."""

        def run() -> Any:
            nonlocal state
            with torch.inference_mode():
                state = module(x, state)
            return state

        def results(raw: Any) -> Results:
            values = raw if isinstance(raw, tuple) else (raw,)
            return {name: value.numpy() for name, value in zip(case.states, values, strict=True)}

        return Prepared(run, results)

    def _training(self, torch: Any, case: Case, module: Any, x: Any, states: list[Any], state: Any) -> Prepared:
        """Forward, and the gradients of x, the initial states and all weights."""
        leaves = [x, *states]
        for leaf in leaves:
            leaf.requires_grad_()
        leaves += list(module.parameters())
        dy = torch.from_numpy(case.dy())

        def run() -> Any:
            y, _ = module(x, state)
            return y, torch.autograd.grad(y, leaves, dy)

        def results(raw: Any) -> Results:
            y, gradients = raw
            dx, *dstates, dw_x, dw_h, db_x, db_h = (gradient.numpy() for gradient in gradients)
            db = np.stack([db_x, db_h]) if case.arguments()["b"].ndim == 2 else db_x
            order = self.gate_order[case.cell]
            return {
                "y": y.detach().numpy(),
                "dx": dx,
                **{f"d{name}0": dstate[0] for name, dstate in zip(case.states, dstates, strict=True)},
                "dw_x": reorder_gates(dw_x.T, order),
                "dw_h": reorder_gates(dw_h.T, order),
                "db": reorder_gates(db, order),
            }

        return Prepared(run, results)


# ---- ONNX Runtime ----------------------------------------------------------------------------------------------------


class ONNXRuntime(Implementation):
    """One RNN, LSTM or GRU node on (T, B, I), the weights part of the model; inference only."""

    name, title, packages = "onnxruntime", "ONNX Runtime", ("onnxruntime", "onnx")
    modes = ("forward", "step")
    dtypes = ("float32",)
    gate_order: ClassVar = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (0, 1, 2)}  # LSTM: i o f g

    def prepare(self, case: Case, threads: int) -> Prepared:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        arguments = case.arguments()
        session = onnxruntime.InferenceSession(
            self._model(case, arguments), options, providers=["CPUExecutionProvider"]
        )
        x = arguments["x"].reshape(case.shape[:3]).swapaxes(0, 1)
        feeds = {"x": np.ascontiguousarray(x), **{f"{name}0": arguments[f"{name}0"][None] for name in case.states}}
        if case.mode == "step":
            return self._stepping(case, session, feeds)

        def results(raw: list[Array]) -> Results:
            y, *final = raw  # (T, 1, B, H), and (1, B, H) each: directions have an axis of their own
            return {
                "y": y[:, 0].swapaxes(0, 1),
                **{f"{name}_n": value[0] for name, value in zip(case.states, final, strict=True)},
            }

        return Prepared(lambda: session.run(None, feeds), results)

    @staticmethod
    def _stepping(case: Case, session: Any, feeds: dict[str, Array]) -> Prepared:
        """One step after another, only the states asked for."""
        initial, final = [f"{name}0" for name in case.states], [f"{name}_n" for name in case.states]

        def run() -> list[Array]:
            states: list[Array] = session.run(final, feeds)
            feeds.update(zip(initial, states, strict=True))
            return states

        return Prepared(run, lambda raw: {name: value[0] for name, value in zip(case.states, raw, strict=True)})

    def _model(self, case: Case, arguments: dict[str, Array]) -> bytes:
        """A model of one node, as ONNX writes it down."""
        from onnx import TensorProto, checker, helper, numpy_helper

        batch, time, inputs, hidden = case.shape
        order = self.gate_order[case.cell]
        weights = {
            "w": reorder_gates(arguments["w_x"], order).T[None],  # (1, G*H, I)
            "r": reorder_gates(arguments["w_h"], order).T[None],  # (1, G*H, H)
            "b": reorder_gates(two_biases(arguments["b"]), order).reshape(1, -1),  # (1, 2*G*H)
        }
        initial, final = [f"{name}0" for name in case.states], [f"{name}_n" for name in case.states]
        options: dict[str, Any] = {"linear_before_reset": 1} if case.cell == "gru" else {}
        node = helper.make_node(
            case.cell.upper(), ["x", "w", "r", "b", "", *initial], ["y", *final], hidden_size=hidden, **options
        )
        shapes = {
            "x": (time, batch, inputs),
            **dict.fromkeys([*initial, *final], (1, batch, hidden)),
            "y": (time, 1, batch, hidden),
        }
        info = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
        graph = helper.make_graph(
            [node],
            str(case),
            [info[name] for name in ("x", *initial)],
            [info[name] for name in ("y", *final)],
            [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        checker.check_model(model)
        return model.SerializeToString()


# ---- JAX -------------------------------------------------------------------------------------------------------------


class JAX(Implementation):
    """Compiled before the clock runs: lax.scan on (T, B, I), the input product before it; or a single step."""

    name, title, packages = "jax", "JAX", ("jax",)

    def prepare(self, case: Case, threads: int) -> Prepared:
        jax = self._import(threads)
        values = [jax.numpy.asarray(array) for array in self._time_first(case)]
        if case.mode == "step":
            return self._stepping(jax, case, values)
        forward = self._forward(jax, case.cell)
        if case.mode == "forward+backward":
            return self._training(jax, case, forward, values)
        compiled = jax.jit(forward)

        def results(raw: Any) -> Results:
            y, final = raw
            states = {f"{name}_n": np.asarray(value) for name, value in zip(case.states, final, strict=True)}
            return {"y": np.asarray(y).swapaxes(0, 1), **states}

        return Prepared(lambda: jax.block_until_ready(compiled(*values)), results)

    @staticmethod
    def _import(threads: int) -> Any:
        """JAX on the CPU, with float64 and so many threads: it is told by the environment, before its first import."""
        if "jax" not in sys.modules:
            os.environ["NPROC"] = str(threads)
            os.environ.setdefault("JAX_PLATFORMS", "cpu")
            if threads == 1:
                flags = os.environ.get("XLA_FLAGS", "")
                os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        import jax

        jax.config.update("jax_enable_x64", True)  # arrays keep the type they have
        return jax

    @staticmethod
    def _time_first(case: Case) -> Iterator[Array]:
        """The arguments, a sequence x as (T, B, I)."""
        for name, array in case.arguments().items():
            yield np.ascontiguousarray(array.swapaxes(0, 1)) if name == "x" and array.ndim == 3 else array

    @staticmethod
    def _equations(jax: Any, cell: str) -> Callable[..., tuple[Any, ...]]:
        """The function (gx, gh, h[, c]) -> new states, gx and gh being the two products with their biases."""
        tanh, sigmoid, split = jax.numpy.tanh, jax.nn.sigmoid, jax.numpy.split

        def rnn(gx: Any, gh: Any, h: Any) -> tuple[Any, ...]:
            return (tanh(gx + gh),)

        def lstm(gx: Any, gh: Any, h: Any, c: Any) -> tuple[Any, ...]:
            i, f, g, o = split(gx + gh, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            return sigmoid(o) * tanh(c), c

        def gru(gx: Any, gh: Any, h: Any) -> tuple[Any, ...]:
            (x_z, x_r, x_n), (h_z, h_r, h_n) = split(gx, 3, -1), split(gh, 3, -1)
            z = sigmoid(x_z + h_z)
            n = tanh(x_n + sigmoid(x_r + h_r) * h_n)
            return (z * h + (1 - z) * n,)

        steps: dict[str, Callable[..., tuple[Any, ...]]] = {"rnn": rnn, "lstm": lstm, "gru": gru}
        return steps[cell]

    @classmethod
    def _forward(cls, jax: Any, cell: str) -> Callable[..., Any]:
        """The function (x, h0[, c0], w_x, w_h, b) -> y (T, B, H), final states."""
        step = cls._equations(jax, cell)

        def forward(x: Any, *states_and_weights: Any) -> Any:
            *initial, w_x, w_h, b = states_and_weights
            b_x, b_h = (b[0], b[1]) if b.ndim == 2 else (b, 0)

            def through_time(states: Any, gx: Any) -> Any:
                states = step(gx, states[0] @ w_h + b_h, *states)
                return states, states[0]

            final, y = jax.lax.scan(through_time, tuple(initial), x @ w_x + b_x)
            return y, final

        return forward

    @classmethod
    def _stepping(cls, jax: Any, case: Case, values: list[Any]) -> Prepared:
        """One step after another."""
        step = cls._equations(jax, case.cell)
        x, *states, w_x, w_h, b = values

        def one_step(x: Any, w_x: Any, w_h: Any, b: Any, *states: Any) -> tuple[Any, ...]:
            b_x, b_h = (b[0], b[1]) if b.ndim == 2 else (b, 0)
            return step(x @ w_x + b_x, states[0] @ w_h + b_h, *states)

        compiled = jax.jit(one_step)

        def run() -> Any:
            nonlocal states
            states = jax.block_until_ready(compiled(x, w_x, w_h, b, *states))
            return states

        return Prepared(run, lambda raw: {name: np.asarray(h) for name, h in zip(case.states, raw, strict=True)})

    @staticmethod
    def _training(jax: Any, case: Case, forward: Callable[..., Any], values: list[Any]) -> Prepared:
        """Forward, and the gradient of every argument."""

        def value_and_gradients(dy: Any, *values: Any) -> Any:
            y, backward = jax.vjp(lambda *values: forward(*values)[0], *values)
            return y, backward(dy)

        compiled = jax.jit(value_and_gradients)
        dy = jax.numpy.asarray(np.ascontiguousarray(case.dy().swapaxes(0, 1)))

        def results(raw: Any) -> Results:
            y, gradients = raw
            named = {f"d{name}": np.asarray(value) for name, value in zip(case.arguments(), gradients, strict=True)}
            return {"y": np.asarray(y).swapaxes(0, 1), **named, "dx": named["dx"].swapaxes(0, 1)}

        return Prepared(lambda: jax.block_until_ready(compiled(dy, *values)), results)


FASTRNN, STEP_FUNCTION = FastRNN(), StepFunction()
PEERS: dict[str, Implementation] = {peer.name: peer for peer in (Reference(), PyTorch(), ONNXRuntime(), JAX())}


def installed_peers() -> list[Implementation]:
    """The peers that this installation has, in the order of the table."""
    return [peer for peer in PEERS.values() if peer.installed()]
