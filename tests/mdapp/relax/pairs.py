"""Potentials of pair distances that cost microseconds: argon, and molecules as networks of springs about ASE's geometries."""
from __future__ import annotations

import numpy as np
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes


class PairPotential(Calculator):
    """Energy and forces of a function of all pair distances: `pairs(numbers, r)` gives energies and slopes, both (n_pairs,)."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j = np.triu_indices(len(self.atoms), 1)
        v = self.atoms.positions[j] - self.atoms.positions[i]
        r = np.linalg.norm(v, axis=1)
        energies, slopes = self.pairs(self.atoms.numbers, r)
        forces = np.zeros_like(self.atoms.positions)
        pull = (slopes / r)[:, None] * v
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        self.results = {"energy": float(energies.sum()), "forces": forces}


class Argon(PairPotential):
    """Lennard-Jones, sigma 2.5 Å and epsilon 1 eV, no cutoff."""

    def pairs(self, numbers, r):
        s6 = (2.5 / r) ** 6
        return 4 * (s6**2 - s6), 4 * (6 * s6 - 12 * s6**2) / r


class Springs(PairPotential):
    """Springs between all atoms of the molecules of `NAMES`: stiff within bonds, soft across; the minimum is ASE's geometry."""

    NAMES = ("CH3OH", "C2H6", "H2O", "CH3CHO", "C3H8", "NH3")
    REFERENCES = {tuple(m.numbers): m.get_all_distances()[np.triu_indices(len(m), 1)] for m in map(molecule, NAMES)}

    def pairs(self, numbers, r):
        r0 = self.REFERENCES[tuple(numbers)]
        k = np.where(r0 < 1.7, 30.0, np.where(r0 < 2.8, 4.0, 0.3))
        return 0.5 * k * (r - r0) ** 2, k * (r - r0)
