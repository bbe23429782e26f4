"""Constant temperature (NVT) by Langevin dynamics in the BAOAB splitting.

One step is half a kick, half a drift, a full Ornstein-Uhlenbeck move, half a drift, half a kick. Configurational averages are
exact for a harmonic well at any stable step. The bath acts on all 3N momenta, the motion of the whole included, so a free molecule
wanders and turns, and 3N is the count of degrees of freedom. (ASE's older `Langevin` with its default `fixcm=True` overheats.)

B. Leimkuhler and C. Matthews, J. Chem. Phys. 138, 174102 (2013); the O move is the one after Eq. 6.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units

from mdapp.dynamics._baoab import BAOAB
from mdapp.dynamics._base import State, require_positive, total_energy
from mdapp.dynamics._registry import ensembles


@ensembles.register("nvt-langevin")
@dataclass(frozen=True)
class LangevinNVT:
    """Canonical ensemble by Langevin dynamics (see the module's head)."""

    temperature_K: float
    friction_per_ps: float = 1.0  # 0.1-1 for dynamics, 1-10 for quick equilibration

    conserves_momentum: ClassVar[bool] = False
    needs_cell: ClassVar[bool] = False
    title: ClassVar[str] = "NVT, Langevin (BAOAB)"

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, friction_per_ps=self.friction_per_ps)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> BAOAB:
        require_positive(timestep_fs=timestep_fs)
        return BAOAB(atoms, timestep_fs * units.fs, temperature_K=self.temperature_K, T_tau=1000 * units.fs / self.friction_per_ps, rng=rng)

    def set_temperature(self, dynamics: BAOAB, temperature_K: float) -> None:
        dynamics.set_temperature(temperature_K)

    def conserved_energy(self, dynamics: BAOAB) -> float:
        """E_pot + E_kin less the kinetic energy gained in all O moves: what remains is the error of the kicks and drifts."""
        return total_energy(dynamics) - dynamics.heat

    def state(self, dynamics: BAOAB) -> State:
        return dynamics.memory()

    def restore(self, dynamics: BAOAB, state: State) -> None:
        dynamics.remember(state)
