"""Start checks: what is refused, what is only said."""
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mdapp.structure import check_start

ORGANIC = (1, 6, 7, 8, 16)


def levels(atoms, elements=ORGANIC, timestep_fs=0.5, npt=False, cutoff=5.0):
    return [(f.level, f.message) for f in check_start(atoms, elements, timestep_fs, npt, cutoff, "demo.pt")]


def refusal(*args, **kwargs):
    found = [message for level, message in levels(*args, **kwargs) if level == "refuse"]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("name", ["CH3CH2OH", "H2O", "C6H6", "N2", "C2H2", "CO2", "CH3COCH3", "C60", "H2", "HCN", "CH3SH", "bicyclobutane", "HCOOH"])
def test_sound_molecules_raise_nothing(name):
    assert levels(molecule(name)) == []


def test_unknown_elements_are_named_with_the_potential():
    message = refusal(molecule("CH3Cl"))
    assert "demo.pt does not know Cl (1 atom)" in message and "it knows H C N O S" in message
    assert levels(molecule("CH3Cl"), elements=None) == []


def test_overlap_is_refused():
    atoms = molecule("C6H6")
    atoms.positions[1] = atoms.positions[0] + [0.1, 0, 0]
    assert "overlap" in refusal(atoms)
    atoms.positions[1] = atoms.positions[0]
    assert "0.00 Å" in refusal(atoms)


def test_overlap_through_a_wall_and_with_own_image_is_refused():
    atoms = Atoms("Ar2", [[0.1, 2, 2], [9.9, 2, 2]], cell=[10, 10, 10], pbc=True)
    assert "periodic wall" in refusal(atoms, elements=None)
    atoms.pbc = False
    assert levels(atoms, elements=None) == []
    single = Atoms("Ar", [[0, 0, 0]], cell=[0.8, 10, 10], pbc=True)
    assert "own periodic image" in refusal(single, elements=None)


def test_a_short_contact_is_warned_of():
    atoms = Atoms("C2", [[0, 0, 0], [0, 0, 1.0]])  # 0.66 of two radii
    assert [level for level, _ in levels(atoms)] == ["warn"]


@pytest.mark.parametrize(("timestep_fs", "level"), [(0.5, None), (1.0, None), (1.5, "warn"), (2.0, "warn"), (2.5, "refuse")])
def test_time_step_against_hydrogen(timestep_fs, level):
    assert [found for found, _ in levels(molecule("CH4"), timestep_fs=timestep_fs)] == ([level] if level else [])


def test_time_step_against_heavy_atoms_is_looser():
    assert levels(bulk("Ar", cubic=True), elements=None, timestep_fs=5.0, cutoff=None) == []
    heavy = molecule("CH4")
    heavy.set_masses([12.0, 3.024, 3.024, 3.024, 3.024])
    assert [level for level, _ in levels(heavy, timestep_fs=3.0)] == ["warn"]  # hydrogens of 3 amu swing 1.7 times as slowly
    assert [level for level, _ in levels(heavy, timestep_fs=4.0)] == ["refuse"]


def test_a_relaxation_has_no_time_step():
    assert levels(molecule("CH4"), timestep_fs=None) == []


def test_npt_needs_a_full_cell():
    assert "has no cell" in refusal(molecule("H2O"), npt=True)
    slab = bulk("Cu", cubic=True)
    slab.pbc = (True, True, False)
    assert "only along a, b" in refusal(slab, elements=None, npt=True)
    assert not any(level == "refuse" for level, _ in levels(bulk("Cu", cubic=True), elements=None, npt=True))


def test_npt_of_a_nearly_empty_cell_is_warned_of():
    water = molecule("H2O", vacuum=10)
    water.pbc = True
    assert any(level == "warn" and "nearly empty" in message for level, message in levels(water, npt=True))


def test_singular_cells_are_refused_before_any_neighbour_search():
    atoms = Atoms("H2", [[0, 0, 0], [0.74, 0, 0]], cell=[[5, 0, 0], [5, 0, 0], [0, 0, 5]], pbc=True)
    assert "volume 0" in refusal(atoms)
    assert "no vector" in refusal(Atoms("H", [[0, 0, 0]], pbc=[True, False, False]))


@pytest.mark.parametrize(("change", "says"), [("positions", "position of C0"), ("momenta", "momentum of C0"), ("masses", "mass of C0")])
def test_numbers_that_are_not_finite_are_refused(change, says):
    atoms = molecule("CH4")
    values = {"positions": atoms.positions.copy(), "momenta": np.zeros((5, 3)), "masses": atoms.get_masses()}[change]
    values[0] = np.nan
    {"positions": atoms.set_positions, "momenta": atoms.set_momenta, "masses": lambda masses: atoms.set_array("masses", masses)}[change](values)  # set_masses takes NaN for the usual mass
    assert says in refusal(atoms)


def test_no_atoms_dummies_and_massless_atoms_are_refused():
    assert "no atoms" in refusal(Atoms())
    assert "dummy" in check_start(Atoms("X"), None, 0.5, False, None)[-1].message
    massless = molecule("CH4")
    massless.set_masses([0, 1, 1, 1, 1])
    assert "above zero" in refusal(massless)


def test_missing_hydrogens_are_warned_of():
    ethanol = molecule("CH3CH2OH")
    bare = ethanol[ethanol.numbers != 1]
    assert any(level == "warn" and "Hydrogens seem to be missing" in message for level, message in levels(bare))
    named = molecule("H2O")[:1]
    for name, value in {"atomtypes": "O", "residuenames": "HOH", "residuenumbers": 1, "residueindex": 0}.items():
        named.set_array(name, np.array([value]))
    assert any("no hydrogens (HOH)" in message for _, message in levels(named))


def test_separate_molecules_without_a_cell_are_noted():
    two = molecule("H2O")
    other = molecule("H2O")
    other.translate([6, 0, 0])
    assert [level for level, _ in levels(two + other)] == ["note"]


def test_a_hydrogen_torn_from_its_partner_is_told_and_a_sound_one_is_not():
    atoms = molecule("CH3CH2OH")
    hydrogen = int(np.flatnonzero(atoms.numbers == 1)[-1])
    carbon = int(np.argmin(np.where(atoms.numbers == 1, np.inf, atoms.get_distances(hydrogen, range(len(atoms))))))
    atoms.positions[hydrogen] += 0.8 * (atoms.positions[hydrogen] - atoms.positions[carbon])
    told = [message for level, message in levels(atoms) if level == "warn" and "have no bond" in message]
    assert len(told) == 1 and f"H{hydrogen}" in told[0] and f"from C{carbon}" in told[0]
    assert not any("have no bond" in message for _, message in levels(molecule("CH3CH2OH")))
