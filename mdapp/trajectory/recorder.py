"""The flight recorder: the last few hundred steps at full rate, in memory, in single precision; written only around an event."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import units

from mdapp.frame import Frame
from mdapp.observables import kinetic_energy

BYTES = 64 * 2**20  # at most; large systems are recorded for fewer steps


class Recorder:
    """A ring of moments. A new one takes the place of the oldest.

    Parameters
    ----------
    size : moments that it holds; fewer where they would take more than 64 MiB, none for 0.
    like : a frame of the system, for all that does not change.
    """

    def __init__(self, size: int, like: Frame):
        n = len(like.numbers)
        self._like = like
        self._size = min(size, max(1, BYTES // (24 * n))) if size > 0 else 0
        self._vectors = np.empty((self._size, 2, n, 3), np.float32)  # positions in Å and momenta in ASE units
        self._cells = np.empty((self._size, 3, 3))
        self._scalars = np.empty((self._size, 3))  # step, time in fs, potential energy in eV
        self._next = self._count = 0
        moving = like.temperature_K > 0
        self._dof = 2.0 * like.kinetic_energy / (units.kB * like.temperature_K) if moving else 3.0 * n

    def __len__(self) -> int:
        return self._count

    def record(self, step: int, time_fs: float, positions: np.ndarray, momenta: np.ndarray, cell: np.ndarray, potential_energy: float) -> None:
        """One moment; the arrays are copied."""
        if not self._size:
            return
        k = self._next
        with np.errstate(over="ignore", invalid="ignore"):
            self._vectors[k, 0], self._vectors[k, 1] = positions, momenta
        self._cells[k] = cell
        self._scalars[k] = step, time_fs, potential_energy
        self._next, self._count = (k + 1) % self._size, min(self._count + 1, self._size)

    def frames(self) -> tuple[Frame, ...]:
        """The moments from the oldest on; forces and the conserved energy were not recorded and are NaN."""
        return tuple(self._frame(k) for k in self._places())

    def _places(self) -> Iterator[int]:
        begin = self._next - self._count
        return ((begin + k) % self._size for k in range(self._count))

    def _frame(self, k: int) -> Frame:
        like, momenta = self._like, self._vectors[k, 1].astype(float)
        step, time_fs, potential = self._scalars[k].tolist()
        kinetic = kinetic_energy(momenta, like.masses)
        return Frame(int(step), time_fs, like.numbers, like.masses, self._vectors[k, 0].astype(float), momenta, np.full_like(momenta, np.nan),
                     self._cells[k].copy(), like.pbc, potential, kinetic, 2.0 * kinetic / (units.kB * self._dof), np.nan)
