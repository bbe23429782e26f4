r"""Constant temperature (NVT) by a chain of three Nosé-Hoover thermostats.

Velocity Verlet between two half sweeps of the chain. Deterministic and time-reversible; the energy of molecule and chain together is
conserved, which makes a wrong step visible. A stiff molecule at low temperature exchanges heat slowly with it (prefer csvr or langevin there).

ASE's `NoseHooverChainNVT` counts 3N degrees of freedom; a free molecule without drift and spin would be 10 to 20 % too hot at the size
of a dipeptide. It also keeps positions and momenta of its own, which fixed bonds cannot reach. So ASE's chain is put around ASE's
velocity Verlet here, which is the same factorisation of the same equations.

G. J. Martyna, M. L. Klein and M. E. Tuckerman, J. Chem. Phys. 97, 2635 (1992).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from mdapp.dynamics._base import State, degrees_of_freedom_of, require_freedom, require_motion, require_positive, total_energy
from mdapp.dynamics._nose_hoover import Chain
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._velocities import still
from mdapp.dynamics._verlet import KeepsForces


class NoseHooverVerlet(KeepsForces, VelocityVerlet):
    """Half a sweep of the chain, velocity Verlet, half a sweep."""

    def __init__(self, atoms: Atoms, timestep: float, temperature_K: float, tdamp: float, dof: int):
        super().__init__(atoms, timestep)
        self.chain = Chain(dof, self.masses, temperature_K, tdamp)
        self.jumps = 0.0  # eV: what changes of the target have added to the chain's energy

    def step(self, forces=None):
        self._sweep()
        forces = super().step(forces)
        self._sweep()
        return forces

    def _sweep(self) -> None:
        p = self.atoms.arrays["momenta"]
        p *= self.chain.factor(float(np.sum(p * p / self.masses)), 0.5 * self.dt)  # a factor turns no velocity into a forbidden one


@ensembles.register("nvt-nose-hoover")
@dataclass(frozen=True)
class NoseHooverNVT:
    """Canonical ensemble by a Nosé-Hoover chain (see the module's head)."""

    temperature_K: float
    thermostat_time_fs: float = 100.0  # period of the thermostat

    conserves_momentum: ClassVar[bool] = True
    needs_cell: ClassVar[bool] = False
    title: ClassVar[str] = "NVT, Nosé-Hoover chain"
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, thermostat_time_fs=self.thermostat_time_fs)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> NoseHooverVerlet:
        """The momenta must be drawn already, and without drift (nor spin, for a free molecule): a factor cannot move what rests.

        Raises
        ------
        ValueError : nothing can move, or nothing moves.
        """
        require_positive(timestep_fs=timestep_fs)
        dof = degrees_of_freedom_of(self, atoms)
        require_freedom(dof, "nvt-nose-hoover")
        require_motion(atoms, "nvt-nose-hoover")
        return NoseHooverVerlet(atoms, timestep_fs * units.fs, self.temperature_K, self.thermostat_time_fs * units.fs, dof)

    def set_temperature(self, dynamics: NoseHooverVerlet, temperature_K: float) -> None:
        dynamics.jumps += dynamics.chain.set_temperature(temperature_K)

    def still(self, dynamics: NoseHooverVerlet) -> None:
        still(dynamics.atoms)

    def conserved_energy(self, dynamics: NoseHooverVerlet) -> float:
        """E_pot + E_kin + energy of the chain."""
        return total_energy(dynamics) + dynamics.chain.get_thermostat_energy() - dynamics.jumps

    def state(self, dynamics: NoseHooverVerlet) -> State:
        chain = dynamics.chain
        return {"forces": dynamics.current_forces(), "eta": chain._eta, "p_eta": chain._p_eta, "kT": float(chain._kT), "jumps": dynamics.jumps}

    def restore(self, dynamics: NoseHooverVerlet, state: State) -> None:
        dynamics.forces = np.array(state["forces"], float)
        dynamics.chain._eta, dynamics.chain._p_eta = np.array(state["eta"], float), np.array(state["p_eta"], float)
        dynamics.chain._kT, dynamics.jumps = float(state["kT"]), float(state["jumps"])
