"""Reading arrays from a pickle without letting it run anything.

A pickle is a program. This reader lets it build dictionaries, lists, numbers, text and numpy arrays of plain numbers, and refuses
the first thing else that it names.
"""
from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}
MAX_BYTES = 1 << 30


class UnsafePickle(ValueError):
    """A pickle that names something other than plain arrays."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise UnsafePickle(f"it asks for {module}.{name}, which plain arrays do not need") from None

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickle("it refers to objects outside the file")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by their path of keys, joined with dots, from nested dictionaries of arrays.

    Raises
    ------
    ValueError : not such a pickle; `UnsafePickle` where it could run code.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size / 1e9:.1f} GB; parameter files up to {MAX_BYTES / 1e9:.1f} GB are read.")
    try:
        with path.open("rb") as file:
            tree = _Reader(file).load()
    except UnsafePickle as error:
        raise UnsafePickle(f"{path} was not read: {error}, so opening it could run code.") from error
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"{path} is not a readable parameter file ({type(error).__name__}).") from error
    return dict(_leaves(tree, "", path))


def _leaves(node: Any, prefix: str, path: Path) -> Any:
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                raise ValueError(f"{path}: key {key!r} under '{prefix}' is not text.")
            yield from _leaves(value, f"{prefix}.{key}" if prefix else key, path)
    elif isinstance(node, np.ndarray) and node.dtype.kind in "fiu":
        yield prefix, node
    else:
        raise ValueError(f"{path}: '{prefix}' is {type(node).__name__}, expected an array of numbers.")
