"""Saddles: where they are known, and what every one of them must be."""
from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from surfaces import LJ7_ENERGIES, MULLER_BROWN_MINIMA, MULLER_BROWN_SADDLES, lennard_jones, lj7_minima, muller_brown

from mdapp.errors import RunFolderError
from mdapp.minima.identity import Identity
from mdapp.minima.landscape.alignment import _centres, _hands, align
from mdapp.minima.landscape.band import Band, BandOptions, find_path
from mdapp.minima.landscape.dimer import dimer
from mdapp.minima.landscape.eigenvector import FollowOptions, follow
from mdapp.minima.landscape.explore import find_frequencies, find_saddles
from mdapp.minima.landscape.saddles import Saddle, SaddleOptions, joined, proved, saddles_between
from mdapp.minima.landscape.store import LANDSCAPE, Landscape
from mdapp.minima.landscape.surface import Surface, lowest_modes
from mdapp.minima.library import Library, Origin

LJ = SaddleOptions(BandOptions(images=9, steps=90, spring=1.0, fmax=1.0, climb_fmax=0.5, max_step=0.05), FollowOptions(fmax=1e-3), fmax=1e-3)


@pytest.fixture(scope="module")
def lj7():
    return lj7_minima()


@pytest.fixture
def plane():
    """One atom on the surface of Müller and Brown."""
    return Surface(Atoms("H"), muller_brown, rigid=False)


@pytest.mark.parametrize("search", [follow, dimer])
@pytest.mark.parametrize("which", [0, 1])
def test_both_searches_find_the_published_saddles(plane, search, which):
    near = MULLER_BROWN_SADDLES[which][None] + np.array([[0.08, 0.06, 0.0]])
    found = search(plane, near, np.array([[1.0, -1.0, 0.0]]), FollowOptions(fmax=1e-4, steps=300))
    assert found.converged and found.n_negative == 1, found.reason
    assert found.positions[0] == pytest.approx(MULLER_BROWN_SADDLES[which], abs=2e-3)  # published to three digits
    assert found.energy == pytest.approx((-0.4066, -0.7225)[which], abs=1e-4)


def test_a_path_shows_all_its_barriers(plane):
    path = find_path(plane, MULLER_BROWN_MINIMA[0], MULLER_BROWN_MINIMA[1], BandOptions(images=15, spring=1.0, steps=200, fmax=0.1, climb_fmax=0.05))
    tops = path.tops()
    assert len(tops) == 2 and path.energies[tops[0]] == pytest.approx(-0.4066, abs=0.01)
    assert np.linalg.norm(path.tangent(tops[0])) == pytest.approx(1)


def test_small_ripples_are_no_tops():
    energies = np.array([0, 0.1, 0.099, 0.3, 0.2, 0.25, 0.0])
    assert Band(np.zeros((7, 1, 3)), energies, True).tops() == [3, 5]


def test_flanks_are_halfway_to_the_ends_and_neither_top_nor_end():
    path = lambda first, last: Band(np.zeros((9, 1, 3)), np.array([first, *[1.0] * 7, last]), True)
    assert path(0.1, 0.0).flanks(4) == [2, 6] and path(0.0, 0.1).flanks(4) == [6, 2]  # that of the higher end first
    assert path(0.1, 0.0).flanks(1) == [5] and path(0.0, 0.1).flanks(7) == [3]


def test_saddles_join_two_minima_over_others_or_do_not(lj7):
    atoms, minima, _ = lj7
    identity = Identity.of(atoms)
    saddle = lambda a, b: Saddle(minima[a], 0.0, 0.0, np.zeros(1), np.stack([minima[a], minima[b]]), np.zeros(2))
    ends = [minima[0], minima[2]]
    assert joined(identity, ends, [saddle(0, 2)]) and joined(identity, ends, [saddle(1, 2), saddle(1, 0)])
    assert not joined(identity, ends, []) and not joined(identity, ends, [saddle(0, 0), saddle(0, 1)])


def test_a_path_needs_two_ends(plane):
    with pytest.raises(ValueError, match="they are one minimum"):
        find_path(plane, MULLER_BROWN_MINIMA[0], MULLER_BROWN_MINIMA[0])


def test_hessian_is_the_derivative_of_the_forces_and_knows_rigid_moves(lj7):
    atoms, minima, _ = lj7
    surface = Surface(atoms, lennard_jones)
    hessian = surface.hessian(minima[0], 1e-4)
    move = np.random.default_rng(1).standard_normal((7, 3)) * 1e-4
    _, forces = surface(np.stack([minima[0] + move, minima[0] - move]))
    assert (forces[1] - forces[0]).ravel() / 2 == pytest.approx(hessian @ move.ravel(), abs=2e-7 * np.abs(hessian).max())
    inner = surface.inner(minima[0])
    values, vectors = lowest_modes(hessian, inner)
    assert inner.shape == (21, 15) and values[0] > 1 and np.abs(np.linalg.eigvalsh(hessian)[:6]).max() < 1e-2
    assert vectors.T @ vectors == pytest.approx(np.eye(15), abs=1e-10)


def test_frequencies_of_a_diatomic_are_those_of_its_spring():
    k, r0 = 30.0, 1.1

    def spring(items):
        d = [item.positions[1] - item.positions[0] for item in items]
        r = [np.linalg.norm(x) for x in d]
        return np.array([0.5 * k * (x - r0) ** 2 for x in r]), [np.array([1, -1])[:, None] * k * (x - r0) * v / x for x, v in zip(r, d)]

    surface = Surface(Atoms("HF"), spring)
    x = np.array([[0, 0, 0], [0, r0, 0.0]])
    reduced = 1 / np.sum(1 / surface.atoms.get_masses())
    expected = units._hbar * np.sqrt(k * units._e * 1e20 / (reduced * units._amu)) / units._e / units.invcm
    assert surface.frequencies_cm1(x, surface.hessian(x)) == pytest.approx([expected], rel=1e-5)
    assert surface.evaluations == 12


@pytest.mark.parametrize("pair, energy, ends", [((0, 1), -15.4447, (0, 1)), ((1, 2), -15.3199, (1, 2))])  # Tsai and Jordan, J. Phys. Chem. 97, 11227 (1993)
def test_saddles_of_seven_atoms(lj7, pair, energy, ends):
    atoms, minima, energies = lj7
    surface = Surface(atoms, lennard_jones)
    crossed = saddles_between(surface, Identity.of(atoms), minima[pair[0]], minima[pair[1]], LJ)
    found = [s for s in crossed.saddles if abs(s.energy - energy) < 2e-4]
    assert len(found) == 1, (crossed.reasons, [s.energy for s in crossed.saddles])
    assert sorted(found[0].end_energies) == pytest.approx(sorted(LJ7_ENERGIES[k] for k in ends), abs=1e-4)
    values, _ = lowest_modes(surface.hessian(found[0].positions), surface.inner(found[0].positions))
    assert np.sum(values < 0) == 1 and found[0].frequencies_cm1[0] < 0 < found[0].frequencies_cm1[1]
    assert crossed.evaluations > 0


def test_a_minimum_is_not_proved_a_saddle(lj7):
    atoms, minima, _ = lj7
    surface = Surface(atoms, lennard_jones)
    at_rest = follow(surface, minima[0], None, FollowOptions(fmax=1e-2))
    assert not at_rest.converged and at_rest.reason == "came down to a minimum"
    assert proved(surface, at_rest, LJ) == "0 negative eigenvalues in place of one"


def test_what_is_not_finite_is_told():
    broken = lambda items: (np.full(len(items), np.nan), [np.zeros_like(item.positions) for item in items])
    atoms = Atoms("Ar3", positions=[[0, 0, 0], [1.1, 0, 0], [0, 1.1, 0]])
    other = atoms.positions + np.array([[0, 0, 0], [0.3, 0, 0], [0, 0, 0]])
    crossed = saddles_between(Surface(atoms, broken), Identity.of(atoms), atoms.positions, other)
    assert crossed.saddles == () and "not finite" in crossed.reasons[0]


def turned(positions: np.ndarray, seed: int = 1) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return positions @ (q * np.sign(np.linalg.det(q))) + 3.0


def test_hydrogens_of_a_methyl_turn_round():
    ethanol = molecule("CH3CH2OH")
    x = ethanol.positions
    cycled = x.copy()
    cycled[[6, 7, 8]] = cycled[[7, 8, 6]]
    met = align(Identity.of(ethanol), x, turned(cycled))
    assert met is not None and met.rmsd < 1e-6 and met.positions == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_no_atom_with_four_neighbours_is_turned_inside_out(seed):
    rng = np.random.default_rng(seed)
    ethanol = molecule("CH3CH2OH")
    identity = Identity.of(ethanol, mirror="distinct")  # so that hands cannot be mended by a reflection
    other = ethanol.copy()
    other.set_dihedral(0, 1, 2, 3, rng.uniform(0, 360), indices=[3])
    b = turned(other.positions * [1, 1, rng.choice([-1, 1])] + 0.15 * rng.standard_normal((9, 3)), seed)
    for group in ([4, 5], [6, 7, 8]):
        b[group] = b[rng.permutation(group)]
    met = align(identity, ethanol.positions, b)
    assert met is not None
    centres = _centres(identity)
    assert len(centres) == 2 and np.array_equal(_hands(met.positions, centres), _hands(ethanol.positions, centres))
    assert met.rmsd >= identity.distance(ethanol.positions, b) - 1e-9


def test_the_mirror_image_of_a_chiral_molecule_cannot_be_reached():
    chiral = Atoms("CHFClBr", positions=[[0, 0, 0], [0.6, 0.6, 0.6], [-0.8, -0.8, 0.8], [-1.0, 1.0, -1.0], [1.1, -1.1, -1.1]])
    identity = Identity.of(chiral)
    assert align(identity, chiral.positions, turned(chiral.positions)) is not None
    assert align(identity, chiral.positions, turned(chiral.positions * [1, 1, -1])) is None


def test_clusters_are_aligned_over_all_permutations(lj7):
    atoms, minima, _ = lj7
    order = np.random.default_rng(4).permutation(7)
    met = align(Identity.of(atoms), minima[1], turned(minima[1][order]))
    assert met is not None and met.rmsd < 1e-4


@pytest.fixture
def library(tmp_path, lj7):
    atoms, minima, energies = lj7
    with Library(tmp_path / "minima.h5") as found:
        for k in (3, 0, 1):  # minimum 2 is for saddles to find
            one = atoms.copy()
            one.positions = minima[k]
            found.place(one, energies[k], Origin("start"))
    return tmp_path


def test_a_landscape_is_written_down_and_gone_on_with(library, lj7):
    atoms, minima, energies = lj7
    surface = Surface(atoms, lennard_jones)
    with Library(library, "r") as known:
        landscape = Landscape.read(known, library / LANDSCAPE, "lj")
        find_saddles(landscape, surface, 1, LJ)
        assert len(landscape.tried) == 1
        again = Landscape.read(known, library / LANDSCAPE, "lj")
        assert again.tried == landscape.tried and again.network().edges == landscape.network().edges and len(again.saddles) >= 1
        with open(library / LANDSCAPE, "a", encoding="utf-8") as file:
            file.write('{"pair": [0, 1], "rea')  # killed in the middle of a line
        find_saddles(Landscape.read(known, library / LANDSCAPE, "lj"), surface, 3, LJ)
        whole = Landscape.read(known, library / LANDSCAPE, "lj")
        assert len(whole.tried) > 1 and set(landscape.tried) < set(whole.tried)
        assert find_frequencies(whole, surface, 2) == 2 and find_frequencies(whole, surface, 2) == 0
        assert Landscape.read(known, library / LANDSCAPE, "lj").frequencies.keys() == {1, 2}  # the two lowest
        network = whole.network()
        assert all(e.energy > max(network.energies[e.a], network.energies[e.b]) for e in network.edges) and len(network.edges) >= 2
        with pytest.raises(RunFolderError, match="not of emt"):
            Landscape.read(known, library / LANDSCAPE, "emt")


def test_minima_below_saddles_are_found_in_a_library_that_has_grown(library, lj7):
    atoms, minima, energies = lj7
    saddle = minima[2] * 1.02
    with Library(library, "r") as known:
        landscape = Landscape.read(known, library / LANDSCAPE, "lj")
        assert landscape.place(minima[0], energies[0]) == "1"
        assert landscape.place(minima[2], energies[2]) == "x0" == landscape.place(turned(minima[2]), energies[2])
        row = {"pair": [0, 1], "reasons": [], "evaluations": 1, "potential": "lj", "minima": [{"energy_eV": energies[2], "positions": minima[2].tolist()}],
               "saddles": [{"ends": ["x0", "2"], "energy_eV": -15.3, "frequencies_cm1": [-100.0], "positions": saddle.tolist()}]}
        landscape._write(row)
        before = Landscape.read(known, library / LANDSCAPE, "lj")
        assert before.n_extra == 1 and [(e.a, e.b) for e in before.network().edges] == [(3, 2)] and before.name_of(3) == "x0"
    with Library(library) as known:
        one = atoms.copy()
        one.positions = minima[0] * 1.1
        known.place(one, -10.0, Origin("start"))  # another one comes first
        one.positions = minima[2]
        known.place(one, energies[2], Origin("start"))
    with Library(library, "r") as known:
        after = Landscape.read(known, library / LANDSCAPE, "lj")
        assert after.n_extra == 0 and [(e.a, e.b) for e in after.network().edges] == [(4, 2)]


@pytest.mark.parametrize("line", ['{"pair": 3}', "no json",
                                  '{"pair": [0, 1], "reasons": [], "minima": [], "saddles": [{"ends": ["0", "77"], "energy_eV": 1, "frequencies_cm1": [1]}], "potential": "lj"}',
                                  '{"pair": [0, 1], "reasons": [], "minima": [{"energy_eV": NaN, "positions": []}], "saddles": [], "potential": "lj"}'])
def test_a_damaged_landscape_is_refused(library, line):
    (library / LANDSCAPE).write_text(line + "\n", encoding="utf-8")
    with Library(library, "r") as known, pytest.raises(RunFolderError, match="anew"):
        Landscape.read(known, library / LANDSCAPE, "lj")
