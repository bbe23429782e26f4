"""Restart files: nested plain data in HDF5, with format version and checksum.

The tree of mappings, lists, numbers, text and None is JSON text (which keeps doubles and whole numbers of any size exactly); arrays stand beside it as datasets.
There is no pickle. A new file is written aside, flushed to disk and renamed; the one before it stays as `checkpoint.prev.h5`, and there is no moment without a
whole `checkpoint.h5`.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mdapp.errors import RunFolderError
from mdapp.trajectory.files import replacing, told
from mdapp.trajectory.hdf5 import open_plain

CHECKPOINT, PREVIOUS = "checkpoint.h5", "checkpoint.prev.h5"
FORMAT = 1
ARRAY = "__array__"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What a restart file held, and what to tell the user about it."""

    state: dict[str, Any]
    path: Path
    notes: tuple[str, ...] = ()


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Writes a state into a run folder; the state before it is kept.

    Parameters
    ----------
    state : mappings with text keys, lists, tuples (read back as lists), arrays of numbers, numbers, text, None, to any depth.

    Raises
    ------
    TypeError : something else is in it, named by its place.
    OutputError : the folder cannot be written; the earlier states stay as they are.
    """
    path, previous = Path(folder) / CHECKPOINT, Path(folder) / PREVIOUS
    arrays: list[np.ndarray] = []
    tree = json.dumps(_plain(state, "state", arrays))
    with replacing(path) as temporary:
        with h5py.File(temporary, "w", locking=False) as file:
            file.attrs.update({"format": FORMAT, "checksum": _checksum(tree, arrays), "content": "mdapp checkpoint"})
            file.create_dataset("tree", data=np.frombuffer(tree.encode(), dtype="u1"))
            for k, array in enumerate(arrays):
                file.create_dataset(f"arrays/{k}", data=array)
        if path.exists():
            _keep(path, previous)


def load_checkpoint(folder: Path) -> LoadedCheckpoint:
    """The last state of a run folder, or the one before it where the last is damaged.

    Raises
    ------
    RunFolderError : there is none, or both are damaged.
    """
    path, previous = Path(folder) / CHECKPOINT, Path(folder) / PREVIOUS
    if not path.exists() and not previous.exists():
        raise RunFolderError(f"{folder} holds no checkpoint; this run cannot be resumed.")
    try:
        return LoadedCheckpoint(_read(path), path)
    except RunFolderError as error:
        if not previous.exists():
            raise RunFolderError(f"{error} There is no earlier one; this run cannot be resumed.") from None
        try:
            state = _read(previous)
        except RunFolderError as second:
            raise RunFolderError(f"{error} {second} This run cannot be resumed.") from None
        return LoadedCheckpoint(state, previous, (f"{error} The state before it is used: {previous.name}.",))


def _read(path: Path) -> dict[str, Any]:
    with open_plain(path) as file:
        try:
            version = int(file.attrs["format"])
            if version != FORMAT:
                raise RunFolderError(f"{path} has format {version}, this program reads {FORMAT}.")
            tree = file["tree"][:].tobytes().decode()
            arrays = [file[f"arrays/{k}"][()] for k in range(len(file["arrays"]) if "arrays" in file else 0)]
            checksum = str(file.attrs["checksum"])
        except RunFolderError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise RunFolderError(f"{path} is damaged ({type(error).__name__}).") from None
    if _checksum(tree, arrays) != checksum:
        raise RunFolderError(f"{path} is damaged: its checksum does not fit.")
    return _restored(json.loads(tree), arrays)


def _keep(path: Path, previous: Path) -> None:
    """Makes `previous` the file at `path`, which stays."""
    aside = previous.with_name(previous.name + ".tmp")
    with told(previous):
        aside.unlink(missing_ok=True)
        try:
            os.link(path, aside)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, aside)
        os.replace(aside, previous)


def _checksum(tree: str, arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256(tree.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _plain(value: Any, place: str, arrays: list[np.ndarray]) -> Any:
    """The tree with arrays replaced by their numbers in `arrays`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        arrays.append(value.astype(value.dtype.newbyteorder("<")))
        return {ARRAY: len(arrays) - 1}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key == ARRAY:
                raise TypeError(f"{place}: the key {key!r} cannot be stored, only text can.")
        return {key: _plain(item, f"{place}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{k}]", arrays) for k, item in enumerate(value)]
    raise TypeError(f"{place}: {type(value).__name__} cannot be stored; use mappings, lists, arrays of numbers, numbers, text and None.")


def _restored(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return np.array(arrays[value[ARRAY]])
        return {key: _restored(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, arrays) for item in value]
    return value
