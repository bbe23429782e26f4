r"""A Hessian guessed from the geometry alone, so that a search begins with the stiff and the soft directions told apart.

Each pair of atoms is a spring along the line between them, the softer the longer it is in units of the two covalent radii: stretches, bends
and torsions of a molecule come out about right through their 1-2, 1-3 and 1-4 distances; a small constant stands for all else.

.. math:: H = c\,1 + \sum_{i<j} k_{ij}\, \hat r_{ij} \hat r_{ij}^T, \qquad k_{ij} = K \exp[-A (r_{ij} / r^0_{ij} - 1)]

In the spirit of R. Lindh et al., Chem. Phys. Lett. 241, 423 (1995), and of D. Packwood et al., J. Chem. Phys. 144, 164109 (2016).
"""
from __future__ import annotations

import numpy as np
from ase.data import covalent_radii

from mdapp.relax._ragged import Ragged

STRETCH = 40.0  # K, eV/Å², of a pair at the sum of its radii
DECAY = 3.65  # A: a 1-3 pair (1.63 sums) is ten times softer
FLOOR = 1.0  # c, eV/Å²
REACH = 3.0  # sums of radii beyond which a pair is no spring
LARGEST = 150  # atoms; above it the inverse costs more than it saves


class ModelHessians:
    """The inverses of many structures' models, and their action on vectors.

    Parameters
    ----------
    stiffness : eV/Å², stands for the Hessian of a structure without a model.
    model : False: no structure gets one.
    """

    def __init__(self, stiffness: float, model: bool = True):
        self.stiffness, self.model = stiffness, model
        self.inverses: list[np.ndarray | None] = []
        self._stacks: list[tuple[np.ndarray, np.ndarray]] | None = None

    def enter(self, numbers: list[np.ndarray], positions: list[np.ndarray], cells: list[np.ndarray], pbcs: list[np.ndarray]) -> None:
        """Structures that come in, after those that are there."""
        for z, r, cell, pbc in zip(numbers, positions, cells, pbcs, strict=True):
            known = self.model and 2 <= len(z) <= LARGEST and has_model(z, r, cell, pbc)
            self.inverses.append(np.linalg.inv(model_hessian(z, r, cell, pbc)) if known else None)
        self._stacks = None

    def leave(self, kept: np.ndarray) -> None:
        """Only these structures stay."""
        self.inverses = [inverse for inverse, stays in zip(self.inverses, kept.tolist(), strict=True) if stays]
        self._stacks = None

    def solve(self, layout: Ragged, vectors: np.ndarray) -> np.ndarray:
        """The model's Newton step for forces (n_atoms, 3), Å."""
        if self._stacks is None:
            self._stacks = list(self._stacked(layout))
        result = vectors / self.stiffness
        for at, stack in self._stacks:
            result[at] = (stack @ vectors[at].reshape(len(at), -1, 1)).reshape(*at.shape, 3)
        return result

    def _stacked(self, layout: Ragged):
        """For each size: atoms (n_structures, n_atoms) and inverses (n_structures, 3 n_atoms, 3 n_atoms)."""
        known = np.array([inverse is not None for inverse in self.inverses], dtype=bool)
        for size in np.unique(layout.counts[known]):
            chosen = np.flatnonzero(known & (layout.counts == size))
            yield layout.starts[chosen][:, None] + np.arange(size), np.stack([self.inverses[k] for k in chosen])


def has_model(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
    """Whether most atoms have a partner at a covalent distance: springs by covalent radii say nothing of argon or of a metal under pressure."""
    from mdapp.topology import find_bonds

    return len(np.unique(find_bonds(numbers, positions, cell, pbc))) > 0.5 * len(numbers)


def model_hessian(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The model, (3 n_atoms, 3 n_atoms), eV/Å², positive definite; images of a periodic cell included."""
    from potentials.neighbours import pairs

    radii = covalent_radii[numbers]
    box = np.where(np.asarray(pbc)[:, None], cell, 0.0)
    i, j, shifts = pairs(positions, box, np.asarray(pbc), REACH * 2 * radii.max())
    r = positions[j] - positions[i] + np.asarray(shifts) @ box
    length = np.linalg.norm(r, axis=1)
    relative = length / (radii[i] + radii[j])
    near = (relative < REACH) & (i != j) & (length > 1e-3)
    i, j, r, relative = i[near], j[near], r[near] / length[near, None], relative[near]
    k = STRETCH * np.exp(-DECAY * np.maximum(relative - 1, -0.3))
    blocks = k[:, None, None] * r[:, :, None] * r[:, None, :]
    n = len(numbers)
    hessian = np.zeros((n, n, 3, 3))
    np.add.at(hessian, (i, j), -blocks)
    np.add.at(hessian, (j, i), -blocks)
    np.add.at(hessian, (i, i), blocks)
    np.add.at(hessian, (j, j), blocks)
    return hessian.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n) + FLOOR * np.eye(3 * n)
