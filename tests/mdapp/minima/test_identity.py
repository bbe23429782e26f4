"""Two structures are one when a rotation, a shift and a permutation of equivalent atoms make them so, and only then."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.cluster import Icosahedron, Octahedron
from ase.io import read
from scipy.spatial.transform import Rotation

from mdapp.errors import StructureError
from mdapp.minima import identity as module
from mdapp.minima.identity import Identity

REPO = Path(__file__).parents[3]
SHARED = REPO.parent / "shared" / "structures"


def lj13() -> Atoms:
    return Icosahedron("Ar", 2, latticeconstant=1.1 * np.sqrt(2))


def lj38() -> Atoms:
    """The truncated octahedron, whose Lennard-Jones relaxation is the global minimum of 38 atoms."""
    return Octahedron("Ar", 4, cutoff=1, latticeconstant=1.1 * np.sqrt(2))


def waters(n: int) -> Atoms:
    rng = np.random.default_rng(n)
    atoms = Atoms()
    for k in range(n):
        one = molecule("H2O")
        one.positions = one.positions @ Rotation.random(random_state=int(rng.integers(1000))).as_matrix() + [3.0 * (k % 2), 3.0 * (k // 2 % 2), 3.0 * (k // 4)]
        atoms += one
    return atoms


def shapeless(n: int) -> Atoms:
    return Atoms(f"Ar{n}", positions=np.random.default_rng(n).normal(size=(n, 3)) * n ** (1 / 3))


MADE = {
    **{name: (lambda name=name: molecule(name))
       for name in ("CH4", "C2H6", "C6H6", "isobutane", "H2O", "CO2", "CO", "N2", "C2H2", "CH3CONH2", "CH3CH2OH", "trans-butane", "butadiene", "CH3COOH", "C60")},
    "peptide": lambda: read(REPO / "examples" / "peptide.xyz"), "LJ13": lj13, "LJ38": lj38, "six waters": lambda: waters(6), "30 argons": lambda: shapeless(30),
    "one atom": lambda: Atoms("Ar"),
}  # fmt: skip
SHARED_NAMES = ("alanine_dipeptide.xyz", "ac_ala3_nhme.xyz", "aspirin.xyz", "ac_ala15_nhme_folded.xyz", "chignolin.pdb", "at_at_base_pairs.xyz")


@pytest.fixture(params=[*MADE, *SHARED_NAMES])
def atoms(request):
    if request.param in MADE:
        return MADE[request.param]()
    path = SHARED / request.param
    if not path.exists():
        pytest.skip(f"{path} is not there")
    found = read(path)
    found.pbc = False
    return found


def disguised(identity, positions, rng, noise=1e-3, mirrored=False):
    """The same minimum, turned, moved, its equivalent atoms exchanged, with a little noise."""
    p = identity.symmetry.assign(rng.random((len(positions), len(positions))))
    x = (positions + noise * rng.normal(size=positions.shape))[p]
    return (-x if mirrored else x) @ Rotation.random(random_state=int(rng.integers(2**31))).as_matrix() + 10 * rng.normal(size=3)


def test_a_disguised_copy_is_one_with_its_original(atoms):
    identity = Identity.of(atoms)
    rng = np.random.default_rng(7)
    for k in range(4):
        copy = disguised(identity, atoms.positions, rng, mirrored=identity.mirror_is_one and k % 2 == 1)
        match = identity.match(atoms.positions, copy, 0.1)
        assert match.rmsd < 5e-3 and match.largest < 0.02  # noise of 1e-3 Å; the first superposition within 0.1 Å is taken, and C60 is not quite regular
        assert np.abs(match.positions - atoms.positions).max() < 0.02
        assert identity.same(atoms.positions, copy)


def test_the_fingerprint_is_that_of_any_disguise(atoms):
    identity = Identity.of(atoms)
    f = identity.fingerprint(atoms.positions)
    assert f.shape == (identity.n_features,)
    copy = disguised(identity, atoms.positions, np.random.default_rng(3), noise=0.0, mirrored=True)
    assert np.allclose(identity.fingerprint(copy), f, atol=1e-9)


@pytest.mark.parametrize("noise", [1e-3, 0.05, 0.5])
def test_fingerprints_are_never_farther_apart_than_structures(atoms, noise):
    """What the fingerprint rules out is ruled out for certain."""
    identity = Identity.of(atoms)
    rng = np.random.default_rng(11)
    other = disguised(identity, atoms.positions, rng, noise)
    apart = np.linalg.norm(identity.fingerprint(atoms.positions) - identity.fingerprint(other))
    assert apart <= identity.match(atoms.positions, other, 0.1).rmsd + 1e-9


@pytest.mark.parametrize("name", ["CH3CH2OH", "H2O", "CO2", "CH4", "butadiene", "three waters"])
def test_the_distance_is_the_least_over_all_automorphisms(name):
    from test_symmetry import all_automorphisms

    atoms = waters(3) if name == "three waters" else molecule(name)
    identity, rng = Identity.of(atoms, mirror="distinct"), np.random.default_rng(1)
    everything = all_automorphisms(atoms)
    for noise in (0.05, 0.2):
        a, b = atoms.positions, disguised(identity, atoms.positions, rng, noise)
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        exact = min(np.sqrt(((b[p] @ module.rotation(a, b[p]) - a) ** 2).sum(axis=1).mean()) for p in everything)
        assert identity.distance(a, b) == pytest.approx(exact, abs=1e-9)


def test_the_distance_is_symmetric_and_zero_to_itself(atoms):
    identity = Identity.of(atoms)
    other = disguised(identity, atoms.positions, np.random.default_rng(5), noise=0.02)
    forth, back = identity.match(atoms.positions, other, 0.1).rmsd, identity.match(other, atoms.positions, 0.1).rmsd
    assert forth == pytest.approx(back, abs=1e-6)
    assert identity.distance(atoms.positions, atoms.positions) == pytest.approx(0, abs=1e-6)


def chiral() -> Atoms:
    """CHFClBr: four different partners."""
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    return Atoms("CHFClBr", positions=np.vstack([np.zeros(3), tetrahedron * np.array([[1.09], [1.36], [1.76], [1.94]])]))


def test_hands_of_a_chiral_molecule_are_two_minima():
    atoms = chiral()
    identity = Identity.of(atoms)
    assert identity.is_chiral and not identity.mirror_is_one
    assert not identity.same(atoms.positions, -atoms.positions) and identity.distance(atoms.positions, -atoms.positions) > 0.5
    assert Identity.of(atoms, mirror="one").same(atoms.positions, -atoms.positions)


def two_centres(*hands: int) -> Atoms:
    """CHFCl-CHFCl, each half of the given hand."""
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    halves = []
    for hand, way in zip(hands, (1, -1)):
        x = np.vstack([np.zeros(3), tetrahedron[1:] * np.array([[1.09], [1.36], [1.76]])])
        x = (x if hand > 0 else x[:, [1, 0, 2]]) - 0.77 * tetrahedron[0]  # exchanging x and y turns the hand, and keeps the bond to the other half
        halves.append(x if way > 0 else x @ Rotation.from_rotvec(np.pi * np.array([1, -1, 0]) / np.sqrt(2)).as_matrix().T)
    return Atoms("CHFClCHFCl", positions=np.vstack(halves))


@pytest.mark.parametrize("hands", [(1, 1), (-1, -1), (1, -1), (-1, 1)])
def test_a_meso_form_is_one_with_its_mirror_image_and_what_is_no_meso_form_is_not(hands):
    atoms, is_meso = two_centres(*hands), hands[0] != hands[1]
    identity = Identity.of(atoms)
    assert len(identity.bonds) == 7 and identity.is_chiral != is_meso
    assert identity.same(atoms.positions, -atoms.positions) == is_meso
    atoms.numbers[3] = 35  # the halves differ: no automorphism exchanges them
    assert Identity.of(atoms).is_chiral


def test_a_pair_of_mirrored_molecules_is_one_with_its_mirror_image():
    pair, twins = chiral(), chiral()
    pair.extend(Atoms(pair.numbers, -pair.positions + [8, 0, 0]))
    twins.extend(Atoms(twins.numbers, twins.positions + [8, 0, 0]))
    assert not Identity.of(pair).is_chiral and Identity.of(twins).is_chiral


def test_a_sulfoxide_is_chiral():
    """CH2F-S(=O)-CH3; but not CH3-S(=O)-CH3."""
    atoms = molecule("C2H6SO")
    assert not Identity.of(atoms).is_chiral
    atoms.numbers[np.flatnonzero(atoms.numbers == 1)[0]] = 9
    assert Identity.of(atoms).is_chiral and not Identity.of(atoms).same(atoms.positions, -atoms.positions)


def test_mirror_images_of_a_peptide_are_two_minima():
    atoms = read(REPO / "examples" / "peptide.xyz")
    assert not Identity.of(atoms).same(atoms.positions, -atoms.positions)


def test_mirrored_conformers_of_an_achiral_molecule_are_one_unless_asked_otherwise():
    butane = molecule("trans-butane")
    gauche = turned(butane, end_of(butane), 120.0)
    other = turned(butane, end_of(butane), -120.0)
    identity = Identity.of(butane)
    assert identity.same(gauche.positions, other.positions) and not identity.same(gauche.positions, butane.positions)
    assert not Identity.of(butane, mirror="distinct").same(gauche.positions, other.positions)


def test_mirror_images_of_a_cluster_are_one():
    atoms = shapeless(12)
    assert Identity.of(atoms).same(atoms.positions, -atoms.positions)
    assert not Identity.of(atoms, mirror="distinct").same(atoms.positions, -atoms.positions)


def neighbours(atoms):
    from mdapp.topology import find_bonds

    near = {k: set() for k in range(len(atoms))}
    for i, j in find_bonds(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc).tolist():
        near[i].add(j)
        near[j].add(i)
    return near


def end_of(atoms):
    """The middle bond of butane."""
    near = neighbours(atoms)
    inner = [k for k in near if atoms.numbers[k] == 6 and sum(atoms.numbers[n] == 6 for n in near[k]) == 2]
    return inner[0], inner[1]


def turned(atoms, bond, degrees):
    """What hangs beyond a bond, turned about it."""
    i, j = bond
    near, beyond, waiting = neighbours(atoms), {j}, [j]
    while waiting:
        for n in near[waiting.pop()] - beyond - {i}:
            beyond.add(n)
            waiting.append(n)
    result, moved = atoms.copy(), sorted(beyond)
    axis = atoms.positions[j] - atoms.positions[i]
    result.positions[moved] = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).apply(atoms.positions[moved] - atoms.positions[j]) + atoms.positions[j]
    return result


def test_a_methyl_turned_by_120_degrees_is_the_same_and_by_60_another():
    ethanol = molecule("CH3CH2OH")
    near = neighbours(ethanol)
    methyl = next(k for k in near if ethanol.numbers[k] == 6 and sum(ethanol.numbers[n] == 1 for n in near[k]) == 3)
    bond = (next(n for n in near[methyl] if ethanol.numbers[n] == 6), methyl)
    identity = Identity.of(ethanol)
    assert identity.same(ethanol.positions, turned(ethanol, bond, 120).positions)
    assert not identity.same(ethanol.positions, turned(ethanol, bond, 60).positions)


def test_a_phenyl_flipped_by_180_degrees_is_the_same():
    phenol = molecule("C6H6")
    phenol.numbers[next(k for k in range(12) if phenol.numbers[k] == 1)] = 9
    identity = Identity.of(phenol)
    assert identity.symmetry.order == 2
    flipped = phenol.copy()
    axis = phenol.positions[phenol.numbers == 9][0] - phenol.positions.mean(axis=0)
    flipped.rotate(180, axis, center=phenol.positions[phenol.numbers == 9][0])
    exchanged = [int(np.linalg.norm(flipped.positions - x, axis=1).argmin()) for x in phenol.positions]
    assert exchanged != list(range(12))
    noisy = phenol.positions[exchanged] + 1e-3 * np.random.default_rng(0).normal(size=(12, 3))
    assert identity.same(phenol.positions, noisy)


def test_prochiral_hydrogens_are_exchanged_only_where_that_gives_the_same_geometry():
    """In a chiral molecule, a dent at one hydrogen of a CH2 is not a dent at the other."""
    atoms = read(REPO / "examples" / "peptide.xyz")
    near = neighbours(atoms)
    carbon = next(k for k in near if atoms.numbers[k] == 6 and sum(atoms.numbers[n] == 1 for n in near[k]) == 2)
    first, second = (n for n in near[carbon] if atoms.numbers[n] == 1)
    identity = Identity.of(atoms)
    assert identity.symmetry.labels[first] == identity.symmetry.labels[second]
    dents = []
    for hydrogen in (first, second):
        dent = atoms.positions.copy()
        dent[hydrogen] += 0.8 * (dent[hydrogen] - dent[carbon])
        dents.append(dent)
    assert identity.distance(*dents) > 0.1 and not identity.same(*dents)
    renamed = dents[0].copy()
    renamed[[first, second]] = renamed[[second, first]]
    assert identity.same(dents[0], renamed)


def test_one_turned_hydroxyl_in_a_large_molecule_is_another_minimum():
    """The RMSD over many atoms hides it; the farthest atom does not."""
    chain = Atoms("C400OH", positions=[[1.5 * k, 0.3 * (k % 2), 0.1 * np.sin(k)] for k in range(400)] + [[600.0, 1.0, 0], [600.5, 1.8, 0]])
    identity = Identity(chain.numbers, [(k, k + 1) for k in range(401)])
    other = chain.positions.copy()
    other[-1] = [600.5, 0.2, 0.6]
    assert identity.distance(chain.positions, other) < 0.1
    assert not identity.same(chain.positions, other)


def test_isomers_of_a_cluster_are_told_apart():
    a = lj38()
    b = a.positions.copy()
    b[np.argmax(np.linalg.norm(b - b.mean(axis=0), axis=1))] *= -1.3
    assert not Identity.of(a).same(a.positions, b)


def test_a_wide_window_merges_what_a_narrow_one_keeps_apart():
    atoms = molecule("CH3CH2OH")
    identity = Identity.of(atoms)
    other = atoms.positions + 0.03 * np.random.default_rng(0).normal(size=(9, 3))
    distance = identity.distance(atoms.positions, other)
    assert identity.same(atoms.positions, other, distance + 1e-6) and not identity.same(atoms.positions, other, distance - 1e-6)


def test_wrong_questions_are_refused():
    water = molecule("H2O")
    with pytest.raises(ValueError, match=r"shape \(4, 3\), expected \(3, 3\)"):
        Identity.of(water).distance(water.positions, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="mirror must be auto, one or distinct"):
        Identity.of(water, mirror="both")
    with pytest.raises(StructureError, match="periodic"):
        Identity.of(Atoms("Ar", cell=[5, 5, 5], pbc=True))
