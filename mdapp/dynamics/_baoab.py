"""ASE's BAOAB integrator with the heat written down, and some places put right.

- The Ornstein-Uhlenbeck move of ASE takes a general matrix exponential each step even where there is one friction for all; here it is needed only
  for a cell of variable shape, and taken by eigenvectors, the matrices being symmetric. (scipy's starts BLAS threads for 3 × 3 numbers.)
- For a cell of variable shape the drag on the atoms is (p_g + tr(p_g)/N_f · 1)/W; ASE 3.29 adds the trace to the off-diagonal elements as well.
- The barostat's mass follows from the barostat's time and the temperature, not from a fit to aluminium; no warning about it on stderr.
- Bonds of fixed length hold in every part of the step (g-BAOAB): a drift goes along the bond's circle and leaves no velocity along the bond,
  and so do kicks and noise. (B. Leimkuhler and C. Matthews, Proc. R. Soc. A 472, 20160138 (2016).)
- Strains of the cell that a mask forbids get neither push nor noise.
"""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.md.langevinbaoab import LangevinBAOAB

from mdapp.dynamics._base import State
from mdapp.dynamics._constraints import held_bonds
from mdapp.dynamics._strains import Strains

BARE = ("accel", "force_eps", "p_eps", "heat")  # all that a step hands to the next one


class BAOAB(LangevinBAOAB):
    """Adds `heat`, the energy in eV that the baths of atoms and cell have put in so far."""

    def __init__(self, atoms: Atoms, timestep: float, strains: Strains | None = None, **options):
        self.heat = 0.0
        self._strains = strains  # those that may change; None: all
        self._bonds = held_bonds(atoms)
        super().__init__(atoms, timestep, **options)
        self._mass = atoms.get_masses()[:, None]  # (n_atoms, 1)
        self._root_mass = np.sqrt(self._mass)

    def _kinetic(self, momenta: np.ndarray) -> float:
        return 0.5 * float(np.sum(momenta * momenta / self._mass))

    def _update_force_eps(self) -> None:
        self.atoms.get_stress()  # asked for first, so that a calculator that computes on demand does it in the call that gives the forces
        super()._update_force_eps()
        if self._strains is not None:
            self.force_eps = self._strains.allowed(self.force_eps)

    def _update_accel(self) -> None:
        if self.externalstress is not None:
            self.atoms.get_stress()
        super()._update_accel()

    def _BAOAB_B(self) -> None:
        atoms = self.atoms
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * (self._mass * self.accel))

    def _BAOAB_A(self) -> None:
        atoms, dt = self.atoms, 0.5 * self.dt
        if self._bonds is None:
            atoms.positions += dt * (atoms.get_momenta() / self._mass)
            return
        start = atoms.positions.copy()
        atoms.set_positions(start + dt * (atoms.get_momenta() / self._mass))  # back on the constraint, along the bonds as they were
        atoms.set_momenta((atoms.positions - start) * self._mass / dt)  # and no velocity along the bonds as they are

    def _BAOAB_OU(self, drag_gamma_mod=0.0) -> None:
        """Drag by the barostat (work, not heat), then friction and noise (heat)."""
        p = self._dragged(self.atoms.get_momenta(), drag_gamma_mod)
        before = self._kinetic(p)
        if self.gamma:
            p *= math.exp(-self.gamma * self.dt)
            p += self.BAOAB_prefactor * self._root_mass * self.rng.standard_normal(p.shape)
        self.atoms.set_momenta(p)  # which keeps fixed atoms at rest
        self.heat += self._kinetic(self.atoms.get_momenta()) - before

    def _dragged(self, momenta: np.ndarray, drag) -> np.ndarray:
        if self.externalstress is None:
            return momenta
        if self.hydrostatic:
            return momenta * float(np.exp(-drag * self.dt))  # which overflows without raising
        return momenta @ _exp(-drag * self.dt)

    def _barostat_BAOAB_A(self) -> None:
        if self.hydrostatic:
            super()._barostat_BAOAB_A()
        else:
            self.atoms.set_cell(self.atoms.cell.array @ _exp(0.5 * self.dt * self.p_eps / self.barostat_mass), scale_atoms=True)

    def _barostat_BAOAB_OU_gamma_mod(self):
        if self.hydrostatic:
            return super()._barostat_BAOAB_OU_gamma_mod()
        return (self.p_eps + np.trace(self.p_eps) / self.Ndof * np.identity(3)) / self.barostat_mass

    def _barostat_BAOAB_OU(self) -> None:
        before = self.cell_kinetic_energy()
        super()._barostat_BAOAB_OU()
        if self._strains is not None:
            self.p_eps = self._strains.allowed(self.p_eps)
        self.heat += self.cell_kinetic_energy() - before

    def cell_kinetic_energy(self) -> float:
        """p²/2W of the volume, or the sum of its nine elements' for a variable shape, eV."""
        return float(np.sum(np.square(self.p_eps))) / (2.0 * self.barostat_mass)

    def memory(self) -> State:
        """What the next step needs beyond positions, momenta, cell and generator."""
        axes = {} if self._strains is None else {"strain_axes": self._strains.axes}
        return {name: np.array(getattr(self, name), float) for name in BARE if hasattr(self, name)} | axes

    def remember(self, state: State) -> None:
        if self._strains is not None:
            self._strains = replace(self._strains, axes=np.array(state["strain_axes"], float))
        for name in (name for name in BARE if hasattr(self, name)):
            value = np.array(state[name], float)
            setattr(self, name, value if value.ndim else float(value))


def _exp(symmetric: np.ndarray) -> np.ndarray:
    """Exponential of a symmetric matrix (3, 3)."""
    if not np.isfinite(symmetric).all():
        return np.full_like(symmetric, np.nan)  # for the guards to find
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.exp(values)) @ vectors.T
