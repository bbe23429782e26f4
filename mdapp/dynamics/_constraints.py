"""What is held while atoms move: atoms in their places (ASE's `FixAtoms`) and bonds at their lengths (`FixedBonds`).

ASE's `FixBondLengths` goes over its bonds one by one in Python until all fit. The bonds held here are those of hydrogens, which make
stars: a heavy atom with one to four hydrogens, no two stars sharing an atom. Within a star the equations are solved together, for all
stars at once: lengths by Newton's method (quadratic: four sweeps to the last bit), velocities by one linear solve. The projection of the
momenta is the orthogonal one in the metric of the masses, so that projected thermal momenta are thermal.

J.-P. Ryckaert, G. Ciccotti and H. J. C. Berendsen, J. Comput. Phys. 23, 327 (1977); H. C. Andersen, J. Comput. Phys. 52, 24 (1983);
the joint solution: V. Kräutler, W. F. van Gunsteren and P. H. Hünenberger, J. Comput. Chem. 22, 501 (2001).
"""
from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths

SWEEPS = 20
EXACT = 1e-14  # largest error of a squared length, relative


class NotSolved(RuntimeError):
    """No positions near by have the lengths asked for: the step has torn the molecule. `atoms` names the worst bond."""

    def __init__(self, atoms: tuple[int, int]):
        super().__init__("a bond of fixed length cannot be restored")
        self.atoms = atoms


class FixedBonds(FixBondLengths):
    """Bonds of hydrogens at the lengths that they have now.

    Parameters
    ----------
    atoms : positions, masses, cell; `FixAtoms` among its constraints counts as infinite mass.
    bonds : (n_bonds, 2); each is a hydrogen and its one partner, or two hydrogens. Those between two fixed atoms are left out.
    """

    def __init__(self, atoms: Atoms, bonds: np.ndarray):
        fixed = fixed_atoms(atoms)
        bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
        bonds = bonds[~np.isin(bonds, fixed).all(axis=1)]
        second = atoms.numbers[bonds] == 1
        swap = second[:, 0] & ~second[:, 1]  # the heavy atom first
        pairs = np.where(swap[:, None], bonds[:, ::-1], bonds)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        super().__init__(pairs[order])
        centres, slot_of = np.unique(self.pairs[:, 0], return_inverse=True)
        rank = np.arange(len(self.pairs)) - np.searchsorted(self.pairs[:, 0], self.pairs[:, 0])
        shape = len(centres), int(rank.max()) + 1 if len(rank) else 1
        if len(np.unique(self.pairs[:, 1])) != len(self.pairs) or np.isin(self.pairs[:, 1], centres).any():
            raise ValueError("Bonds of fixed length must be those of hydrogens, one bond each.")
        self._at = slot_of, rank  # where each bond stands in the stars
        self._centre = centres  # (n_stars,)
        self._leaf = np.repeat(centres[:, None], shape[1], axis=1)  # (n_stars, most); empty places hold the centre, whose bond to itself is zero
        self._leaf[self._at] = self.pairs[:, 1]
        self._real = np.zeros(shape, dtype=bool)
        self._real[self._at] = True
        inverse = 1.0 / atoms.get_masses()
        inverse[fixed] = 0.0
        self._w_centre, self._w_leaf = inverse[centres], np.where(self._real, inverse[self._leaf], 0.0)
        self.bondlengths = np.linalg.norm(self._bonds(atoms, atoms.positions)[self._at], axis=1)  # (n_bonds,), Å

    def _bonds(self, atoms: Atoms, positions: np.ndarray) -> np.ndarray:
        """From centre to leaf, (n_stars, most, 3), nearest images."""
        d = positions[self._leaf] - positions[self._centre][:, None]
        if atoms.pbc.any():
            cell = atoms.cell.complete().array
            d = d - np.where(atoms.pbc, np.round(d @ np.linalg.inv(cell)), 0.0) @ cell
        return d

    def _solved(self, left: np.ndarray, right: np.ndarray, direction: np.ndarray, weight: float = 1.0) -> np.ndarray:
        """x of sum_l weight left_k·(w_centre + delta_kl w_leaf) direction_l x_l = right_k, (n_stars, most)."""
        matrix = np.einsum("skx,slx->skl", left, direction) * self._w_centre[:, None, None]
        diagonal = np.einsum("skx,skx->sk", left, direction) * self._w_leaf
        k = np.arange(matrix.shape[1])
        matrix[:, k, k] += diagonal
        matrix *= weight
        matrix[:, k, k] = np.where(self._real, matrix[:, k, k], 1.0)
        return np.linalg.solve(matrix, right[..., None])[..., 0]

    def _push(self, values: np.ndarray, along: np.ndarray, w_centre: np.ndarray, w_leaf: np.ndarray) -> None:
        """Adds w along to each leaf and takes their sum from the centre; in place."""
        values[self.pairs[:, 1]] += (w_leaf[..., None] * along)[self._at]
        values[self._centre] -= w_centre[:, None] * along.sum(axis=1)

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """SHAKE: moves `new` along the present bonds until the lengths fit."""
        d = self._bonds(atoms, atoms.positions)
        s = self._bonds(atoms, new)
        target = np.zeros(self._real.shape)
        target[self._at] = self.bondlengths**2
        x = np.zeros(self._real.shape)  # multipliers
        worst = last = np.inf
        for _ in range(SWEEPS):
            u = s + (self._w_leaf * x)[..., None] * d + (self._w_centre[:, None] * np.einsum("sk,skx->sx", x, d))[:, None]
            off = np.where(self._real, np.einsum("skx,skx->sk", u, u) - target, 0.0)
            worst, last = float(np.max(np.abs(off) / np.maximum(target, 1e-3))), worst
            if worst < EXACT or (worst < 1e-12 and worst >= last) or not np.isfinite(worst):
                break
            x = x - self._solved(u, off, d, 2.0)
        if not worst < 1e-10:
            bad = int(np.nan_to_num(np.abs(off), nan=np.inf)[self._at].argmax())
            raise NotSolved((int(self.pairs[bad, 0]), int(self.pairs[bad, 1])))
        self._push(new, x[..., None] * d, self._w_centre, self._w_leaf)

    def adjust_momenta(self, atoms: Atoms, momenta: np.ndarray) -> None:
        """Takes out of the velocities what would change a length."""
        d = self._bonds(atoms, atoms.positions)
        v = momenta[self._leaf] * self._w_leaf[..., None] - (momenta[self._centre] * self._w_centre[:, None])[:, None]
        x = self._solved(d, -np.where(self._real, np.einsum("skx,skx->sk", v, d), 0.0), d)
        self._push(momenta, x[..., None] * d, np.sign(self._w_centre), np.sign(self._w_leaf))  # none for fixed atoms

    def groups(self, n_atoms: int) -> np.ndarray:
        """(n_atoms,) label of the star that each atom belongs to; an atom of none is one by itself."""
        label = np.arange(n_atoms)
        label[self.pairs[:, 1]] = self.pairs[:, 0]
        return np.unique(label, return_inverse=True)[1]


def fixed_atoms(atoms: Atoms) -> np.ndarray:
    """Sorted indices of the atoms held in place.

    Raises
    ------
    ValueError : a constraint that no integrator here is known to respect.
    """
    others = [type(c).__name__ for c in atoms.constraints if not isinstance(c, (FixAtoms, FixedBonds))]
    if others:
        raise ValueError(f"The structure carries the constraint {others[0]}; molecular dynamics here knows fixed atoms and fixed bonds of "
                         "hydrogens only. Remove it first.")
    return np.array(sorted(set().union(*(c.index.tolist() for c in atoms.constraints if isinstance(c, FixAtoms)))), dtype=np.int64)


def held_bonds(atoms: Atoms) -> FixedBonds | None:
    """The bonds of fixed length, if there are any."""
    return next((c for c in atoms.constraints if isinstance(c, FixedBonds)), None)


def n_bonds_held(atoms: Atoms) -> int:
    bonds = held_bonds(atoms)
    return 0 if bonds is None else len(bonds.pairs)


def constrained(atoms: Atoms) -> tuple[int, int]:
    """Number of fixed atoms and of bonds of fixed length. Raises ValueError for any other constraint."""
    return len(fixed_atoms(atoms)), n_bonds_held(atoms)
