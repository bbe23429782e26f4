"""The coordinates in which a saddle is climbed to: the atoms' own, or stretches, bends and torsions where a molecule has them.

A saddle between conformers is reached along turns of a chain. In the atoms' coordinates these are arcs, and a straight step along one stretches bonds; a chart
of internal coordinates follows them, so steps may be long and a Hessian stays true for many of them. (`mdapp.relax.internals` holds the equations.)
"""
from __future__ import annotations

from typing import Protocol

import numpy as np

from mdapp.minima.landscape.surface import Surface
from mdapp.relax.internals import Frame, Internals, internals_of, moved


class Chart(Protocol):
    """Vectors and matrices of one kind of coordinates, n_coordinates of them; positions x are (n_atoms, 3), Å."""

    reach: float  # how much further steps may go than in the atoms' coordinates

    def gradient(self, x: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """(n_coordinates,) of the energy."""
        ...

    def hessian(self, x: np.ndarray, of_atoms: np.ndarray) -> np.ndarray:
        """(n_coordinates, n_coordinates) from that of the atoms (3 n_atoms, 3 n_atoms), near a point of rest."""
        ...

    def inner(self, x: np.ndarray) -> np.ndarray:
        """Orthonormal columns (n_coordinates, n_inner): what can change without moving the whole."""
        ...

    def along(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """(n_coordinates,) change of the coordinates along moves of the atoms (n_atoms, 3)."""
        ...

    def moved(self, x: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Where the atoms are after a change of the coordinates."""
        ...

    def difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """(n_coordinates,) from positions to positions."""
        ...


class CartesianChart:
    """The atoms' own coordinates."""

    reach = 1.0

    def __init__(self, surface: Surface):
        self._surface = surface

    def gradient(self, x: np.ndarray, forces: np.ndarray) -> np.ndarray:
        return -forces.ravel()

    def hessian(self, x: np.ndarray, of_atoms: np.ndarray) -> np.ndarray:
        return of_atoms

    def inner(self, x: np.ndarray) -> np.ndarray:
        return self._surface.inner(x)

    def along(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        return direction.ravel()

    def moved(self, x: np.ndarray, change: np.ndarray) -> np.ndarray:
        return x + change.reshape(x.shape)

    def difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return (end - start).ravel()


class InternalChart:
    """Stretches (Å), bends and torsions (radians)."""

    reach = 3.0  # a turn changes all torsions about its bond

    def __init__(self, internals: Internals, x: np.ndarray):
        self.internals, self._stiffness = internals, internals.stiffness(x[None])
        self._at: tuple[np.ndarray, Frame, np.ndarray] | None = None  # the last place asked about, and the Jacobian there

    def gradient(self, x: np.ndarray, forces: np.ndarray) -> np.ndarray:
        return self._frame(x)[0].gradient(forces[None])[0]

    def hessian(self, x: np.ndarray, of_atoms: np.ndarray) -> np.ndarray:
        to_atoms = self._frame(x)[0].to_atoms[0]
        return to_atoms.T @ of_atoms @ to_atoms

    def inner(self, x: np.ndarray) -> np.ndarray:
        u, s, _ = np.linalg.svd(self._frame(x)[1], full_matrices=False)
        return u[:, s > 1e-6 * s[0]]

    def along(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        return self._frame(x)[1] @ direction.ravel()

    def moved(self, x: np.ndarray, change: np.ndarray) -> np.ndarray:
        frame = self._frame(x)[0]
        return moved(self.internals, x[None], frame.values, frame.to_atoms, change[None])[0]

    def difference(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return self.internals.difference(self.internals.values(start[None]), self.internals.values(end[None]))[0]

    def _frame(self, x: np.ndarray) -> tuple[Frame, np.ndarray]:
        if self._at is None or not np.array_equal(self._at[0], x):
            self._at = (np.array(x), Frame.at(self.internals, x[None], self._stiffness), self.internals.jacobian(x[None])[0])
        return self._at[1], self._at[2]


def internals_for(numbers: np.ndarray, bonds: np.ndarray, *positions: np.ndarray) -> Internals | None:
    """The internal coordinates of a molecule, where it has some and none of the positions (n_atoms, 3) is straight."""
    found = internals_of(np.asarray(numbers, dtype=np.int64).tobytes(), np.asarray(bonds, dtype=np.int64).tobytes())
    return None if found is None or any(found.straight(x[None])[0] for x in positions) else found


def torsion_path(internals: Internals, start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    """(count + 2, n_atoms, 3): positions between two, along equal changes of stretches, bends and torsions; the last is `end`, turned to lie on its neighbour.

    All torsions about a bond turn the same way, that of the first one's shorter turn.
    """
    from mdapp.minima.identity import rotation

    first = internals.values(start[None])
    change = internals.difference(first, internals.values(end[None]))[0]
    offset = len(internals.stretches) + len(internals.bends)
    leaders: dict[tuple[int, int], float] = {}
    for k, (_, i, j, _) in enumerate(internals.torsions.tolist()):
        turn = leaders.setdefault((min(i, j), max(i, j)), change[offset + k])
        change[offset + k] = turn + (change[offset + k] - turn + np.pi) % (2 * np.pi) - np.pi
    stiffness, x = internals.stiffness(start[None]), start[None]
    images = [np.array(start)]
    for k in range(1, count + 2):
        frame = Frame.at(internals, x, stiffness)
        x = moved(internals, x, frame.values, frame.to_atoms, internals.difference(frame.values, first + k / (count + 1) * change))
        images.append(x[0])
    place, centred = images[-1].mean(axis=0), end - end.mean(axis=0)
    images[-1] = centred @ rotation(images[-1] - place, centred) + place
    return np.stack(images)
