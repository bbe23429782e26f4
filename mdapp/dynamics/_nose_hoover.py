"""The atoms' Nosé-Hoover chain: ASE's, with the count of degrees of freedom given from outside and a temperature that can change.

ASE's class knows one number, `_num_atoms_global`, from which every count of its follows as three times it; a third of the true count,
put in its place, corrects the target, the mass and the energy.
"""
from __future__ import annotations

import numpy as np
from ase import units
from ase.md.nose_hoover_chain import NoseHooverChainThermostat

from mdapp.dynamics._chain import integrate_chain


class Chain(NoseHooverChainThermostat):
    """With scalars where ASE has arrays of three (the same equations at a tenth of the cost)."""

    def __init__(self, dof: int, masses: np.ndarray, temperature_K: float, tdamp: float):
        super().__init__(num_atoms_global=dof / 3, masses=masses, temperature_K=temperature_K, tdamp=tdamp)

    def factor(self, twice_kinetic: float, delta: float) -> float:
        """Moves the chain by `delta`; returns the factor for the momenta whose sum of p²/m is `twice_kinetic`."""
        target = 3 * self._num_atoms_global * self._kT
        return integrate_chain(self._eta, self._p_eta, self._Q, twice_kinetic, target, self._kT, delta, self._tloop)

    def integrate_nhc(self, p: np.ndarray, delta: float) -> np.ndarray:
        return p * self.factor(float(np.sum(p**2 / self._masses)), delta)

    def set_temperature(self, temperature_K: float) -> float:
        """A new target; the masses stay. Returns by how much the energy of the thermostat jumps, eV."""
        before = self.get_thermostat_energy()
        self._kT = units.kB * temperature_K
        return self.get_thermostat_energy() - before
