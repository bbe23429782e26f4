r"""Constant pressure and temperature (NPT) by stochastic rescaling of the cell (C-rescale) and of the velocities (CSVR).

The volume relaxes to its mean in the time of the barostat, as with Berendsen's, and a noise gives it the right width: first order, nothing rings,
from any start. With :math:`\lambda = \sqrt V` the noise does not depend on the volume,

.. math:: d\lambda = -\frac{\beta_T \lambda}{2 \tau_P} \left( P_0 - P_{int} - \frac{k_B T}{2V} \right) dt + \sqrt{\frac{k_B T \beta_T}{2 \tau_P}} dW

and with each step of it the centres of the molecules are scaled by :math:`(V'/V)^{1/3}` and their momenta by the inverse; molecules are carried along
as they are (so bonds of fixed length stay what they are), and :math:`P_{int}` is the pressure between them.

A fiftieth of the barostat's time passes between two such steps. Each is a proposal that is accepted as Metropolis would (one more evaluation of
the potential), which leaves no error of the step and makes sampling exact whatever the compressibility :math:`\beta_T`, a guess, really is; a
wrong one only makes the volume slower. The energies before and after are both known, and so is what the barostat has put in.

M. Bernetti and G. Bussi, J. Chem. Phys. 153, 114107 (2020); the test of a Langevin step by Metropolis: P. J. Rossky, J. D. Doll
and H. L. Friedman, J. Chem. Phys. 69, 4628 (1978).
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from ase import Atoms, units

from mdapp.dynamics._base import (
    State,
    degrees_of_freedom_of,
    potential_energy,
    require_box,
    require_finite,
    require_freedom,
    require_motion,
    require_positive,
    total_energy,
)
from mdapp.dynamics._molecules import Pieces, pieces_of
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._velocities import still
from mdapp.dynamics.nvt_csvr import VelocityRescaling
from mdapp.observables import PER_BAR

PARTS = 50  # of the barostat's time: one change of volume in each
LEAP = 0.3  # a change of ln V beyond this is refused unseen: the potential may not come back from such a box


class Moment(NamedTuple):
    """What a change of volume is judged by, eV and Å."""

    volume: float
    potential: float
    kinetic: float
    slope: float  # of the energy with the volume, momenta and molecules carried along, eV/Å³: minus the pressure between molecules


class CellRescaling(VelocityRescaling):
    """CSVR, and every so many steps a change of volume."""

    def __init__(self, atoms: Atoms, timestep: float, temperature_K: float, taut: float, dof: int, rng: np.random.Generator, pressure: float, taup: float,
                 compressibility: float):
        super().__init__(atoms, timestep, temperature_K, taut, dof, rng)
        self.pressure, self.compressibility = pressure, compressibility  # eV/Å³ and its inverse
        self.every = max(1, round(taup / PARTS / timestep))
        self.share = self.every * timestep / taup
        self.pieces: Pieces = pieces_of(atoms)
        self.waited = 0  # steps since the last change of volume
        self.work = 0.0  # eV, put in by all changes of volume so far

    def step(self, forces=None):
        super().step(forces)
        self.waited += 1
        if self.waited >= self.every:
            self.waited = 0
            self._change_volume()
        return self.forces

    def _moment(self) -> Moment:
        atoms = self.atoms
        stress = atoms.get_stress(voigt=False, apply_constraint=False)  # first: a calculator that computes on demand gives the forces in the same call
        forces, masses, p = atoms.get_forces(apply_constraint=False), atoms.get_masses(), atoms.get_momenta()
        cell, volume = atoms.cell.array, atoms.get_volume()
        within = atoms.positions + self.pieces.images @ cell - self.pieces.centres(atoms.positions, masses, cell)
        p_pieces = self.pieces.sums(p)
        twice_kinetic = float(np.sum(p_pieces**2 / np.bincount(self.pieces.labels, masses)[:, None]))
        slope = float(np.trace(stress)) / 3 + (float(np.sum(forces * within)) - twice_kinetic) / (3 * volume)
        return Moment(volume, potential_energy(atoms), float(atoms.get_kinetic_energy()), slope)

    def _change_volume(self) -> None:
        atoms = self.atoms
        normal, uniform = float(self.rng.standard_normal()), float(self.rng.random())  # always both, so that what follows does not hang on the outcome
        before, (positions, momenta, cell) = self._moment(), (atoms.positions.copy(), atoms.get_momenta(), atoms.cell.array.copy())
        root, variance = math.sqrt(before.volume), 0.5 * self.temp * self.compressibility * self.share
        there = root + self._pull(before) + math.sqrt(variance) * normal
        if not (there > 0 and abs(2 * math.log(there / root)) < LEAP):
            return
        self._scale((there / root) ** (2 / 3))
        after = self._moment()
        back = (root - there - self._pull(after)) ** 2 / (2 * variance)
        exponent = -(self._enthalpy(after) - self._enthalpy(before)) / self.temp - back + 0.5 * normal**2
        if exponent >= 0 or uniform < math.exp(exponent):  # not so where it is no number
            self.work += after.potential + after.kinetic - before.potential - before.kinetic
            self.forces = atoms.get_forces(md=True)
            return
        atoms.set_cell(cell, scale_atoms=False)
        atoms.positions[:] = positions
        atoms.set_momenta(momenta, apply_constraint=False)
        atoms.get_potential_energy()  # whoever looks at the calculator's results shall find those of these positions

    def _pull(self, at: Moment) -> float:
        """The mean change of the root of the volume in one step."""
        return -0.5 * self.compressibility * self.share * math.sqrt(at.volume) * (self.pressure + at.slope - self.temp / (2 * at.volume))

    def _enthalpy(self, at: Moment) -> float:
        """-kT ln of the density in the root of the volume."""
        return at.potential + at.kinetic + self.pressure * at.volume - 0.5 * self.temp * math.log(at.volume)

    def _scale(self, s: float) -> None:
        """Cell and centres of molecules times s, momenta of molecules by s; volume in phase space is kept."""
        atoms, masses = self.atoms, self.atoms.get_masses()
        cell, p = atoms.cell.array.copy(), atoms.get_momenta()
        share = (masses / np.bincount(self.pieces.labels, masses)[self.pieces.labels])[:, None]
        centres = self.pieces.centres(atoms.positions, masses, cell)
        atoms.positions += (s - 1) * (centres - self.pieces.images @ cell)
        atoms.set_cell(s * cell, scale_atoms=False)
        atoms.set_momenta(p + (1 / s - 1) * share * self.pieces.sums(p)[self.pieces.labels], apply_constraint=False)


@ensembles.register("npt-c-rescale")
@dataclass(frozen=True)
class CRescaleNPT:
    """Isothermal-isobaric ensemble by stochastic cell and velocity rescaling (see the module's head)."""

    temperature_K: float
    pressure_bar: float = 1.0  # positive is compression
    thermostat_time_fs: float = 100.0  # relaxation time of the kinetic energy
    barostat_time_fs: float = 1000.0  # relaxation time of the volume
    compressibility_per_bar: float = 4.5e-5  # of water; organic solids have some 1e-5, metals 1e-6

    conserves_momentum: ClassVar[bool] = True
    needs_cell: ClassVar[bool] = True
    title: ClassVar[str] = "NPT, stochastic cell rescaling (C-rescale) with CSVR"

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, thermostat_time_fs=self.thermostat_time_fs, barostat_time_fs=self.barostat_time_fs,
                         compressibility_per_bar=self.compressibility_per_bar)
        require_finite(pressure_bar=self.pressure_bar)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> CellRescaling:
        """The momenta must be drawn already, and without drift; bonds of fixed length are welcome, fixed atoms are not."""
        require_positive(timestep_fs=timestep_fs)
        require_box(atoms, "npt-c-rescale")
        dof = degrees_of_freedom_of(self, atoms)
        require_freedom(dof, "npt-c-rescale")
        require_motion(atoms, "npt-c-rescale")
        return CellRescaling(atoms, timestep_fs * units.fs, self.temperature_K, self.thermostat_time_fs * units.fs, dof, rng,
                             self.pressure_bar * PER_BAR, self.barostat_time_fs * units.fs, self.compressibility_per_bar / PER_BAR)

    def set_temperature(self, dynamics: CellRescaling, temperature_K: float) -> None:
        dynamics.set_temperature(temperature_K)

    def still(self, dynamics: CellRescaling) -> None:
        still(dynamics.atoms)

    def conserved_energy(self, dynamics: CellRescaling) -> float:
        """E_pot + E_kin less what the bath and the changes of volume have put in."""
        return total_energy(dynamics) - dynamics.transferred_energy - dynamics.work

    def state(self, dynamics: CellRescaling) -> State:
        return {"forces": dynamics.current_forces(), "heat": float(dynamics.transferred_energy), "work": float(dynamics.work), "waited": dynamics.waited,
                "pieces": dynamics.pieces.labels, "images": dynamics.pieces.images}

    def restore(self, dynamics: CellRescaling, state: State) -> None:
        dynamics.forces = np.array(state["forces"], float)
        dynamics.transferred_energy, dynamics.work = float(state["heat"]), float(state["work"])
        dynamics.waited = int(state["waited"])
        dynamics.pieces = Pieces(np.array(state["pieces"], np.int64), np.array(state["images"], np.int64))
