"""Minima in memory: found by energy, then fingerprint, then superposition, in milliseconds among ten thousand.

Energies are kept sorted, so that only those within the energy window are looked at; of these the fingerprints, which rule out for certain; what is left is
superposed, the likeliest first (`mdapp.minima.identity`).
"""
from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping

import numpy as np

from mdapp.minima.identity import Identity, Match
from mdapp.minima.records import Origin, Sameness, origins_of

ROUNDING = 1e-4  # Å; fingerprints are kept in single precision


class Catalogue:
    """Distinct minima, counted from 0 in the order in which they were found, and every arrival at one."""

    def __init__(self, identity: Identity, sameness: Sameness):
        self.identity, self.sameness = identity, sameness
        n = len(identity.numbers)
        self._positions, self._fingerprints = Rows((n, 3), np.float64), Rows((identity.n_features,), np.float32)
        self._sorted: list[float] = []  # energies, rising
        self.order: list[int] = []  # their minima
        self.energies: list[float] = []
        self.visits: list[int] = []
        self.origins: list[Origin] = []
        self.history: list[tuple[int, Origin, float, float]] = []  # minimum, origin, energy, distance
        self.transitions: dict[tuple[int, int], int] = {}
        self.frequencies: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.energies)

    @property
    def positions(self) -> np.ndarray:
        """(n_minima, n_atoms, 3), Å."""
        return self._positions.rows

    @property
    def fingerprints(self) -> np.ndarray:
        """(n_minima, n_features), Å, float32."""
        return self._fingerprints.rows

    def find(self, positions: np.ndarray, energy_eV: float) -> tuple[int, Match | None, np.ndarray]:
        """The minimum nearest to a structure, of those that energy and fingerprint do not rule out.

        Returns
        -------
        Its index (-1: none), its superposition (None: none) and the structure's fingerprint (n_features,).
        """
        s = self.sameness
        fingerprint = self.identity.fingerprint(positions)
        near = self.order[bisect_left(self._sorted, energy_eV - s.energy_window_eV) : bisect_right(self._sorted, energy_eV + s.energy_window_eV)]
        best, best_match = -1, None
        if near:
            gaps = np.linalg.norm(self.fingerprints[near] - fingerprint.astype(np.float32), axis=1)
            for k in np.argsort(gaps, kind="stable"):
                if gaps[k] > s.rmsd_max + ROUNDING:
                    break
                match = self.identity.match(self.positions[near[k]], positions, s.rmsd_max)
                if match.within(s.rmsd_max):
                    return near[k], match, fingerprint
                if best_match is None or match.rmsd < best_match.rmsd:
                    best, best_match = near[k], match
        return best, best_match, fingerprint

    def add(self, positions: np.ndarray, fingerprint: np.ndarray, energy_eV: float, origin: Origin) -> None:
        """One minimum more; `arrive` follows."""
        self._positions.extend(positions[None])
        self._fingerprints.extend(fingerprint[None])
        self.order.insert(bisect_right(self._sorted, energy_eV), len(self))
        insort(self._sorted, energy_eV)
        self.energies.append(energy_eV)
        self.visits.append(0)
        self.origins.append(origin)

    def arrive(self, index: int, origin: Origin, energy_eV: float, distance: float) -> None:
        """A search has ended in a minimum."""
        self.visits[index] += 1
        self.history.append((index, origin, energy_eV, distance))
        if origin.parent is not None:
            key = (origin.parent, index)
            self.transitions[key] = self.transitions.get(key, 0) + 1

    def fill(self, minima: Mapping[str, np.ndarray], visits: Mapping[str, np.ndarray]) -> None:
        """All of a file, by the names of its columns (`mdapp.minima.library_file`)."""
        energies = minima["energy"]
        order = np.argsort(energies, kind="stable")
        self.energies, self.order, self._sorted = energies.tolist(), order.tolist(), energies[order].tolist()
        self.origins = origins_of(minima)
        self._positions.extend(minima["positions"])
        fingerprints = minima["fingerprint"]
        if fingerprints.shape[1] != self.identity.n_features:  # written when fingerprints were made otherwise
            fingerprints = np.array([self.identity.fingerprint(x) for x in minima["positions"]]).reshape(-1, self.identity.n_features)
        self._fingerprints.extend(fingerprints)
        self.visits = [0] * len(energies)
        for row in zip(visits["minimum"].tolist(), origins_of(visits), visits["energy"].tolist(), visits["distance"].tolist()):
            self.arrive(*row)
        known = np.isfinite(minima["frequencies_cm1"])
        for k in np.flatnonzero(known.any(axis=1)).tolist():
            self.frequencies[k] = minima["frequencies_cm1"][k][known[k]]


class Rows:
    """Rows of one shape that grow in place, twice the room at a time."""

    def __init__(self, shape: tuple[int, ...], dtype: type):
        self._room: np.ndarray = np.zeros((64, *shape), dtype)
        self._n = 0

    @property
    def rows(self) -> np.ndarray:
        return self._room[: self._n]

    def extend(self, rows: np.ndarray) -> None:
        needed = self._n + len(rows)
        if needed > len(self._room):
            room = np.zeros((max(needed, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            room[: self._n] = self.rows
            self._room = room
        self._room[self._n : needed] = rows
        self._n = needed
