"""Close pairs of a frame, through periodic walls too; one search serves all watches that look at the same frame."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from mdapp.frame import Frame
from potentials.neighbours.search import pairs

REACH = 2.45  # Å, the least that is searched: serves bonds of all but the largest atoms. Shorter is slower, time going to empty cells
FEW = 110  # atoms of a free molecule up to which looking at every pair is quicker than a search


def close_pairs(frame: Frame, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair once: i, j (n_pairs,) int64 and distances (n_pairs,) in Å, below `cutoff` in Å."""
    i, j, d = _search(_ById(frame), max(float(cutoff), REACH))
    close = np.flatnonzero(d < cutoff)
    return i[close], j[close], d[close]


class _ById:
    """A frame as a key: equal to itself alone. (It is held on to, so that its id is not given to another.)"""

    def __init__(self, frame: Frame):
        self.frame = frame

    def __hash__(self) -> int:
        return id(self.frame)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.frame is other.frame


@lru_cache(maxsize=1)
def _search(key: _ById, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    frame = key.frame
    if len(frame.positions) <= FEW and not frame.pbc.any():
        i, j = _all(len(frame.positions))
        r_ij = frame.positions[j] - frame.positions[i]
        squares = np.einsum("ij,ij->i", r_ij, r_ij)
        near = np.flatnonzero(squares < (cutoff * (1 + 1e-12)) ** 2)
        i, j, r_ij = i[near], j[near], r_ij[near]
        return i, j, np.linalg.norm(r_ij, axis=1)
    i, j, shifts = pairs(frame.positions, frame.cell, frame.pbc, cutoff)
    r_ij = frame.positions[j] - frame.positions[i] + shifts @ np.where(frame.pbc[:, None], frame.cell, 0.0)
    return i, j, np.linalg.norm(r_ij, axis=1)


@lru_cache(maxsize=4)
def _all(n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """i < j of every pair, (n_pairs,) each, sorted."""
    i, j = np.triu_indices(n_atoms, 1)
    return i.astype(np.int64), j.astype(np.int64)
