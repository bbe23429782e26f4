"""Constant energy (NVE) by velocity Verlet.

Half a kick, a drift, half a kick: time-reversible, and the error of the total energy is bounded and of second order in the step.

W. C. Swope et al., J. Chem. Phys. 76, 637 (1982).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units

from mdapp.dynamics._base import State, require_positive, total_energy
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._verlet import Verlet


@ensembles.register("nve")
@dataclass(frozen=True)
class NVE:
    """Newton's equations and nothing else. The total energy is conserved."""

    conserves_momentum: ClassVar[bool] = True
    needs_cell: ClassVar[bool] = False
    title: ClassVar[str] = "NVE, velocity Verlet"
    deterministic: ClassVar[bool] = True

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> Verlet:
        require_positive(timestep_fs=timestep_fs)
        return Verlet(atoms, timestep_fs * units.fs)

    def conserved_energy(self, dynamics: Verlet) -> float:
        """E_pot + E_kin."""
        return total_energy(dynamics)

    def state(self, dynamics: Verlet) -> State:
        return {"forces": dynamics.current_forces()}

    def restore(self, dynamics: Verlet, state: State) -> None:
        dynamics.forces = np.array(state["forces"], float)
