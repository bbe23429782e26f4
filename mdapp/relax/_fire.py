"""FIRE for many structures at once, each with its own time step and its own mixing: damped dynamics that never walks uphill for long.

Step for step what ASE's `FIRE` does. Slower than L-BFGS near a minimum; for starts from which anything else would leap away.

E. Bitzek, P. Koskinen, F. Gähler, M. Moseler and P. Gumbsch, Phys. Rev. Lett. 97, 170201 (2006).
"""
from __future__ import annotations

import numpy as np

from mdapp.relax._ragged import Ragged

DT, DT_MAX = 0.1, 1.0  # Å/sqrt(eV/Å²), unit mass; the numbers are ASE's
N_MIN, GROW, SHRINK, MIXING, MIXING_DECAY = 5, 1.1, 0.5, 0.1, 0.99


class Fire:
    """State of the searches; see `RelaxationPool` for who calls what."""

    def __init__(self, max_step: float):
        self.max_step = max_step
        self.velocity = np.zeros((0, 3))
        self.dt, self.mixing = np.zeros(0), np.zeros(0)
        self.downhill, self.started = np.zeros(0, dtype=int), np.zeros(0, dtype=bool)

    def enter(self, numbers: list[np.ndarray], positions: list[np.ndarray], cells: list[np.ndarray], pbcs: list[np.ndarray],
              bonds: list[np.ndarray | None]) -> None:
        """Structures that come in, after those that are there."""
        n = len(numbers)
        self.velocity = np.concatenate([self.velocity, np.zeros((sum(map(len, numbers)), 3))])
        self.dt, self.mixing = np.append(self.dt, np.full(n, DT)), np.append(self.mixing, np.full(n, MIXING))
        self.downhill, self.started = np.append(self.downhill, np.zeros(n, dtype=int)), np.append(self.started, np.zeros(n, dtype=bool))

    def leave(self, kept: np.ndarray, kept_atoms: np.ndarray) -> None:
        """Only these structures and their atoms stay."""
        self.velocity, self.dt, self.mixing = self.velocity[kept_atoms], self.dt[kept], self.mixing[kept]
        self.downhill, self.started = self.downhill[kept], self.started[kept]

    def step(self, layout: Ragged, positions: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Where to evaluate next, (n_atoms, 3)."""
        v, f = self.velocity, forces
        power = layout.dot(f, v)
        downhill = self.started & (power > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            along = np.where(downhill, self.mixing * np.sqrt(layout.dot(v, v) / layout.dot(f, f)), 0.0)
        v = layout.spread(np.where(downhill, 1 - self.mixing, 0.0)) * v + layout.spread(along) * f

        faster = downhill & (self.downhill > N_MIN)
        uphill = self.started & ~downhill
        self.dt = np.where(faster, np.minimum(self.dt * GROW, DT_MAX), np.where(uphill, self.dt * SHRINK, self.dt))
        self.mixing = np.where(faster, self.mixing * MIXING_DECAY, np.where(uphill, MIXING, self.mixing))
        self.downhill = np.where(downhill, self.downhill + 1, np.where(uphill, 0, self.downhill))
        self.started = np.ones_like(self.started)

        self.velocity = v + layout.spread(self.dt) * f
        move = layout.spread(self.dt) * self.velocity
        length = np.sqrt(layout.dot(move, move))
        return positions + layout.spread(self.max_step / np.maximum(length, self.max_step)) * move
