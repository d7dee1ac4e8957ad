"""Configuration as plain data: every configurable object knows the arguments that would build it again.

The constructor's signature is the one list of an object's options: ``get_config`` reads it, ``from_config`` calls it,
the ``repr`` shows what differs from it.  A constructor therefore keeps each argument under its own name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

__all__ = ["Configurable", "from_plain", "resolve", "to_plain"]

T = TypeVar("T", bound="Configurable")


class Configurable:
    """An object that its constructor's arguments describe wholly.

    Subclasses become known by their name as soon as they are defined, so that a saved file can name them; a class
    defined outside fastrnn is known as ``module.Class`` and has to be imported before a file that uses it is loaded.
    """

    _known: ClassVar[dict[str, type[Configurable]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        present = Configurable._known.setdefault(_class_key(cls), cls)
        if present.__module__ != cls.__module__:
            raise TypeError(f"{present.__module__} and {cls.__module__} both have a class {cls.__name__}")
        Configurable._known[_class_key(cls)] = cls

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON takes them.

        Returns
        -------
        dict
            Argument names and values; nested objects as ``{"class": ..., "config": ...}``.
        """
        return {name: to_plain(getattr(self, name)) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the object that ``get_config`` described.

        Parameters
        ----------
        config : mapping
            What ``get_config`` returned, perhaps after a trip through JSON.
        """
        return cls(**{name: from_plain(value) for name, value in config.items()})

    def __repr__(self) -> str:
        shown = []
        config = self.get_config()
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
                shown.append(repr(value))
            elif config[name] != to_plain(parameter.default):
                value = value.name if isinstance(value, np.dtype) else value
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _class_key(cls: type) -> str:
    """The name a class has in a configuration."""
    return cls.__name__ if cls.__module__.partition(".")[0] == "fastrnn" else f"{cls.__module__}.{cls.__qualname__}"


def to_plain(value: Any) -> Any:
    """A configuration value as JSON takes it; what JSON cannot hold raises ``TypeError``."""
    if isinstance(value, Configurable):
        return {"class": _class_key(type(value)), "config": value.get_config()}
    if isinstance(value, type) and issubclass(value, Configurable):
        return {"type": _class_key(value)}
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a configuration holds numbers, strings and fastrnn's own objects, got {value!r}")


def from_plain(value: Any) -> Any:
    """The inverse of `to_plain`, but for tuples, which stay lists."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, Mapping) and set(value) == {"class", "config"}:
        return _class_of(value["class"]).from_config(value["config"])
    if isinstance(value, Mapping) and set(value) == {"type"}:
        return _class_of(value["type"])
    return value


def _class_of(key: str) -> type[Configurable]:
    """The class that a configuration names."""
    cls = Configurable._known.get(key)
    if cls is None:
        raise ValueError(f"unknown class {key!r}: import the module that defines it first")
    return cls


def resolve(name: str, value: Any, base: type[T], table: Mapping[str, type[T]]) -> T:
    """An object of the kind `base`, given itself or by its name in `table`."""
    if isinstance(value, base):
        return value
    names = ", ".join(map(repr, sorted(table)))
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a {base.__name__} or one of {names}, got {type(value).__name__}")
    if value not in table:
        raise ValueError(f"{name}: expected one of {names}, got {value!r}")
    return table[value]()
