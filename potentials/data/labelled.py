"""A labelled structure: where atoms are, and what a reference method says about it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class DataError(ValueError):
    """Labelled data that cannot be used; the message names the file, the frame and the key."""


@dataclass(frozen=True)
class LabelKeys:
    """Names that labels have in a file; None where the usual ones are tried, in the order of the reader's list."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    molecule: str | None = None
    charges: str | None = None
    dipole: str | None = None


@dataclass(frozen=True)
class LabelledStructure:
    """One frame with its labels, in ASE units."""

    numbers: np.ndarray  # (n_atoms,) atomic numbers
    positions: np.ndarray  # (n_atoms, 3), Å
    energy: float | None  # eV, total; None where there is no label
    forces: np.ndarray | None  # (n_atoms, 3), eV/Å, minus the gradient
    stress: np.ndarray | None  # (3, 3), eV/Å³, positive under tension
    cell: np.ndarray  # (3, 3), Å, rows are cell vectors; zero where there is no cell
    pbc: np.ndarray  # (3,) bool
    charge: float  # total charge, e
    molecule: str  # frames of one molecule share it; a split may keep them together
    source: str  # file and frame, for messages
    multiplicity: int = 1  # 2 S + 1
    charges: np.ndarray | None = None  # (n_atoms,) partial charges, e
    dipole: np.ndarray | None = None  # (3,), e Å, about the origin of `positions`


def checked(s: LabelledStructure) -> LabelledStructure:
    """The same structure, or an error that says which label has the wrong shape or is not a number.

    Raises
    ------
    DataError : no atoms; shapes that do not fit the number of atoms; a NaN or infinity in positions or labels.
    """
    n_atoms = len(s.numbers)
    if n_atoms == 0:
        raise DataError(f"{s.source} has no atoms.")
    expected = {"positions": (n_atoms, 3), "forces": (n_atoms, 3), "stress": (3, 3), "energy": (), "charges": (n_atoms,), "dipole": (3,)}
    for name, shape in expected.items():
        value = getattr(s, name)
        if value is None:
            continue
        if np.shape(value) != shape:
            raise DataError(f"{name} has shape {np.shape(value)}, expected {shape}: the label belongs to another structure ({s.source}).")
        if not np.all(np.isfinite(value)):
            raise DataError(f"{name} is not a finite number in {s.source}; drop that frame or label it again.")
    if s.pbc.any() and not np.all(np.abs(s.cell[s.pbc]).sum(axis=1) > 0):
        raise DataError(f"{s.source} is periodic ({s.pbc.tolist()}) along a cell vector of length 0.")
    return s
