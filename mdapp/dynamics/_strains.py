"""Which strains of a cell may change: a mask over its three vectors.

A vector whose mask is 0 keeps length and direction. The free ones change in length, each by itself, and with `flexible` they also shear
against each other. Strain and stress are symmetric, so a vector can only be frozen, or change by itself, at right angles to the others that
change; the cell may stand in space as it likes.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from mdapp.selection import parse_mask

RIGHT = 1e-6  # largest cosine between two vectors that are at right angles


@dataclass(frozen=True)
class Strains:
    """The strains that may change."""

    axes: np.ndarray  # (3, 3), orthonormal rows: first those that the free cell vectors span
    pattern: np.ndarray  # (3, 3) of 0 and 1, symmetric, in these axes

    @property
    def count(self) -> int:
        """Independent strains: those on the diagonal, and the pairs beside it."""
        return int(self.pattern.sum() + np.trace(self.pattern)) // 2

    def allowed(self, matrix: np.ndarray) -> np.ndarray:
        """The part of a symmetric matrix (3, 3) that lies in the allowed strains."""
        return self.axes.T @ (self.pattern * (self.axes @ matrix @ self.axes.T)) @ self.axes


def strains_of(atoms: Atoms, mask: str | None, flexible: bool, name: str) -> Strains | None:
    """The strains of a mask such as "1,1,0"; None where there is no mask (then the volume alone moves, or all six strains).

    Raises
    ------
    ValueError : a mask that is none, or a cell without right angles.
    """
    if mask is None:
        return None
    free = np.array(parse_mask(mask), dtype=bool)
    vectors = atoms.cell.array / np.linalg.norm(atoms.cell.array, axis=1)[:, None]
    cosines = np.abs(vectors @ vectors.T - np.eye(3))
    together = np.outer(free, free) if flexible else np.zeros((3, 3), bool)  # pairs that may stand at any angle, as two fixed ones may
    if cosines[~together & (free[:, None] | free)].max(initial=0.0) > RIGHT:
        angles = ", ".join(f"{a:.2f}" for a in atoms.cell.angles())
        raise ValueError(f"{name} with cell_mask {mask} needs right angles between the cell vectors, but they are {angles} degrees. Leave out "
                         "cell_mask, or take a rectangular cell.")
    order = np.argsort(~free, kind="stable")  # the free ones first: they span the directions that may change
    axes = np.linalg.qr(vectors[order].T)[0].T
    block = (np.arange(3) < free.sum()).astype(float)
    return Strains(axes, np.outer(block, block) if flexible else np.diag(block))
