"""Systems on which ensembles are proven: argon in a box and a water cluster by numpy in fractions of a millisecond, two peptides by MMFF94
and by the shipped potential."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes

KCAL = units.kcal / units.mol
COULOMB = 14.399645  # eV Å per e²


class LennardJonesBox(Calculator):
    """Argon (Rahman 1964) in a periodic box, energy and force shifted to zero at 5 Å; nearest images."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]
    epsilon, sigma, cutoff = 0.010341, 3.405, 5.0

    def plain(self, r):
        s6 = (self.sigma / r) ** 6
        return 4 * self.epsilon * (s6 * s6 - s6), -24 * self.epsilon * (2 * s6 * s6 - s6) / r

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j = np.triu_indices(len(atoms), 1)
        cell = atoms.cell.array
        d = atoms.positions[j] - atoms.positions[i]
        d -= np.round(d @ np.linalg.inv(cell)) @ cell
        r = np.sqrt(np.einsum("ij,ij->i", d, d))
        near = r < self.cutoff
        i, j, d, r = i[near], j[near], d[near], r[near]
        (e, f), (e_cut, f_cut) = self.plain(r), self.plain(self.cutoff)
        pull = ((f - f_cut) / r)[:, None] * d
        energy = float(np.sum(e - e_cut - (r - self.cutoff) * f_cut))
        forces = np.stack([np.bincount(i, pull[:, k], len(atoms)) - np.bincount(j, pull[:, k], len(atoms)) for k in range(3)], axis=1)
        s = d.T @ pull / abs(np.linalg.det(cell))
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "stress": np.array([s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]])}


class WaterCluster(Calculator):
    """Flexible water, SPC/Fw (Wu, Tepper and Voth, J. Chem. Phys. 124, 024503 (2006)), all pairs; atoms in the order O H H.

    Oxygens farther apart than 6 Å are drawn together by springs, so that nothing evaporates and drift and spin stay conserved.
    """

    implemented_properties = ["energy", "free_energy", "forces"]
    k_bond, r_bond = 1059.162 * KCAL, 1.012  # eV/Å², Å
    k_angle, theta = 75.90 * KCAL, np.deg2rad(113.24)  # eV/rad²
    sigma, epsilon, charge = 3.165492, 0.1554253 * KCAL, 0.41  # Å, eV, e on each hydrogen
    k_wall, r_wall = 0.1, 6.0  # eV/Å², Å

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, n = atoms.positions, len(atoms)
        forces = np.zeros((n, 3))
        o = np.arange(0, n, 3)
        energy = 0.0
        a, b = x[o + 1] - x[o], x[o + 2] - x[o]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        for d, length, h in ((a, la, o + 1), (b, lb, o + 2)):
            off = length - self.r_bond
            energy += 0.5 * self.k_bond * float(np.sum(off**2))
            pull = (self.k_bond * off / length)[:, None] * d
            forces[h] -= pull
            forces[o] += pull
        cosine = np.einsum("ij,ij->i", a, b) / (la * lb)
        angle = np.arccos(cosine)
        energy += 0.5 * self.k_angle * float(np.sum((angle - self.theta) ** 2))
        slope = (self.k_angle * (angle - self.theta) / np.sqrt(1 - cosine**2))[:, None]
        on_a = slope * (b / lb[:, None] - cosine[:, None] * a / la[:, None]) / la[:, None]
        on_b = slope * (a / la[:, None] - cosine[:, None] * b / lb[:, None]) / lb[:, None]
        forces[o + 1] += on_a
        forces[o + 2] += on_b
        forces[o] -= on_a + on_b
        i, j = np.triu_indices(n, 1)
        apart = i // 3 != j // 3
        i, j = i[apart], j[apart]
        d = x[j] - x[i]
        r = np.sqrt(np.einsum("ij,ij->i", d, d))
        q = np.where(np.arange(n) % 3 == 0, -2 * self.charge, self.charge)
        e = COULOMB * q[i] * q[j] / r
        slope_r = -e / r
        oo = (i % 3 == 0) & (j % 3 == 0)
        s6 = (self.sigma / r[oo]) ** 6
        wall = np.maximum(r[oo] - self.r_wall, 0.0)
        e[oo] += 4 * self.epsilon * (s6 * s6 - s6) + 0.5 * self.k_wall * wall**2
        slope_r[oo] += -24 * self.epsilon * (2 * s6 * s6 - s6) / r[oo] + self.k_wall * wall
        pull = (slope_r / r)[:, None] * d
        forces += np.stack([np.bincount(i, pull[:, k], n) - np.bincount(j, pull[:, k], n) for k in range(3)], axis=1)
        energy += float(e.sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


@dataclass(frozen=True)
class System:
    """A system with the conditions that suit it."""

    name: str
    build: Callable[[], Atoms]
    molecule_of: np.ndarray  # (n_atoms,) label
    timestep_fs: float
    temperatures_K: tuple[float, float]
    pressures_bar: tuple[float, float] | None
    steps: int  # of a run at length 1
    friction_per_ps: float
    thermostat_time_fs: float


def argon() -> System:
    """32 atoms, periodic: a crystal under pressure."""
    def build() -> Atoms:
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
        atoms.calc = LennardJonesBox()
        return atoms

    return System("argon", build, np.arange(32), 5.0, (40.0, 46.0), (1500.0, 1900.0), 20_000, 5.0, 200.0)


def liquid() -> System:
    """The same atoms without order, at three times the temperature: a dense fluid, in which an atom leaves its neighbours within some picoseconds."""
    def build() -> Atoms:
        atoms = bulk("Ar", "fcc", a=5.9, cubic=True) * (2, 2, 2)
        atoms.rattle(0.7, seed=3)
        atoms.calc = LennardJonesBox()
        return atoms

    return System("liquid", build, np.arange(32), 5.0, (130.0, 145.0), (2500.0, 3100.0), 20_000, 5.0, 200.0)


def water(n_molecules: int = 4) -> System:
    """A cluster of flexible molecules, free in space."""
    def build() -> Atoms:
        atoms = Atoms()
        rng = np.random.default_rng(1)
        for k in range(n_molecules):
            one = molecule("H2O")
            one.rotate(float(rng.uniform(0, 360)), rng.normal(size=3), center="COM")
            one.translate(2.9 * np.array([k % 2, k // 2 % 2, k // 4]))
            atoms += one
        atoms.calc = WaterCluster()
        return atoms

    return System("water", build, np.repeat(np.arange(n_molecules), 3), 0.5, (200.0, 240.0), None, 80_000, 10.0, 50.0)


def dipeptide() -> System:
    """Ac-A-NHMe with RDKit's MMFF94, which costs a tenth of a millisecond: enough for statistics of a molecule with soft torsions and stiff bonds."""
    from _sampling import MMFF94
    from make_peptide import atoms_of, conformers, with_hydrogens

    molecule = with_hydrogens("CC(=O)N[C@@H](C)C(=O)NC")
    conformer = next(iter(conformers(molecule, 1, 1)))
    start = atoms_of(molecule, conformer)

    def build() -> Atoms:
        atoms = start.copy()
        atoms.calc = MMFF94(molecule, conformer)
        return atoms

    return System("dipeptide", build, np.zeros(len(start), int), 0.5, (300.0, 330.0), None, 40_000, 10.0, 50.0)


def peptide(path: Path) -> System:
    """A peptide with the shipped potential in double precision."""
    from ase.io import read
    from potentials import load_calculator

    start = read(path)

    def build() -> Atoms:
        atoms = start.copy()
        atoms.info, atoms.constraints = {"charge": int(start.info.get("charge", 0))}, []
        atoms.calc = load_calculator("so3krates.pt", device="cpu", dtype="float64")
        return atoms

    return System("peptide", build, np.zeros(len(start), int), 0.5, (300.0, 340.0), None, 4000, 10.0, 50.0)
