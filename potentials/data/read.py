"""Labelled structures from files, in eV and Å whatever the file is written in."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from potentials.data.extxyz import read_extxyz
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure
from potentials.data.spice import read_spice
from potentials.data.units import Units

Reader = Callable[[Path, LabelKeys, Units | None], Iterator[LabelledStructure]]

READERS: dict[str, Reader] = {"extxyz": read_extxyz, "spice": read_spice}
SUFFIXES = {".xyz": "extxyz", ".extxyz": "extxyz", ".xyz.gz": "extxyz", ".extxyz.gz": "extxyz", ".h5": "spice", ".hdf5": "spice"}


def read_labelled(
    path: str | Path, format: str | None = None, keys: LabelKeys = LabelKeys(), units: Units | None = None
) -> Iterator[LabelledStructure]:
    """Labelled structures of a file, one at a time.

    Parameters
    ----------
    format : a name in READERS; from the file's suffix when not given.
    keys : names of the labels where they are not the usual ones.
    units : units of the file; those of the format when not given (eV and Å for extended xyz, hartree and bohr for SPICE).

    Returns
    -------
    Frames in the file's order: positions in Å, energies in eV, forces in eV/Å, stress in eV/Å³.

    Raises
    ------
    FileNotFoundError : no such file.
    DataError : an unknown format, an unreadable file, a missing, misshapen or NaN label; the message names frame and key.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No file {path}.")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file with the labelled structures.")
    return READERS[_format_of(path, format)](path, keys, units)


def _format_of(path: Path, format: str | None) -> str:
    if format is not None:
        if format not in READERS:
            raise DataError(f"Unknown format '{format}' of labelled data; known: {', '.join(READERS)}.")
        return format
    for suffix, name in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return name
    raise DataError(f"{path.name}: no known format has this suffix; known: {', '.join(SUFFIXES)}. Or say format = {' | '.join(READERS)}.")
