r"""The unit of total energies that nothing names, told from their size.

All-electron total energies lie within a few percent of the sum over atoms of the statistical atom's energy,

.. math:: E_Z = -0.768745 Z^{7/3} + \tfrac{1}{2} Z^2 - 0.269900 Z^{5/3} \quad \text{hartree},

so their ratio to it is 1, 27.2, 627.5 or 2625.5: units that differ by a factor of four or more. Energies of valence electrons
alone, or relative to atoms, fit none of them, and then nothing is guessed.

B.-G. Englert and J. Schwinger, Phys. Rev. A 32, 47 (1985), Eq. 1.
"""
from __future__ import annotations

import numpy as np

from potentials.data.units import HARTREE, Units

CANDIDATES = ("eV", "kcal/mol", "hartree", "kJ/mol")
TOLERANCE = 0.10  # relativity alone makes gold 6 % deeper


def guess_energy_unit(numbers: np.ndarray, energy: float) -> str | None:
    """The unit in which `energy` is an all-electron total energy of these atoms (n_atoms,); None where it fits none."""
    Z = np.asarray(numbers, dtype=np.float64)
    hartrees = float(np.sum(-0.768745 * Z ** (7 / 3) + Z**2 / 2 - 0.269900 * Z ** (5 / 3)))
    for unit in CANDIDATES:
        if abs(energy * Units(unit).to_eV / (hartrees * HARTREE) - 1) < TOLERANCE:
            return unit
    return None
