"""The pieces that a change of volume carries along as they are: molecules, by their centres.

Whatever the pieces are, sampling is right as long as they stay the same; whole molecules make the softest move, since no bond is stretched.
A molecule that goes on through the walls of the box (a crystal, a polymer) has no centre; its atoms then move each by itself.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from mdapp.dynamics._constraints import held_bonds
from mdapp.topology import find_bonds
from mdapp.topology.bonds import molecules


@dataclass(frozen=True)
class Pieces:
    """Which atoms belong together, and where."""

    labels: np.ndarray  # (n_atoms,) int, 0 to n_pieces - 1
    images: np.ndarray  # (n_atoms, 3) int: the atom's position plus this many cell vectors lies beside the others of its piece

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the atoms of each piece, (n_pieces, 3)."""
        return np.stack([np.bincount(self.labels, values[:, k]) for k in range(3)], axis=1)

    def centres(self, positions: np.ndarray, masses: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Centre of mass of the piece that each atom belongs to, (n_atoms, 3), Å, at the image of the piece as a whole."""
        whole = positions + self.images @ cell
        return (self.sums(masses[:, None] * whole) / np.bincount(self.labels, masses)[:, None])[self.labels]


def pieces_of(atoms: Atoms) -> Pieces:
    """The molecules of a periodic structure; atoms that a bond of fixed length ties are of one."""
    n, cell, held = len(atoms), atoms.cell.array, held_bonds(atoms)
    bonds = find_bonds(atoms.numbers, atoms.positions, cell, atoms.pbc)
    if held is not None:
        bonds = np.unique(np.sort(np.concatenate([bonds, held.pairs]), axis=1), axis=0)
    labels, images = molecules(n, bonds), np.zeros((n, 3), dtype=np.int64)
    fractions = atoms.positions @ np.linalg.inv(cell)
    graph = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n)).tocsr()
    for root in np.unique(labels[bonds[:, 0]], return_index=True)[1] if len(bonds) else ():
        order, parents = breadth_first_order(graph, int(bonds[root, 0]), directed=False)
        for atom in order[1:]:
            parent = parents[atom]
            images[atom] = images[parent] - np.rint(fractions[atom] - fractions[parent]).astype(np.int64)
    whole = fractions + images
    endless = np.unique(labels[bonds[np.rint(whole[bonds[:, 0]] - whole[bonds[:, 1]]).any(axis=1)]])
    alone = np.isin(labels, endless)
    images[alone] = 0
    labels = np.where(alone, n + np.arange(n), labels)
    return Pieces(np.unique(labels, return_inverse=True)[1].astype(np.int64), images)
