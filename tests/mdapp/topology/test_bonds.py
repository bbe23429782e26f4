"""Bonds and molecules: laws over shuffles, walls and strain."""
from __future__ import annotations

import networkx
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mdapp.topology import find_bonds, molecules

N_BONDS = {"CH4": 4, "H2O": 2, "C6H6": 12, "CH3CH2OH": 8, "C60": 90, "N2": 1, "CO2": 2, "CH3Cl": 4, "SF6": None, "C2H2": 3, "H2": 1, "bicyclobutane": 11}


def bonds_of(atoms):
    return find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


@pytest.mark.parametrize(("name", "count"), [(name, count) for name, count in N_BONDS.items() if count])
def test_known_molecules(name, count):
    bonds = bonds_of(molecule(name))
    assert len(bonds) == count and bonds.dtype == np.int64
    assert (bonds[:, 0] < bonds[:, 1]).all() and np.array_equal(bonds, bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))])


def test_bonds_hold_under_thermal_strain_and_rotation():
    atoms, rng = molecule("CH3CH2OH"), np.random.default_rng(3)
    expected = bonds_of(atoms)
    for _ in range(100):
        strained = atoms.copy()
        strained.rattle(0.05, rng=rng)  # Å; at 800 K a C-H bond spreads by 0.05, here by 0.07
        strained.rotate(rng.uniform(0, 360), rng.normal(size=3))
        assert np.array_equal(bonds_of(strained), expected)


def test_bonds_follow_the_atoms_when_shuffled():
    atoms, rng = molecule("CH3CH2OH"), np.random.default_rng(4)
    expected = {frozenset(pair) for pair in bonds_of(atoms).tolist()}
    for _ in range(10):
        order = rng.permutation(len(atoms))
        found = {frozenset((order[a], order[b])) for a, b in bonds_of(atoms[order])}
        assert found == expected


def test_bonds_cross_periodic_walls_and_only_periodic_ones():
    atoms = molecule("CH3CH2OH", vacuum=4)
    expected = bonds_of(atoms)
    for shift in np.random.default_rng(5).uniform(-9, 9, (20, 3)):
        moved = atoms.copy()
        moved.pbc = True
        moved.positions += shift
        moved.wrap()
        assert np.array_equal(bonds_of(moved), expected)
    moved.pbc = False
    assert len(bonds_of(moved)) <= len(expected)


def test_a_hydrogen_has_one_partner_even_in_a_short_hydrogen_bond():
    atoms = Atoms("OHO", [[0, 0, 0], [1.10, 0, 0], [2.30, 0, 0]])
    assert bonds_of(atoms).tolist() == [[0, 1]]


def test_ions_noble_gases_and_metals_make_no_bonds():
    for atoms in (bulk("Cu", cubic=True), bulk("Ar", cubic=True), bulk("NaCl", "rocksalt", a=5.64, cubic=True), Atoms("H"), Atoms()):
        assert bonds_of(atoms).shape == (0, 2)


def test_molecules_are_the_connected_components():
    rng = np.random.default_rng(6)
    for _ in range(20):
        bonds = rng.integers(0, 30, (rng.integers(0, 25), 2))
        labels = molecules(30, bonds)
        graph = networkx.Graph()
        graph.add_nodes_from(range(30))
        graph.add_edges_from(bonds.tolist())
        parts = {frozenset(part) for part in networkx.connected_components(graph)}
        assert {frozenset(np.flatnonzero(labels == k).tolist()) for k in set(labels.tolist())} == parts
        _, first = np.unique(labels, return_index=True)
        assert np.array_equal(first, np.sort(first))  # numbered by their first atoms


def test_an_atom_that_flew_away_leaves_the_bonds_of_the_others():
    water = np.array([[0, 0, 0], [0, 0, 0.96], [0, 0.93, -0.24], [1e4, 1e4, 0]])
    bonds = find_bonds(np.array([8, 1, 1, 1]), water, np.zeros((3, 3)), np.zeros(3, bool))
    assert bonds.tolist() == [[0, 1], [0, 2]]
