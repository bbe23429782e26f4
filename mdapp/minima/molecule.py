"""What stays as it is while its minima are searched: elements, bonds, cell, charge."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from mdapp.topology import find_bonds
from potentials.runtime.evaluator import System

KEPT_INFO = ("charge", "multiplicity")
NAMES = ("atomtypes", "residuenames", "residuenumbers", "residueindex", "chainindex")  # what a PDB file leaves


@dataclass(frozen=True)
class Molecule:
    """A system without its positions."""

    numbers: np.ndarray  # (n_atoms,) atomic numbers
    bonds: np.ndarray  # (n_bonds, 2) of the start; empty for a cluster of noble gas or metal atoms
    reference: np.ndarray  # (n_atoms, 3) Å, the positions in which bonds, hands and sides were read
    cell: np.ndarray  # (3, 3), Å; zero without one
    pbc: np.ndarray  # (3,) bool
    info: dict[str, Any] = field(default_factory=dict)  # charge and multiplicity, where stated
    names: dict[str, np.ndarray] = field(default_factory=dict)  # arrays of a PDB file

    @staticmethod
    def of(atoms: Atoms, bonds: np.ndarray | None = None) -> Molecule:
        """The molecule that a structure shows; bonds are found where not given."""
        if bonds is None:
            bonds = find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        info = {key: atoms.info[key] for key in KEPT_INFO if key in atoms.info}
        names = {key: np.array(atoms.arrays[key]) for key in NAMES if key in atoms.arrays}
        return Molecule(np.array(atoms.numbers), np.asarray(bonds, dtype=np.int64).reshape(-1, 2), np.array(atoms.positions), np.array(atoms.cell.array),
                        np.array(atoms.pbc), info, names)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def system(self) -> System:
        """As evaluators want it."""
        return System(self.numbers, self.pbc, float(self.info.get("charge", 0.0)), float(self.info.get("multiplicity", 1)) - 1.0)

    def atoms(self, positions: np.ndarray) -> Atoms:
        """The molecule in these positions, (n_atoms, 3) in Å."""
        made = Atoms(numbers=self.numbers, positions=positions, cell=self.cell, pbc=self.pbc, info=dict(self.info))
        for key, values in self.names.items():
            made.set_array(key, values)
        return made
