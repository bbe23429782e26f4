"""All pairs within a cutoff, in any cell: by vesin, by a tree where atoms lie far scattered, and by a plain search that tests trust.

Each pair once: of i -> j and j -> i one, of the two images of an atom itself in a small cell one, and no pair of an atom with
itself. `Edges.of_pairs` turns pairs into directed edges.
"""
from __future__ import annotations

import itertools

import numpy as np
import vesin

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # i (n_pairs,), j (n_pairs,), shifts (n_pairs, 3), int64


def pairs(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Pairs:
    """Pairs with |positions[j] + shift @ cell - positions[i]| <= cutoff, in an order that hangs on the pairs alone.

    i <= j, sorted by i, j and shift: sums over the pairs have the same bits whenever the list was searched, so that a resumed
    run, which searches anew, equals an uninterrupted one.

    Parameters
    ----------
    positions : (n_atoms, 3), Å; need not lie inside the cell.
    cell : (3, 3), Å, rows; ignored along directions that are not periodic.
    pbc : (3,) bool.
    cutoff : Å.

    Raises
    ------
    ValueError : positions or periodic cell vectors that are not finite; periodic cell vectors that span nothing.
    """
    positions, pbc = np.ascontiguousarray(positions, dtype=np.float64), np.asarray(pbc, dtype=bool)
    if len(positions) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64)
    if not (np.isfinite(positions).all() and np.isfinite(np.asarray(cell)[pbc]).all()):
        raise ValueError("Positions or cell are not finite numbers; there are no neighbours to search for.")
    if not pbc.any() and np.linalg.norm(np.ptp(positions, axis=0)) <= cutoff:  # vesin takes seconds where the cutoff is far beyond the molecule
        return all_pairs(len(positions))
    cell = complete_cell(cell, pbc)
    if np.linalg.det(cell) == 0:
        raise ValueError(f"The cell {cell.tolist()} has no volume, but pbc is {pbc.tolist()}.")
    if _too_flat(positions, cell, pbc, float(cutoff)):
        return pairs_scattered(positions, cell, pbc, cutoff)
    search = vesin.NeighborList(cutoff=float(cutoff), full_list=False, sorted=False, n_threads=1)
    i, j, shifts = search.compute(positions, cell, pbc, "ijS", copy=True)
    return _ordered(i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int64))


def _ordered(i: np.ndarray, j: np.ndarray, shifts: np.ndarray) -> Pairs:
    """Each pair from its lower atom, own images towards positive shifts, all sorted."""
    first = np.where(shifts[:, 0] != 0, shifts[:, 0], np.where(shifts[:, 1] != 0, shifts[:, 1], shifts[:, 2]))
    turned = (i > j) | ((i == j) & (first < 0))
    i, j, shifts = np.where(turned, j, i), np.where(turned, i, j), np.where(turned[:, None], -shifts, shifts)
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], j, i))
    return i[order], j[order], shifts[order]


def all_pairs(n_atoms: int) -> Pairs:
    """Every pair of an isolated structure, whatever its distance."""
    i, j = np.triu_indices(n_atoms, k=1)
    return i.astype(np.int64), j.astype(np.int64), np.zeros((len(i), 3), np.int64)


def complete_cell(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The cell with unit vectors, normal to the periodic ones, where a direction is not periodic.

    What stands in such a direction has no meaning for the pairs, and a placeholder there must not change them.
    """
    cell, pbc = np.array(cell, dtype=np.float64).reshape(3, 3), np.asarray(pbc, dtype=bool)
    if pbc.all():
        return cell
    if not pbc.any():
        return np.eye(3)
    basis = np.linalg.svd(cell[pbc])[2]  # rows beyond the rank span what is normal to the periodic vectors
    cell[~pbc] = basis[pbc.sum() :]
    return cell


def _too_flat(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> bool:
    """Is the box so long and so thin that vesin's limited number of cells leaves none along the thin direction?

    vesin (0.6) scales the cells down to 1e5 in all directions alike, and divides by 0 where less than one is left: the process
    dies. A molecule that flies apart gets there; its run must end by its guards.
    """
    extent = np.where(pbc, _heights(cell), np.ptp(positions @ np.linalg.inv(cell), axis=0))  # free vectors have length 1
    cells = extent / cutoff + 1  # at most
    return bool(cells.prod() > 5e4 and cells.min() * np.cbrt(1e5 / cells.prod()) < 3)


def _heights(cell: np.ndarray) -> np.ndarray:
    return 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def pairs_scattered(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Pairs:
    """The same pairs by a k-d tree: slower than vesin, and indifferent to how far the atoms lie apart."""
    from scipy.spatial import KDTree  # a rare case; scipy.spatial takes long to import

    cell, pbc = complete_cell(cell, pbc), np.asarray(pbc, dtype=bool)
    wrapped = np.where(pbc, np.floor(positions @ np.linalg.inv(cell)), 0.0)  # (n_atoms, 3) whole cell vectors
    home = positions - wrapped @ cell
    tree = KDTree(home)
    reach = np.where(pbc, np.ceil(cutoff / _heights(cell)), 0).astype(int)
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        if shift < (0, 0, 0):
            continue  # the other direction of the same pairs
        near = tree.sparse_distance_matrix(KDTree(home + np.array(shift) @ cell), cutoff, output_type="ndarray")
        i, j = near["i"].astype(np.int64), near["j"].astype(np.int64)
        if shift == (0, 0, 0):
            i, j = i[i < j], j[i < j]
        found.append(np.column_stack([i, j, np.array(shift) - wrapped[j].astype(np.int64) + wrapped[i].astype(np.int64)]))
    rows = np.concatenate(found)
    return _ordered(rows[:, 0], rows[:, 1], rows[:, 2:])


def pairs_plain(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Pairs:
    """The same pairs by trying every image that could be near: short and slow."""
    positions = np.asarray(positions, dtype=np.float64)
    cell, pbc = complete_cell(cell, pbc), np.asarray(pbc, dtype=bool)
    fractional = positions @ np.linalg.inv(cell)
    spread = np.ptp(fractional, axis=0) if len(positions) else np.zeros(3)
    reach = np.where(pbc, np.ceil(cutoff / _heights(cell) + spread), 0).astype(int)
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        r_ij = positions[None] + np.array(shift) @ cell - positions[:, None]
        i, j = np.nonzero(np.linalg.norm(r_ij, axis=2) <= cutoff)
        keep = (i < j) | ((i == j) & (shift > (0, 0, 0)))  # of each pair one direction
        found.append(np.column_stack([i, j, np.tile(shift, (len(i), 1))])[keep])
    rows = np.concatenate(found).astype(np.int64)
    rows = rows[np.lexsort(rows.T[::-1])]
    return rows[:, 0], rows[:, 1], rows[:, 2:]
