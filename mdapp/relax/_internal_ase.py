"""The search in internal coordinates with the face of an ASE optimiser, for one structure."""
from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize.optimize import Optimizer

from mdapp.relax._internal import Internal
from mdapp.relax._ragged import Ragged


class InternalCoordinates(Optimizer):
    """L-BFGS in stretches, bends and torsions where there are any; see `mdapp.relax._internal`.

    Parameters
    ----------
    maxstep : Å or radians, longest change of a coordinate in one step.
    """

    def __init__(self, atoms: Atoms, logfile: Any = "-", trajectory: Any = None, maxstep: float = 0.2, **kwargs: Any):
        super().__init__(atoms, None, logfile, trajectory, **kwargs)
        self.search = Internal(maxstep)
        held = np.zeros((0, 2), dtype=np.int64) if atoms.constraints else None
        self.search.enter([atoms.numbers], [atoms.positions], [np.array(atoms.cell.array)], [np.array(atoms.pbc)], [held])
        self.layout = Ragged(np.array([len(atoms)]))

    def step(self, forces: np.ndarray | None = None) -> None:
        atoms = self.optimizable.atoms if hasattr(self.optimizable, "atoms") else self.atoms
        forces = atoms.get_forces() if forces is None else np.asarray(forces).reshape(-1, 3)
        atoms.set_positions(self.search.step(self.layout, atoms.get_positions(), np.array([atoms.get_potential_energy()]), forces))
