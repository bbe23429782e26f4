"""Reading arrays from a pickle without letting it run anything.

A pickle is a program. This reader lets it build dictionaries, lists, numbers, text and numpy arrays of plain numbers, and refuses
the first thing else that it names. Where it names numpy, it gets stand-ins written here that take bytes, a shape and a type:
numpy's own unpickling, which was not made for hostile files, is never reached.
"""
from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 1 << 30
_NUMBERS = {f"{kind}{size}" for kind, sizes in (("f", (2, 4, 8)), ("i", (1, 2, 4, 8)), ("u", (1, 2, 4, 8))) for size in sizes}
MAX_NODES, MAX_DEPTH = 100_000, 50


class UnsafePickle(ValueError):
    """A pickle that names something other than plain arrays."""


class _Type:
    """Stands in for `numpy.dtype`: whole or floating-point numbers of a plain kind."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = {"<": "<", ">": ">", "|": "="}[state[1]]

    @property
    def plain(self) -> np.dtype | None:
        """The type it stands for; None where it is no number."""
        return np.dtype(self.code).newbyteorder(self.order) if self.code in _NUMBERS else None


class _Array:
    """Stands in for `numpy.ndarray`; the name alone is asked for, as the first word of `_reconstruct`."""

    array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, content = state
        self.array = _filled(content, kind, shape, "F" if fortran else "C")


def _reconstruct(kind: type, shape: tuple, code: bytes) -> _Array:
    return _Array()


def _frombuffer(content: bytes, kind: _Type, shape: tuple, order: str) -> _Array:
    found = _Array()
    found.array = _filled(content, kind, shape, order)
    return found


def _filled(content: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> np.ndarray | None:
    plain = kind.plain
    if plain is None:
        return None
    if not isinstance(content, (bytes, bytearray)) or math.prod(shape) * plain.itemsize != len(content):
        raise ValueError(f"an array whose {len(content)} bytes do not fill its shape {shape}")
    return np.frombuffer(content, dtype=plain).reshape(shape, order="F" if order == "F" else "C").astype(plain.newbyteorder("="))


_ALLOWED: dict[tuple[str, str], Any] = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Type} | {
    (f"numpy.{core}.{module}", function.__name__): function
    for core in ("core", "_core") for module, function in (("multiarray", _reconstruct), ("numeric", _frombuffer))
}  # fmt: skip


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
    return dict(_leaves(tree, path))


def _leaves(tree: Any, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays with their paths of keys; of a tree that ends, which a pickle need not describe."""
    stack, count = [("", tree, 0)], 0
    while stack:
        prefix, node, depth = stack.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(f"{path} holds more than {MAX_NODES} entries, or entries nested deeper than {MAX_DEPTH}.")
        if isinstance(node, dict):
            for key, value in node.items():
                if not isinstance(key, str):
                    raise ValueError(f"{path}: key {key!r} under '{prefix}' is not text.")
                stack.append((f"{prefix}.{key}" if prefix else key, value, depth + 1))
        elif isinstance(node, _Array) and node.array is not None:
            yield prefix, node.array
        else:
            name = {_Array: "ndarray", _Type: "dtype"}.get(type(node), type(node).__name__)
            raise ValueError(f"{path}: '{prefix}' is {name}, expected an array of numbers.")
