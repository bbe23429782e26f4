"""Short dynamics inside a move: velocities, softening, velocity Verlet, as generators that ask for their forces.

All atoms swing with one mass, the mean of the molecule's: which minima lie beyond which barrier does not hang on masses, and the light hydrogens then
allow two to three times the time step.
"""
from __future__ import annotations

from collections.abc import Generator

import numpy as np
from ase import units

from mdapp.minima.molecule import Molecule
from mdapp.minima.moves._base import Evaluate

Forces = Generator[Evaluate, tuple[float, np.ndarray], np.ndarray]
Free = tuple[np.ndarray, ...]


def mean_mass(molecule: Molecule) -> float:
    """amu."""
    from ase.data import atomic_masses

    return float(atomic_masses[molecule.numbers].mean())


def rigid_motions(molecule: Molecule, positions: np.ndarray) -> np.ndarray:
    """(n_rigid, 3 n_atoms) orthonormal directions in which nothing but place and orientation change; a cell fixes the orientation."""
    n = len(positions)
    directions = [np.tile(axis, (n, 1)) for axis in np.eye(3)]
    if not molecule.pbc.any():
        r = positions - positions.mean(axis=0)
        directions += [np.cross(axis, r) for axis in np.eye(3)]
    stacked = np.array([d.ravel() for d in directions])
    u, s, vt = np.linalg.svd(stacked, full_matrices=False)
    return vt[s > 1e-6 * s.max()]


def without(rigid: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A (n_atoms, 3) vector less its part along rigid motions."""
    flat = vector.ravel()
    return (flat - rigid.T @ (rigid @ flat)).reshape(vector.shape)


def normalised(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def soften(molecule: Molecule, positions: np.ndarray, direction: np.ndarray, steps: int, reach_A: float, gain: float) -> Forces:
    """Turn a random direction towards low curvature, by forces across it at a small distance from the minimum.

    A few iterations only: the softest mode itself would always lead to the same neighbour. (S. Schönborn, S. Goedecker, S. Roy and A. R. Oganov,
    J. Chem. Phys. 130, 144108 (2009), Sec. II.)

    Parameters
    ----------
    direction : (n_atoms, 3), unit length in 3 n_atoms dimensions, free of rigid motions.
    reach_A : distance from the minimum in 3 n_atoms dimensions at which forces are looked at.
    gain : Å per eV/Å, length of a step along the force.
    """
    rigid = rigid_motions(molecule, positions)
    for _ in range(steps):
        _, forces = yield Evaluate(positions + reach_A * direction)
        across = forces - np.vdot(forces, direction) * direction
        step = gain * across
        length = float(np.linalg.norm(step))
        if length > reach_A:  # a stiff wall: turn by 45° at most
            step *= reach_A / length
        direction = normalised(without(rigid, reach_A * direction + step))
    return direction


def verlet_until_minima(
    molecule: Molecule, positions: np.ndarray, velocities: np.ndarray, energy: float, timestep_fs: float, n_minima: int, most_steps: int, hottest_eV: float,
) -> Generator[Evaluate, tuple[float, np.ndarray], np.ndarray | None]:
    """Velocity Verlet until the potential energy has gone through `n_minima` minima along the way; the lowest of the last one's points.

    Returns None where the potential energy rose by more than `hottest_eV`, or became not finite: the molecule flies apart.
    """
    dt, mass = timestep_fs * units.fs, mean_mass(molecule)
    r, v = np.array(positions), np.array(velocities)
    forces = np.zeros_like(r)  # a minimum
    energies, passed = [energy], 0
    before = r
    for _ in range(most_steps):
        v = v + 0.5 * dt / mass * forces
        ahead = r + dt * v
        e, forces = yield Evaluate(ahead)
        if not np.isfinite(e) or e - energy > hottest_eV:
            return None
        v = v + 0.5 * dt / mass * forces
        before, r = r, ahead
        energies.append(e)
        if len(energies) > 3 and energies[-3] > energies[-2] < energies[-1]:  # the point before was a minimum along the way
            passed += 1
            if passed >= n_minima:
                return before
    return r
