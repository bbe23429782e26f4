"""What a run knows of charges, and what it says."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mdapp.errors import PotentialError
from mdapp.jobs._charge import ionic_groups, settle_charge
from mdapp.topology import find_bonds


def groups(atoms):
    return ionic_groups(atoms, find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))[0]


def ammonium():
    h = 1.02 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return Atoms("NH4", np.vstack([np.zeros(3), h]))


def guanidinium():
    angles = np.radians([0, 120, 240])
    n = 1.33 * np.column_stack([np.cos(angles), np.sin(angles), 0 * angles])
    h = [n[k] + 1.01 * np.array([np.cos(a + s), np.sin(a + s), 0]) for k, a in enumerate(angles) for s in (np.pi / 3, -np.pi / 3)]
    return Atoms("CN3H6", np.vstack([np.zeros(3), n, h]))


def test_groups_are_told_by_their_bonds():
    formate = molecule("HCOOH")
    assert groups(formate) == ""
    hydroxyl = [
        k
        for k in range(len(formate))
        if formate.numbers[k] == 1 and np.linalg.norm(formate.positions - formate.positions[k], axis=1)[formate.numbers == 8].min() < 1.1
    ]
    del formate[hydroxyl]
    assert groups(formate) == "1 carboxylate group, which adds up to -1 e"
    assert groups(ammonium()) == "1 ammonium group, which adds up to +1 e"
    assert groups(guanidinium()) == "1 guanidinium group, which adds up to +1 e"
    both = ammonium()
    formate.positions += 20
    assert groups(both + formate) == "1 ammonium group and 1 carboxylate group, which add up to 0 e"
    three = guanidinium()
    three.positions += 40
    assert groups(both + formate + three).startswith("1 ammonium group, 1 guanidinium group and 1 carboxylate group, which add up to +1 e")
    assert groups(molecule("CH3CONH2")) == "" and groups(molecule("H2O")) == ""


def test_a_charge_is_settled_between_file_and_command_line():
    water = molecule("H2O")
    assert settle_charge(water, None, False, "x") == [] and "charge" not in water.info
    ion = ammonium()
    assert "odd" not in str(settle_charge(ion, 1, True, "x")) and ion.info["charge"] == 1
    overridden, groups_differ = settle_charge(ion, -1, True, "x")
    assert "--charge -1 overrides" in overridden and "is -1 e, but by their bonds" in groups_differ
    with pytest.raises(PotentialError, match=r"charge of \+1 e, but x knows no charge"):
        settle_charge(ammonium(), 1, False, "x")


def test_groups_that_do_not_fit_the_total_charge_are_pointed_out():
    """Two ions of equal sign have an even number of electrons: only their bonds tell."""
    two = ammonium()
    two.positions += 30
    two += ammonium()
    (warning,) = settle_charge(two, None, True, "x")
    assert warning == "The total charge is not stated and taken as 0 e, but by their bonds the structure holds 2 ammonium groups, which add up to +2 e. If that is right, give --charge 2."
    assert settle_charge(two, 2, True, "x") == []
    two.info.clear()
    (warning,) = settle_charge(two, None, False, "x")
    assert warning.startswith("x knows no charge, but by their bonds the structure holds 2 ammonium groups")
    assert settle_charge(two, None, None, "lj") == [] and settle_charge(molecule("CH3CONH2"), None, True, "x") == []


def test_an_odd_number_of_electrons_is_pointed_out():
    (warning,) = settle_charge(molecule("CH3"), None, True, "x")
    assert warning.startswith("9 electrons at a total charge of 0 e")
