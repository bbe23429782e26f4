"""HDF5 files of others, opened with care: nothing outside the file is followed, and no size is taken on trust."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from potentials.data.labelled import DataError

LARGE = 1 << 28  # bytes; below it a data set may be as empty as it likes


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file for reading.

    Raises
    ------
    DataError : not HDF5, cut off, damaged, or nothing in it.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}") from error
    with file:
        if not len(file):
            raise DataError(f"{path} holds no molecules.")
        yield file


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """A member of a group.

    Raises
    ------
    DataError : it lies in another file, behind a link that leads nowhere, or is damaged.
    """
    where = f"'{f'{group.name}/{name}'.lstrip('/')}' of {Path(group.file.filename).name}"
    if group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_EXTERNAL:
        raise DataError(f"{where} is a link to another file, which is not followed; copy the data into one file.")
    try:
        member = group[name]
    except (KeyError, OSError, RuntimeError) as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    if member.file.filename != group.file.filename:  # a soft link may lead through an external one
        raise DataError(f"{where} leads to another file, which is not followed; copy the data into one file.")
    if isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
        raise DataError(f"{where} keeps its numbers in another file, which is not followed; copy the data into one file.")
    return member


def has(group: h5py.Group, name: str) -> bool:
    """Whether there is a member of that name; a link counts, wherever it leads."""
    return group.id.links.exists(name.encode())


def groups(file: h5py.File, layout: str) -> Iterator[tuple[str, h5py.Group]]:
    """The groups at the top, by name."""
    for name in file:
        member = child(file, name)
        if not isinstance(member, h5py.Group):
            raise DataError(f"'{name}' in {Path(file.filename).name} is not a group; {layout}'s layout has one group a molecule.")
        yield name, member


def dataset(group: h5py.Group, key: str, where: str) -> h5py.Dataset:
    """The numbers of that name, not read yet; the message lists what is there instead.

    Raises
    ------
    DataError : no such data set; not numbers; a size that the file cannot hold.
    """
    if not has(group, key):
        raise DataError(f"No '{key}' in {where}; there: {', '.join(group) or 'nothing'}.")
    data = child(group, key)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu":
        raise DataError(f"'{key}' does not hold numbers in {where}.")
    if data.nbytes > LARGE and data.nbytes > 1000 * data.id.get_storage_size():
        raise DataError(f"'{key}' claims {data.nbytes / 2**30:.0f} GiB in {where}, but stores {data.id.get_storage_size()} bytes.")
    return data


def values(data: h5py.Dataset, where: str, part: slice = slice(None)) -> np.ndarray:
    """Numbers in double precision."""
    try:
        return np.asarray(data[part], dtype=np.float64)
    except (OSError, RuntimeError) as error:
        raise DataError(f"'{data.name}' cannot be read in {where}: the file is damaged or cut off ({error}).") from error


def text(group: h5py.Group, key: str) -> str:
    """A string, alone or as the first of a list; empty where there is none."""
    if not has(group, key):
        return ""
    data = child(group, key)
    value = data[0] if data.shape else data[()]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def unit(data: h5py.Dataset, usual: str) -> str:
    """What a data set says of itself, else `usual`."""
    value = data.attrs.get("units", usual)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
