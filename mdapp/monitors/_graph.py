"""What the bonds of the start say of a molecule: neighbours, classes of equal atoms, stereocentres, peptide bonds, small rings."""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mdapp.frame import Frame

if TYPE_CHECKING:
    from ase import Atoms

CENTRES = (6, 14, 15, 16, 7)  # with four partners: C, Si, P, S, N
PYRAMIDS = (15, 16)  # with three partners and a lone pair, too stiff to turn over: phosphines; sulfoxides, sulfonium


def neighbours_of(n_atoms: int, bonds: np.ndarray) -> list[list[int]]:
    """The partners of each atom, in rising order."""
    found: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in np.asarray(bonds, dtype=np.int64).reshape(-1, 2).tolist():
        found[i].append(j)
        found[j].append(i)
    return [sorted(partners) for partners in found]


def classes_of(numbers: np.ndarray, neighbours: Sequence[Sequence[int]]) -> np.ndarray:
    """(n_atoms,) a label of each atom; atoms that differ in element, or in what surrounds them at any distance, have different labels.

    (Colour refinement: H. L. Morgan, J. Chem. Doc. 5, 107 (1965).)
    """
    labels = np.unique(numbers, return_inverse=True)[1].tolist()
    count = len(set(labels))
    while True:
        keys = [(labels[k], tuple(sorted(labels[p] for p in partners))) for k, partners in enumerate(neighbours)]
        rank = {key: r for r, key in enumerate(sorted(set(keys)))}
        labels = [rank[key] for key in keys]
        if len(rank) == count:
            return np.array(labels, dtype=np.int64)
        count = len(rank)


def stereocentres(numbers: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """(n_centres, 5): an atom with four different partners, and these; -1 is the lone pair of S and P with three. (Rings that differ by direction alone are not told apart.)"""
    neighbours = neighbours_of(len(numbers), bonds)
    candidates = [k for k, partners in enumerate(neighbours) if numbers[k] in {4: CENTRES, 3: PYRAMIDS}.get(len(partners), ())]
    if not candidates:
        return np.zeros((0, 5), np.int64)
    labels = classes_of(numbers, neighbours)
    found = [(k, *neighbours[k], -1)[:5] for k in candidates if len({labels[p] for p in neighbours[k]}) == len(neighbours[k])]
    return np.array(found, dtype=np.int64).reshape(-1, 5)


def peptide_bonds(numbers: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """(n_bonds, 4): C-C(=O)-N-C of each amide whose nitrogen carries a carbon; of a proline the ring's or the chain's, always the same."""
    neighbours = neighbours_of(len(numbers), bonds)
    found = []
    for c in np.flatnonzero(np.asarray(numbers) == 6).tolist():
        partners = neighbours[c]
        oxygens = [p for p in partners if numbers[p] == 8 and len(neighbours[p]) == 1]
        carbons = [p for p in partners if numbers[p] == 6]
        if len(partners) != 3 or len(oxygens) != 1 or len(carbons) != 1:
            continue
        for n in (p for p in partners if numbers[p] == 7):
            far = [p for p in neighbours[n] if p != c and numbers[p] == 6]
            if far and len(neighbours[n]) == 3:
                found.append((carbons[0], c, n, far[0]))
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def rings(n_atoms: int, bonds: np.ndarray, largest: int = 7) -> list[tuple[int, ...]]:
    """The shortest ring through each bond, each ring once, its atoms in order; none larger than `largest`."""
    neighbours = neighbours_of(n_atoms, bonds)
    found: dict[frozenset[int], tuple[int, ...]] = {}
    for i, j in np.asarray(bonds, dtype=np.int64).reshape(-1, 2).tolist():
        path = _way_round(neighbours, i, j, largest)
        if path:
            found.setdefault(frozenset(path), tuple(path))
    return sorted(found.values())


def _way_round(neighbours: Sequence[Sequence[int]], i: int, j: int, largest: int) -> list[int]:
    """The shortest path from i to j that does not take their bond; empty where it is longer than `largest` atoms."""
    before, waiting = {i: -1}, deque([(i, 1)])
    while waiting:
        atom, length = waiting.popleft()
        if length >= largest:
            return []
        for p in neighbours[atom]:
            if p in before or (atom == i and p == j):
                continue
            before[p] = atom
            if p == j:
                path = [j]
                while before[path[-1]] >= 0:
                    path.append(before[path[-1]])
                return path[::-1]
            waiting.append((p, length + 1))
    return []


def vectors(frame: Frame | Atoms, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """From atoms i to atoms j, (..., 3) in Å, by the nearest image; exact while shorter than half the lowest height of the cell."""
    d = frame.positions[j] - frame.positions[i]
    if frame.pbc.any():
        cell = np.where(frame.pbc[:, None], frame.cell, 0.0)
        d = d - np.round(d @ np.linalg.pinv(cell)) @ cell
    return d


def dihedral_cosines(frame: Frame | Atoms, quadruples: np.ndarray) -> np.ndarray:
    """(n,) cosines of the dihedral angles of (n, 4) atoms: 1 is cis, -1 is trans. (Of a frame it reads positions, cell and pbc.)"""
    i, j, k, m = quadruples.T
    b = vectors(frame, j, k)
    u, v = _cross(vectors(frame, i, j), b), _cross(b, vectors(frame, k, m))
    return np.einsum("ij,ij->i", u, v) / np.sqrt(np.maximum(np.einsum("ij,ij->i", u, u) * np.einsum("ij,ij->i", v, v), 1e-12))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 3); numpy's own takes three times as long for few vectors."""
    a0, a1, a2 = a[..., 0], a[..., 1], a[..., 2]
    b0, b1, b2 = b[..., 0], b[..., 1], b[..., 2]
    return np.stack((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0), axis=-1)


def triple_products(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a · (b × c) along the last axis."""
    return np.einsum("...k,...k->...", a, _cross(b, c))
