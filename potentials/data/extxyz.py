"""Extended xyz with labels, plain or gzipped, read frame by frame through ASE.

ASE moves `energy`, `forces` and `stress` from a frame's own keys into an attached calculator; both places are looked at.
"""
from __future__ import annotations

import gzip
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from potentials.data.labelled import DataError, LabelKeys, LabelledStructure, checked
from potentials.data.units import Units

log = logging.getLogger(__name__)

ENERGY_KEYS = ("REF_energy", "ref_energy", "energy", "Energy", "dft_energy", "DFT_energy", "free_energy")
FORCES_KEYS = ("REF_forces", "ref_forces", "forces", "force", "Forces", "dft_forces", "DFT_forces")
STRESS_KEYS = ("REF_stress", "ref_stress", "stress", "dft_stress", "DFT_stress")
MOLECULE_KEYS = ("molecule", "molecule_name", "config_type", "name")
CHARGE_KEYS = ("charge", "total_charge")


def read_extxyz(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of an extended xyz file, one at a time.

    Parameters
    ----------
    keys : names of labels; where None, the first of ENERGY_KEYS (FORCES_KEYS, ...) that a frame has.
    units : eV and Å when not given. Cells and positions are in `units.length` too.

    Raises
    ------
    DataError : unreadable; no energy under any of the names (the message lists the keys that are there); see `checked`.
    """
    units = units or Units()
    frames = _frames(path)
    announced = False
    for index, atoms in enumerate(frames):
        source = f"frame {index} of {path.name}"
        labels: dict[str, Any] = {**(atoms.calc.results if atoms.calc is not None else {}), **atoms.info, **atoms.arrays}
        energy_key = _key(labels, keys.energy, ENERGY_KEYS, "energy", source, needed=True)
        forces_key = _key(labels, keys.forces, FORCES_KEYS, "forces", source, needed=keys.forces is not None)
        stress_key = _key(labels, keys.stress, STRESS_KEYS, "stress", source, needed=keys.stress is not None)
        molecule_key = _key(labels, keys.molecule, MOLECULE_KEYS, "molecule", source, needed=keys.molecule is not None)
        charge_key = _key(labels, None, CHARGE_KEYS, "charge", source, needed=False)
        if not announced:
            log.info("%s: energy from '%s', forces from '%s'; %s, turned into eV and Å.", path.name, energy_key, forces_key, units)
            announced = True
        yield checked(LabelledStructure(
            numbers=atoms.numbers,
            positions=atoms.positions * units.to_angstrom,
            energy=_number(labels[energy_key], energy_key, source) * units.to_eV,
            forces=None if forces_key is None else _array(labels[forces_key], forces_key, source) * units.to_eV_per_angstrom,
            stress=None if stress_key is None else _stress(labels[stress_key], stress_key, source) * units.to_eV_per_angstrom3,
            cell=np.asarray(atoms.cell) * units.to_angstrom,
            pbc=np.asarray(atoms.pbc),
            charge=0.0 if charge_key is None else _number(labels[charge_key], charge_key, source),
            molecule=str(labels[molecule_key]) if molecule_key is not None else str(atoms.symbols),
            source=source,
        ))  # fmt: skip


def _frames(path: Path) -> Iterator[Atoms]:
    index = -1
    try:
        with _unzipped(path) as file:
            for index, atoms in enumerate(ase.io.iread(file, index=":", format="extxyz")):
                yield atoms
    except Exception as error:  # ASE's reader raises whatever its parsing meets: KeyError, ValueError, XYZError, EOFError, UnicodeDecodeError
        raise DataError(f"{path} cannot be read as extended xyz after frame {index}: {error}") from error
    if index < 0:
        raise DataError(f"{path} holds no frames.")


def _unzipped(path: Path) -> TextIO:
    """The text of a file. What is zipped is unzipped first: ASE goes back and forth in it, which takes 50 times as long in a zip."""
    if path.suffix != ".gz":
        return path.open(encoding="utf-8")
    text = tempfile.TemporaryFile("w+", encoding="utf-8")
    with gzip.open(path, "rt", encoding="utf-8") as zipped:
        shutil.copyfileobj(zipped, text)
    text.seek(0)
    return text


def _key(labels: dict[str, Any], given: str | None, usual: tuple[str, ...], what: str, source: str, needed: bool) -> str | None:
    candidates = usual if given is None else (given,)
    for key in candidates:
        if key in labels:
            return key
    if not needed:
        return None
    there = ", ".join(sorted(k for k in labels if k not in ("numbers", "positions")))
    raise DataError(f"No {what} in {source}: looked for {', '.join(repr(k) for k in candidates)}; there: {there or 'nothing'}. Name it with keys.{what}.")


def _number(value: Any, key: str, source: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"'{key}' is not a number in {source}: {value!r}.") from None


def _array(value: Any, key: str, source: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"'{key}' does not hold numbers in {source}.") from None


def _stress(value: Any, key: str, source: str) -> np.ndarray:
    """(3, 3) from six numbers in ASE's Voigt order xx, yy, zz, yz, xz, xy, or from nine."""
    stress = _array(value, key, source)
    if stress.size == 6:
        return voigt_6_to_full_3x3_stress(stress.ravel())
    if stress.size == 9:
        return stress.reshape(3, 3)
    raise DataError(f"'{key}' has {stress.size} numbers in {source}; expected 6 (xx, yy, zz, yz, xz, xy) or 9.")
