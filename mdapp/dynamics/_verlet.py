"""ASE's velocity Verlet that keeps its last forces, instead of asking the calculator for them twice a step."""
from __future__ import annotations

import numpy as np
from ase.md.verlet import VelocityVerlet


class KeepsForces:
    """Mixed in before an integrator whose `step(forces)` returns the forces at the new positions.

    A resumed run is handed the stored forces, so that its first half kick has the same bits whatever a fresh calculator's
    neighbour list looks like. The positions must not be changed by others between steps.
    """

    forces: np.ndarray | None = None  # (n_atoms, 3), eV/Å, at the present positions

    def step(self, forces=None):
        self.forces = super().step(self.current_forces() if forces is None else forces)
        return self.forces

    def current_forces(self) -> np.ndarray:
        if self.forces is None:
            self.forces = self.atoms.get_forces(md=True)
        return self.forces


class Verlet(KeepsForces, VelocityVerlet):
    """Velocity Verlet."""
