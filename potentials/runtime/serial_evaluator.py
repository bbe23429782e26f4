"""The face of `BatchEvaluator` over any ASE calculator: structure after structure, for potentials that know no batches."""
from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from potentials.runtime.batch_evaluator import Item


class SerialEvaluator:
    """Energies and forces of many structures with one ASE calculator.

    Parameters
    ----------
    calculator : asked for each structure in turn; total charge and multiplicity are in `atoms.info`.
    """

    def __init__(self, calculator: BaseCalculator):
        self.calculator = calculator
        self.evaluations = 0  # structures evaluated so far

    def __call__(self, items: Sequence[Item]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Energies (n_items,), eV, and forces, one (n_atoms, 3) array an item, eV/Å, in the order of `items`."""
        energies = np.empty(len(items))
        forces = []
        for k, item in enumerate(items):
            atoms = Atoms(item.system.numbers, item.positions, cell=item.cell, pbc=item.system.pbc)
            atoms.info.update(charge=item.system.charge, multiplicity=item.system.unpaired + 1)
            atoms.calc = self.calculator
            forces.append(np.array(atoms.get_forces(), dtype=np.float64))
            energies[k] = atoms.get_potential_energy()
            self.evaluations += 1
        return energies, forces

    def forget(self, key: Hashable) -> None:
        """Nothing is kept between calls."""
