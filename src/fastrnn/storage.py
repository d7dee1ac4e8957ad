"""Models in files: safetensors of parameters and buffers, with the configuration as JSON in the file's metadata.

Nothing is ever unpickled, so a file from elsewhere cannot run code.  A file is written beside its place under another
name and then renamed, so its place holds the old model or the new one and never half of one.  A checksum over
configuration and parameters finds damage.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn._version import __version__

if TYPE_CHECKING:
    from fastrnn.layers import Layer
    from fastrnn.training import Sequential

__all__ = ["load", "save"]

FORMAT = "fastrnn"
FORMAT_VERSION = 1


def save(model: Sequential | Layer, path: str | os.PathLike[str], *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a model or a single layer to a file.

    Parameters
    ----------
    model : Sequential or Layer
        With parameters: built or trained.
    path : str or os.PathLike
        An existing file is replaced.
    extra : mapping, optional
        What else the file shall hold, as JSON takes it: ``read(path)[1]["extra"]``; `load` leaves it alone.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastrnn import storage
    >>> from fastrnn.layers import LSTM
    >>> layer = LSTM(8, seed=0)
    >>> layer.build(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     storage.save(layer, os.path.join(folder, "layer.safetensors"))
    ...     storage.load(os.path.join(folder, "layer.safetensors"))
    LSTM(8, seed=0)
    """
    from fastrnn.layers.config import to_plain

    if not model.built or model.input_size is None:
        raise ValueError(f"{type(model).__name__} has no parameters yet: call build(input_size) or run data through it")
    config = {"model": to_plain(model), "input_size": model.input_size, "training": _training_config(model)}
    if extra is not None:
        config["extra"] = dict(extra)
    write(path, {**model.params, **model.buffers}, config)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model or a layer that `save` wrote.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Sequential or Layer
        A model comes back compiled, with a fresh optimizer of the same settings.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is not fastrnn's, or was written by a later version.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastrnn
    >>> layer = fastrnn.Dense(2, seed=0)
    >>> layer.build(3)
    >>> path = os.path.join(tempfile.mkdtemp(), "layer.safetensors")
    >>> fastrnn.storage.save(layer, path)
    >>> bool((fastrnn.load(path).params["w"] == layer.params["w"]).all())
    True
    """
    from fastrnn.layers.config import from_plain

    arrays, config = read(path)
    try:
        model = from_plain(config["model"])
        model.build(config["input_size"])
        expected = [*model.params, *model.buffers]
        if set(expected) != set(arrays):
            raise ValueError(f"expected the parameters {', '.join(expected)}, got {', '.join(arrays) or 'none'}")
        for mapping in (model.params, model.buffers):
            mapping.update({name: arrays[name] for name in mapping})
        if config["training"] is not None:
            model.compile(**_arguments(config["training"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: cannot rebuild the model from this file: {error}") from error
    return model


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> None:
    """Write arrays and a configuration to one file.

    Parameters
    ----------
    path : str or os.PathLike
    arrays : mapping of str to ndarray
    config : mapping
        What JSON can hold.
    """
    from safetensors.numpy import save as to_bytes

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "fastrnn_version": __version__,
        "config": json.dumps(config, sort_keys=True),
    }
    metadata["sha256"] = _checksum(arrays, metadata)
    _replace_file(Path(path), to_bytes(arrays, metadata=metadata))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays and the configuration that `write` put into a file.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    arrays : dict of str to ndarray
    config : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is not fastrnn's, or was written by a later version.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file; model.save(path) writes one")
    if not os.path.isfile(name):
        raise ValueError(f"{name}: expected a file that model.save(path) wrote, got a directory")
    try:
        with safe_open(name, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()} if metadata.get("format") == FORMAT else {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{name}: damaged, or not a safetensors file ({error}); write it again with model.save(path)"
        ) from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{name}: a safetensors file of another program; fastrnn reads what model.save(path) wrote")
    return arrays, _checked_config(name, metadata, arrays)


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments from their plain form."""
    from fastrnn.layers.config import from_plain

    return {name: from_plain(value) for name, value in config.items()}


def _checked_config(name: str, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The configuration in the metadata, once version and checksum are right."""
    version = metadata.get("format_version", "")
    if not version.isdigit():
        raise ValueError(f"{name}: damaged, the format version is {version!r}; write it again with model.save(path)")
    if int(version) > FORMAT_VERSION:
        writer = metadata.get("fastrnn_version", "unknown")
        raise ValueError(
            f"{name}: format {version} of fastrnn {writer} is later than this fastrnn {__version__} reads "
            f"(up to {FORMAT_VERSION}); upgrade fastrnn"
        )
    if _checksum(arrays, metadata) != metadata.get("sha256"):
        raise ValueError(f"{name}: damaged, the checksum does not fit; write it again with model.save(path)")
    return dict(json.loads(metadata["config"]))


def _training_config(model: Any) -> dict[str, Any] | None:
    """How a model is trained, or None if it is not compiled or JSON cannot hold it."""
    from fastrnn.layers.config import to_plain

    if getattr(model, "loss", None) is None:
        return None
    try:
        return {name: to_plain(getattr(model, name)) for name in ("optimizer", "loss", "metrics")}
    except TypeError:
        return None


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256 over the metadata but itself, and the arrays, in the order of their names."""
    covered = sorted((name, text) for name, text in metadata.items() if name != "sha256")
    digest = hashlib.sha256(json.dumps(covered).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}:{array.dtype.name}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _replace_file(path: Path, content: bytes) -> None:
    """Put a file in its place in one step."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
