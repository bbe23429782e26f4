"""Cheap potentials with known physics for tests of the engine: a molecule of Morse springs, and argon in a box."""
from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes

ARGON_EPSILON, ARGON_SIGMA = 0.0104, 3.40  # eV, Å
ARGON_RC = 5.0


class Pairs(Calculator):
    """Energy of all pairs within half a box, by plain numpy: sums in a fixed order, so that equal positions give equal bits."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self):
        super().__init__()
        self.calls = 0

    def curve(self, r):
        """Energies and their derivatives for pairs at distance r, (n_pairs,) each."""
        raise NotImplementedError

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        i, j = np.triu_indices(len(atoms), 1)
        d = atoms.positions[j] - atoms.positions[i]
        if atoms.pbc.all():
            d = d - np.round(d @ np.linalg.inv(atoms.cell.array)) @ atoms.cell.array
        r = np.sqrt(np.einsum("ij,ij->i", d, d))
        energy, slope = self.curve(r)
        pull = (slope / r)[:, None] * d
        forces = np.zeros((len(atoms), 3))
        for k in range(3):
            forces[:, k] = np.bincount(i, pull[:, k], len(atoms)) - np.bincount(j, pull[:, k], len(atoms))
        e = float(energy.sum())
        self.results = {"energy": e, "free_energy": e, "forces": forces}
        if atoms.pbc.all():
            s = d.T @ pull / atoms.cell.volume
            self.results["stress"] = np.array([s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]])


class Argon(Pairs):
    """Lennard-Jones with energy and force shifted to zero at 5 Å."""

    def curve(self, r):
        def plain(r):
            s6 = (ARGON_SIGMA / r) ** 6
            return 4 * ARGON_EPSILON * (s6 * s6 - s6), -24 * ARGON_EPSILON * (2 * s6 * s6 - s6) / r

        e, f = plain(r)
        e_cut, f_cut = plain(ARGON_RC)
        inside = r < ARGON_RC
        return np.where(inside, e - e_cut - (r - ARGON_RC) * f_cut, 0.0), np.where(inside, f - f_cut, 0.0)


class Morse(Pairs):
    """Every pair of a molecule tied by a Morse spring at its distance in the given structure: anharmonic and never apart for long."""

    def __init__(self, atoms: Atoms, depth: float = 1.0, width: float = 1.5):
        super().__init__()
        i, j = np.triu_indices(len(atoms), 1)
        self.r0 = np.linalg.norm(atoms.positions[j] - atoms.positions[i], axis=1)
        self.depth, self.width = depth, width

    def curve(self, r):
        x = np.exp(-self.width * (r - self.r0))
        return self.depth * (1 - x) ** 2, 2 * self.depth * self.width * (1 - x) * x


class Well(Calculator):
    """Each atom in a harmonic well of its own around the origin: every mode's distribution is known."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, k: float = 1.0):
        super().__init__()
        self.k = k

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        e = 0.5 * self.k * float(np.sum(atoms.positions**2))
        self.results = {"energy": e, "free_energy": e, "forces": -self.k * atoms.positions}


def methanol() -> Atoms:
    """6 atoms, free."""
    atoms = molecule("CH3OH")
    atoms.calc = Morse(atoms)
    return atoms


def carbon_dioxide() -> Atoms:
    """3 atoms on a line, free."""
    atoms = molecule("CO2")
    atoms.calc = Morse(atoms, depth=2.0)
    return atoms


def argon(edge: float = 5.4, n: int = 2) -> Atoms:
    """4 n³ atoms of argon on the fcc lattice, periodic."""
    atoms = bulk("Ar", "fcc", a=edge, cubic=True) * (n, n, n)
    atoms.calc = Argon()
    return atoms


def kT(temperature_K: float) -> float:
    return units.kB * temperature_K


class Bonded(Pairs):
    """A molecule with honest stiffness: Morse bonds, springs across angles, repulsion between all others."""

    def __init__(self, atoms: Atoms, bonds: np.ndarray):
        super().__init__()
        n = len(atoms)
        i, j = np.triu_indices(n, 1)
        near = np.zeros((n, n), bool)
        near[bonds[:, 0], bonds[:, 1]] = near[bonds[:, 1], bonds[:, 0]] = True
        across = (near.astype(int) @ near.astype(int) > 0)[i, j]
        self.bond = near[i, j]
        self.angle = across & ~self.bond
        self.rest = ~self.bond & ~self.angle
        self.r0 = np.linalg.norm(atoms.positions[j] - atoms.positions[i], axis=1)

    def curve(self, r):
        energy, slope = np.zeros_like(r), np.zeros_like(r)
        x = np.exp(-1.9 * (r - self.r0))  # 4.3 eV deep: 31 eV/Å² at the bottom, O-H like
        energy[self.bond], slope[self.bond] = (4.3 * (1 - x) ** 2)[self.bond], (2 * 4.3 * 1.9 * (1 - x) * x)[self.bond]
        off = (r - self.r0)[self.angle]
        energy[self.angle], slope[self.angle] = 2.5 * off**2, 5.0 * off
        s = (1.6 / r[self.rest]) ** 6
        energy[self.rest], slope[self.rest] = 0.05 * s * s, -0.6 * s * s / r[self.rest]
        return energy, slope
