"""The energy surface of one molecule: energies and forces at many positions in one call, Hessians, an ASE face.

Everything that looks for saddles asks here, so that bands, Hessians and slides are evaluated in batches by whatever evaluator is
given (`potentials.calculator.batch_evaluator`, or any callable of that face).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from mdapp.relax.vibrations import DELTA, hessian_of, modes_of
from potentials.runtime.batch_evaluator import Item
from potentials.runtime.evaluator import System

Evaluate = Callable[[Sequence[Item]], tuple[np.ndarray, list[np.ndarray]]]


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
        self._evaluate = evaluate
        self.rigid = rigid
        self.evaluations = 0  # structures evaluated so far

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (n,), eV, and forces (n, n_atoms, 3), eV/Å, of positions (n, n_atoms, 3), Å."""
        energies, forces = self.evaluate([Item(("landscape", k), self.system, x, self.cell) for k, x in enumerate(positions)])
        return np.asarray(energies, dtype=float), np.asarray(forces, dtype=float).reshape(len(positions), -1, 3)

    def evaluate(self, items: Sequence[Item]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Energies and forces of items, counted."""
        self.evaluations += len(items)
        return self._evaluate(items)

    def at(self, positions: np.ndarray) -> Atoms:
        """The molecule at positions (n_atoms, 3), with a calculator that asks this surface."""
        atoms = self.atoms.copy()
        atoms.positions = positions
        atoms.calc = _Face(self)
        return atoms

    def hessian(self, positions: np.ndarray, step: float = DELTA) -> np.ndarray:
        """Second derivatives (3 n_atoms, 3 n_atoms), eV/Å², by central differences of forces: 6 n_atoms evaluations.

        Raises
        ------
        FloatingPointError : a force is not finite.
        """
        atoms = self.atoms.copy()
        atoms.positions = positions
        try:
            return hessian_of(atoms, self.evaluate, step)
        except ValueError as error:
            raise FloatingPointError(str(error)) from None

    def frequencies_cm1(self, positions: np.ndarray, hessian: np.ndarray) -> np.ndarray:
        """Harmonic frequencies (n_modes,), 1/cm, ascending, of the Hessian at `positions`; an imaginary one is negative."""
        atoms = self.atoms.copy()
        atoms.positions = positions
        return modes_of(atoms, hessian, atoms.get_masses()).frequencies_cm1

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
