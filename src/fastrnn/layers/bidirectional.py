"""A recurrent layer in both directions of time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastrnn import _check
from fastrnn.layers.base import Seed, Shape, child_seed, prefixed
from fastrnn.layers.containers import Container
from fastrnn.layers.masking import reverse_time
from fastrnn.layers.merging import MERGE_MODES, merge, merged_shape, unmerge
from fastrnn.layers.recurrent import Recurrent
from fastrnn.layers.steps import Steps

__all__ = ["Bidirectional"]

States = tuple[np.ndarray, ...]


class _BidirectionalCache(NamedTuple):
    """What backward needs.  Only what both layers show is meant for reading: that of the forward layer comes first.

    Attributes
    ----------
    state : tuple of ndarray (B, H)
        The final states, (h, h) or (h, c, h, c).
    states : tuple of ndarray (B, T, H), or None
        The states after every step, likewise, at the steps that they belong to.
    gates : tuple of ndarray (B, T, G*H), or None
        The gates at every step, likewise.
    """

    state: States
    forward: Any
    backward: Any
    outs: tuple[np.ndarray, np.ndarray]  # of both, in one order of time
    lengths: np.ndarray | None
    states: States | None
    gates: States | None


class Bidirectional(Container):
    """A recurrent layer from the first step to the last and one back from the last (Schuster and Paliwal, 1997).

    .. code-block:: text

        out at t = merge(forward layer after steps 0..t, backward layer after steps T-1..t)

    Parameters
    ----------
    layer : Recurrent
        The forward layer.
    merge_mode : {"concat", "sum", "ave", "mul"} or None
        Both outputs beside one another, their sum, mean or product; None gives the tuple of both.
    backward_layer : Recurrent, optional
        Another cell or other options; ``go_backwards`` must be the opposite of the forward layer's, and
        what they return the same.  By default a layer with the options of the forward one and,
        where that has a seed, the next number as its own.

    Attributes
    ----------
    forward_layer, backward_layer : Recurrent

    Notes
    -----
    Parameters: those of both layers, ``forward/w_x``, ``backward/w_x`` and so on.  State: that of the forward layer,
    then that of the backward layer: ``(h, c, h, c)`` for an LSTM.

    With ``return_sequences`` the backward layer's outputs stand at the steps that they belong to.  Without, its output
    is that after the first step of the row, having seen all of them.

    A ``reset_mask`` marks where something new begins: the forward layer's state is zeroed before such a step and the
    backward layer's before the step in front of it, so that nothing flows over the border in either direction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.layers import LSTM, Bidirectional
    >>> layer = Bidirectional(LSTM(20, return_sequences=True, seed=0))
    >>> out, cache = layer.forward(np.ones((32, 50, 1)), lengths=range(1, 33))
    >>> out.shape, len(cache.state), list(layer.params)[:2]
    ((32, 50, 40), 4, ['forward/w_x', 'forward/w_h'])
    """

    input_ndim = 3

    def __init__(
        self, layer: Recurrent, merge_mode: str | None = "concat", *, backward_layer: Recurrent | None = None
    ) -> None:
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(given, Recurrent) and (given is not None or name == "layer"):
                raise TypeError(f"{name}: expected a recurrent layer, got {type(given).__name__}")
        super().__init__(layer.dtype)
        self.merge_mode = None if merge_mode is None else _check.choice("merge_mode", merge_mode, MERGE_MODES)
        self.layer = self.forward_layer = layer
        self._mirrored = backward_layer is None
        self.backward_layer = _mirror(layer) if backward_layer is None else backward_layer
        if self.backward_layer is layer:
            raise ValueError("backward_layer: expected another layer than the forward one")
        if self.backward_layer.go_backwards == layer.go_backwards:
            raise ValueError(f"backward_layer: expected go_backwards={not layer.go_backwards}, got the forward layer's")
        for name in ("return_sequences", "return_state", "return_all_states", "return_gates", "dtype"):
            own, expected = (getattr(part, name, False) for part in (self.backward_layer, layer))
            if own != expected:
                raise ValueError(f"backward_layer: expected the forward layer's {name}={expected}, got {own}")
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config | {"backward_layer": None} if self._mirrored else config

    def parts(self) -> dict[str, Recurrent]:
        return {"forward": self.forward_layer, "backward": self.backward_layer}

    def build_for(self, input_shape: Shape, seed: Seed = None) -> None:
        if self.merge_mode is not None:
            self.output_shape(input_shape)  # sizes that cannot be merged raise
        for i, part in enumerate(self.parts().values()):
            part.build_for(input_shape, child_seed(seed, i))

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.merge_mode is None:
            raise ValueError(f"merge_mode: expected one of {', '.join(map(repr, MERGE_MODES))}: None gives two outputs")
        return merged_shape(
            self.merge_mode, [part.output_shape(input_shape) for part in self.parts().values()], "backward_layer"
        )

    def output_steps(self, x: Any, steps: Steps) -> Steps:
        return self.forward_layer.output_steps(x, steps)

    # -- forward ------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        x: Any,
        initial_state: tuple[Any, ...] | None = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> Any:
        """The output of `forward`, with ``return_state`` the tuple ``(out, h, h)`` or ``(out, h, c, h, c)``.

        Behind it come, where the layers return them, ``cache.states`` and ``cache.gates``.
        """
        out, cache = self.forward(x, initial_state, lengths, mask, reset_mask, training, rng)
        beside = (*(cache.state if self.return_state else ()), *(cache.states or ()), *(cache.gates or ()))
        return (out, *beside) if beside else out

    def forward(
        self,
        x: Any,
        initial_state: tuple[Any, ...] | None = None,
        lengths: Any = None,
        mask: Any = None,
        reset_mask: Any = None,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> tuple[Any, _BidirectionalCache]:
        """Run both layers over a batch of sequences.

        Parameters
        ----------
        x : array_like (B, T, I)
        initial_state : tuple of array_like (B, H), optional
            The forward layer's, then the backward layer's, which is its state before the last step.
        lengths : array_like of int (B,), optional
            True steps of each row.
        mask : array_like of bool (B, T), optional
            True at the steps that count.
        reset_mask : array_like of bool (B, T), optional
            True where something new begins.
        training, rng
            Handed on to both layers.

        Returns
        -------
        out : ndarray (B, T, 2*H) or (B, 2*H)
            H wide unless concatenated; a tuple of two arrays without merging.
        cache
            For `backward`; ``cache.state`` is the final state of both.  ``cache.states`` (with ``return_all_states``)
            are the states after every step and ``cache.gates`` (with ``return_gates``) the gates, in one order of time.
        """
        x, steps = self._prepared(x, lengths, mask, reset_mask)
        there, back = self._by_direction("initial_state", initial_state)
        options: dict[str, Any] = {"training": training, "rng": rng}
        out_there, cache_there = self.forward_layer.forward(x, there, **self._time("forward", steps), **options)
        out_back, cache_back = self.backward_layer.forward(x, back, **self._time("backward", steps), **options)
        outs = (out_there, self._aligned(out_back, steps.lengths))
        states = gates = None
        if cache_there.states is not None and cache_back.states is not None:
            states = (*cache_there.states, *(reverse_time(every, steps.lengths) for every in cache_back.states))
        if cache_there.gates is not None and cache_back.gates is not None:
            gates = (cache_there.gates, reverse_time(cache_back.gates, steps.lengths))
        state = (*cache_there.state, *cache_back.state)
        cache = _BidirectionalCache(state, cache_there, cache_back, outs, steps.lengths, states, gates)
        return (outs if self.merge_mode is None else merge(self.merge_mode, outs)), cache

    def infer(self, x: Any, lengths: Any = None, mask: Any = None, reset_mask: Any = None) -> Any:
        """The output of `forward`, without keeping what `backward` would need."""
        x, steps = self._prepared(x, lengths, mask, reset_mask)
        outs = (
            self.forward_layer.infer(x, **self._time("forward", steps)),
            self._aligned(self.backward_layer.infer(x, **self._time("backward", steps)), steps.lengths),
        )
        return outs if self.merge_mode is None else merge(self.merge_mode, outs)

    def _prepared(self, x: Any, lengths: Any, mask: Any, reset_mask: Any) -> tuple[np.ndarray, Steps]:
        x = _check.as_float_array("x", x, self.dtype, self.input_ndim)  # type: ignore[arg-type]
        return x, self._steps(x, lengths, mask, reset_mask)

    def _time(self, direction: str, steps: Steps) -> dict[str, Any]:
        """What is known of the steps, as the layer of a direction has to be told."""
        if steps.reset_mask is not None and self.parts()[direction].go_backwards:
            steps = steps._replace(reset_mask=_borders_from_behind(steps.reset_mask, steps.lengths))
        return steps.given()

    def _aligned(self, out: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        """The backward layer's output, or its gradient, from its own order of time to the forward layer's, or back."""
        return reverse_time(out, lengths) if self.return_sequences else out

    def _by_direction(self, name: str, states: Any) -> tuple[Any, Any]:
        """The states of both layers, from those of one after the other."""
        if states is None:
            return None, None
        there, back = (len(part.state_sizes) for part in self.parts().values())
        if not isinstance(states, (tuple, list)):
            raise TypeError(f"{name}: expected a tuple of {there + back} arrays, got {type(states).__name__}")
        if len(states) != there + back:
            raise ValueError(f"{name}: expected a tuple of {there + back} arrays, got {len(states)} entries")
        return tuple(states[:there]), tuple(states[there:])

    # -- backward -----------------------------------------------------------------------------------------------------

    def backward(
        self,
        dout: Any,
        cache: _BidirectionalCache,
        dfinal_state: tuple[Any, ...] | None = None,
        dstates: tuple[Any, ...] | None = None,
        dgates: tuple[Any, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray], States]:
        """Backpropagate through time, in both directions.

        Parameters
        ----------
        dout : array_like or None
            Gradient by the output of `forward`, a tuple of two without merging; None where the loss sees the final
            state alone.
        cache
            What `forward` returned.
        dfinal_state : tuple of array_like (B, H), optional
            Gradient by ``cache.state``; an entry may be None.
        dstates : tuple of array_like (B, T, H), optional
            Gradient by ``cache.states``; an entry may be None.
        dgates : tuple of two array_like (B, T, G*H), optional
            Gradient by ``cache.gates``; an entry may be None.

        Returns
        -------
        dx : ndarray (B, T, I)
        grads : dict of str to ndarray
            By parameter name.
        dinitial_state : tuple of ndarray (B, H)
        """
        there, back = self._by_direction("dfinal_state", dfinal_state)
        dout_there, dout_back = self._shares(dout, cache)
        states_there, states_back = self._by_direction("dstates", dstates)
        if states_back is not None:
            states_back = self._turned("dstates", states_back, cache.backward.states, cache)
        if dgates is not None and (not isinstance(dgates, (tuple, list)) or len(dgates) != 2):
            raise TypeError("dgates: expected a tuple of two arrays, that of the forward layer first")
        gates_there, gates_back = dgates or (None, None)
        (gates_back,) = self._turned("dgates", (gates_back,), (cache.backward.gates,), cache)
        dx, grads, dstate = self.forward_layer.backward(
            dout_there, cache.forward, there, dstates=states_there, dgates=gates_there
        )
        dx_back, grads_back, dstate_back = self.backward_layer.backward(
            dout_back, cache.backward, back, dstates=states_back, dgates=gates_back
        )
        return dx + dx_back, prefixed("forward", grads) | prefixed("backward", grads_back), (*dstate, *dstate_back)

    def parameter_gradients(self, dout: Any, cache: _BidirectionalCache) -> dict[str, np.ndarray]:
        """The gradients by the parameters alone."""
        there, back = self._shares(dout, cache)
        return prefixed("forward", self.forward_layer.parameter_gradients(there, cache.forward)) | prefixed(
            "backward", self.backward_layer.parameter_gradients(back, cache.backward)
        )

    def _turned(self, name: str, gradients: Any, shown: Any, cache: _BidirectionalCache) -> tuple[Any, ...]:
        """Gradients by what the backward layer shows of every step, in its own order of time."""
        return tuple(
            d if d is None or array is None else reverse_time(self._array(name, d, array.shape), cache.lengths)
            for d, array in zip(gradients, shown or (None,) * len(gradients), strict=True)
        )

    def _shares(self, dout: Any, cache: _BidirectionalCache) -> tuple[Any, Any]:
        """The gradients by the outputs of both layers, each in its own order of time."""
        if dout is None:
            return None, None
        if self.merge_mode is None:
            if not isinstance(dout, (tuple, list)) or len(dout) != 2:
                raise TypeError("dout: expected a tuple of two arrays, because the outputs are not merged")
            there, back = (
                self._array(f"dout[{i}]", part, out.shape) if part is not None else None
                for i, (part, out) in enumerate(zip(dout, cache.outs, strict=True))
            )
        else:
            shape = merged_shape(self.merge_mode, [out.shape for out in cache.outs], "backward_layer")
            dout = self._array("dout", dout, shape)  # type: ignore[arg-type]
            there, back = unmerge(self.merge_mode, dout, cache.outs)
        return there, None if back is None else self._aligned(back, cache.lengths)

    def commit(self, cache: _BidirectionalCache) -> None:
        """Let both layers take over what a training step left in their caches."""
        self.forward_layer.commit(cache.forward)
        self.backward_layer.commit(cache.backward)


def _mirror(layer: Recurrent) -> Recurrent:
    """A layer with the same options but the direction, and the next seed."""
    config = layer.get_config()
    seed = None if layer.seed is None else layer.seed + 1
    return type(layer).from_config(config | {"go_backwards": not layer.go_backwards, "seed": seed})


def _borders_from_behind(reset_mask: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """Where to reset on the way from a row's end to its start: before the step in front of each that begins anew."""
    moved = np.zeros_like(reset_mask)
    moved[:, :-1] = reset_mask[:, 1:]
    if lengths is not None:  # what lies behind a row's end does not begin anything
        moved &= np.arange(moved.shape[1]) < lengths[:, None] - 1
    return moved
