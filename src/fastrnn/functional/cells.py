"""Functions of the registry's further cells: nothing is written by hand for each of them.

A cell that needs more than this, in its documentation or its signature, gets a file of its own beside `lstm.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import _engine
from . import _call
from ._call import Array

OWN_FILES = ("rnn", "lstm", "gru")


class CellGradients(NamedTuple):
    """Gradients of a cell over a sequence, each of the shape of what it belongs to; options add theirs behind."""

    dx: Array
    dh0: Array
    dw_x: Array
    dw_h: Array | None
    db: Array | None


class CellStepGradients(NamedTuple):
    """Gradients of one step of a cell."""

    dx: Array
    dh_prev: Array
    dw_x: Array
    dw_h: Array | None
    db: Array | None


_FORWARD = """{summary}, over a sequence.

    With{gate_order}::

        {equations}

    Parameters
    ----------
    x : array_like, (B, T, I) or (T, I)
        The input: a batch of sequences or one.
    h0 : array_like, (B, H) or (H,), or None
        The initial state; None is zero.
    w_x : array_like, (I, {columns})
        The kernel.
    w_h : {w_h}
    b : array_like, ({columns},), or None
        The bias.
    activation : str or tuple
        phi, "{activation}" by default.{recurrent_activation}
    {options}
        As for `rnn_forward`, so far as the cell has it.

    Returns
    -------
    y : ndarray, (B, T, H) or (T, H)
        h after every step.
    cache : Cache
        For `{name}_backward`; ``cache.h_n`` is the final state.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> x, w_x = np.ones((2, 5, 3)), np.ones((3, {four}))
    >>> y, cache = fastrnn.{name}_forward(x, None, w_x, {w_h_value}, np.zeros({four}))
    >>> y.shape, bool((cache.h_n == y[:, -1]).all())
    ((2, 5, 4), True)
    """

_BACKWARD = """Gradients of `{name}_forward`, by backpropagation through time.

    Parameters
    ----------
    dy : array_like, (B, T, H) or (T, H), or None
        Gradient of the loss by `y`; what it holds past a row's end is ignored. None is zero.
    cache : Cache
        What `{name}_forward` returned.
    dh_n : array_like, (B, H) or (H,), optional
        Gradient of the loss by the final state, on top of `dy`.
    dgates : array_like, optional
        Gradient of the loss by ``cache.gates``, of its shape.

    Returns
    -------
    CellGradients
        ``dx, dh0, dw_x, dw_h, db``, and behind them those of the options' parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> y, cache = fastrnn.{name}_forward(np.ones((5, 3)), None, np.ones((3, {four})), {w_h_value}, None)
    >>> fastrnn.{name}_backward(np.ones_like(y), cache).dw_x.shape
    (3, {four})
    """

_STEP_FORWARD = """One step of `{name}_forward`, for programs that own their loop.

    Parameters
    ----------
    x_t : array_like, (B, I) or (I,)
        The input of this step.
    h_prev : array_like, (B, H) or (H,), or None
        The state before it.
    w_x, w_h, b, {options}
        As for `{name}_forward`.

    Returns
    -------
    h : ndarray, (B, H) or (H,)
        The state after it.
    cache : Cache
        For `{name}_step_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> h, cache = fastrnn.{name}_step_forward(np.ones(3), None, np.ones((3, {four})), {w_h_value}, None)
    >>> h.shape
    (4,)
    """

_STEP_BACKWARD = """Gradients of one step of a cell.

    Parameters
    ----------
    dh : array_like, (B, H) or (H,)
        Gradient of the loss by the state after the step.
    cache : Cache
        What `{name}_step_forward` returned.

    Returns
    -------
    CellStepGradients
        ``dx, dh_prev, dw_x, dw_h, db``, and behind them those of the options' parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import fastrnn
    >>> h, cache = fastrnn.{name}_step_forward(np.ones(3), None, np.ones((3, {four})), {w_h_value}, None)
    >>> fastrnn.{name}_step_backward(np.ones(4), cache).dh_prev.shape
    (4,)
    """

_W_H = {
    "product": "array_like, (H, {columns})\n        The recurrent kernel.",
    "elementwise": "array_like, (H,)\n        The weight of each unit's own past.",
    "nothing": "None\n        The cell has no recurrent weights.",
}
_W_H_VALUES = {"product": "np.ones((4, {four}))", "elementwise": "np.ones(4)", "nothing": "None"}


def _words(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """What stands in the docstrings' braces."""
    gates = spec["gates"]
    columns = "H" if gates == 1 else f"{gates}*H"
    own = f"{spec['unit_name']}, " if spec["unit_name"] and spec["recurrent"] == "product" else ""
    return {
        "name": name,
        "summary": spec["summary"],
        "equations": spec["equations"].replace("\n", "\n        "),
        "activation": spec["activation"],
        "columns": columns,
        "four": 4 * gates,
        "gate_order": " the gates side by side in the order of the equations" if gates > 1 else "",
        "w_h": _W_H[spec["recurrent"]].format(columns=columns),
        "w_h_value": _W_H_VALUES[spec["recurrent"]].format(four=4 * gates),
        "options": f"{own}lengths, reset_mask, reverse, keep_cache, num_threads, **options",
        "recurrent_activation": (
            '\n    recurrent_activation : str or tuple\n        sigma, "sigmoid" by default.' if spec["gated"] else ""
        ),
    }


def _made(cell: str, spec: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """The four functions of a cell by name."""
    usual: dict[str, Any] = {"activation": spec["activation"]}
    if spec["gated"]:
        usual["recurrent_activation"] = "sigmoid"
    in_time: dict[str, Any] = dict.fromkeys(("lengths", "reset_mask", "num_threads", "memory"))
    in_time |= {"reverse": False, "last_only": False}

    def forward(x: Any, h0: Any, w_x: Any, w_h: Any, b: Any, **options: Any) -> tuple[Array, _call.Cache]:
        known = {name: options.pop(name, value) for name, value in (usual | in_time | {"keep_cache": True}).items()}
        return _call.forward(cell, x, {"h0": h0}, w_x, w_h, b, **known, options=options)

    def backward(dy: Any, cache: _call.Cache, *, dh_n: Any = None, dgates: Any = None) -> CellGradients:
        return _call.gradients(cell, CellGradients, dy, cache, dh_n, dgates=dgates)

    def step_forward(x_t: Any, h_prev: Any, w_x: Any, w_h: Any, b: Any, **options: Any) -> tuple[Array, _call.Cache]:
        known = {name: options.pop(name, value) for name, value in usual.items()}
        cache = _call.step_forward(cell, x_t, {"h_prev": h_prev}, w_x, w_h, b, **known, options=options)
        return cache.h_n, cache

    def step_backward(dh: Any, cache: _call.Cache) -> CellStepGradients:
        return _call.step_gradients(cell, CellStepGradients, dh, cache)

    docs = {"forward": _FORWARD, "backward": _BACKWARD, "step_forward": _STEP_FORWARD, "step_backward": _STEP_BACKWARD}
    made = {}
    for function in (forward, backward, step_forward, step_backward):
        kind = function.__name__
        function.__doc__ = docs[kind].format(**_words(cell, spec))
        function.__name__ = function.__qualname__ = f"{cell}_{kind}"
        made[function.__name__] = function
    return made


FUNCTIONS: dict[str, Callable[..., Any]] = {}
for _cell, _spec in _engine.CELLS.items():
    if _spec["function"] not in OWN_FILES:
        FUNCTIONS.update(_made(_cell, _spec))
