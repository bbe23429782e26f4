"""How many copies a minimum is found in: its rotational symmetry number, and whether it stands for two mirror images.

The symmetry number is that of proper rotations which, with an allowed permutation, lay the structure on itself as nearly as two structures must lie to be one minimum.
Permutations are not listed. Candidates are the rotations that lay two chosen atoms and the centroid on their like; the best permutation for each is assigned, the rotation
refined, and what is near enough is counted once for every permutation. (So all rotations about the axis of a linear molecule are one.)
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mdapp.minima.identity import HOPELESS, LARGEST_OVER_RMSD, MOST_ROWS, RMSD_MAX, Identity, _frame, _least_cost, _squares, rotation

PORTION = 256  # pairs of atoms whose frames are made together


@dataclass(frozen=True)
class Copies:
    """Of one minimum; its weight is images / symmetry."""

    symmetry: int  # proper rotations that lay it on itself
    images: int  # 2 where it stands for itself and a mirror image that no rotation lays on it


def copies_of(identity: Identity, positions: np.ndarray, rmsd_max: float = RMSD_MAX) -> Copies:
    """Count them for a structure (n_atoms, 3), Å."""
    a = np.asarray(positions, dtype=float)
    a = a - a.mean(axis=0)
    symmetry = len({p.tobytes() for p in _superpositions(identity, a, a, rmsd_max)})
    is_twisted = identity.mirror_is_one and next(_superpositions(identity, a, -a, rmsd_max), None) is None
    return Copies(max(1, symmetry), 2 if is_twisted else 1)


def _superpositions(identity: Identity, a: np.ndarray, b: np.ndarray, rmsd_max: float) -> Iterator[np.ndarray]:
    """Permutations (n_atoms,) with which b, turned, lies on a; both centred. One may come again."""
    if len(a) == 1:
        yield np.zeros(1, dtype=np.int64)
        return
    seen: set[bytes] = set()
    labels = identity.symmetry.labels
    for turn in _turns(a, b, labels, rmsd_max):
        turned = b @ turn
        if _least_cost(a, turned, labels) > len(a) * (HOPELESS * rmsd_max) ** 2:
            continue
        begun = identity.symmetry.assign(_squares(a, turned)).tobytes()
        if begun in seen:
            continue
        seen.add(begun)
        match = identity.refined(a, b, turned, False, np.zeros(3))
        if match.within(rmsd_max):
            yield match.permutation


def _turns(a: np.ndarray, b: np.ndarray, labels: np.ndarray, rmsd_max: float) -> Iterator[np.ndarray]:
    """Rotations (3, 3) of b that lay two of its atoms, seen from the centroid, like two chosen atoms of a; none is left out that makes the two one."""
    reach = LARGEST_OVER_RMSD * rmsd_max
    radius_a, radius_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    may = (labels[:, None] == labels) & (np.abs(radius_a[:, None] - radius_b) <= reach)
    if len(a) <= MOST_ROWS:
        around_a, around_b = (np.sort(np.sqrt(_squares(x, x)), axis=1) for x in (a, b))
        may &= np.sqrt(np.mean((around_a[:, None] - around_b[None]) ** 2, axis=2)) <= reach + rmsd_max
    rivals = may.sum(axis=1)
    u = int(np.lexsort((-radius_a, rivals, radius_a < 0.5 * radius_a.max()))[0])
    axis = a[u] / max(radius_a[u], 1e-12)
    beside = np.linalg.norm(a - np.outer(a @ axis, axis), axis=1)
    first = np.flatnonzero(may[u])
    if beside.max() < rmsd_max:  # all on a line
        for k in first:
            yield rotation(a[u : u + 1], b[k : k + 1])
        return
    v = int(np.lexsort((-beside, rivals, beside < 0.5 * beside.max()))[0])
    second = np.flatnonzero(may[v])
    apart = np.abs(np.linalg.norm(b[first][:, None] - b[second][None], axis=2) - np.linalg.norm(a[u] - a[v]))
    i, j = np.nonzero((apart <= 2 * reach) & (first[:, None] != second))
    frame = _frame(a[u][None], a[v][None])[0]
    for at in range(0, len(i), PORTION):
        yield from _frame(b[first[i[at : at + PORTION]]], b[second[j[at : at + PORTION]]]) @ frame.T
