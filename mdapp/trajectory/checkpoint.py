"""Restart files: nested plain data in HDF5, with format version and checksum.

The tree of mappings, lists, numbers, text and None is JSON text (which keeps doubles and whole numbers of any size exactly); arrays stand beside it as datasets.
There is no pickle. The checksum is over every byte and stands in a user block before the HDF5 part, so that it is known to be right before the library
sees it: HDF5 may loop for ever in a damaged file. A new file is written aside, flushed to disk and renamed; the one before it stays as `checkpoint.prev.h5`, and there is
no moment without a whole `checkpoint.h5`.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mdapp.errors import RunFolderError
from mdapp.trajectory.files import replacing, told
from mdapp.trajectory.hdf5 import image_of, open_plain

CHECKPOINT, PREVIOUS = "checkpoint.h5", "checkpoint.prev.h5"
FORMAT = 1
ARRAY = "__array__"
USER_BLOCK = 512  # bytes, the smallest that HDF5 allows
MAGIC = b"mdapp checkpoint"


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
    with image_of() as (file, image):
        file.create_dataset("tree", data=np.frombuffer(tree.encode(), dtype="u1"))
        for k, array in enumerate(arrays):
            file.create_dataset(f"arrays/{k}", data=array)
    head = b"%s, format %d, sha256 %s\n" % (MAGIC, FORMAT, hashlib.sha256(image).hexdigest().encode())
    with replacing(path) as temporary:
        temporary.write_bytes(head.ljust(USER_BLOCK, b"\0") + image)
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
    try:
        with open(path, "rb") as stream:
            head = re.fullmatch(rb"%s, format (\d+), sha256 ([0-9a-f]{64})\n\0*" % MAGIC, stream.read(USER_BLOCK))
            if head is None:
                raise RunFolderError(f"{path} is damaged or no checkpoint.")
            if int(head[1]) != FORMAT:
                raise RunFolderError(f"{path} has format {int(head[1])}, this program reads {FORMAT}.")
            if _digest(stream) != head[2]:
                raise RunFolderError(f"{path} is damaged: its checksum does not fit.")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    with open_plain(path, packing=1) as file:
        try:
            tree = file["tree"][:].tobytes().decode()
            arrays = [file[f"arrays/{k}"][()] for k in range(len(file["arrays"]) if "arrays" in file else 0)]
            return _restored(json.loads(tree), [np.asarray(array) for array in arrays], set())
        except Exception as error:
            raise RunFolderError(f"{path} is no checkpoint ({type(error).__name__}: {str(error)[:80]}).") from None


def _digest(stream: BinaryIO) -> bytes:
    """SHA-256 of a stream from where it stands, in hexadecimal."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest().encode()


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


def _restored(value: Any, arrays: list[np.ndarray], used: set[int]) -> Any:
    """The tree with its arrays; each stands in one place, so that a small file cannot ask for much memory."""
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            if value[ARRAY] in used:
                raise ValueError(f"array {value[ARRAY]} stands in two places")
            used.add(value[ARRAY])
            return np.array(arrays[value[ARRAY]])
        return {key: _restored(item, arrays, used) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, arrays, used) for item in value]
    return value
