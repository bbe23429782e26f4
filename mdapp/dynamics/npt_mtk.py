r"""Constant pressure and temperature (NPT) by the equations of Martyna, Tobias and Klein.

Deterministic: chains of Nosé-Hoover thermostats hold the temperature of atoms and cell, and the energy of the extended system is
conserved. Best for a box that is equilibrated already; far from its volume the cell rings for long (use `npt-langevin` there).

Two counts of ASE 3.29 are put right. The total momentum is conserved, so that 3N-3 momenta share the kinetic energy and not 3N. And
the momenta of a cell of variable shape stay symmetric, so that they are 6 and not 9: with 9 the cell would be half as hot again.

G. J. Martyna, D. J. Tobias and M. L. Klein, J. Chem. Phys. 101, 4177 (1994).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units

from mdapp.dynamics._base import State, degrees_of_freedom_of, require_cell, require_finite, require_freedom, require_positive
from mdapp.dynamics._mtk import FlexibleMTK, IsotropicMTK
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._strains import strains_of
from mdapp.observables import PER_BAR
from mdapp.selection import parse_mask


@ensembles.register("npt-mtk")
@dataclass(frozen=True)
class MTK:
    """Isothermal-isobaric ensemble by Martyna, Tobias and Klein (see the module's head)."""

    temperature_K: float
    pressure_bar: float = 1.0  # positive is compression
    thermostat_time_fs: float = 100.0  # period of the thermostat
    barostat_time_fs: float = 1000.0  # period of the cell
    flexible: bool = False  # False: the volume alone, the shape is kept; True: all six strains, for solids only
    cell_mask: str | None = None  # "1,1,0": the vectors a and b change, each by itself (and shear, where flexible), c does not

    conserves_momentum: ClassVar[bool] = True
    needs_cell: ClassVar[bool] = True
    title: ClassVar[str] = "NPT, Martyna-Tobias-Klein"
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, thermostat_time_fs=self.thermostat_time_fs, barostat_time_fs=self.barostat_time_fs)
        require_finite(pressure_bar=self.pressure_bar)
        if self.cell_mask is not None:
            parse_mask(self.cell_mask)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> IsotropicMTK | FlexibleMTK:
        """The momenta must be drawn already, and without drift: the bath cannot take a drift away."""
        require_positive(timestep_fs=timestep_fs)
        require_cell(atoms, "npt-mtk")
        dof = degrees_of_freedom_of(self, atoms)
        require_freedom(dof, "npt-mtk")
        strains = strains_of(atoms, self.cell_mask, self.flexible, "npt-mtk")
        integrator = FlexibleMTK if self.flexible or strains is not None else IsotropicMTK
        return integrator(atoms, timestep_fs * units.fs, dof=dof, temperature_K=self.temperature_K, pressure_au=self.pressure_bar * PER_BAR,
                          tdamp=self.thermostat_time_fs * units.fs, pdamp=self.barostat_time_fs * units.fs, strains=strains)

    def set_temperature(self, dynamics: IsotropicMTK | FlexibleMTK, temperature_K: float) -> None:
        dynamics.set_temperature(temperature_K)

    def still(self, dynamics: IsotropicMTK | FlexibleMTK) -> None:
        dynamics.still()

    def conserved_energy(self, dynamics: IsotropicMTK | FlexibleMTK) -> float:
        """E_pot + E_kin + P V + kinetic energy of the cell + energies of both thermostat chains."""
        return dynamics.get_conserved_energy()

    def state(self, dynamics: IsotropicMTK | FlexibleMTK) -> State:
        return dynamics.memory()

    def restore(self, dynamics: IsotropicMTK | FlexibleMTK, state: State) -> None:
        dynamics.remember(state)
