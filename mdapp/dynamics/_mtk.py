"""ASE's Martyna-Tobias-Klein integrators with the counts put right, one evaluation of the potential a step, and a memory.

ASE's classes know one number, `_num_atoms_global`, from which every count of theirs follows as three times it; a third of the true
count, put in its place, corrects them all: the thermostat's target and energy, the barostat's mass, and the coupling of cell and atoms.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms, units
from ase.md.nose_hoover_chain import IsotropicMTKBarostat, IsotropicMTKNPT, MTKBarostat, MTKNPT

from mdapp.dynamics._base import State
from mdapp.dynamics._chain import integrate_chain
from mdapp.dynamics._nose_hoover import Chain
from mdapp.dynamics._strains import Strains
from mdapp.dynamics._velocities import still

SYMMETRIC_STRAINS = 6


class _VolumeBarostat(IsotropicMTKBarostat):
    """The chain of the volume's momentum."""

    def integrate_nhc_baro(self, p_eps: float, delta: float) -> float:
        return p_eps * integrate_chain(self._xi, self._p_xi, self._R, p_eps**2 / self._W, self._kT, self._kT, delta, self._ploop)


class _ShapeBarostat(MTKBarostat):
    """The chain of the cell's momenta, which are symmetric: six, or as many as a mask leaves."""

    def __init__(self, cell_dof: int, **options):
        super().__init__(**options)
        self._cell_dof = cell_dof
        self._R[0] = self._cell_dof * self._kT * self._pdamp**2

    def integrate_nhc_baro(self, p_cell: np.ndarray, delta: float) -> np.ndarray:
        twice_kinetic = float(np.sum(p_cell**2)) / self._W
        target = self._cell_dof * self._kT
        return p_cell * integrate_chain(self._xi, self._p_xi, self._R, twice_kinetic, target, self._kT, delta, self._ploop)


class _Counted:
    """What both integrators have in common. Mixed in before ASE's class."""

    _cell_memory: tuple[str, ...] = ()  # the variables of the cell, which differ between the two

    def __init__(self, atoms: Atoms, timestep: float, dof: int, temperature_K: float, pressure_au: float, tdamp: float, pdamp: float,
                 strains: Strains | None = None):
        self._strains = strains
        self.jumps = 0.0  # eV: what changes of the target have added to the energies of the chains
        super().__init__(atoms, timestep, temperature_K=temperature_K, pressure_au=pressure_au, tdamp=tdamp, pdamp=pdamp)
        third = dof / 3
        self._num_atoms_global = third
        self._thermostat = Chain(dof, self.masses, temperature_K, tdamp)
        self._barostat = self._new_barostat(num_atoms_global=third, temperature_K=temperature_K, pdamp=pdamp)
        self._known: tuple[np.ndarray, np.ndarray] | None = None  # forces (n_atoms, 3) and stress (3, 3) at the present positions and cell

    def set_temperature(self, temperature_K: float) -> None:
        """A new target for both chains; all masses stay."""
        before = self._barostat.get_barostat_energy()
        self._kT = self._barostat._kT = units.kB * temperature_K
        self.jumps += self._thermostat.set_temperature(temperature_K) + self._barostat.get_barostat_energy() - before

    def get_conserved_energy(self) -> float:
        return super().get_conserved_energy() - self.jumps

    def still(self) -> None:
        """Takes out the drift of the whole."""
        still(self.atoms)
        self._p = self.atoms.get_momenta()

    def _integrate_q(self, delta: float) -> None:
        super()._integrate_q(delta)
        self._known = None

    def _evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        if self._known is None:
            self._update_atoms()
            stress = self.atoms.get_stress(voigt=False)  # first: a calculator that computes on demand gives the forces in the same call
            self._known = self.atoms.get_forces(md=True), stress
        return self._known

    def _get_forces(self) -> np.ndarray:
        return self._evaluate()[0]

    def _pressure_tensor(self) -> np.ndarray:
        """Kinetic part included, (3, 3), positive under compression."""
        return self._p.T @ (self._p / self.masses) / self._get_volume() - self._evaluate()[1]

    def memory(self) -> State:
        """Positions and momenta too: the atoms hold the same ones, but these are what the next step starts from."""
        forces, stress = self._evaluate()
        own = {name: np.array(getattr(self, "_" + name), float) for name in ("q", "p", *self._cell_memory)}
        chains = {name: np.array(getattr(part, "_" + name)) for part, names in
                  ((self._thermostat, ("eta", "p_eta")), (self._barostat, ("xi", "p_xi"))) for name in names}
        axes = {} if self._strains is None else {"strain_axes": self._strains.axes}
        return {**own, **chains, **axes, "forces": forces, "stress": stress, "kT": float(self._kT), "jumps": self.jumps}

    def remember(self, state: State) -> None:
        for name in ("q", "p", *self._cell_memory):
            value = np.array(state[name], float)
            setattr(self, "_" + name, value if value.ndim else float(value))
        for part, names in ((self._thermostat, ("eta", "p_eta")), (self._barostat, ("xi", "p_xi"))):
            for name in names:
                setattr(part, "_" + name, np.array(state[name], float))
        if self._strains is not None:
            self._strains = replace(self._strains, axes=np.array(state["strain_axes"], float))
        self._kT = self._barostat._kT = self._thermostat._kT = float(state["kT"])
        self.jumps = float(state["jumps"])
        self._known = np.array(state["forces"], float), np.array(state["stress"], float)
        self._update_atoms()


class IsotropicMTK(_Counted, IsotropicMTKNPT):
    """The volume alone moves."""

    _cell_memory = ("eps", "p_eps", "cell0", "volume0")

    def _new_barostat(self, **options) -> _VolumeBarostat:
        return _VolumeBarostat(**options)

    def cell_kinetic_energy(self) -> float:
        """p²/2W of the volume, eV."""
        return self._p_eps**2 / (2 * self._barostat.W)

    def _get_pressure(self) -> float:
        return float(np.trace(self._pressure_tensor())) / 3


class FlexibleMTK(_Counted, MTKNPT):
    """All six strains move, or those that a mask leaves. The cell does not turn, its momenta being symmetric."""

    _cell_memory = ("h", "p_g")

    def _new_barostat(self, **options) -> _ShapeBarostat:
        return _ShapeBarostat(SYMMETRIC_STRAINS if self._strains is None else self._strains.count, **options)

    def _integrate_p_cell(self, delta: float) -> None:
        super()._integrate_p_cell(delta)
        if self._strains is not None:
            self._p_g = self._strains.allowed(self._p_g)

    def cell_kinetic_energy(self) -> float:
        """Sum of p²/2W over the nine elements of the symmetric momenta, eV."""
        return self._get_cell_kinetic_energy()

    def _get_stress(self) -> np.ndarray:
        return self._pressure_tensor()  # ASE's name, but with the sign of a pressure
