"""LAMMPS dumps as frames. The reader is that of the training data; here it is asked for atoms and cells alone.

A dump that tells no times has frames at time 0, and one that tells no elements needs a list of them, a data file with masses, or a structure with the same atoms.
"""
from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units

from mdapp.errors import StructureError

NAMES = (".lammpstrj", ".lammpsdump", ".dump")


def is_dump(path: Path) -> bool:
    """By its name, with or without .gz, or by its first line."""
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    if bare.suffix.lower() in NAMES:
        return True
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb") as file:
            return file.read(5) == b"ITEM:"
    except (OSError, EOFError):
        return False


def read_dump(path: Path, topology: str | Path | None = None, elements: Sequence[str] = ()) -> Iterator[tuple[Atoms, int, float | None]]:
    """Atoms, step and time in fs (None where it is not told) of every frame.

    Parameters
    ----------
    topology : a LAMMPS data file with masses, or a structure of any other format with the same atoms in the order of their ids.
    elements : symbols of types 1, 2, ...

    Raises
    ------
    StructureError : no elements are said; a frame that is cut off or strange.
    """
    from potentials.data import DataError, LammpsConfig
    from potentials.data.lammps import read_lammps_frames

    numbers, data = _known(topology) if topology is not None and not elements else (None, None)
    try:
        config = LammpsConfig(elements=tuple(elements), topology=data)
        for d in read_lammps_frames(path, config, numbers):
            atoms = Atoms(numbers=d.numbers, positions=d.positions, cell=d.cell, pbc=d.pbc)
            if d.velocities is not None:
                atoms.set_velocities(d.velocities / units.fs)
            if d.charges is not None:
                atoms.set_array("charges", d.charges)
            yield atoms, d.step, d.time_fs
    except (DataError, ValueError, FileNotFoundError) as error:
        said = str(error)
        if "types, but no elements" in said:
            said = f"{path} has types, but no elements: give them in the order of the types (--elements O,H), or a LAMMPS data file with masses (--topology)."
        raise StructureError(said.replace("lammps.elements", "--elements").replace("lammps.topology", "--topology")) from None


def _known(topology: str | Path) -> tuple[np.ndarray | None, str | None]:
    """Atomic numbers of a structure file, or the path of a LAMMPS data file."""
    from mdapp.structure import read_structure
    from mdapp.structure.read import SUFFIXES, existing_file

    path = existing_file(topology)
    return (read_structure(path).numbers, None) if path.suffix.lower() in SUFFIXES else (None, str(path))
