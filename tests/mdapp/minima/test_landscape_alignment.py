"""Paths between conformers of molecules whose equivalent parts no path exchanges."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from test_identity import two_centres
from test_landscape_saddles import turned

from mdapp.minima.identity import Identity
from mdapp.minima.landscape.alignment import _centres, _hands, align


def twisted(atoms: Atoms, seed: int, centre: int, spread: float) -> np.ndarray:
    """The positions, shaken, with the last half of the atoms turned about the first centre."""
    rng = np.random.default_rng(seed)
    made = atoms.copy()
    half = [k for k in range(len(atoms)) if k >= centre]
    made.set_dihedral(1, 0, centre, centre + 1, rng.uniform(0, 360), indices=half)
    return turned(made.positions + spread * rng.standard_normal((len(atoms), 3)), seed)


def every_pair_meets(identity: Identity, conformers: list[np.ndarray], n_centres: int) -> None:
    centres = _centres(identity)
    assert len(centres) == n_centres
    for a, b in itertools.permutations(conformers, 2):
        met = align(identity, a, b)
        assert met is not None
        assert np.array_equal(_hands(met.positions, centres), _hands(a, centres))
        assert np.sort(met.permutation).tolist() == list(range(len(a)))
        assert met.rmsd == pytest.approx(np.sqrt(np.mean(np.sum((met.positions - a) ** 2, axis=1))))
        distances = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (met.positions, b[met.permutation])]
        assert distances[0] == pytest.approx(distances[1], abs=1e-9)  # b itself or its image, not another structure


def test_all_conformers_of_a_meso_molecule_are_joined():
    """The halves exchange in the mirror image alone; the nearest superposition knows nothing of that."""
    atoms = two_centres(1, -1)
    identity = Identity.of(atoms)
    assert identity.mirror_is_one
    every_pair_meets(identity, [twisted(atoms, seed, 4, 0.1) for seed in range(12)], 2)


def four_hydroxyls(seed: int) -> Atoms:
    """(HO)2CH-CH(OH)2 with all torsions at random."""
    rng = np.random.default_rng(seed)
    atoms = two_centres(1, 1)
    atoms.numbers[[2, 3, 6, 7]] = 8
    for carbon, oxygen in ((0, 2), (0, 3), (4, 6), (4, 7)):
        along = atoms.positions[oxygen] - atoms.positions[carbon]
        along /= np.linalg.norm(along)
        atoms.positions[oxygen] = atoms.positions[carbon] + 1.40 * along
        across = np.cross(along, rng.standard_normal(3))
        atoms.append("H")
        atoms.positions[-1] = atoms.positions[oxygen] + 0.96 * (0.33 * along + 0.94 * across / np.linalg.norm(across))
    atoms.set_dihedral(1, 0, 4, 5, rng.uniform(0, 360), indices=[4, 5, 6, 7, 10, 11])
    return atoms


def test_equivalent_branches_keep_their_sides():
    """Of two hydroxyls on one carbon (two methyls on one carbon of leucine) each may lie nearer to the other's place: they are exchanged back."""
    conformers = [four_hydroxyls(seed) for seed in range(14)]
    bonds = {tuple(map(tuple, Identity.of(made).bonds)) for made in conformers}
    assert len(bonds) == 1
    every_pair_meets(Identity.of(conformers[0]), [turned(made.positions, seed) for seed, made in enumerate(conformers)], 2)


def test_a_sulfoxide_is_not_turned_inside_out():
    """O=S(CH2F)(CF3) and its mirror image: no path leads from one to the other."""
    sulfoxide = molecule("C2H6SO")
    s = int(np.flatnonzero(sulfoxide.numbers == 16)[0])
    methyl = next(k for k in np.argsort(sulfoxide.get_distances(s, range(len(sulfoxide)))) if sulfoxide.numbers[k] == 6)
    ends = [k for k in range(len(sulfoxide)) if sulfoxide.numbers[k] == 1 and sulfoxide.get_distance(methyl, k) < 1.3]
    sulfoxide.numbers[ends] = 9
    sulfoxide.positions[ends] = sulfoxide.positions[methyl] + 1.25 * (sulfoxide.positions[ends] - sulfoxide.positions[methyl])
    identity = Identity.of(sulfoxide)
    x = sulfoxide.positions
    assert (s, sorted(k for pair in identity.bonds.tolist() for k in pair if s in pair and k != s)) in _centres(identity)
    assert align(identity, x, turned(x)).rmsd < 1e-6
    assert align(Identity.of(sulfoxide, mirror="distinct"), x, turned(x * [1, 1, -1])) is None
