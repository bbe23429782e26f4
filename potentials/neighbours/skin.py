"""Verlet skin: pairs found a little beyond the cutoff stay complete while atoms and cell move a little.

Let F be the deformation of the cell since the pairs were found, r' = r F + u (row vectors), and u_i what atom i moved
beyond it. Every pair that was farther than r_c + skin is still farther than r_c as long as

    sigma_min(F) (r_c + skin) - 2 max|u_i| >= r_c,

with sigma_min the smallest singular value. In a fixed cell this is «nobody moved more than half the skin».
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potentials.neighbours.search import complete_cell


@dataclass(frozen=True)
class Reference:
    """Where atoms and cell were when the pairs were found."""

    positions: np.ndarray  # (n_atoms, 3), Å
    cell: np.ndarray  # (3, 3), Å
    pbc: np.ndarray  # (3,) bool


def still_valid(reference: Reference, positions: np.ndarray, cell: np.ndarray, cutoff: float, skin: float) -> bool:
    """Do the pairs found at `reference` within cutoff + skin still hold all pairs within the cutoff?

    Parameters
    ----------
    positions : (n_atoms, 3), Å, not wrapped since the reference.
    cell : (3, 3), Å, periodic along the same directions as the reference.
    cutoff, skin : Å.
    """
    if positions.shape != reference.positions.shape or not np.isfinite(cell).all():
        return False
    if np.isinf(cutoff):
        return True
    if not reference.pbc.any() or np.array_equal(cell, reference.cell):
        u = positions - reference.positions
        return bool(np.einsum("ij,ij->i", u, u).max(initial=0.0) <= (skin / 2) ** 2)
    old, new = complete_cell(reference.cell, reference.pbc), complete_cell(cell, reference.pbc)
    F = np.linalg.solve(old, new)
    sigma_min = np.linalg.svd(F, compute_uv=False)[-1]
    u = positions - reference.positions @ F
    moved = np.sqrt(np.einsum("ij,ij->i", u, u).max(initial=0.0))
    return bool(sigma_min * (cutoff + skin) - 2 * moved >= cutoff)
