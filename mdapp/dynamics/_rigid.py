"""Which motions of the whole the forces between atoms leave alone.

Free in space: drift and spin. Periodic: drift, and for a wire (one periodic direction) the spin about it. With fixed atoms no drift, but
around a single fixed atom the angular momentum is still conserved, around two (or several on a line) its component along the line.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from mdapp.dynamics._constraints import fixed_atoms
from mdapp.observables import LINEAR_TOLERANCE, centre_of_mass

ON_A_LINE = 1e-4  # Å


@dataclass(frozen=True)
class Turning:
    """The rotations that stay absent when they are absent at the start."""

    pivot: np.ndarray  # (3,), Å: the centre of mass, or the fixed point
    axes: np.ndarray  # (n_axes, 3), orthonormal
    count: int  # independent momenta that they take; a pair of atoms cannot turn about its own line


def turning(atoms: Atoms) -> Turning:
    """The conserved rotations of these atoms."""
    fixed, n_periodic = fixed_atoms(atoms), int(atoms.pbc.sum())
    none = np.zeros((0, 3))
    if len(fixed) == 0:
        pivot = centre_of_mass(atoms.positions, atoms.get_masses())
        if n_periodic == 0:
            return Turning(pivot, np.eye(3), {1: 0, 2: 2}.get(len(atoms), 3))
        if n_periodic == 1:
            wire = atoms.cell.array[int(np.flatnonzero(atoms.pbc)[0])]
            return Turning(pivot, wire[None] / np.linalg.norm(wire), int(len(atoms) > 1))
        return Turning(pivot, none, 0)
    points = atoms.positions[fixed]
    pivot, n_free = points.mean(axis=0), len(atoms) - len(fixed)
    if n_periodic or n_free == 0:
        return Turning(pivot, none, 0)
    _, spread, directions = np.linalg.svd(points - pivot, full_matrices=False)
    if len(fixed) == 1 or spread[0] < ON_A_LINE:
        return Turning(pivot, np.eye(3), 2 if n_free == 1 else 3)
    if len(spread) == 1 or spread[1] < ON_A_LINE:
        return Turning(pivot, directions[:1], 1)
    return Turning(pivot, none, 0)


def without_turning(momenta: np.ndarray, positions: np.ndarray, masses: np.ndarray, rotations: Turning) -> np.ndarray:
    """The rigid rotation about `axes` through `pivot` that carries the angular momentum taken from each atom.

    Fixed atoms must be at rest; they lie on the axes, or there are none.
    """
    if not len(rotations.axes):
        return momenta
    fields = np.cross(rotations.axes[:, None], (positions - rotations.pivot)[None])  # (n_axes, n_atoms, 3), velocity of a turn by one
    inertia = np.einsum("anx,bnx,n->ab", fields, fields, masses)
    omega = np.linalg.pinv(inertia, rcond=LINEAR_TOLERANCE, hermitian=True) @ np.einsum("anx,nx->a", fields, momenta)
    return momenta - masses[:, None] * np.einsum("a,anx->nx", omega, fields)
