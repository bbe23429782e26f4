r"""A Hessian guessed from bonds and geometry alone, so that a search begins with the stiff and the soft directions told apart.

Stretches, bends, torsions and the planarity of three-bonded atoms each have a force constant that is a rule of thumb; atoms of different molecules, or far
apart along the bonds, are springs that soften with distance; a small constant stands for all else.

.. math:: H = c\,1 + \sum_q k_q\, \nabla q\, \nabla q^T

==============================  ==========================================================================
coordinate q                    force constant
==============================  ==========================================================================
stretch i-j                     ``STRETCH`` exp[-``STRETCH_DECAY`` (r / r0 - 1)], eV/Å²
bend i-j-k                      ``BEND``, a fourth less per hydrogen, eV
torsion i-j-k-l                 ``TORSION`` + ``DOUBLE`` (1 - r_jk / r0) where j-k is short, shared by all about j-k, eV
out of plane at j               ``PLANE`` for flat atoms with three partners, eV
contact i..j, not within 1-4    ``CONTACT`` exp[-``CONTACT_DECAY`` (r / r0 - 1)], eV/Å²
==============================  ==========================================================================

r0 is the sum of the covalent radii. After H. B. Schlegel, Theor. Chim. Acta 66, 333 (1984), and R. Lindh et al., Chem. Phys. Lett. 241, 423 (1995).
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from ase.data import covalent_radii

from mdapp.relax._ragged import Ragged

STRETCH, STRETCH_DECAY = 40.0, 4.0
BEND = 7.0
TORSION, DOUBLE = 2.0, 10.0
PLANE = 5.0
CONTACT, CONTACT_DECAY = 20.0, 3.65
FLOOR = 1.5  # c, eV/Å²
REACH = 3.0  # sums of radii beyond which a pair is no contact
LARGEST = 150  # atoms; above it the inverse costs more than it saves


class ModelHessians:
    """The inverses of many structures' models, and their action on vectors.

    Parameters
    ----------
    model : False: no structure gets one.
    """

    def __init__(self, model: bool = True):
        self.model = model
        self.inverses: list[np.ndarray | None] = []
        self._stacks: list[tuple[np.ndarray, np.ndarray]] | None = None

    def enter(self, numbers: list[np.ndarray], positions: list[np.ndarray], cells: list[np.ndarray], pbcs: list[np.ndarray]) -> None:
        """Structures that come in, after those that are there."""
        for z, r, cell, pbc in zip(numbers, positions, cells, pbcs, strict=True):
            hessian = model_hessian(z, r, cell, pbc) if self.model and 2 <= len(z) <= LARGEST else None
            self.inverses.append(None if hessian is None else np.linalg.inv(hessian))
        self._stacks = None

    def leave(self, kept: np.ndarray) -> None:
        """Only these structures stay."""
        self.inverses = [inverse for inverse, stays in zip(self.inverses, kept.tolist(), strict=True) if stays]
        self._stacks = None

    def solve(self, layout: Ragged, vectors: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
        """The model's Newton step for forces (n_atoms, 3), Å; `stiffness` (n_structures,), eV/Å², stands for the Hessian of a structure without a model."""
        if self._stacks is None:
            self._stacks = list(self._stacked(layout))
        result = vectors / layout.spread(stiffness)
        for at, stack in self._stacks:
            result[at] = (stack @ vectors[at].reshape(len(at), -1, 1)).reshape(*at.shape, 3)
        return result

    def _stacked(self, layout: Ragged) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each size: atoms (n_structures, n_atoms) and inverses (n_structures, 3 n_atoms, 3 n_atoms)."""
        known = np.array([inverse is not None for inverse in self.inverses], dtype=bool)
        for size in np.unique(layout.counts[known]):
            chosen = np.flatnonzero(known & (layout.counts == size))
            yield layout.starts[chosen][:, None] + np.arange(size), np.stack([self.inverses[k] for k in chosen])


def model_hessian(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray | None:
    """The model, (3 n_atoms, 3 n_atoms), eV/Å², positive definite; None where few atoms have bonds: the rules say nothing of argon or of a metal."""
    from mdapp.topology import find_bonds

    bonds = find_bonds(numbers, positions, cell, pbc)
    n = len(numbers)
    if len(np.unique(bonds)) <= 0.5 * n:
        return None
    box = np.where(np.asarray(pbc)[:, None], cell, 0.0) if np.any(pbc) else None
    vector = lambda i, j: _nearest(positions[j] - positions[i], box)
    radii = covalent_radii[numbers]
    bends, torsions, planes, near = internal_coordinates(n, bonds.tobytes())
    rows = [np.zeros((0, 3 * n))]

    def add(atoms: list[np.ndarray], gradients: list[np.ndarray], k: np.ndarray) -> None:
        row = np.zeros((len(k), n, 3))
        at = np.arange(len(k))
        for index, gradient in zip(atoms, gradients, strict=True):
            row[at, index] += np.sqrt(k)[:, None] * gradient
        rows.append(row.reshape(len(k), 3 * n))

    i, j = bonds.T
    add([i, j], *_stretch(vector(i, j), radii[i] + radii[j], STRETCH, STRETCH_DECAY))
    i, j, k = bends.T
    a, b = vector(j, i), vector(j, k)
    stiff = BEND * 0.75 ** ((numbers[i] == 1).astype(int) + (numbers[k] == 1))
    for gradients, weight in _bend(a, b):
        add([i, j, k], gradients, stiff * weight)
    i, j, k, l = torsions.T
    about = np.unique(np.sort(torsions[:, 1:3], axis=1), axis=0, return_inverse=True, return_counts=True)
    shared = about[2][about[1].ravel()] if len(torsions) else np.zeros(0)
    short = 1 - np.linalg.norm(vector(j, k), axis=1) / (radii[j] + radii[k])
    gradients, weight = _torsion(vector(i, j), vector(j, k), vector(k, l))
    add([i, j, k, l], gradients, (TORSION + DOUBLE * np.clip(short, 0, 0.2)) / np.maximum(shared, 1) * weight)
    i, j, k, l = planes.T
    gradients, weight = _plane(vector(j, i), vector(j, k), vector(j, l))
    add([i, j, k, l], gradients, PLANE * weight)
    i, j = (part[~near[np.triu_indices(n, 1)]] for part in np.triu_indices(n, 1))
    r, r0 = vector(i, j), radii[i] + radii[j]
    close = np.linalg.norm(r, axis=1) < REACH * r0
    i, j = i[close], j[close]
    add([i, j], *_stretch(r[close], r0[close], CONTACT, CONTACT_DECAY))
    b_matrix = np.concatenate(rows)
    return b_matrix.T @ b_matrix + FLOOR * np.eye(3 * n)


@lru_cache(maxsize=256)
def internal_coordinates(n_atoms: int, bonds: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bends (n, 3), torsions (n, 4), three-bonded atoms (n, 4: partner, centre, partner, partner) and (n_atoms, n_atoms) bool, within three bonds."""
    partners: list[list[int]] = [[] for _ in range(n_atoms)]
    pairs = np.frombuffer(bonds, dtype=np.int64).reshape(-1, 2)
    for i, j in pairs.tolist():
        partners[i].append(j)
        partners[j].append(i)
    bends = [(i, j, k) for j in range(n_atoms) for i in partners[j] for k in partners[j] if i < k]
    torsions = [(i, j, k, l) for j, k in pairs.tolist() for i in partners[j] for l in partners[k] if i != k and l != j and i != l]
    planes = [(p[0], j, p[1], p[2]) for j, p in enumerate(partners) if len(p) == 3]
    direct = np.eye(n_atoms, dtype=int)
    direct[pairs[:, 0], pairs[:, 1]] = direct[pairs[:, 1], pairs[:, 0]] = 1
    near = direct @ direct @ direct > 0
    return (np.array(bends, dtype=int).reshape(-1, 3), np.array(torsions, dtype=int).reshape(-1, 4), np.array(planes, dtype=int).reshape(-1, 4), near)


def _nearest(r: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """Vectors to the nearest image (of cells that are not very skew)."""
    if box is None:
        return r
    from ase.geometry import complete_cell

    return r - np.round(r @ np.linalg.inv(complete_cell(box)) * box.any(axis=1)) @ box


def _stretch(r: np.ndarray, r0: np.ndarray, k: float, decay: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Gradients of the lengths for both atoms, and force constants."""
    length = np.maximum(np.linalg.norm(r, axis=1), 0.1)
    e = r / length[:, None]
    return [-e, e], k * np.exp(-decay * np.maximum(length / r0 - 1, -0.3))


def _bend(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Gradients of angles for (end, centre, end) with their weights: in the plane, and out of it for those that are straight."""
    la, lb = (np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 0.1) for v in (a, b))
    a, b = a / la, b / lb
    normal = np.cross(a, b)
    sine = np.linalg.norm(normal, axis=1)
    other = np.cross(a, np.eye(3)[np.argmin(np.abs(a), axis=1)]) if len(a) else normal
    normal = np.where(sine[:, None] > 0.1, normal, other)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for p, q, weight in ((np.cross(a, normal), np.cross(normal, b), np.ones(len(a))), (normal, normal, (sine < 0.3) * 1.0)):
        yield [p / la, -p / la - q / lb, q / lb], weight


def _torsion(r1: np.ndarray, r2: np.ndarray, r3: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Gradients of dihedral angles for the four atoms in a row, and weights that vanish where three of them are straight."""
    m, n = np.cross(r1, r2), np.cross(r2, r3)
    m2, n2 = (np.einsum("ia,ia->i", v, v) for v in (m, n))
    length = np.maximum(np.linalg.norm(r2, axis=1), 0.1)
    l1, l3 = np.einsum("ia,ia->i", r1, r1), np.einsum("ia,ia->i", r3, r3)
    bent = np.minimum(m2 / np.maximum(l1 * length**2, 1e-9), n2 / np.maximum(l3 * length**2, 1e-9))  # sin² of the flatter angle
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = -(length / m2)[:, None] * m, (length / n2)[:, None] * n
        p = (np.einsum("ia,ia->i", r1, r2) / length**2)[:, None]
        q = (np.einsum("ia,ia->i", r3, r2) / length**2)[:, None]
        second, third = -(1 + p) * first + q * last, p * first - (1 + q) * last
    fine = bent > 0.05
    return [np.where(fine[:, None], g, 0.0) for g in (first, second, third, last)], fine * 1.0


def _plane(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Gradients of the height of a centre above its three partners, per Å of bond (partner, centre, partner, partner); weights of flat ones."""
    ends = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 0.1) for v in (a, b, c)]
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    height = np.abs(np.einsum("ia,ia->i", sum(ends) / 3, normal)) if len(a) else np.zeros(0)
    mean = np.mean([np.linalg.norm(v, axis=1) for v in (a, b, c)], axis=0)[:, None]
    return [normal / mean, -3 * normal / mean, normal / mean, normal / mean], np.where(height < 0.15, 1.0, 0.0)
