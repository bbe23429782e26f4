r"""Constant pressure and temperature (NPT) by Langevin dynamics of atoms and cell, in the BAOAB splitting.

The logarithm of the volume (or all six strains of the cell) is one more particle of mass W, pushed by the difference between the
pressure, kinetic part included, and the one that was asked for, with a friction and a noise of its own. It damps the ringing of a cell
that starts far from its volume, which makes it the ensemble to begin with; `npt-mtk` disturbs the dynamics less.

The mass is :math:`W = (N_f + 3) k_B T \tau_P^2` (a third of it where the shape is free), as Martyna, Tobias and Klein propose.

D. Quigley and M. I. J. Probert, J. Chem. Phys. 120, 11432 (2004), Eqs. 5 and 6.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms, units

from mdapp.dynamics._baoab import BAOAB
from mdapp.dynamics._base import State, require_cell, require_finite, require_positive, total_energy
from mdapp.dynamics._registry import ensembles
from mdapp.dynamics._strains import strains_of
from mdapp.observables import PER_BAR
from mdapp.selection import parse_mask


@ensembles.register("npt-langevin")
@dataclass(frozen=True)
class LangevinNPT:
    """Isothermal-isobaric ensemble by Langevin dynamics (see the module's head)."""

    temperature_K: float
    pressure_bar: float = 1.0  # positive is compression
    friction_per_ps: float = 1.0  # of the atoms
    barostat_time_fs: float = 1000.0  # period and damping time of the cell
    flexible: bool = False  # False: the volume alone, the shape is kept; True: all six strains, for solids only
    cell_mask: str | None = None  # "1,1,0": the vectors a and b change, each by itself (and shear, where flexible), c does not

    conserves_momentum: ClassVar[bool] = False
    needs_cell: ClassVar[bool] = True
    title: ClassVar[str] = "NPT, Langevin (BAOAB) with a Langevin barostat"

    def __post_init__(self):
        require_positive(temperature_K=self.temperature_K, friction_per_ps=self.friction_per_ps, barostat_time_fs=self.barostat_time_fs)
        require_finite(pressure_bar=self.pressure_bar)
        if self.cell_mask is not None:
            parse_mask(self.cell_mask)

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> BAOAB:
        require_positive(timestep_fs=timestep_fs)
        require_cell(atoms, "npt-langevin")
        strains = strains_of(atoms, self.cell_mask, self.flexible, "npt-langevin")
        shape = self.flexible or strains is not None
        tau = self.barostat_time_fs * units.fs
        mass = (3 * len(atoms) + 3) * units.kB * self.temperature_K * tau**2
        return BAOAB(atoms, timestep_fs * units.fs, temperature_K=self.temperature_K, T_tau=1000 * units.fs / self.friction_per_ps,
                     externalstress=-self.pressure_bar * PER_BAR, hydrostatic=not shape,
                     P_tau=tau, P_mass=mass / 3 if shape else mass, strains=strains, rng=rng)

    def set_temperature(self, dynamics: BAOAB, temperature_K: float) -> None:
        dynamics.set_temperature(temperature_K)

    def conserved_energy(self, dynamics: BAOAB) -> float:
        """E_pot + E_kin + P V + kinetic energy of the cell, less all heat that the baths of atoms and cell have put in.

        The drag between atoms and cell is work and cancels between them; what remains is the error of the splitting.
        """
        pv = self.pressure_bar * PER_BAR * dynamics.atoms.get_volume()
        return total_energy(dynamics) + pv + dynamics.cell_kinetic_energy() - dynamics.heat

    def state(self, dynamics: BAOAB) -> State:
        return dynamics.memory()

    def restore(self, dynamics: BAOAB, state: State) -> None:
        dynamics.remember(state)
