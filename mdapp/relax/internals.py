r"""Stretches, bends and torsions of a molecule: their values, their change with the atoms, and steps along them.

A step :math:`\Delta q` is made by the atoms' moves :math:`\Delta x = A^{-1} B^T W \Delta q` with :math:`A = B^T W B`, again and again until the
coordinates are where they were sent, in the sense of least squares weighted by the stiffness W: a turned torsion carries its side along an
arc and leaves bonds and angles alone, which a straight move of the atoms does not. The gradient in these redundant coordinates is
:math:`g_q = W B A^{-1} g_x`. Shifts and rotations of the whole are held.

==================  ==========================================================
symbol              variable
==================  ==========================================================
:math:`B`           ``jacobian`` (n_structures, n_coordinates, 3 n_atoms)
:math:`W`           ``stiffness`` (n_structures, n_coordinates)
==================  ==========================================================

P. Pulay and G. Fogarasi, J. Chem. Phys. 96, 2856 (1992), Eqs. 9-12; C. Peng, P. Y. Ayala, H. B. Schlegel and M. J. Frisch, J. Comput. Chem. 17, 49 (1996);
weights: R. Lindh et al., Chem. Phys. Lett. 241, 423 (1995).
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.data import covalent_radii

from mdapp.relax.model_hessian import BEND, DOUBLE, PLANE, STRETCH, STRETCH_DECAY, internal_coordinates

TURN = 0.5  # eV, of all torsions about a single bond together
STRAIGHT = 0.985  # |cosine| of a bend beyond which it is none (170°)
ROUNDS, CLOSE = 12, 1e-5  # of the way to where the coordinates are sent; Å
LARGEST = 150  # atoms; above it the linear algebra costs more than it saves


@dataclass(frozen=True, eq=False)
class Internals:
    """The coordinates of one molecule."""

    n_atoms: int
    stretches: np.ndarray  # (n, 2)
    bends: np.ndarray  # (n, 3), the corner in the middle
    torsions: np.ndarray  # (n, 4); the last ones hold carbons with three partners flat
    force_constants: np.ndarray  # (n_coordinates,): those of stretches are left to `stiffness`
    radii: np.ndarray  # (n_stretches,) sums of covalent radii, Å

    def __len__(self) -> int:
        return len(self.stretches) + len(self.bends) + len(self.torsions)

    def values(self, x: np.ndarray) -> np.ndarray:
        """(n_structures, n_coordinates) in Å and radians, of positions (n_structures, n_atoms, 3)."""
        i, j = self.stretches.T
        u, v = (x[:, self.bends[:, k]] - x[:, self.bends[:, 1]] for k in (0, 2))
        bends = np.arctan2(np.linalg.norm(np.cross(u, v), axis=2), _dot(u, v))
        b1, b2, b3 = (x[:, self.torsions[:, k + 1]] - x[:, self.torsions[:, k]] for k in range(3))
        m, n = np.cross(b1, b2), np.cross(b2, b3)
        torsions = np.arctan2(_dot(np.cross(m, n), b2) / np.maximum(np.linalg.norm(b2, axis=2), 1e-9), _dot(m, n))
        return np.concatenate([np.linalg.norm(x[:, j] - x[:, i], axis=2), bends, torsions], axis=1)

    def difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """From values to values, the short way round for torsions."""
        d = end - start
        turns = d[..., -len(self.torsions) :] if len(self.torsions) else d[..., :0]
        turns -= 2 * np.pi * np.round(turns / (2 * np.pi))
        return d

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """(n_structures, n_coordinates, 3 n_atoms)."""
        rows = np.zeros((len(x), len(self), self.n_atoms, 3))
        n_s, n_b = len(self.stretches), len(self.bends)

        def put(first: int, atoms: np.ndarray, gradients: list[np.ndarray]) -> None:
            at = first + np.arange(len(atoms))
            for k, gradient in enumerate(gradients):
                rows[:, at, atoms[:, k]] = gradient

        e = x[:, self.stretches[:, 1]] - x[:, self.stretches[:, 0]]
        e = e / np.linalg.norm(e, axis=2, keepdims=True)
        put(0, self.stretches, [-e, e])
        u, v = (x[:, self.bends[:, k]] - x[:, self.bends[:, 1]] for k in (0, 2))
        put(n_s, self.bends, _bend(u, v))
        b1, b2, b3 = (x[:, self.torsions[:, k + 1]] - x[:, self.torsions[:, k]] for k in range(3))
        put(n_s + n_b, self.torsions, _torsion(b1, b2, b3))
        return rows.reshape(len(x), len(self), -1)

    def stiffness(self, x: np.ndarray) -> np.ndarray:
        """(n_structures, n_coordinates) force constants, eV/Å² and eV/rad²."""
        k = np.tile(self.force_constants, (len(x), 1))
        lengths = np.linalg.norm(x[:, self.stretches[:, 1]] - x[:, self.stretches[:, 0]], axis=2)
        k[:, : len(self.stretches)] = STRETCH * np.exp(-STRETCH_DECAY * np.clip(lengths / self.radii - 1, -0.3, 0.3))
        return k

    def straight(self, x: np.ndarray) -> np.ndarray:
        """(n_structures,) bool: a bend is so wide, or two atoms so near, that torsions mean nothing."""
        u, v = (x[:, self.bends[:, k]] - x[:, self.bends[:, 1]] for k in (0, 2))
        cosine = _dot(u, v) / np.maximum(np.linalg.norm(u, axis=2) * np.linalg.norm(v, axis=2), 1e-9)
        short = np.linalg.norm(x[:, self.stretches[:, 1]] - x[:, self.stretches[:, 0]], axis=2) < 0.3 * self.radii
        return (np.abs(cosine) > STRAIGHT).any(axis=1) | short.any(axis=1)


@dataclass(frozen=True)
class Frame:
    """Where structures are, and how they move from there."""

    values: np.ndarray  # (n_structures, n_coordinates)
    to_atoms: np.ndarray  # (n_structures, 3 n_atoms, n_coordinates): A⁻¹ Bᵀ W

    @staticmethod
    def at(internals: Internals, x: np.ndarray, stiffness: np.ndarray) -> Frame:
        """At positions (n_structures, n_atoms, 3)."""
        b = internals.jacobian(x)
        weighted = (b * stiffness[:, :, None]).swapaxes(1, 2)
        rigid = _rigid(x)
        return Frame(internals.values(x), np.linalg.solve(weighted @ b + rigid.swapaxes(1, 2) @ rigid, weighted))

    def gradient(self, forces: np.ndarray) -> np.ndarray:
        """(n_structures, n_coordinates) of the energy, from forces (n_structures, n_atoms, 3)."""
        return -(forces.reshape(len(forces), 1, -1) @ self.to_atoms)[:, 0]


def moved(internals: Internals, x: np.ndarray, values: np.ndarray, to_atoms: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Positions (n_structures, n_atoms, 3) whose coordinates are `change` away from `values`, those at `x`, as far as they can be."""
    target = values + change
    best = np.array(x)
    left = np.full(len(x), np.inf)
    ahead = x + (to_atoms @ change[:, :, None]).reshape(x.shape)
    for _ in range(ROUNDS):
        step = (to_atoms @ internals.difference(internals.values(ahead), target)[:, :, None]).reshape(x.shape)
        length = np.abs(step).max(axis=(1, 2))
        better = length < left
        best[better], left[better] = ahead[better], length[better]
        going = better & (length > CLOSE)
        if not going.any():
            break
        ahead = np.where(going[:, None, None], ahead + step, ahead)
    return best


@lru_cache(maxsize=256)
def internals_of(numbers: bytes, bonds: bytes) -> Internals | None:
    """Coordinates of a molecule by its atomic numbers and bonds (int64); None where they do not span its moves: more than one piece, no torsion, too large."""
    from mdapp.topology import molecules

    z, pairs = np.frombuffer(numbers, dtype=np.int64), np.frombuffer(bonds, dtype=np.int64).reshape(-1, 2)
    n = len(z)
    if not 4 <= n <= LARGEST or not len(pairs) or molecules(n, pairs).max() > 0:
        return None
    bends, torsions, planes, _ = internal_coordinates(n, bonds)
    if not len(torsions):
        return None
    planes = planes[z[planes[:, 1]] == 6]
    _, which, count = np.unique(np.sort(torsions[:, 1:3], axis=1), axis=0, return_inverse=True, return_counts=True)
    degree = np.bincount(pairs.ravel(), minlength=n)
    flat = (degree == 3) & ((z == 6) | (z == 7))
    stiff = flat[torsions[:, 1]] & flat[torsions[:, 2]]  # amides, double and aromatic bonds
    turn = (TURN + 0.1 * DOUBLE * stiff) / count[which.ravel()]
    bend = BEND * 0.75 ** ((z[bends[:, 0]] == 1).astype(int) + (z[bends[:, 2]] == 1))
    radii = covalent_radii[z[pairs]].sum(axis=1)
    return Internals(n, pairs, bends, np.concatenate([torsions, planes]), np.concatenate([np.zeros(len(pairs)), bend, turn, np.full(len(planes), 0.3 * PLANE)]), radii)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...a,...a->...", a, b)


def _bend(u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    """Gradients of angles between vectors from the corner, for end, corner, end."""
    lu, lv = np.linalg.norm(u, axis=2, keepdims=True), np.linalg.norm(v, axis=2, keepdims=True)
    a, b = u / lu, v / lv
    cosine = np.clip(_dot(a, b), -1, 1)[..., None]
    sine = np.maximum(np.sqrt(1 - cosine**2), 1e-3)
    p, q = (cosine * a - b) / (sine * lu), (cosine * b - a) / (sine * lv)
    return [p, -p - q, q]


def _torsion(b1: np.ndarray, b2: np.ndarray, b3: np.ndarray) -> list[np.ndarray]:
    """Gradients of torsions of four atoms in a row."""
    m, n = np.cross(b1, b2), np.cross(b2, b3)
    length = np.linalg.norm(b2, axis=2, keepdims=True)
    first = -length / np.maximum(_dot(m, m), 1e-6)[..., None] * m
    last = length / np.maximum(_dot(n, n), 1e-6)[..., None] * n
    p, q = _dot(b1, b2)[..., None] / length**2, _dot(b3, b2)[..., None] / length**2
    second = -(1 + p) * first + q * last
    return [first, second, -(first + second + last), last]


def _rigid(x: np.ndarray) -> np.ndarray:
    """(n_structures, 6, 3 n_atoms) orthonormal shifts and rotations."""
    r = x - x.mean(axis=1, keepdims=True)
    axes = np.eye(3)
    moves = [np.broadcast_to(axis, r.shape) for axis in axes] + [np.cross(axis, r) for axis in axes]
    stacked = np.stack([move.reshape(len(x), -1) for move in moves], axis=1)
    return np.linalg.qr(stacked.swapaxes(1, 2))[0].swapaxes(1, 2)
