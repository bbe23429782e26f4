"""Pairs of many structures: stored end to end as small integers, or searched anew for each batch.

A pair of a molecule with fewer than 256 atoms takes two bytes on disk. The search takes no room and some twenty
microseconds a molecule; both give the same pairs in the same order, so the same bits.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from potentials.neighbours import all_pairs, pairs

_SMALL = 32  # atoms


@dataclass(frozen=True)
class PairLists:
    """Pairs of many structures, each once, end to end."""

    start: np.ndarray  # (n_frames + 1,) where a frame's pairs begin
    i: np.ndarray  # (n_pairs,) integers, within the frame
    j: np.ndarray  # (n_pairs,)
    shifts: np.ndarray | None  # (n_pairs, 3) integers; None where no frame is periodic
    cutoff: float  # Å; infinite: all pairs of a frame

    def of(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Pairs i, j and shifts of these frames, end to end, numbered within each frame."""
        chosen = ranges(self.start, indices)
        return self.i[chosen], self.j[chosen], None if self.shifts is None else self.shifts[chosen]


@dataclass(frozen=True)
class FoundPairs:
    """Pairs that are searched when they are asked for; only their numbers are stored."""

    start: np.ndarray  # (n_frames + 1,) where a frame's pairs would begin
    cutoff: float  # Å; infinite: all pairs of a frame
    atoms: np.ndarray  # (n_frames + 1,) where a frame's atoms begin
    positions: np.ndarray  # (n_atoms, 3), Å
    cell: np.ndarray  # (n_frames, 3, 3), Å; zero along directions that are not periodic

    def of(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Pairs i, j and shifts of these frames, end to end, numbered within each frame."""
        found = [self._search(int(k)) for k in indices]
        i, j, shifts = (np.concatenate([f[column] for f in found]) if found else np.zeros(0, np.int64) for column in range(3))
        return i, j, shifts.reshape(-1, 3)

    def _search(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cell = np.asarray(self.cell[k])
        return find_pairs(np.asarray(self.positions[self.atoms[k] : self.atoms[k + 1]]), cell, cell.any(axis=1), self.cutoff)


Lists = PairLists | FoundPairs


def find_pairs(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of one structure; all of them where the cutoff is infinite. Of a small molecule every distance is looked at, which is faster."""
    if np.isinf(cutoff):
        return all_pairs(len(positions))
    if len(positions) > _SMALL or pbc.any():
        return pairs(positions, cell, pbc, cutoff)
    i, j, shifts = _every_pair(len(positions))
    r_ij = positions[j] - positions[i]
    near = np.einsum("px,px->p", r_ij, r_ij) <= cutoff * cutoff
    return i[near], j[near], shifts[near]


@functools.lru_cache(maxsize=_SMALL + 1)
def _every_pair(n_atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return all_pairs(n_atoms)


class PairCollector:
    """Pairs of structure after structure, within one cutoff."""

    def __init__(self, cutoff: float):
        self.cutoff = cutoff
        self.i: list[np.ndarray] = []
        self.j: list[np.ndarray] = []
        self.shifts: list[np.ndarray] = []
        self.periodic = False

    def add(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> None:
        i, j, shifts = find_pairs(positions, cell, pbc, self.cutoff)
        self.i.append(i.astype(np.int32))
        self.j.append(j.astype(np.int32))
        self.shifts.append(shifts.astype(np.int16))
        self.periodic = self.periodic or bool(pbc.any())

    def finished(self) -> PairLists:
        shifts = np.concatenate(self.shifts) if self.periodic else None
        return PairLists(starts([len(i) for i in self.i]), np.concatenate(self.i), np.concatenate(self.j), shifts, self.cutoff)


def starts(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each of so many pieces begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def ranges(start: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The numbers start[k]..start[k + 1] - 1 of each k of `indices`, end to end."""
    counts = start[indices + 1] - start[indices]
    before = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(start[indices] - before, counts)
