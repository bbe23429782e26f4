"""What every ensemble offers, the options that several share, and their checks."""
from __future__ import annotations

import math
from typing import ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from mdapp.dynamics._constraints import constrained, n_bonds_held
from mdapp.dynamics._rigid import turning
from mdapp.observables import degrees_of_freedom

State = dict[str, "np.ndarray | float"]


class Ensemble(Protocol):
    """A frozen dataclass whose fields are its options: the setting and the factory of an ASE dynamics.

    `state` and `restore` speak of what the dynamics alone knows: thermostat, barostat, exchanged energy, and the forces at the
    present positions, so that a resumed run starts with the very same half kick. Positions, momenta, cell, generator and step
    number belong to the stepper, which puts them back first.
    """

    name: ClassVar[str]
    conserves_momentum: ClassVar[bool]  # nothing pushes the whole: drift and spin that are absent at the start stay absent
    needs_cell: ClassVar[bool]  # only for systems periodic in all three directions
    title: ClassVar[str]  # what it is, for the header of a run

    # One that draws no random numbers says so by `deterministic: ClassVar[bool] = True`: after a rewind its momenta get new directions in place of new noise.
    # An ensemble whose bath can follow a schedule has `set_temperature(dynamics, temperature_K)` too; it must not make the conserved energy jump.
    # One whose bath multiplies momenta has `still(dynamics)`: it is called every hundred steps and takes out the drift and the spin of the whole, which
    # begin with rounding and which random factors would make grow without bound (a flying ice cube after some nanoseconds).

    def dynamics(self, atoms: Atoms, timestep_fs: float, rng: np.random.Generator) -> MolecularDynamics:
        """The integrator. `atoms` carries its calculator and its starting momenta."""
        ...

    def conserved_energy(self, dynamics: MolecularDynamics) -> float:
        """What would stay constant with an infinitely small step, eV."""
        ...

    def state(self, dynamics: MolecularDynamics) -> State:
        """Everything that the integrator remembers beyond the atoms."""
        ...

    def restore(self, dynamics: MolecularDynamics, state: State) -> None:
        """Back to what `state` returned. The atoms have their positions, momenta and cell already."""
        ...


def degrees_of_freedom_of(ensemble: type | Ensemble, atoms: Atoms) -> int:
    """The count for these atoms in this ensemble: thermostat, thermometer and first velocities all use it.

    A plug-in that does not say whether it conserves momentum is taken not to.
    """
    conserved = bool(getattr(ensemble, "conserves_momentum", False))
    n_fixed, n_bonds = constrained(atoms)
    return degrees_of_freedom(len(atoms), translation_removed=conserved, rotation_removed=conserved, n_fixed=n_fixed, n_bonds=n_bonds,
                              rotations=turning(atoms).count if conserved else None)


def require_steerable(ensemble: Ensemble) -> None:
    """An annealing schedule needs a bath whose temperature can be changed."""
    if not hasattr(ensemble, "set_temperature"):
        raise ValueError(f"{getattr(ensemble, 'name', 'this ensemble')} has no bath whose temperature could follow a schedule. "
                         "Leave out anneal, or take an nvt or npt ensemble.")


def require_positive(**options: float) -> None:
    """Each option must be a finite number above zero."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a number > 0, got {value!r}.")


def require_finite(**options: float) -> None:
    """Each option must be a finite number of any sign."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}.")


def require_box(atoms: Atoms, name: str) -> None:
    """A constant-pressure ensemble needs a box in all three directions, and no atom tied to a place in it."""
    if not atoms.pbc.all() or not atoms.cell.volume > 0:
        pbc = ", ".join(str(bool(p)) for p in atoms.pbc)
        raise ValueError(f"{name} needs a cell that is periodic in three directions, but pbc is ({pbc}) and the volume "
                         f"{atoms.cell.volume:g} Å³. Give the structure a cell, or choose an nvt ensemble.")
    if constrained(atoms)[0]:
        raise ValueError(f"{name} cannot hold atoms fixed while the cell changes. Remove the constraint, or choose an nvt ensemble.")


def require_cell(atoms: Atoms, name: str) -> None:
    """The same, for one that moves each atom with the cell: it would stretch what is tied."""
    require_box(atoms, name)
    if n_bonds_held(atoms):
        raise ValueError(f"{name} cannot hold bonds at their length while the cell changes. Remove the constraint, or choose npt-c-rescale or an nvt ensemble.")


def require_freedom(dof: int, name: str) -> None:
    """A rescaling thermostat needs something to rescale."""
    if dof < 1:
        raise ValueError(f"{name} has no internal motion to heat: a single atom without drift has no degree of freedom. Use nvt-langevin.")


def require_motion(atoms: Atoms, name: str) -> None:
    """A thermostat that scales velocities cannot start anything."""
    if not atoms.get_kinetic_energy() > 1e-12:
        raise ValueError(f"{name} rescales velocities, and all of them are zero. Draw starting velocities first, or use nvt-langevin.")


def potential_energy(atoms: Atoms) -> float:
    """The energy whose gradient the forces are, eV: the free energy where a calculator tells the two apart."""
    energy = atoms.get_potential_energy()
    return float(getattr(atoms.calc, "results", {}).get("free_energy", energy))


def total_energy(dynamics: MolecularDynamics) -> float:
    """Potential and kinetic energy, eV."""
    return potential_energy(dynamics.atoms) + float(dynamics.atoms.get_kinetic_energy())
