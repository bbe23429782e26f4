"""L-BFGS for many structures at once: each has its own history, its own longest step, and takes back a step that went too far.

The step is the two-loop recursion over the last `MEMORY` steps. Where a step overshoots (the force at its end points back harder than
it pointed on at its beginning) or the energy rises, the next point lies on the same line, nearer to where it started. All structures advance
together, so one slot of the history holds a step of each; a step without positive curvature has weight zero there.

The recursion begins at a model of the Hessian (`mdapp.relax.model_hessian`) where there is one, else at 70 eV/Å² as in ASE before the first step and
at the curvature of the last step after it: argon is a thousand times softer than copper.

J. Nocedal and S. J. Wright, Numerical Optimization, 2nd ed. (2006), algorithm 7.4 and Eq. 7.20.
"""
from __future__ import annotations

import numpy as np

from mdapp.relax._ragged import Ragged
from mdapp.relax.model_hessian import ModelHessians

MEMORY = 50
STIFFNESS = 70.0  # eV/Å², of a structure without a model, at first
RISE = 1e-3  # eV: a rise below it may be rounding of a potential in single precision
OVERSHOT = 1.5  # of the slope at the start
MOST_RETREATS = 3  # in a row; then the point is taken as it is and the history dropped


class Lbfgs:
    """State of the searches; see `RelaxationPool` for who calls what."""

    def __init__(self, max_step: float, model: bool = True):
        self.max_step = max_step
        self.model = ModelHessians(model)
        self.slot = 0
        self.s, self.y = np.zeros((MEMORY, 0, 3)), np.zeros((MEMORY, 0, 3))  # steps and changes of the gradient
        self.rho = np.zeros((MEMORY, 0))  # 1 / s.y; 0: nothing there
        self.origin, self.origin_forces = np.zeros((0, 3)), np.zeros((0, 3))  # where the present step began
        self.origin_energy, self.trust = np.zeros(0), np.zeros(0)
        self.retreats, self.started = np.zeros(0, dtype=int), np.zeros(0, dtype=bool)
        self.stiffness = np.zeros(0)  # eV/Å², of those without a model

    def enter(self, numbers: list[np.ndarray], positions: list[np.ndarray], cells: list[np.ndarray], pbcs: list[np.ndarray],
              bonds: list[np.ndarray | None]) -> None:
        """Structures that come in, after those that are there."""
        n, n_atoms = len(numbers), sum(map(len, numbers))
        self.model.enter(numbers, positions, cells, pbcs)
        blank = np.zeros((MEMORY, n_atoms, 3))
        self.s, self.y = np.concatenate([self.s, blank], axis=1), np.concatenate([self.y, blank], axis=1)
        self.rho = np.concatenate([self.rho, np.zeros((MEMORY, n))], axis=1)
        self.origin, self.origin_forces = (np.concatenate([a, blank[0]]) for a in (self.origin, self.origin_forces))
        self.origin_energy, self.trust = np.append(self.origin_energy, np.zeros(n)), np.append(self.trust, np.full(n, self.max_step))
        self.retreats, self.started = np.append(self.retreats, np.zeros(n, dtype=int)), np.append(self.started, np.zeros(n, dtype=bool))
        self.stiffness = np.append(self.stiffness, np.full(n, STIFFNESS))

    def leave(self, kept: np.ndarray, kept_atoms: np.ndarray) -> None:
        """Only these structures and their atoms stay."""
        self.model.leave(kept)
        self.s, self.y, self.rho = self.s[:, kept_atoms], self.y[:, kept_atoms], self.rho[:, kept]
        self.origin, self.origin_forces = self.origin[kept_atoms], self.origin_forces[kept_atoms]
        self.origin_energy, self.trust, self.retreats, self.started = (a[kept] for a in (self.origin_energy, self.trust, self.retreats, self.started))
        self.stiffness = self.stiffness[kept]

    def step(self, layout: Ragged, positions: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Where to evaluate next, (n_atoms, 3)."""
        s, y = positions - self.origin, self.origin_forces - forces
        before, after = layout.dot(self.origin_forces, s), -layout.dot(forces, s)  # slopes along the step: how it fell, how it rises now
        curvature = before + after
        self._remember(layout, s, y, curvature, np.isfinite(energies))
        rise = energies - self.origin_energy
        lost = ~np.isfinite(energies)
        uphill = (after > OVERSHOT * before) | (rise > RISE + 1e-7 * np.abs(self.origin_energy))
        too_far = self.started & (lost | (uphill & (self.retreats < MOST_RETREATS)))
        given_up = self.started & ~too_far & (self.retreats >= MOST_RETREATS)
        self.rho[:, given_up] = 0.0

        taken = ~too_far
        at = layout.atoms_of(taken)
        self.origin, self.origin_forces = np.where(at[:, None], positions, self.origin), np.where(at[:, None], forces, self.origin_forces)
        self.origin_energy = np.where(taken, energies, self.origin_energy)
        length = layout.longest(s)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(after > 0, np.clip(before / np.maximum(curvature, 1e-300), 0.1, 0.5), 0.25)
        self.trust = np.where(too_far, np.clip(part * length, 0.01 * self.max_step, self.max_step),
                              np.where(self.started, np.minimum(np.maximum(self.trust, 2 * length), self.max_step), self.trust))
        self.retreats = np.where(too_far, self.retreats + 1, 0)
        self.started = np.ones_like(self.started)

        ahead = self._direction(layout, self.origin_forces)
        reach = layout.longest(ahead)
        move = layout.spread(np.minimum(1.0, self.trust / np.maximum(reach, 1e-300))) * ahead
        return np.where(at[:, None], self.origin + move, self.origin + layout.spread(part) * s)

    def _remember(self, layout: Ragged, s: np.ndarray, y: np.ndarray, curvature: np.ndarray, finite: np.ndarray) -> None:
        """This step in the history of each structure; what does not curve upwards is left out."""
        upward = self.started & finite & (curvature > 1e-8 * np.sqrt(layout.dot(s, s) * layout.dot(y, y)))
        self.s[self.slot], self.y[self.slot] = s, y
        self.rho[self.slot] = np.where(upward, 1 / np.where(upward, curvature, 1.0), 0.0)
        self.stiffness = np.where(upward, layout.dot(y, y) * self.rho[self.slot], self.stiffness)
        self.slot = (self.slot + 1) % MEMORY

    def _direction(self, layout: Ragged, forces: np.ndarray) -> np.ndarray:
        """The quasi-Newton step from the forces, (n_atoms, 3), Å."""
        q = forces.copy()
        used = [k for k in ((self.slot - 1 - j) % MEMORY for j in range(MEMORY)) if self.rho[k].any()]  # newest first
        weights = {}
        for k in used:
            weights[k] = self.rho[k] * layout.dot(self.s[k], q)
            q -= layout.spread(weights[k]) * self.y[k]
        q = self.model.solve(layout, q, self.stiffness)
        for k in reversed(used):
            q += layout.spread(weights[k] - self.rho[k] * layout.dot(self.y[k], q)) * self.s[k]
        return q
