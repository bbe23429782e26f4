"""Do the bonds of the start hold? Lengths along a trajectory, judged against the start."""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.result import Result

BROKEN_A = 0.5  # a bond this much longer or shorter than at the start is no thermal vibration


@dataclass(frozen=True)
class BondSeries(Result):
    """The worst bond of every frame."""

    time_ps: np.ndarray  # (n_frames,)
    worst_A: np.ndarray  # (n_frames,) largest |length - length at the start|
    worst_bond: np.ndarray  # (n_frames, 2) which atoms
    n_broken: np.ndarray  # (n_frames,) bonds off by more than `BROKEN_A`
    n_bonds: int

    @property
    def broken_frames(self) -> int:
        return int(np.sum(self.n_broken > 0))

    def to_csv(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["time_ps", "worst_bond_off_by_A", "atom_i", "atom_j", "bonds_broken"])
            for t, off, (i, j), n in zip(self.time_ps, self.worst_A, self.worst_bond, self.n_broken, strict=True):
                out.writerow([f"{t:.8g}", f"{off:.5f}", i, j, n])


def bond_lengths(positions: np.ndarray, bonds: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Lengths (n_frames, n_bonds) in Å, through periodic walls to the nearest image.

    Parameters
    ----------
    positions : (n_frames, n_atoms, 3).
    bonds : (n_bonds, 2) atoms.
    cell : (n_frames, 3, 3) or (3, 3), rows; used along the periodic directions only.
    pbc : (3,) bool.
    """
    vectors = positions[:, bonds[:, 1]] - positions[:, bonds[:, 0]]
    if np.any(pbc):
        cells = np.broadcast_to(cell, (len(positions), 3, 3)) * np.asarray(pbc)[:, None]
        images = np.rint(vectors @ np.linalg.pinv(cells))  # bonds are short: the nearest image is the one by rounding
        vectors = vectors - images @ cells
    return np.linalg.norm(vectors, axis=-1)


def bond_series(time_ps: np.ndarray, lengths: np.ndarray, start: np.ndarray, bonds: np.ndarray) -> BondSeries:
    """Judge lengths (n_frames, n_bonds) against those of the start (n_bonds,)."""
    off = np.abs(lengths - start)
    worst = off.argmax(axis=1)
    return BondSeries(np.asarray(time_ps), off.max(axis=1), bonds[worst], np.sum(off > BROKEN_A, axis=1), len(bonds))
