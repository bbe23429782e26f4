"""The energy surface of one molecule: energies and forces at many positions in one call, Hessians by finite differences, an ASE face.

Everything that looks for saddles asks here, so that bands, Hessians and slides are evaluated in batches by whatever evaluator is
given (`potentials.calculator.batch_evaluator`, or any callable of that face).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from potentials.runtime.batch_evaluator import Item
from potentials.runtime.evaluator import System

Evaluate = Callable[[Sequence[Item]], tuple[np.ndarray, list[np.ndarray]]]

_TO_CM1 = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm  # of sqrt(eV/Å²/amu)
HESSIAN_STEP = 0.01  # Å: rounding of a float32 network (1e-5 eV/Å) and anharmonicity both stay below 1e-3 eV/Å²


class Surface:
    """Energies and forces of one molecule, charge and multiplicity included.

    Parameters
    ----------
    atoms : which atoms, in which order; `info` may hold charge and multiplicity. Its positions do not matter.
    evaluate : energies (n,), eV, and n forces (n_atoms, 3), eV/Å, of n items.
    rigid : whether shifts and rotations of the whole leave the energy as it is; False for atoms in an outside field.
    """

    def __init__(self, atoms: Atoms, evaluate: Evaluate, *, rigid: bool = True):
        info = atoms.info
        self.atoms = atoms.copy()
        self.atoms.calc = None
        self.system = System(np.array(atoms.numbers), np.array(atoms.pbc), float(info.get("charge", 0.0)), float(info.get("multiplicity", 1)) - 1.0)
        self.cell = np.array(atoms.cell.array) if atoms.pbc.any() else None
        self.evaluate = evaluate
        self.rigid = rigid
        self.evaluations = 0

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (n,), eV, and forces (n, n_atoms, 3), eV/Å, of positions (n, n_atoms, 3), Å."""
        energies, forces = self.evaluate([Item(("landscape", k), self.system, x, self.cell) for k, x in enumerate(positions)])
        self.evaluations += len(positions)
        return np.asarray(energies, dtype=float), np.asarray(forces, dtype=float).reshape(len(positions), -1, 3)

    def at(self, positions: np.ndarray) -> Atoms:
        """The molecule at positions (n_atoms, 3), with a calculator that asks this surface."""
        atoms = self.atoms.copy()
        atoms.positions = positions
        atoms.calc = _Face(self)
        return atoms

    def hessian(self, positions: np.ndarray, step: float = HESSIAN_STEP) -> np.ndarray:
        """Second derivatives (3 n_atoms, 3 n_atoms), eV/Å², by central differences of forces; symmetric. 6 n_atoms evaluations in one call."""
        n = positions.size
        moved = np.repeat(positions.reshape(1, n), 2 * n, axis=0)
        moved[np.arange(n), np.arange(n)] += step
        moved[n + np.arange(n), np.arange(n)] -= step
        forces = self(moved.reshape(2 * n, *positions.shape))[1].reshape(2 * n, n)
        found = (forces[n:] - forces[:n]) / (2 * step)
        return (found + found.T) / 2

    def inner(self, positions: np.ndarray) -> np.ndarray:
        """Orthonormal columns (3 n_atoms, n_inner) that span what is left of all moves without shifts and rotations of the whole."""
        n = positions.size
        if not self.rigid:
            return np.eye(n)
        x = positions - positions.mean(axis=0)
        moves = [np.tile(axis, len(x)) for axis in np.eye(3)]
        if not self.system.pbc.any():
            moves += [np.cross(axis, x).ravel() for axis in np.eye(3)]
        u, s, _ = np.linalg.svd(np.stack(moves, axis=1), full_matrices=True)
        return u[:, int(np.sum(s > 1e-6 * s[0])):]


def lowest_modes(hessian: np.ndarray, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n_inner,), eV/Å², ascending, and eigenvectors (3 n_atoms, n_inner) of a Hessian without the moves of the whole."""
    values, vectors = np.linalg.eigh(inner.T @ hessian @ inner)
    return values, inner @ vectors


def frequencies_cm1(hessian: np.ndarray, inner: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Harmonic frequencies (n_inner,), 1/cm, ascending; an imaginary one is negative. Masses (n_atoms,) in amu.

    The moves of the whole are taken out at rest, which is right where the forces vanish.
    """
    root = np.repeat(np.sqrt(masses), 3)
    outer = _complement(inner) * root[:, None]  # shifts and rotations in mass-weighted coordinates
    q = np.linalg.qr(np.hstack([outer, np.eye(len(root))]))[0][:, outer.shape[1]: len(root)] if outer.shape[1] else np.eye(len(root))
    values = np.linalg.eigvalsh(q.T @ (hessian / np.outer(root, root)) @ q)
    return np.sign(values) * np.sqrt(np.abs(values)) * _TO_CM1


def _complement(inner: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span what `inner` does not."""
    values, vectors = np.linalg.eigh(inner @ inner.T)
    return vectors[:, values < 0.5]


class _Face(Calculator):
    """An ASE calculator over a surface, for ASE's searches."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, surface: Surface):
        super().__init__()
        self.surface = surface

    def calculate(self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        energies, forces = self.surface(self.atoms.positions[None])
        self.results = {"energy": float(energies[0]), "free_energy": float(energies[0]), "forces": forces[0]}
