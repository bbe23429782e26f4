"""Constant temperature (NVT) by canonical sampling through velocity rescaling (CSVR).

Velocity Verlet, and before each step one common factor on all momenta, drawn so that the kinetic energy follows its canonical
distribution. The bath hardly touches the motion: diffusion and spectra stay those of NVE.

ASE's `Bussi` counts 3N degrees of freedom; for a molecule without drift and spin that would be 10 to 20 % too hot at the size of a
dipeptide. Here the count is the one that the start really has (`observables.degrees_of_freedom`).

G. Bussi, D. Donadio and M. Parrinello, J. Chem. Phys. 126, 014101 (2007); the factor is Eq. A7, the conserved energy Eq. 15.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi

from mdapp.dynamics._base import State, degrees_of_freedom_of, require_freedom, require_motion, require_positive, total_energy
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._velocities import still
from mdapp.dynamics._verlet import KeepsForces


class VelocityRescaling(KeepsForces, Bussi):
    """ASE's integrator with the number of degrees of freedom given from outside."""

    def __init__(self, atoms: Atoms, timestep: float, temperature_K: float, taut: float, dof: int, rng: np.random.Generator):
        super().__init__(atoms, timestep, temperature_K=temperature_K, taut=taut, rng=rng)
        self.ndof = dof
        self.set_temperature(temperature_K)

    def set_temperature(self, temperature_K: float) -> None:
        self.temp = temperature_K * units.kB
        self.target_kinetic_energy = 0.5 * self.temp * self.ndof


@ensembles.register("nvt-csvr")
@dataclass(frozen=True)
class CSVR:
    """Canonical ensemble by stochastic velocity rescaling (see the module's head)."""

    temperature_K: float
    thermostat_time_fs: float = 100.0  # relaxation time of the kinetic energy; 20 to equilibrate, 100 to 1000 for dynamics

    conserves_momentum: ClassVar[bool] = True
    needs_cell: ClassVar[bool] = False
    title: ClassVar[str] = "NVT, stochastic velocity rescaling (CSVR)"

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, thermostat_time_fs=self.thermostat_time_fs)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> VelocityRescaling:
        """The momenta must be drawn already, and without drift (nor spin, for a free molecule): a factor cannot move what rests.

        Raises
        ------
        ValueError : nothing can move, or nothing moves.
        """
        require_positive(timestep_fs=timestep_fs)
        dof = degrees_of_freedom_of(self, atoms)
        require_freedom(dof, "nvt-csvr")
        require_motion(atoms, "nvt-csvr")
        return VelocityRescaling(atoms, timestep_fs * units.fs, self.temperature_K, self.thermostat_time_fs * units.fs, dof, rng)

    def set_temperature(self, dynamics: VelocityRescaling, temperature_K: float) -> None:
        dynamics.set_temperature(temperature_K)

    def still(self, dynamics: VelocityRescaling) -> None:
        still(dynamics.atoms)

    def conserved_energy(self, dynamics: VelocityRescaling) -> float:
        """E_pot + E_kin less the energy that the bath has put in."""
        return total_energy(dynamics) - dynamics.transferred_energy

    def state(self, dynamics: VelocityRescaling) -> State:
        return {"forces": dynamics.current_forces(), "heat": float(dynamics.transferred_energy)}

    def restore(self, dynamics: VelocityRescaling, state: State) -> None:
        dynamics.forces = np.array(state["forces"], float)
        dynamics.transferred_energy = float(state["heat"])
