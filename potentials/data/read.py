"""Labelled structures from files, in eV and Å whatever the file is written in."""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from potentials.data import hdf5
from potentials.data.ani import read_ani
from potentials.data.ase_files import read_ase_db, read_ase_traj
from potentials.data.extxyz import read_extxyz
from potentials.data.guess_units import guess_energy_unit
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, not_finite, refuse_not_finite
from potentials.data.lammps import LammpsConfig, read_lammps_dump
from potentials.data.npz import read_npz
from potentials.data.spice import read_spice
from potentials.data.units import Units

log = logging.getLogger(__name__)

Reader = Callable[[Path, LabelKeys, Units | None], Iterator[LabelledStructure]]

READERS: dict[str, Reader] = {
    "extxyz": read_extxyz,
    "npz": read_npz,
    "spice": read_spice,
    "ani": read_ani,
    "ase-db": read_ase_db,
    "ase-traj": read_ase_traj,
    "lammps-dump": read_lammps_dump,
}
SUFFIXES = {
    ".xyz": "extxyz", ".extxyz": "extxyz", ".xyz.gz": "extxyz", ".extxyz.gz": "extxyz", ".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5",
    ".db": "ase-db", ".traj": "ase-traj", ".lammpstrj": "lammps-dump", ".lammpstrj.gz": "lammps-dump", ".dump": "lammps-dump", ".dump.gz": "lammps-dump",
}  # fmt: skip


_GEOMETRY = frozenset({"numbers", "positions", "cell"})
MEANINGLESS: dict[str, frozenset[str]] = {  # names of LabelKeys that a format has no place for, or says in one way only
    "extxyz": _GEOMETRY,
    "ase-db": _GEOMETRY,
    "ase-traj": _GEOMETRY,
    "spice": frozenset({"stress", "cell", "multiplicity"}),
    "ani": frozenset({"stress", "cell", "molecule", "charge", "multiplicity"}),
    "lammps-dump": _GEOMETRY | {"energy", "stress", "molecule", "dipole", "charge", "multiplicity"},
}


def read_labelled(
    path: str | Path,
    format: str | None = None,
    keys: LabelKeys = LabelKeys(),
    units: Units | None = None,
    lammps: LammpsConfig | None = None,
    nonfinite: Literal["refuse", "keep"] = "refuse",
) -> Iterator[LabelledStructure]:
    """Labelled structures of a file, one at a time.

    Parameters
    ----------
    format : a name in READERS; from the file's suffix when not given (an HDF5 file is looked into).
    keys : names of the labels where they are not the usual ones.
    units : units of the file; those of the format when not given. The log says which were taken.
    lammps : what a LAMMPS dump does not say of itself; for that format only.
    nonfinite : "keep" lets a NaN or infinity in positions, cell or labels pass, for a caller who leaves such frames out.

    Returns
    -------
    Frames in the file's order: positions in Å, energies in eV, forces in eV/Å, stress in eV/Å³.

    Raises
    ------
    FileNotFoundError : no such file.
    DataError : an unknown format, an unreadable file, a name of a label that the format has no place for, a missing, misshapen or NaN label; the
        message names frame and key.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No file {path}.")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file with the labelled structures.")
    name = _format_of(path, format)
    if lammps is not None and name != "lammps-dump":
        raise DataError(f"{path.name} is read as {name}, to which the settings of [lammps] mean nothing.")
    for quantity in sorted(MEANINGLESS.get(name, frozenset())):
        if getattr(keys, quantity) is not None:
            instead = "; lammps.energies_key names a column of lammps.energies" if (name, quantity) == ("lammps-dump", "energy") else ""
            raise DataError(f"keys.{quantity} = '{getattr(keys, quantity)}' means nothing to {path.name}, which is read as {name}{instead}. Leave it out, or give it to "
                            "the files alone that it is meant for.")  # fmt: skip
    structures = read_lammps_dump(path, keys, units, lammps) if lammps is not None else READERS[name](path, keys, units)
    return _doubts_told(structures if nonfinite == "keep" else map(refuse_not_finite, structures), path)


def usable_keys(path: str | Path, format: str | None, keys: LabelKeys) -> LabelKeys:
    """The names of labels without those that mean nothing to the file's format."""
    path = Path(path)
    if not path.is_file():
        return keys  # whoever reads it says so
    return replace(keys, **{quantity: None for quantity in MEANINGLESS.get(_format_of(path, format), ())})


def _doubts_told(structures: Iterator[LabelledStructure], path: Path) -> Iterator[LabelledStructure]:
    """The same structures; the log warns where energies seem to be in another unit, and where some frames have a label that others
    lack: a key that is spelt in two ways looks like that."""
    n_frames, looked = 0, False
    without: Counter[str] = Counter()
    for n_frames, s in enumerate(structures, start=1):
        if not looked and not not_finite(s):  # of the first frame that can be used
            looked = True
            unit = None if s.energy is None else guess_energy_unit(s.numbers, s.energy)
            if unit not in (None, "eV"):
                log.warning("%s: the energy %.6g that was read as eV has the size of a total energy in %s. Check units.", path.name, s.energy, unit)
        without.update(name for name in ("energy", "forces", "stress") if getattr(s, name) is None)
        yield s
    for name, count in without.items():
        if count < n_frames:
            log.warning("%s: %d of %d frames have no %s.", path.name, count, n_frames, name)


def _format_of(path: Path, format: str | None) -> str:
    if format is not None:
        if format not in READERS:
            raise DataError(f"Unknown format '{format}' of labelled data; known: {', '.join(READERS)}.")
        return format
    for suffix, name in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return _hdf5_layout(path) if name == "hdf5" else name
    raise DataError(f"{path.name}: no known format has this suffix; known: {', '.join(SUFFIXES)}. Or say format = {' | '.join(READERS)}.")


def _hdf5_layout(path: Path) -> str:
    """ANI's where the first group has coordinates, SPICE's else (whose reader says what it misses)."""
    with hdf5.opened(path) as file:
        first = hdf5.child(file, next(iter(file)))
        return "ani" if hasattr(first, "keys") and hdf5.has(first, "coordinates") and not hdf5.has(first, "conformations") else "spice"
