"""What is measured on one moment: kinetic energy, temperature, pressure, extent; and the one count of degrees of freedom.

The thermostat, the reported temperature and the starting velocities all take their number from `degrees_of_freedom`, so that
they cannot disagree. Kinetic energies count every momentum that is there; only the divisor differs between ensembles.
"""
from __future__ import annotations

import numpy as np
from ase import units

PER_BAR = 1e-4 * units.GPa  # eV/Å³ per bar: 1 bar = 1e5 Pa
LINEAR_TOLERANCE = 1e-6  # a moment of inertia below this part of the largest counts as zero


def kinetic_energy(momenta: np.ndarray, masses: np.ndarray) -> float:
    """Sum of p²/2m in eV; momenta (n_atoms, 3), masses (n_atoms,) in amu."""
    return 0.5 * float(np.einsum("ij,ij,i->", momenta, momenta, 1.0 / masses))


def degrees_of_freedom(n_atoms: int, *, translation_removed: bool, rotation_removed: bool, n_fixed: int = 0, n_bonds: int = 0,
                       rotations: int | None = None) -> int:
    """Number of independent momenta that share the kinetic energy.

    Three for each free atom, less one for each bond of fixed length, less three where the total momentum stays zero, less three
    (two for a pair of atoms, none for a single one) where the angular momentum stays zero as well.

    A linear molecule of three atoms or more counts 3N-6 and not the 3N-5 vibrations of the textbook: without angular momentum
    its bends stay in one plane, and as soon as it is bent all three components of the angular momentum bind the momenta.

    Parameters
    ----------
    n_atoms : atoms in all, fixed ones included.
    translation_removed : the total momentum is zero and stays so (NVE, velocity rescaling, Nosé-Hoover; not Langevin).
    rotation_removed : so is the angular momentum (free molecules only; a periodic box does not conserve it).
    n_fixed : atoms held in place. Where there are any the total momentum is not conserved, whatever the flags say.
    n_bonds : bonds of fixed length between atoms that are not both fixed.
    rotations : components of the angular momentum that stay zero where these are not the usual ones: about one or two fixed
        atoms, or along a periodic wire. It takes the place of `rotation_removed`.

    Returns
    -------
    The count, zero at least: a single atom whose momentum was removed has none.
    """
    free = 3 * (n_atoms - n_fixed) - n_bonds
    if not translation_removed:
        return max(free, 0)
    if rotations is None:
        rotations = {1: 0, 2: 2}.get(n_atoms, 3) if rotation_removed and not n_fixed else 0
    return max(free - (0 if n_fixed else 3) - rotations, 0)


def temperature_K(kinetic: float, dof: int) -> float:
    """Kinetic temperature 2K / (dof k_B); zero where nothing can move (dof = 0)."""
    return 2.0 * kinetic / (dof * units.kB) if dof > 0 else 0.0


def atomic_temperatures_K(momenta: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Kinetic temperature of each atom by itself, p²/(3 m k_B), (n_atoms,)."""
    return np.einsum("ij,ij->i", momenta, momenta) / (3.0 * units.kB * masses)


def volume(cell: np.ndarray) -> float:
    """Volume of a cell (3, 3) of row vectors, Å³; zero where a vector is missing."""
    return abs(float(np.linalg.det(cell)))


def pressure(stress: np.ndarray, kinetic: float, cell: np.ndarray) -> float:
    """Instantaneous pressure in eV/Å³, positive under compression: 2K/3V - trace(stress)/3.

    Parameters
    ----------
    stress : (6,) Voigt, of the potential alone, eV/Å³, positive under tension.
    kinetic : kinetic energy, eV.
    cell : (3, 3), rows, Å.
    """
    return 2.0 * kinetic / (3.0 * volume(cell)) - float(stress[0] + stress[1] + stress[2]) / 3.0


def centre_of_mass(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """(3,), Å."""
    return masses @ positions / masses.sum()


def extent(positions: np.ndarray) -> float:
    """Largest distance of an atom from the centre of all, Å. Positions are taken as they stand, without images."""
    away = positions - positions.mean(axis=0)
    return float(np.sqrt(np.einsum("ij,ij->i", away, away).max()))


def angular_momentum(positions: np.ndarray, momenta: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """About the centre of mass, (3,), amu Å² per ASE time unit."""
    return np.cross(positions - centre_of_mass(positions, masses), momenta).sum(axis=0)


def angular_velocity(positions: np.ndarray, momenta: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """The rigid rotation that carries the angular momentum, (3,), zero along the axis of a linear molecule."""
    r = positions - centre_of_mass(positions, masses)
    inertia = np.einsum("i,ij,ij->", masses, r, r) * np.eye(3) - np.einsum("i,ij,ik->jk", masses, r, r)
    return np.linalg.pinv(inertia, rcond=LINEAR_TOLERANCE, hermitian=True) @ np.cross(r, momenta).sum(axis=0)
