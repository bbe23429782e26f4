"""Quench: a stretch of hot dynamics, stopped anywhere and cooled at once.

Langevin dynamics in the BAOAB splitting with equal masses; it forgets where it began more thoroughly than minima hopping, at more evaluations a hop.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import units

from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves
from mdapp.minima.moves._base import Acceptance, Escape, Evaluate, Fate, Here, goedecker_feedback, require_positive, within
from mdapp.minima.moves._dynamics import mean_mass, rigid_motions, without

HOT = 6.0  # times the mean thermal energy above the minimum: the molecule flies apart


@moves.register("quench")
@dataclass(frozen=True)
class Quench:
    """Its strength is the temperature of the thermostat, K."""

    acceptance: ClassVar[Acceptance] = "threshold"
    guess: ClassVar[float] = 250.0  # evaluations that a new minimum costs, at first sight (Ac-Ala3-NHMe)
    temperature_K: float = 800.0  # at first
    coldest_K: float = 100.0
    hottest_K: float = 3000.0
    steps: int = 100
    timestep_fs: float = 2.0  # with equal masses
    friction_per_ps: float = 5.0
    raise_same: float = 1.1
    raise_known: float = 1.02
    lower_new: float = 0.98

    def __post_init__(self) -> None:
        require_positive(temperature_K=self.temperature_K, coldest_K=self.coldest_K, hottest_K=self.hottest_K, steps=self.steps, timestep_fs=self.timestep_fs,
                         friction_per_ps=self.friction_per_ps)

    def fits(self, molecule: Molecule) -> str | None:
        return None if len(molecule) > 1 else "a single atom has one minimum"

    def begin(self) -> float:
        return self.temperature_K

    def escape(self, here: Here, strength: float, rng: np.random.Generator) -> Escape:
        mass, kT = mean_mass(here.molecule), units.kB * strength
        dt = self.timestep_fs * units.fs
        c = math.exp(-self.friction_per_ps * 1e-3 * self.timestep_fs)
        noise = math.sqrt((1.0 - c * c) * kT / mass)
        rigid = rigid_motions(here.molecule, here.positions)
        r, forces = np.array(here.positions), np.zeros_like(here.positions)
        v = without(rigid, math.sqrt(2.0 * kT / mass) * rng.standard_normal(r.shape))  # twice kT: half of it goes into the potential at once
        hottest = HOT * 0.5 * r.size * kT
        for _ in range(self.steps):
            v = v + 0.5 * dt / mass * forces  # B
            r = r + 0.5 * dt * v  # A
            v = c * v + noise * rng.standard_normal(r.shape)  # O
            r = r + 0.5 * dt * v  # A
            energy, forces = yield Evaluate(r)
            if not np.isfinite(energy) or energy - here.energy > hottest:
                return None
            v = v + 0.5 * dt / mass * forces  # B
        return r

    def after(self, strength: float, fate: Fate, accepted: bool) -> float:
        return within(goedecker_feedback(strength, fate, self.raise_same, self.raise_known, self.lower_new), self.coldest_K, self.hottest_K)
