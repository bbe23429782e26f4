"""The best automorphism is the best of all of them, however many there are."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mdapp.minima.symmetry import Symmetry
from mdapp.topology import find_bonds


def symmetry_of(atoms):
    return Symmetry(atoms.numbers, bonds_of(atoms))


def bonds_of(atoms):
    return find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)


def beside(*parts):
    """Molecules 8 Å apart."""
    together = Atoms()
    for k, part in enumerate(parts):
        part = part.copy()
        part.translate([8.0 * k, 0, 0])
        together += part
    return together


def all_automorphisms(atoms):
    """Every permutation of like atoms that keeps the bonds, by trying them all."""
    n = len(atoms)
    bonded = np.zeros((n, n), bool)
    i, j = bonds_of(atoms).T if len(bonds_of(atoms)) else (np.zeros(0, int), np.zeros(0, int))
    bonded[i, j] = bonded[j, i] = True
    found = []

    def grow(image):
        k = len(image)
        if k == n:
            found.append(list(image))
            return
        for c in range(n):
            if c not in image and atoms.numbers[c] == atoms.numbers[k] and all(bonded[k, m] == bonded[c, image[m]] for m in range(k)):
                grow([*image, c])

    grow([])
    return np.array(found)


def guanidinium():
    numbers, positions = [6], [[0.0, 0, 0]]
    for angle in (0, 120, 240):
        u = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0])
        v = np.array([-u[1], u[0], 0])
        numbers += [7, 1, 1]
        positions += [1.33 * u, 1.83 * u + 0.87 * v, 1.83 * u - 0.87 * v]
    return Atoms(numbers, positions)


WATER = molecule("H2O")
CASES = {
    "water": (WATER, 2), "methane": (molecule("CH4"), 24), "ethane": (molecule("C2H6"), 72), "ethanol": (molecule("CH3CH2OH"), 12),
    "benzene": (molecule("C6H6"), 12), "isobutane": (molecule("isobutane"), 1296), "acetate": (molecule("CH3COOH")[[0, 1, 2, 4, 5, 6, 7]], None),
    "guanidinium": (guanidinium(), 48), "cyclobutane": (molecule("cyclobutane"), 128), "carbon monoxide": (molecule("CO"), 1),
    "nitrogen": (molecule("N2"), 2), "three waters": (beside(WATER, WATER, WATER), 48), "water and methane": (beside(WATER, molecule("CH4")), 48),
    "seven argons": (Atoms("Ar7", positions=np.random.default_rng(3).normal(size=(7, 3)) * 4), 5040), "sodium and two waters": (beside(Atoms("Na"), WATER, WATER), 8),
    "bicyclobutane": (molecule("bicyclobutane"), None), "allene": (molecule("C3H4_D2d"), 8),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_assignment_keeps_the_bonds(name):
    atoms = CASES[name][0]
    bonds = {tuple(sorted(pair)) for pair in bonds_of(atoms).tolist()}
    symmetry = symmetry_of(atoms)
    rng = np.random.default_rng(1)
    for _ in range(20):
        p = symmetry.assign(rng.random((len(atoms), len(atoms))))
        assert sorted(p) == list(range(len(atoms)))
        assert np.array_equal(atoms.numbers[p], atoms.numbers)
        assert {tuple(sorted((p[i], p[j]))) for i, j in bonds} == bonds


@pytest.mark.parametrize("name", [name for name, (atoms, _) in CASES.items() if len(atoms) <= 12 and name != "isobutane"])
def test_the_assignment_is_the_cheapest_of_all(name):
    atoms = CASES[name][0]
    everything = all_automorphisms(atoms)
    symmetry = symmetry_of(atoms)
    assert symmetry.order == len(everything)
    rng = np.random.default_rng(2)
    for _ in range(10):
        cost = rng.random((len(atoms), len(atoms)))
        rows = np.arange(len(atoms))
        best = cost[rows, everything].sum(axis=1).min()
        assert cost[rows, symmetry.assign(cost)].sum() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, (_, order) in CASES.items() if order is not None])
def test_the_number_of_automorphisms_is_known(name):
    atoms, order = CASES[name]
    assert symmetry_of(atoms).order == order


def test_fixed_atoms_are_those_that_no_automorphism_moves():
    for atoms in (molecule("CH3CH2OH"), molecule("C6H6"), molecule("CH3CONH2")):
        everything = all_automorphisms(atoms)
        assert np.array_equal(symmetry_of(atoms).fixed, (everything == np.arange(len(atoms))).all(axis=0))


def test_a_fullerene_has_its_120_automorphisms():
    from ase.build import molecule as build

    assert symmetry_of(build("C60")).order == 120


def test_the_groups_of_a_long_chain_cost_no_more_than_their_sum():
    """30 methylenes and two methyls that change places: 2 * 2^30 * 36 automorphisms, none of them listed."""
    n = 32
    numbers = [6] * n + [1] * (2 * n + 2)
    bonds = [(k, k + 1) for k in range(n - 1)] + [(k // 2, n + k) for k in range(2 * n)] + [(0, 3 * n), (n - 1, 3 * n + 1)]
    symmetry = Symmetry(np.array(numbers), np.array(bonds))
    assert symmetry.order == 2 * 2 ** (n - 2) * 36
    true = symmetry.assign(np.random.default_rng(0).random((len(numbers), len(numbers))))
    cost = np.ones((len(numbers), len(numbers)))
    cost[np.arange(len(numbers)), true] = 0
    assert np.array_equal(symmetry.assign(cost), true)


def test_equal_rings_and_one_large_ring_are_told_apart():
    """Two rings of three have the labels of a ring of six, but no automorphism mixes them."""
    two, six = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)], [(k, (k + 1) % 6) for k in range(6)]
    both = Symmetry(np.full(12, 6), np.array(two + [(a + 6, b + 6) for a, b in six]))
    assert both.order == 6**2 * 2 * 12


def test_orders_by_brute_force_and_by_factors_agree_for_random_trees():
    rng = np.random.default_rng(5)
    for n, _ in itertools.product((5, 6, 7), range(4)):
        bonds = np.array([(int(rng.integers(k)), k) for k in range(1, n)])
        everything = [p for p in itertools.permutations(range(n))
                      if {tuple(sorted((p[i], p[j]))) for i, j in bonds} == {tuple(b) for b in bonds.tolist()}]  # fmt: skip
        assert Symmetry(np.full(n, 6), bonds).order == len(everything)
