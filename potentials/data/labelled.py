"""A labelled structure: where atoms are, and what a reference method says about it."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.symbols import Symbols


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
    charge: str | None = None  # total charge
    multiplicity: str | None = None
    numbers: str | None = None  # this and the next two: arrays of an .npz or HDF5 file
    positions: str | None = None
    cell: str | None = None


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
    subset: str = ""  # part of a collection that the molecule came with, where the file says


def checked(s: LabelledStructure) -> LabelledStructure:
    """The same structure, or an error that says which label has the wrong shape; whether they are numbers is asked by `not_finite`.

    Raises
    ------
    DataError : no atoms; an atomic number that is none; shapes that do not fit the number of atoms; a total charge that is no number; periodic
        along a cell vector of length 0, or along vectors that span no cell.
    """
    n_atoms = len(s.numbers)
    if n_atoms == 0:
        raise DataError(f"{s.source} has no atoms.")
    if not (np.ndim(s.numbers) == 1 and np.all((s.numbers >= 1) & (s.numbers <= 118))):
        strange = ", ".join(map(str, np.unique(s.numbers)[:5]))
        raise DataError(f"{s.source} has atomic numbers {strange}; expected one of 1 to 118 for each atom.")
    expected = {"positions": (n_atoms, 3), "forces": (n_atoms, 3), "stress": (3, 3), "energy": (), "charges": (n_atoms,), "dipole": (3,), "cell": (3, 3)}
    for name, shape in expected.items():
        value = getattr(s, name)
        if value is None:
            continue
        if np.shape(value) != shape:
            raise DataError(f"{name} has shape {np.shape(value)}, expected {shape}: the label belongs to another structure ({s.source}).")
    if not np.isfinite(s.charge):
        raise DataError(f"The total charge is not a finite number in {s.source}; drop that frame or correct it.")
    if s.pbc.any() and np.isfinite(s.cell).all():
        if not np.all(np.abs(s.cell[s.pbc]).sum(axis=1) > 0):
            raise DataError(f"{s.source} is periodic ({s.pbc.tolist()}) along a cell vector of length 0.")
        if not independent(s.cell[s.pbc]):
            raise DataError(f"{s.source} is periodic ({s.pbc.tolist()}) along cell vectors that lie in one plane or line: {np.round(s.cell, 3).tolist()}.")
    return s


def not_finite(s: LabelledStructure) -> tuple[str, ...]:
    """What of positions, cell and labels holds a NaN or an infinity; a label that is not there is no such case."""
    values = ((name, getattr(s, name)) for name in ("positions", "cell", "energy", "forces", "stress", "charges", "dipole"))
    return tuple(name for name, value in values if value is not None and not np.all(np.isfinite(value)))


def refuse_not_finite(s: LabelledStructure) -> LabelledStructure:
    """The same structure.

    Raises
    ------
    DataError : a NaN or infinity in positions, cell or labels.
    """
    for name in not_finite(s):
        raise DataError(f"{name} is not a finite number in {s.source}; drop that frame or label it again.")
    return s


def independent(vectors: np.ndarray) -> bool:
    """Whether the rows of (n, 3), none of them zero, span n dimensions: no two along one line, no three in one plane."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return bool(np.linalg.det(unit @ unit.T) > 1e-10)


def is_isolated_atom(s: LabelledStructure) -> bool:
    """A single atom that its file marks as a reference (config_type=IsolatedAtom): its energy is no training frame."""
    return len(s.numbers) == 1 and s.molecule.lower().replace("_", "").replace(" ", "") == "isolatedatom"


def formula_of(numbers: np.ndarray) -> str:
    """Hill formula of atomic numbers, the name of a molecule that has no other; what is no element counts as X."""
    return _formula(np.asarray(numbers, dtype=np.int64).tobytes())


@lru_cache(maxsize=1024)  # frames of one molecule come one after the other
def _formula(numbers: bytes) -> str:
    z = np.frombuffer(numbers, np.int64)
    return Symbols(np.where((z >= 1) & (z <= 118), z, 0)).formula.format("hill")
