"""Cheap energy surfaces with known landscapes."""
from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


def lennard_jones(items):
    """Energies and forces of clusters in reduced units (epsilon = sigma = 1), as an evaluator gives them."""
    energies, forces = [], []
    for item in items:
        d = item.positions[:, None] - item.positions[None]
        r2 = np.einsum("ijk,ijk->ij", d, d)
        np.fill_diagonal(r2, np.inf)
        s6 = r2**-3
        energies.append(2 * np.sum(s6 * s6 - s6))
        forces.append(np.einsum("ij,ijk->ik", 24 * (2 * s6 * s6 - s6) / r2, d))
    return np.array(energies), forces


LJ7_ENERGIES = (-16.505384, -15.935043, -15.593211, -15.533060)  # all minima; Tsai and Jordan, J. Phys. Chem. 97, 11227 (1993)


def lj7_minima() -> tuple[Atoms, np.ndarray, np.ndarray]:
    """Seven argon atoms; all four minima (4, 7, 3) and their energies, found from random starts."""
    from mdapp.relax import BatchOptions, relax_batch

    rng = np.random.default_rng(3)
    starts = [Atoms("Ar7", positions=0.75 * rng.standard_normal((7, 3))) for _ in range(60)]
    found: dict[int, tuple[float, np.ndarray]] = {}
    for _, end in relax_batch(starts, lennard_jones, BatchOptions(fmax=1e-4, max_step=0.1)):
        for k, e in enumerate(LJ7_ENERGIES):
            if end.converged and abs(end.energy - e) < 1e-4:
                found[k] = (end.energy, end.atoms.positions)
    assert sorted(found) == [0, 1, 2, 3]
    return starts[0], np.stack([found[k][1] for k in range(4)]), np.array([found[k][0] for k in range(4)])


def muller_brown(items):
    """One atom on the surface of K. Müller and L. D. Brown, Theor. Chim. Acta 53, 75 (1979), in units of 100; held at z = 0 by a spring."""
    A, a, b, c = (np.array(v) for v in ((-2.0, -1.0, -1.7, 0.15), (-1, -1, -6.5, 0.7), (0, 0, 11, 0.6), (-10, -10, -6.5, 0.7)))
    x0, y0 = np.array((1.0, 0, -0.5, -1)), np.array((0, 0.5, 1.5, 1))
    energies, forces = [], []
    for item in items:
        x, y, z = item.positions[0]
        dx, dy = x - x0, y - y0
        e = A * np.exp(a * dx**2 + b * dx * dy + c * dy**2)
        energies.append(e.sum() + 0.5 * 5 * z**2)
        forces.append(-np.array([[np.sum(e * (2 * a * dx + b * dy)), np.sum(e * (b * dx + 2 * c * dy)), 5 * z]]))
    return np.array(energies), forces


MULLER_BROWN_MINIMA = np.array([[[-0.558, 1.442, 0.0]], [[0.623, 0.028, 0.0]], [[-0.050, 0.467, 0.0]]])
MULLER_BROWN_SADDLES = np.array([[-0.822, 0.624, 0.0], [0.212, 0.293, 0.0]])  # energies -0.4066 and -0.7225


class LennardJones(Calculator):
    """The same clusters as an ASE calculator, for `ase:surfaces:LennardJones`."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energies, forces = lennard_jones([self.atoms])
        self.results = {"energy": float(energies[0]), "free_energy": float(energies[0]), "forces": forces[0]}
