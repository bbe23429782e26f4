"""Symmetry numbers and mirror images of minima, and what they weigh."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.cluster import Icosahedron
from ase.io import read
from scipy.spatial.transform import Rotation
from test_identity import chiral, end_of, lj38, shapeless, turned, waters

from mdapp.minima.identity import Identity
from mdapp.minima.identity_copies import Copies, copies_of
from mdapp.minima.landscape.populations import degeneracies, populations
from mdapp.minima.library import Library
from mdapp.minima.records import Origin

REPO = Path(__file__).parents[3]


def copies(atoms: Atoms, mirror="auto", **options) -> Copies:
    """Of a structure that is turned, with a little noise."""
    rng = np.random.default_rng(3)
    x = (atoms.positions + 2e-3 * rng.normal(size=atoms.positions.shape)) @ Rotation.random(random_state=5).as_matrix() + 4.0
    return copies_of(Identity.of(atoms, mirror), x, **options)


def gauche(sign: int = 1) -> Atoms:
    butane = molecule("trans-butane")
    return turned(butane, end_of(butane), sign * 115.0)


@pytest.mark.parametrize("name, symmetry", [
    ("H2O", 2), ("CH4", 12), ("NH3", 3), ("CO2", 2), ("CO", 1), ("N2", 2), ("C2H2", 2), ("C2H4", 4), ("C2H6", 6), ("C6H6", 12), ("isobutane", 3), ("trans-butane", 2), ("C60", 60),
    ("CH3CH2OH", 1), ("butadiene", 2), ("CF4", 12),
])  # fmt: skip
def test_symmetry_numbers_of_molecules(name, symmetry):
    assert copies(molecule(name)) == Copies(symmetry, 1)


def test_symmetry_numbers_of_clusters():
    assert copies(Icosahedron("Ar", 2, latticeconstant=1.1 * np.sqrt(2) * 3.4)) == Copies(60, 1)
    assert copies(Atoms("Ar38", lj38().positions * 3.4)) == Copies(24, 1)
    assert copies(Atoms("Ar30", shapeless(30).positions * 2)) == Copies(1, 2) and copies(Atoms("Ar")) == Copies(1, 1)
    assert copies(waters(3)) == Copies(1, 2)


def test_twisted_peroxide_is_two_mirror_images_of_symmetry_two():
    assert copies(molecule("H2O2")) == Copies(2, 2)
    assert copies(molecule("H2O2"), mirror="distinct") == Copies(2, 1)


def test_what_is_chiral_stands_for_itself_alone():
    peptide = read(REPO / "examples" / "peptide.xyz")
    assert copies(peptide) == Copies(1, 1) and copies(chiral()) == Copies(1, 1)
    assert copies(chiral(), mirror="one") == Copies(1, 2)


def test_a_methyl_that_turns_by_itself_is_no_symmetry():
    acetic = molecule("CH3COOH")
    assert Identity.of(acetic).symmetry.order == 6 and copies(acetic) == Copies(1, 1)


def test_gauche_butane_counts_twice(tmp_path):
    anti = molecule("trans-butane")
    assert copies(anti) == Copies(2, 1) and copies(gauche()) == copies(gauche(-1)) == Copies(2, 2)
    with Library(tmp_path / "minima.h5", "a", like=anti) as library:
        for atoms, energy in ((anti, 0.0), (gauche(), 0.02), (gauche(-1), 0.02), (gauche(), 5.0)):
            library.place(atoms, energy, Origin("start"))
        assert len(library) == 3
        counted = degeneracies(library, 300.0)
    assert counted == ({0: 2, 1: 2}, {0: 1, 1: 2})  # nothing is counted of what lies 5 eV higher
    assert populations(np.zeros(2), 300, None, *counted).shares == pytest.approx([1 / 3, 2 / 3])
    f = np.array([100.0, 1000.0])
    assert populations(np.zeros(2), 300, {0: f, 1: f}, *counted).shares == pytest.approx([1 / 3, 2 / 3])
