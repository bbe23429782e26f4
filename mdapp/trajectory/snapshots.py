"""Frames as extended XYZ: input.extxyz, final.extxyz, event-*.extxyz. ASE reads them back with energy, forces, stress and momenta."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms

from mdapp.frame import Frame
from mdapp.trajectory.files import replacing

INFO_KEPT = (str, bool, int, float)


def atoms_of(frame: Frame) -> Atoms:
    """A frame as Atoms with momenta, masses where they are not the usual ones, and a calculator that holds its energy, forces and stress."""
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    if not np.allclose(atoms.get_masses(), frame.masses, atol=1e-6):
        atoms.set_masses(frame.masses)
    if np.isfinite(frame.momenta).all():
        atoms.set_momenta(frame.momenta)
    results = {"energy": frame.potential_energy, "forces": frame.forces, "stress": frame.stress}
    known = {name: value for name, value in results.items() if value is not None and np.isfinite(value).all()}
    atoms.calc = SinglePointCalculator(atoms, **known)
    atoms.info.update(step=frame.step, time_fs=frame.time_fs)
    return atoms


def write_frames(path: Path, frames: Iterable[Frame], like: Atoms | None = None) -> None:
    """Frames as extended XYZ, whole or not at all.

    Parameters
    ----------
    like : the structure as read; its charge and PDB names go along.
    """
    images = []
    for frame in frames:
        atoms = atoms_of(frame)
        if like is not None:
            _hand_on(like, atoms)
        images.append(atoms)
    _write(path, images)


def write_input(path: Path, atoms: Atoms) -> None:
    """The structure as read, with charge and PDB names, without the notes on it."""
    plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name in ("masses", "momenta"):
        if name in atoms.arrays:
            plain.set_array(name, atoms.arrays[name])
    _hand_on(atoms, plain)
    _write(path, [plain])


def _hand_on(source: Atoms, target: Atoms) -> None:
    for key, value in source.info.items():
        if isinstance(value, INFO_KEPT) and key not in target.info:
            target.info[key] = value
    for name in ("atomtypes", "residuenames", "residuenumbers", "residueindex", "chainindex"):
        if name in source.arrays:
            target.set_array(name, source.arrays[name])


def _write(path: Path, images: list[Atoms]) -> None:
    from ase.io.extxyz import write_extxyz

    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        write_extxyz(stream, images)
