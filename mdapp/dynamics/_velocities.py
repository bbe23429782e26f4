"""Starting momenta: Maxwell and Boltzmann's, without drift and spin.

They depend on the temperature, the masses, the structure and the generator; on nothing else, and on the time step least of all.
"""
from __future__ import annotations

import math

import numpy as np
from ase import Atoms, units

from mdapp.dynamics._constraints import constrained, fixed_atoms
from mdapp.dynamics._rigid import turning, without_turning
from mdapp.observables import angular_velocity, centre_of_mass, degrees_of_freedom, kinetic_energy


def draw_momenta(atoms: Atoms, temperature_K: float, rng: np.random.Generator, dof: int | None = None, *, exact: bool = True) -> np.ndarray:
    """Momenta of a thermal start, (n_atoms, 3); `atoms` is not changed.

    The total momentum is taken out and, where no direction is periodic, the angular momentum about the centre of mass. Linear
    molecules have none along their axis. Fixed atoms rest, and then the spin about one or two of them is all that is taken out. Bonds of
    fixed length get no velocity along themselves.

    Parameters
    ----------
    atoms : positions, masses and pbc count; old momenta do not.
    temperature_K : zero gives a start at rest.
    rng : drawn from 3 n_atoms times.
    dof : the count that the ensemble divides by (`degrees_of_freedom_of`); by default that of a start without drift and spin.
    exact : scale so that the thermometer reads `temperature_K` at step 0; otherwise the kinetic energy is as it was drawn.

    Raises
    ------
    ValueError : negative temperature.
    """
    if not (math.isfinite(temperature_K) and temperature_K >= 0):
        raise ValueError(f"temperature_K must be a number >= 0, got {temperature_K!r}.")
    masses = atoms.get_masses()
    (fixed, bonds), rotations = constrained(atoms), turning(atoms)
    usual = not fixed and not atoms.pbc.any()
    p = rng.standard_normal((len(atoms), 3)) * np.sqrt(masses * units.kB * temperature_K)[:, None]
    for constraint in atoms.constraints:
        constraint.adjust_momenta(atoms, p)
    if dof is None:
        dof = degrees_of_freedom(len(atoms), translation_removed=True, rotation_removed=usual, n_fixed=fixed, n_bonds=bonds,
                                 rotations=rotations.count)
    alone = len(atoms) == 1 and dof == 3  # its drift is all that a single atom has
    p = p if alone else at_rest_as_a_whole(atoms, p)
    p[fixed_atoms(atoms)] = 0.0
    return rescaled(p, masses, temperature_K, dof) if exact else p


def at_rest_as_a_whole(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """Momenta (n_atoms, 3) without those motions of the whole that the forces between atoms leave alone."""
    masses, fixed = atoms.get_masses(), fixed_atoms(atoms)
    if not len(fixed):
        momenta = without_drift(momenta, masses)
    if not len(fixed) and not atoms.pbc.any():
        return without_spin(momenta, atoms.positions, masses)
    momenta = without_turning(momenta, atoms.positions, masses, turning(atoms))
    momenta[fixed] = 0.0  # to the last bit
    return momenta


def still(atoms: Atoms) -> None:
    """Takes the motion of the whole out of the atoms' momenta."""
    atoms.set_momenta(at_rest_as_a_whole(atoms, atoms.get_momenta()), apply_constraint=False)


def without_drift(momenta: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """The velocity of the centre of mass taken from each atom."""
    return momenta - masses[:, None] * (momenta.sum(axis=0) / masses.sum())


def without_spin(momenta: np.ndarray, positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """The rigid rotation that carries the angular momentum taken from each atom."""
    r = positions - centre_of_mass(positions, masses)
    return momenta - masses[:, None] * np.cross(angular_velocity(positions, momenta, masses), r)


def rescaled(momenta: np.ndarray, masses: np.ndarray, temperature_K: float, dof: int) -> np.ndarray:
    """One factor on all, so that the kinetic energy is dof/2 k_B T. What rests stays at rest."""
    kinetic = kinetic_energy(momenta, masses)
    if kinetic < 1e-20 * len(masses) or dof == 0:  # rounding left over where all motion was drift
        return np.zeros_like(momenta)
    return momenta * math.sqrt(0.5 * dof * units.kB * temperature_K / kinetic)
