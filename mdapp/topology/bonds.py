"""Covalent bonds from distances, and the molecules that they make.

Two atoms are bonded when they are closer than 1.25 times the sum of their covalent radii (Cordero et al., Dalton Trans. 2008, 2832, as tabulated
by ASE), a hydrogen and another atom within 1.4 times. Strained frames are kept sound by valence: a hydrogen has one partner, the relatively closest, and
an atom of the second row no more than its octet allows; surplus bonds go, the relatively longest first. Ions (alkali, alkaline earth), noble gases and metal-metal
contacts make no bonds: nothing covalent is there to be watched.
"""
from __future__ import annotations

import numpy as np
from ase.data import covalent_radii

REACH = 1.25  # times the sum of covalent radii
REACH_HYDROGEN = 1.4  # for X-H; safe because a hydrogen has one partner
MOST_BONDS = {1: 1, 5: 4, 6: 4, 7: 4, 8: 3, 9: 1, 14: 6, 15: 6, 16: 6, 17: 4, 34: 6, 35: 4, 53: 6}
NONMETALS = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 33, 34, 35, 51, 52, 53))
BONDLESS = frozenset((2, 10, 18, 36, 54, 86, 3, 11, 19, 37, 55, 87, 4, 12, 20, 38, 56, 88))  # noble gases, alkali, alkaline earth


def close_pairs(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs closer than a cutoff, each once; own images included.

    Parameters
    ----------
    positions : (n_atoms, 3), Å.
    cell : (3, 3) rows, Å; only the periodic ones are read.
    pbc : (3,) bool.
    cutoff : Å.

    Returns
    -------
    i, j (n_pairs,) int64 and distances (n_pairs,) in Å, sorted by i and j.
    """
    from potentials.neighbours.search import pairs

    pbc = np.broadcast_to(np.asarray(pbc, dtype=bool), (3,)).copy()
    positions, box = np.asarray(positions, dtype=float), np.where(pbc[:, None], np.asarray(cell, dtype=float), 0.0)
    i, j, shifts = pairs(positions, box, pbc, cutoff)
    return i, j, np.linalg.norm(positions[j] - positions[i] + shifts @ box, axis=1)


def find_bonds(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Covalent bonds by distance and valence, through periodic walls too.

    Parameters
    ----------
    numbers : (n_atoms,) atomic numbers.
    positions : (n_atoms, 3), Å.
    cell, pbc : (3, 3) rows in Å and (3,) bool.

    Returns
    -------
    (n_bonds, 2) int64, i < j, sorted; no pair twice, no bond to an atom's own image.
    """
    numbers = np.asarray(numbers)
    if len(numbers) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    radii = covalent_radii[numbers]
    can_bond = ~np.isin(numbers, list(BONDLESS))
    nonmetal = np.isin(numbers, list(NONMETALS))
    if can_bond.sum() < 2:
        return np.zeros((0, 2), dtype=np.int64)
    i, j, distances = close_pairs(positions, cell, pbc, max(2.0 * REACH * radii[can_bond].max(), REACH_HYDROGEN * (radii[can_bond].max() + covalent_radii[1])))
    stretch = distances / (radii[i] + radii[j])
    reach = np.where((numbers[i] == 1) ^ (numbers[j] == 1), REACH_HYDROGEN, REACH)
    bonded = (stretch < reach) & (i != j) & can_bond[i] & can_bond[j] & (nonmetal[i] | nonmetal[j])
    i, j, stretch = np.minimum(i, j)[bonded], np.maximum(i, j)[bonded], stretch[bonded]
    order = np.lexsort((j, i, stretch))  # the surest bonds first
    degree = np.zeros(len(numbers), dtype=int)
    most = np.array([MOST_BONDS.get(int(z), 12) for z in numbers])
    kept = set()
    for a, b in zip(i[order].tolist(), j[order].tolist()):
        if (a, b) not in kept and degree[a] < most[a] and degree[b] < most[b]:
            kept.add((a, b))
            degree[a] += 1
            degree[b] += 1
    return np.array(sorted(kept), dtype=np.int64).reshape(-1, 2)


def molecules(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """(n_atoms,) label of each atom's molecule: 0, 1, ... in the order of their first atoms."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n_atoms, n_atoms))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
