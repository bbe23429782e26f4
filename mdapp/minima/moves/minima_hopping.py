"""Minima hopping: a short dynamics over the next barriers, started along soft directions.

Velocities point along a random direction that a few evaluations have turned towards low curvature (barriers along soft directions are low: the Bell-Evans-Polanyi
principle), with a kinetic energy that follows what was found: more after a hop that led back or to a known minimum, less after a new one. The dynamics ends when
the potential energy has gone through `mdmin` minima. Whether the walker goes along is decided by the walker's energy threshold, which falls with each acceptance
and rises with each refusal, so that about half are taken.

S. Goedecker, J. Chem. Phys. 120, 9911 (2004); softening: S. Schönborn et al., J. Chem. Phys. 130, 144108 (2009).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import units

from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves
from mdapp.minima.moves._base import Acceptance, Escape, Fate, Here, goedecker_feedback, require_positive, within
from mdapp.minima.moves._dynamics import mean_mass, normalised, rigid_motions, soften, verlet_until_minima, without


@moves.register("minima-hopping")
@dataclass(frozen=True)
class MinimaHopping:
    """Its strength is the temperature that the kinetic energy stands for, K."""

    acceptance: ClassVar[Acceptance] = "threshold"
    guess: ClassVar[float] = 120.0  # evaluations that a new minimum costs, at first sight (Ac-Ala3-NHMe)
    temperature_K: float = 800.0  # at first
    coldest_K: float = 50.0
    hottest_K: float = 4000.0
    mdmin: int = 2  # minima of the potential energy along the way
    most_steps: int = 200
    timestep_fs: float = 2.0  # with equal masses
    soften_steps: int = 8  # 0: directions as drawn
    soften_reach_A: float = 0.1  # in 3 n_atoms dimensions
    soften_gain: float = 0.01  # Å per eV/Å
    raise_same: float = 1.1
    raise_known: float = 1.05
    lower_new: float = 0.95

    def __post_init__(self) -> None:
        require_positive(temperature_K=self.temperature_K, coldest_K=self.coldest_K, hottest_K=self.hottest_K, mdmin=self.mdmin, most_steps=self.most_steps,
                         timestep_fs=self.timestep_fs, soften_reach_A=self.soften_reach_A, soften_gain=self.soften_gain)
        if not self.lower_new <= 1.0 <= min(self.raise_same, self.raise_known):
            raise ValueError(f"raise_same and raise_known must be >= 1 and lower_new <= 1, got {self.raise_same:g}, {self.raise_known:g} and {self.lower_new:g}.")
        if self.soften_steps < 0:
            raise ValueError(f"soften_steps must be >= 0, got {self.soften_steps}.")

    def fits(self, molecule: Molecule) -> str | None:
        return None if len(molecule) > 1 else "a single atom has one minimum"

    def begin(self) -> float:
        return self.temperature_K

    def escape(self, here: Here, strength: float, rng: np.random.Generator) -> Escape:
        molecule = here.molecule
        rigid = rigid_motions(molecule, here.positions)
        direction = normalised(without(rigid, rng.standard_normal(here.positions.shape)))
        if self.soften_steps:
            direction = yield from soften(molecule, here.positions, direction, self.soften_steps, self.soften_reach_A, self.soften_gain)
        n_free = here.positions.size - len(rigid)
        kinetic = 0.5 * n_free * units.kB * strength
        velocities = np.sqrt(2.0 * kinetic / mean_mass(molecule)) * direction
        return (yield from verlet_until_minima(molecule, here.positions, velocities, here.energy, self.timestep_fs, self.mdmin, self.most_steps, 3.0 * kinetic))

    def after(self, strength: float, fate: Fate, accepted: bool) -> float:
        return within(goedecker_feedback(strength, fate, self.raise_same, self.raise_known, self.lower_new), self.coldest_K, self.hottest_K)
