"""Distance between shapes: root mean square deviation after the best superposition.

W. Kabsch, Acta Cryst. A32, 922 (1976); the sign of the determinant keeps mirror images apart.
"""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.result import Result


@dataclass(frozen=True)
class Rmsd(Result):
    """RMSD of every frame from a reference."""

    time_ps: np.ndarray  # (n_frames,)
    rmsd_A: np.ndarray  # (n_frames,)
    selection: str  # which atoms, in words
    n_selected: int

    def to_csv(self, path: Path) -> None:
        _columns(path, {"time_ps": self.time_ps, "rmsd_A": self.rmsd_A})


@dataclass(frozen=True)
class GyrationRadius(Result):
    """Mass-weighted radius of gyration of every frame."""

    time_ps: np.ndarray  # (n_frames,)
    radius_A: np.ndarray  # (n_frames,)

    def to_csv(self, path: Path) -> None:
        _columns(path, {"time_ps": self.time_ps, "radius_of_gyration_A": self.radius_A})


def superpose(positions: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Positions moved and turned onto a reference, best in the (weighted) least-squares sense.

    Parameters
    ----------
    positions : (n_frames, n_atoms, 3).
    reference : (n_atoms, 3).
    weights : (n_atoms,), all equal when not given.

    Returns
    -------
    (n_frames, n_atoms, 3), centred where the reference is.
    """
    w = _weights(weights, len(reference))
    centre = w @ reference
    x = positions - np.einsum("i,fix->fx", w, positions)[:, None]
    return x @ _rotations(x, reference - centre, w) + centre


def rmsd(positions: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Root mean square deviation (n_frames,) from a reference after the best superposition, Å; see `superpose`."""
    w = _weights(weights, len(reference))
    apart = superpose(positions, reference, w) - reference
    return np.sqrt(np.einsum("i,fix,fix->f", w, apart, apart))


def radius_of_gyration(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Mass-weighted radius of gyration (n_frames,), Å."""
    w = _weights(masses, positions.shape[1])
    x = positions - np.einsum("i,fix->fx", w, positions)[:, None]
    return np.sqrt(np.einsum("i,fix,fix->f", w, x, x))


def displacement(before: np.ndarray, after: np.ndarray, cell_before: np.ndarray, cell_after: np.ndarray) -> float:
    """RMS displacement in a periodic system, Å: the strain of the cell and the common shift do not count.

    Parameters
    ----------
    before, after : (n_atoms, 3), not wrapped in between.
    cell_before, cell_after : (3, 3), rows, complete.
    """
    apart = after - before @ np.linalg.solve(cell_before, cell_after)
    apart = apart - apart.mean(axis=0)
    return float(np.sqrt(np.mean(np.sum(apart ** 2, axis=1))))


def _rotations(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(n_frames, 3, 3) proper rotations R, for which x @ R is nearest to y; both centred."""
    u, _, vt = np.linalg.svd(np.einsum("i,fix,iy->fxy", w, x, y))
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    return u @ vt


def _weights(weights: np.ndarray | None, n_atoms: int) -> np.ndarray:
    w = np.ones(n_atoms) if weights is None else np.asarray(weights, dtype=float)
    return w / w.sum()


def _columns(path: Path, columns: dict[str, np.ndarray]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows([f"{value:.8g}" for value in row] for row in zip(*columns.values(), strict=True))
