"""The unit of all-electron total energies, told from their size."""
import numpy as np
import pytest

from potentials.data.guess_units import CANDIDATES, guess_energy_unit
from potentials.data.units import HARTREE, Units

# all-electron totals in hartree: exact H; Hartree-Fock atoms of C. Froese Fischer, The Hartree-Fock Method for Atoms (1977); gold relativistic
ATOMS = {1: -0.5, 6: -37.69, 7: -54.40, 8: -74.81, 16: -397.5, 18: -526.8, 79: -19039.8}


@pytest.mark.parametrize("z", ATOMS)
@pytest.mark.parametrize("unit", CANDIDATES)
def test_atoms_are_recognised_in_every_unit(z, unit):
    assert guess_energy_unit(np.array([z]), ATOMS[z] * HARTREE / Units(unit).to_eV) == unit


@pytest.mark.parametrize("z, energy", [(14, -5.4), (42, -10.9), (3, -1.9), (6, -9.2), (79, -3.3)])
def test_energies_of_valence_electrons_tell_nothing(z, energy):
    """eV per atom of bulk Si, Mo, Li, diamond and gold with pseudopotentials."""
    assert guess_energy_unit(np.full(8, z), 8 * energy) is None


def test_interaction_and_formation_energies_tell_nothing():
    water = np.array([8, 1, 1, 8, 1, 1])
    assert guess_energy_unit(water, -0.22) is None and guess_energy_unit(water, -20.1) is None and guess_energy_unit(water, 0.0) is None
