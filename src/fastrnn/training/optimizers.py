"""Optimizers with Keras' names, defaults and formulas.

The weights are updated in place: by Adam in one pass of compiled code, by the others through one scratch buffer, not a
temporary array for each operation.
Where Keras and the papers (and PyTorch) differ, Keras is followed: Adam adds epsilon to the root of the second moment
before that is corrected for its bias, RMSprop and Adagrad add it under the root.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastrnn import _changes, _check, _updates
from fastrnn.layers.config import Configurable, resolve
from fastrnn.training.schedules import Schedule, get_schedule

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "get_optimizer", "global_norm"]

Slots = dict[str, np.ndarray]


class Optimizer(Configurable):
    """Base class: clipping, learning rate, averaged weights, and what an optimizer remembers of each parameter.

    A subclass writes `create_slots` and `update`.

    Parameters
    ----------
    learning_rate : float or Schedule
    clipnorm : float, optional
        Scale each parameter's gradient down to this L2 norm.
    clipvalue : float, optional
        Cut each number of a gradient to [-clipvalue, clipvalue].
    global_clipnorm : float, optional
        Scale all gradients together down to this L2 norm.  At most one of the three is given.
    use_ema : bool
        Keep a moving average of the weights (Polyak and Juditsky, 1992).  The weights that are trained go on jumping
        about the minimum, their average lies nearer to it.  ``fit`` judges each epoch by the average, and leaves the
        model with it.
    ema_momentum : float
        In [0, 1).  How much each update's weights count in the average compared to the next one's: 0.99 looks back over
        some hundred updates.

    Attributes
    ----------
    iterations : int
        Updates so far.

    Notes
    -----
    After n updates the average is ``sum_k m^(n - k)·w_k / sum_k m^(n - k)`` over the weights w_k after each of them:
    unlike Keras' it does not hold on to the first weights.  What no gradient trains, such as the moving statistics of a
    `BatchNormalization`, is not averaged.  Between two epochs of ``fit`` the weights that are trained come back,
    whatever a callback has set meanwhile.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training import SGD
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> SGD(0.5).apply(params, {"w": np.array([1.0, 0.0])})
    >>> params["w"].tolist()
    [0.5, 2.0]
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        get_schedule(learning_rate)
        self.learning_rate = learning_rate
        self.clipnorm = _positive_or_none("clipnorm", clipnorm)
        self.clipvalue = _positive_or_none("clipvalue", clipvalue)
        self.global_clipnorm = _positive_or_none("global_clipnorm", global_clipnorm)
        if sum(value is not None for value in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError("clipnorm, clipvalue, global_clipnorm: expected at most one of them")
        self.use_ema = _check.boolean("use_ema", use_ema)
        self.ema_momentum = _check.number("ema_momentum", ema_momentum, 0.0, 1.0, open_maximum=True)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next update is the first."""
        self.iterations = 0
        self._owner: object = None
        self._slots: dict[str, Slots] = {}
        self._averaged = 0  # updates since the averages began
        self._exchanged = False
        self._buffers: dict[np.dtype, np.ndarray] = {}

    def serve(self, owner: object) -> None:
        """Work for one model from now on; what is remembered of another's gradients would spoil its updates.

        Parameters
        ----------
        owner : object
            Stands for the model.

        Raises
        ------
        ValueError
            If the optimizer has updated another model since it was made or reset.
        """
        if self.iterations > 0 and self._owner is not None and self._owner is not owner:
            raise ValueError(
                f"optimizer: this {type(self).__name__} has trained another model, whose gradients it remembers; give "
                "each model its own, or call its reset() first"
            )
        self._owner = owner

    @property
    def current_learning_rate(self) -> float:
        """The learning rate of the next update."""
        return get_schedule(self.learning_rate)(self.iterations)

    def apply(self, params: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> None:
        """Update the parameters in place.

        Parameters
        ----------
        params : mapping of str to ndarray
            C-contiguous and writeable, of float32 or float64; the optimizer remembers each under its name.
        grads : mapping of str to ndarray
            Same names and shapes; not written to.
        """
        if set(params) != set(grads):
            raise ValueError(f"grads: expected the names {sorted(params)}, got {sorted(grads)}")
        gradients = {}
        for name, param in params.items():
            _require_updatable(f"params[{name!r}]", param)
            gradients[name] = _check.as_float_array(name, grads[name], param.dtype)
            _check.require_shape(f"grads[{name!r}]", gradients[name], param.shape)
            self._slots_of(name, param)
        if self._exchanged:
            self.restart_averages()
        rate = self.current_learning_rate
        self.iterations += 1
        self._averaged += 1
        for name, gradient in self.clip(gradients).items():
            param, slots = params[name], self._slots[name]
            self.update(param, gradient, slots, rate, self._scratch(param))
            if self.use_ema:
                self._average_weights(param, slots)
        _changes.note()

    def exchange_averages(self, params: Mapping[str, np.ndarray]) -> None:
        """Put the averages of the weights in their place, or the weights back; nothing without `use_ema`.

        ``fit`` does this by itself.  Whoever calls `apply` in a loop of his own calls it once at the end; if the loop
        goes on without a second call, it goes on from the averages.

        Parameters
        ----------
        params : mapping of str to ndarray
            Those that `apply` updates; written to.

        Examples
        --------
        >>> import numpy as np
        >>> from fastrnn.training import SGD
        >>> params, optimizer = {"w": np.array([4.0])}, SGD(1.0, use_ema=True, ema_momentum=0.5)
        >>> for gradient in (2.0, 1.0):
        ...     optimizer.apply(params, {"w": np.array([gradient])})
        >>> optimizer.exchange_averages(params)  # (0.5·2 + 1·1) / (0.5 + 1)
        >>> round(float(params["w"][0]), 3)
        1.333
        """
        averaged = {name: slots for name, slots in self._slots.items() if "average" in slots}
        if not set(averaged) <= set(params):
            raise ValueError(f"params: expected the names {sorted(averaged)}, got {sorted(params)}")
        for name, slots in averaged.items():
            held = self._scratch(params[name])
            held[...] = params[name]
            params[name][...] = slots["average"]
            slots["average"][...] = held
        self._exchanged = not self._exchanged
        _changes.note()

    def restart_averages(self) -> None:
        """Forget the averages: the next update begins new ones.  ``fit`` starts with it."""
        for slots in self._slots.values():
            slots.pop("average", None)
        self._averaged = 0
        self._exchanged = False

    def _average_weights(self, param: np.ndarray, slots: Slots) -> None:
        """The average after the n-th update: the newest weights count (1 - m) / (1 - m^n)."""
        if "average" not in slots:
            slots["average"] = param.copy()
            return
        m = self.ema_momentum
        newest = np.asarray((1.0 - m) / (1.0 - m**self._averaged), param.dtype)
        _updates.average(slots["average"], param, newest)

    def clip(self, grads: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The gradients after clipping; what need not be clipped is handed back as it is."""
        if self.clipvalue is not None:
            return {name: np.clip(g, -self.clipvalue, self.clipvalue) for name, g in grads.items()}
        if self.clipnorm is not None:
            return {name: _scaled_to(g, global_norm({name: g}), self.clipnorm) for name, g in grads.items()}
        if self.global_clipnorm is not None:
            norm = global_norm(grads)
            return {name: _scaled_to(g, norm, self.global_clipnorm) for name, g in grads.items()}
        return grads

    def create_slots(self, param: np.ndarray) -> Slots:
        """What is remembered of a parameter, before the first update."""
        raise NotImplementedError

    def update(self, param: np.ndarray, gradient: np.ndarray, slots: Slots, rate: float, scratch: np.ndarray) -> None:
        """One update in place; `scratch` has the shape of the parameter and any content."""
        raise NotImplementedError

    def _slots_of(self, name: str, param: np.ndarray) -> Slots:
        """What is remembered of a parameter, made at its first update."""
        slots = self._slots.setdefault(name, self.create_slots(param) if name not in self._slots else {})
        for slot in slots.values():
            if slot.shape != param.shape or slot.dtype != param.dtype:
                raise ValueError(
                    f"{name}: this {type(self).__name__} was used for another parameter of that name, "
                    f"{slot.dtype}{list(slot.shape)} against {param.dtype}{list(param.shape)}; give each model its own"
                )
        return slots

    def _scratch(self, param: np.ndarray) -> np.ndarray:
        """A buffer of the parameter's shape; all parameters share its memory."""
        buffer = self._buffers.get(param.dtype)
        if buffer is None or buffer.size < param.size:
            buffer = self._buffers[param.dtype] = np.empty(param.size, param.dtype)
        return buffer[: param.size].reshape(param.shape)


class SGD(Optimizer):
    """Gradient descent: ``param -= rate·g``.

    With momentum: ``m = momentum·m - rate·g; param += m``, Nesterov: ``param += momentum·m - rate·g``.

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float
        In [0, 1].
    nesterov : bool
    clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum)
        self.momentum = _check.number("momentum", momentum, 0.0, 1.0)
        self.nesterov = _check.boolean("nesterov", nesterov)

    def create_slots(self, param: np.ndarray) -> Slots:
        return {"m": np.zeros_like(param)} if self.momentum else {}

    def update(self, param: np.ndarray, gradient: np.ndarray, slots: Slots, rate: float, scratch: np.ndarray) -> None:
        step = np.multiply(gradient, rate, out=scratch)
        if not self.momentum:
            param -= step
            return
        m = slots["m"]
        m *= self.momentum
        m -= step
        if not self.nesterov:
            param += m
            return
        param -= step
        param += np.multiply(m, self.momentum, out=scratch)


class RMSprop(Optimizer):
    """``v = rho·v + (1 - rho)·g²; param -= rate·g / sqrt(v + epsilon)`` (Hinton, 2012), as in Keras.

    Parameters
    ----------
    learning_rate : float or Schedule
    rho : float
        In [0, 1).
    momentum : float
        Above 0 the steps go through ``m = momentum·m + step``.
    epsilon : float
    centered : bool
        Take the square of the mean gradient off v, which makes it a variance.
    clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum)
        self.rho = _check.number("rho", rho, 0.0, 1.0, open_maximum=True)
        self.momentum = _check.number("momentum", momentum, 0.0, 1.0)
        self.epsilon = _check.number("epsilon", epsilon, 0.0)
        self.centered = _check.boolean("centered", centered)

    def create_slots(self, param: np.ndarray) -> Slots:
        names = ["v"] + ["mean"] * self.centered + ["m"] * (self.momentum > 0)
        return {name: np.zeros_like(param) for name in names}

    def update(self, param: np.ndarray, gradient: np.ndarray, slots: Slots, rate: float, scratch: np.ndarray) -> None:
        v = slots["v"]
        _square_average(v, gradient, self.rho, scratch)
        if self.centered:
            mean = slots["mean"]
            _average(mean, gradient, self.rho, scratch)
            np.subtract(v, np.square(mean, out=scratch), out=scratch)
            scratch += self.epsilon
        else:
            np.add(v, self.epsilon, out=scratch)
        np.sqrt(scratch, out=scratch)
        step = np.divide(gradient, scratch, out=scratch)
        step *= rate
        if self.momentum:
            m = slots["m"]
            m *= self.momentum
            m += step
            step = m
        param -= step


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014) in the form of its section 2's last paragraph, as in Keras.

    .. code-block:: text

        m = beta_1·m + (1 - beta_1)·g           v = beta_2·v + (1 - beta_2)·g²
        param -= rate·sqrt(1 - beta_2^t) / (1 - beta_1^t) · m / (sqrt(v) + epsilon)

    Parameters
    ----------
    learning_rate : float or Schedule
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
    clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum)
        self.beta_1 = _check.number("beta_1", beta_1, 0.0, 1.0, open_maximum=True)
        self.beta_2 = _check.number("beta_2", beta_2, 0.0, 1.0, open_maximum=True)
        self.epsilon = _check.number("epsilon", epsilon, 0.0)

    def create_slots(self, param: np.ndarray) -> Slots:
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

    def update(self, param: np.ndarray, gradient: np.ndarray, slots: Slots, rate: float, scratch: np.ndarray) -> None:
        rate *= math.sqrt(1.0 - self.beta_2**self.iterations) / (1.0 - self.beta_1**self.iterations)
        gradient = np.ascontiguousarray(gradient)
        _updates.adam(param, gradient, slots["m"], slots["v"], rate, self.beta_1, self.beta_2, self.epsilon)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017): first ``param -= rate·weight_decay·param``.

    Parameters
    ----------
    learning_rate : float or Schedule
    weight_decay : float
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
    clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
        )
        self.weight_decay = _check.number("weight_decay", weight_decay, 0.0)

    def update(self, param: np.ndarray, gradient: np.ndarray, slots: Slots, rate: float, scratch: np.ndarray) -> None:
        param *= 1.0 - rate * self.weight_decay
        super().update(param, gradient, slots, rate, scratch)


class Adagrad(Optimizer):
    """``v += g²; param -= rate·g / sqrt(v + epsilon)`` (Duchi et al., 2011), as in Keras.

    Parameters
    ----------
    learning_rate : float or Schedule
    initial_accumulator_value : float
        First value of v.
    epsilon : float
    clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(learning_rate, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum)
        self.initial_accumulator_value = _check.number("initial_accumulator_value", initial_accumulator_value, 0.0)
        self.epsilon = _check.number("epsilon", epsilon, 0.0)

    def create_slots(self, param: np.ndarray) -> Slots:
        return {"v": np.full_like(param, self.initial_accumulator_value)}

    def update(self, param: np.ndarray, gradient: np.ndarray, slots: Slots, rate: float, scratch: np.ndarray) -> None:
        v = slots["v"]
        v += np.square(gradient, out=scratch)
        np.sqrt(np.add(v, self.epsilon, out=scratch), out=scratch)
        step = np.divide(gradient, scratch, out=scratch)
        step *= rate
        param -= step


def global_norm(grads: Mapping[str, np.ndarray]) -> float:
    """The L2 norm of all gradients taken together.

    Parameters
    ----------
    grads : mapping of str to ndarray

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from fastrnn.training.optimizers import global_norm
    >>> global_norm({"w": np.array([3.0]), "b": np.array([4.0])})
    5.0
    """
    return math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in grads.values()))


def _require_updatable(name: str, param: np.ndarray) -> None:
    """Refuse what cannot be updated in place by compiled code."""
    if not isinstance(param, np.ndarray) or param.dtype not in (np.float32, np.float64) or not param.dtype.isnative:
        raise TypeError(f"{name}: expected an array of float32 or float64, got {getattr(param, 'dtype', type(param))}")
    if not (param.flags.c_contiguous and param.flags.writeable and param.flags.aligned):
        raise ValueError(f"{name}: expected a C-contiguous, writeable array, got one with strides {param.strides}")


def _average(mean: np.ndarray, value: np.ndarray, decay: float, scratch: np.ndarray) -> None:
    """mean = decay·mean + (1 - decay)·value, in place."""
    mean *= decay
    mean += np.multiply(value, 1.0 - decay, out=scratch)


def _square_average(mean: np.ndarray, value: np.ndarray, decay: float, scratch: np.ndarray) -> None:
    """mean = decay·mean + (1 - decay)·value², in place."""
    _average(mean, np.square(value, out=scratch), decay, scratch)


def _scaled_to(gradient: np.ndarray, norm: float, limit: float) -> np.ndarray:
    """The gradient scaled by limit / norm where the norm is above the limit."""
    return gradient if norm <= limit else gradient * (limit / norm)


def _positive_or_none(name: str, value: float | None) -> float | None:
    """A limit above 0, or none at all."""
    return None if value is None else _check.number(name, value, 0.0, open_minimum=True)


_OPTIMIZERS: dict[str, type[Any]] = {
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "sgd": SGD,
}


def get_optimizer(value: str | Optimizer) -> Optimizer:
    """An optimizer, given itself or by name."""
    return resolve("optimizer", value, Optimizer, _OPTIMIZERS)
