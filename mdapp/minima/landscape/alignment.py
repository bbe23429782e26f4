"""Two minima laid on each other before a path between them is drawn.

Which atoms correspond is decided by `mdapp.minima.identity` (least RMSD over rotations and permutations of equivalent atoms), with one condition more:
a path breaks no bonds, so the labelled neighbours of every tetrahedral atom keep their hand. Hydrogens of a methyl may turn round, the two of a CH2 may
not change places; where the least RMSD wants it, two equivalent atoms are exchanged back.
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mdapp.minima.identity import Identity, rotation

FLAT = 0.1  # of the product of three unit bonds: below it an atom counts as flat, and has no hand


@dataclass(frozen=True)
class Aligned:
    """The second of two minima in the order and place of the first."""

    positions: np.ndarray  # (n_atoms, 3), Å
    rmsd: float  # Å
    permutation: np.ndarray  # (n_atoms,): atom permutation[i] of the second became atom i
    mirrored: bool


def align(identity: Identity, a: np.ndarray, b: np.ndarray) -> Aligned | None:
    """Lay minimum b (n_atoms, 3) on minimum a, Å, for a path between them; None where no path leads there without breaking bonds."""
    match = identity.match(a, b)
    permutation = np.array(match.permutation)
    centres = _centres(identity)
    wanted = _hands(a, centres)
    image = match.positions[np.argsort(permutation)]  # b in its own order, where it lies (mirrored where the match is)
    for centre, hand in zip(centres, wanted, strict=True):
        found = int(_hands(image[permutation], [centre])[0])
        if hand == 0 or found == 0 or found == hand:
            continue
        pairs = [(i, j) for i, j in itertools.combinations(centre[1], 2) if _alike(identity, i, j)]
        if not pairs:
            return None
        cost = [np.sum((a[i] - image[permutation[j]]) ** 2) + np.sum((a[j] - image[permutation[i]]) ** 2) for i, j in pairs]
        i, j = pairs[int(np.argmin(cost))]
        permutation[[i, j]] = permutation[[j, i]]
    moved = image[permutation]
    place = a.mean(axis=0)
    moved = (moved - moved.mean(axis=0)) @ rotation(a - place, moved - moved.mean(axis=0)) + place
    rmsd = float(np.sqrt(np.mean(np.sum((moved - a) ** 2, axis=1))))
    return Aligned(moved, rmsd, permutation, match.mirrored)


def _centres(identity: Identity) -> list[tuple[int, list[int]]]:
    """Atoms with four neighbours, and these."""
    neighbours: dict[int, list[int]] = {}
    for i, j in identity.bonds.tolist():
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    return [(k, sorted(near)) for k, near in sorted(neighbours.items()) if len(near) == 4]


def _hands(positions: np.ndarray, centres: list[tuple[int, list[int]]]) -> np.ndarray:
    """(n_centres,) +1 or -1: on which side of the first neighbour the other three go round; 0 where it cannot be told."""
    found = []
    for centre, near in centres:
        u = positions[near] - positions[centre]
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
        volume = float(np.linalg.det(u[1:] - u[0]))
        found.append(0 if abs(volume) < FLAT else int(np.sign(volume)))
    return np.array(found, dtype=int)


def _alike(identity: Identity, i: int, j: int) -> bool:
    """Are two atoms equivalent ends of the bond graph?"""
    degree = np.bincount(identity.bonds.ravel(), minlength=len(identity.numbers))
    return identity.symmetry.labels[i] == identity.symmetry.labels[j] and degree[i] == degree[j] == 1
