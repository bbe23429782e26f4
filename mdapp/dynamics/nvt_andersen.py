r"""Constant temperature (NVT) by Andersen's collisions.

Velocity Verlet, and after each step some atoms, drawn at random, get new velocities from Maxwell and Boltzmann. Sampling is canonical at any
rate; diffusion and spectra are not those of the molecule. An atom is hit `friction_per_ps` times a picosecond on average, so that its velocity
is forgotten as quickly as with Langevin dynamics of that friction. Drift and spin of the whole are hit too: 3N degrees of freedom.

ASE's `Andersen` is the base for its settings and its drawing of velocities. Its step is not used: it hits components and not atoms, in the
middle of a step and after the kick, so that the heat cannot be told from the kick's work; and with the default `fixcm=True` it adds and removes a
drift, which 3N would miscount. Atoms tied by a bond of fixed length are hit together: the projection of one thermal momentum alone is not thermal.

H. C. Andersen, J. Chem. Phys. 72, 2384 (1980).
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.md.andersen import Andersen
from ase.md.verlet import VelocityVerlet

from mdapp.dynamics._base import State, require_positive, total_energy
from mdapp.dynamics._constraints import held_bonds
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._verlet import KeepsForces


class Collisions(KeepsForces, VelocityVerlet, Andersen):
    """Velocity Verlet with collisions after the step."""

    def __init__(self, atoms: Atoms, timestep: float, temperature_K: float, rate: float, rng: np.random.Generator):
        super().__init__(atoms, timestep, temperature_K=temperature_K, andersen_prob=-math.expm1(-rate * timestep), fixcm=False, rng=rng)
        bonds = held_bonds(atoms)
        self.groups = np.arange(len(atoms)) if bonds is None else bonds.groups(len(atoms))  # (n_atoms,), hit together
        self.n_groups = int(self.groups.max()) + 1
        self.heat = 0.0  # eV, put in by all collisions so far

    def step(self, forces=None):
        forces = super().step(forces)
        self._collide()
        return forces

    def _collide(self) -> None:
        atoms = self.atoms
        hit = (self.rng.random(self.n_groups) < self.andersen_prob)[self.groups]
        if not hit.any():
            return
        before = atoms.get_kinetic_energy()
        p = atoms.get_momenta()
        drawn = self.rng.standard_normal((int(hit.sum()), 3))
        p[hit] = drawn * np.sqrt(self.masses[hit] * self.temp)
        atoms.set_momenta(p)  # which keeps fixed atoms at rest and bonds at their length
        self.heat += atoms.get_kinetic_energy() - before


@ensembles.register("nvt-andersen")
@dataclass(frozen=True)
class AndersenNVT:
    """Canonical ensemble by random collisions (see the module's head)."""

    temperature_K: float
    friction_per_ps: float = 1.0  # collisions of each atom in a picosecond

    conserves_momentum: ClassVar[bool] = False
    needs_cell: ClassVar[bool] = False
    title: ClassVar[str] = "NVT, Andersen collisions"

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, friction_per_ps=self.friction_per_ps)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> Collisions:
        require_positive(timestep_fs=timestep_fs)
        return Collisions(atoms, timestep_fs * units.fs, self.temperature_K, self.friction_per_ps / (1000 * units.fs), rng)

    def set_temperature(self, dynamics: Collisions, temperature_K: float) -> None:
        dynamics.set_temperature(temperature_K)

    def conserved_energy(self, dynamics: Collisions) -> float:
        """E_pot + E_kin less the heat of all collisions."""
        return total_energy(dynamics) - dynamics.heat

    def state(self, dynamics: Collisions) -> State:
        return {"forces": dynamics.current_forces(), "heat": float(dynamics.heat)}

    def restore(self, dynamics: Collisions, state: State) -> None:
        dynamics.forces = np.array(state["forces"], float)
        dynamics.heat = float(state["heat"])
