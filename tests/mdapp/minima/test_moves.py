"""Moves: what they leave untouched, what they ask for, how their strength follows what was found; rotors, integrity, mixture, completeness."""
import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as built
from mdapp.minima.completeness import completeness
from mdapp.minima.dihedrals import rotors, turned
from mdapp.minima.integrity import Integrity, Kept
from mdapp.minima.mixture import Mixture
from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves
from mdapp.minima.moves._base import Here
from mdapp.minima.moves._dynamics import rigid_motions, without
from mdapp.minima.moves.basin_hopping import BasinHopping, over_the_surface
from mdapp.minima.moves.dihedral import Dihedral
from mdapp.minima.moves.minima_hopping import MinimaHopping
from mdapp.minima.moves.scatter import scattered
from mdapp.structure import read_structure
from minima_toys import Chains, chain, cluster

from potentials.runtime.batch_evaluator import Item

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["basin-hopping", "dihedral", "minima-hopping", "quench", "scatter"]


@pytest.fixture(scope="module")
def peptide():
    return Molecule.of(read_structure(ROOT / "examples" / "peptide.xyz"))


def answers(escape, evaluate, system):
    """Drive one escape to its end; its end and how many evaluations it took."""
    n, answer = 0, None
    while True:
        try:
            asked = next(escape) if answer is None else escape.send(answer)
        except StopIteration as end:
            return end.value, n
        e, f = evaluate([Item(0, system, asked.positions)])
        answer, n = (float(e[0]), f[0]), n + 1


def here(atoms):
    m = Molecule.of(atoms)
    e, _ = Chains()([Item(0, m.system, atoms.positions)])
    return Here(m, atoms.positions, float(e[0]))


def test_the_family_is_found_by_its_files():
    assert [n for n in moves.names() if n in NAMES] == NAMES


@pytest.mark.parametrize("name", [n for n in NAMES if n != "scatter"])
def test_a_move_is_its_random_numbers_and_leaves_its_minimum_as_it_is(name):
    place = here(chain(6))
    before = place.positions.copy()
    ends = [answers(moves.get(name)().escape(place, moves.get(name)().begin(), np.random.default_rng(s)), Chains(), place.molecule.system)[0] for s in (1, 1, 2)]
    assert np.array_equal(place.positions, before)
    assert np.array_equal(ends[0], ends[1]) and not np.array_equal(ends[0], ends[2])
    assert np.isfinite(ends[0]).all() and ends[0].shape == before.shape


@pytest.mark.parametrize("name, few", [("dihedral", 0), ("basin-hopping", 0), ("minima-hopping", 208), ("quench", 100)])
def test_a_move_takes_no_more_evaluations_than_it_says(name, few):
    place = here(chain(6))
    _, n = answers(moves.get(name)().escape(place, moves.get(name)().begin(), np.random.default_rng(1)), Chains(), place.molecule.system)
    assert (n == few) if few in (0, 100) else (0 < n <= few)


@pytest.mark.parametrize("name", ["minima-hopping", "quench", "dihedral"])
def test_a_move_kicks_harder_after_what_was_known_and_softer_after_what_was_new(name):
    move = moves.get(name)()
    s = 2.0 if name == "dihedral" else move.begin()
    assert move.after(s, "same", False) > move.after(s, "known", True) > s > move.after(s, "new", True)
    for fate in ("same", "new"):  # within bounds, for ever
        for _ in range(400):
            s = move.after(s, fate, True)
        assert 0 < s < 1e4


def test_basin_hoppings_step_settles_where_half_of_the_hops_are_taken():
    move, step, steps, rng = BasinHopping(), 0.4, [], np.random.default_rng(1)
    for _ in range(3000):
        step = move.after(step, "known", rng.random() < math.exp(-step))  # half are taken at ln 2
        steps.append(step)
    assert np.mean(steps[1000:]) == pytest.approx(math.log(2), rel=0.1)


def test_turning_a_bond_changes_one_dihedral_and_no_bond_or_angle():
    atoms = chain(6)
    m = Molecule.of(atoms)
    (middle,) = [r for r in rotors(m) if set(r.axis) == {2, 3}]
    after = Atoms(atoms.numbers, turned(atoms.positions, middle, np.radians(70)))
    change = (after.get_dihedral(1, 2, 3, 4) - atoms.get_dihedral(1, 2, 3, 4)) % 360
    assert min(change, 360 - change) == pytest.approx(70)
    near = [(i, j) for i in range(6) for j in range(i + 1, min(i + 3, 6))]
    assert [after.get_distance(*p) for p in near] == pytest.approx([atoms.get_distance(*p) for p in near])
    assert after.get_dihedral(0, 1, 2, 3) == pytest.approx(atoms.get_dihedral(0, 1, 2, 3))


def test_the_rotors_of_a_capped_peptide_are_phi_psi_and_its_side_chains(peptide):
    """No ring, no amide, no methyl."""
    found = rotors(peptide)
    amides = {tuple(sorted(r.axis)) for r in rotors(peptide, amides=True) if r.kind == "amide"}
    from mdapp.monitors._graph import peptide_bonds

    assert amides >= {tuple(sorted(b)) for b in peptide_bonds(peptide.numbers, peptide.bonds)[:, 1:3].tolist()}
    assert not amides & {tuple(sorted(r.axis)) for r in found}
    assert all(2 * len(r.turning) < len(peptide) for r in found)
    n_alpha = len(peptide_bonds(peptide.numbers, peptide.bonds)) - 1
    assert len(found) >= 2 * n_alpha


@pytest.mark.parametrize("name, count", [("C6H6", 0), ("CH3CH2OH", 1), ("C2H6", 0), ("C2H4", 0), ("trans-butane", 1), ("CH3CONH2", 0), ("HCOOH", 1)])
def test_rotors_of_small_molecules(name, count):
    """Rings, methyls, double and amide bonds stay; ethanol turns its O-H, butane its middle, formic acid its O-H."""
    assert len(rotors(Molecule.of(built(name)))) == count


def test_dihedral_moves_keep_peptide_bonds_hands_and_bonds(peptide):
    whole = Integrity(peptide)
    place, rng = Here(peptide, peptide.reference, 0.0), np.random.default_rng(3)
    for _ in range(25):
        end, n = answers(Dihedral().escape(place, 3.0, rng), None, None)
        assert n == 0 and end is not None
        assert whole.broken(end) is None


def test_amides_turn_when_asked(peptide):
    place, rng = Here(peptide, peptide.reference, 0.0), np.random.default_rng(3)
    ends = [answers(Dihedral(amides=True).escape(place, 3.0, rng), None, None)[0] for _ in range(25)]
    told = [Integrity(peptide).broken(end) for end in ends if end is not None]
    assert any(t is not None and "went to cis" in t for t in told)
    assert all(Integrity(peptide, Kept(peptide_bonds=False)).broken(end) is None for end in ends if end is not None)


def test_integrity_names_what_changed(peptide):
    whole = Integrity(peptide)
    assert whole.broken(peptide.reference) is None
    assert "turned over" in whole.broken(peptide.reference * [1, 1, -1])
    assert Integrity(peptide, Kept(chirality=False)).broken(peptide.reference * [1, 1, -1]) is None
    far = peptide.reference.copy()
    far[int(np.flatnonzero(peptide.numbers == 1)[0])] += 3.0
    assert "broken" in whole.broken(far)
    assert "not finite" in whole.broken(peptide.reference * np.nan)


def test_a_cluster_that_evaporates_is_refused():
    atoms = cluster(5)
    whole = Integrity(Molecule.of(atoms))
    assert whole.broken(atoms.positions) is None
    atoms.positions[0] -= 20.0
    assert "fell apart" in whole.broken(atoms.positions)


def test_softening_lowers_the_curvature_along_the_direction():
    place, rng = here(chain(6)), np.random.default_rng(5)
    from mdapp.minima.moves._dynamics import normalised, soften

    def curvature(direction):
        plus, minus = (Chains()([Item(0, place.molecule.system, place.positions + s * 0.01 * direction)])[0][0] for s in (1, -1))
        return (plus + minus - 2 * place.energy) / 1e-4

    rigid = rigid_motions(place.molecule, place.positions)
    directions = [normalised(without(rigid, rng.standard_normal(place.positions.shape))) for _ in range(5)]
    soft = [answers(soften(place.molecule, place.positions, d, 10, 0.1, 0.02), Chains(), place.molecule.system)[0] for d in directions]
    assert np.mean([curvature(d) for d in soft]) < 0.3 * np.mean([curvature(d) for d in directions])
    assert all(abs(np.linalg.norm(d) - 1) < 1e-12 and np.abs(rigid @ d.ravel()).max() < 1e-10 for d in soft)


def test_a_line_of_atoms_has_five_rigid_motions():
    co2 = built("CO2")
    assert len(rigid_motions(Molecule.of(co2), co2.positions)) == 5
    assert len(rigid_motions(Molecule.of(built("H2O")), built("H2O").positions)) == 6


def test_scattered_molecules_keep_their_shape_and_their_distance():
    water = Atoms()
    for k in range(4):
        one = built("H2O")
        one.translate([3.0 * k, 0, 0])
        water += one
    m = Molecule.of(water)
    end = scattered(m, water.positions, 3.0, np.random.default_rng(1))
    for k in range(0, 12, 3):
        assert np.linalg.norm(end[k + 1] - end[k + 2]) == pytest.approx(np.linalg.norm(water.positions[1] - water.positions[2]))
    assert Integrity(m).broken(end) is None
    assert not np.allclose(end, water.positions, atol=0.5)


def test_a_surface_move_takes_the_loosest_atom():
    atoms = cluster(4)
    grid = np.array([(i, j, k) for i in range(2) for j in range(2) for k in range(2)], float) * 3.8
    positions = np.concatenate([grid, [[3.8 * 2.2, 0, 0]]])
    end = over_the_surface(positions, np.random.default_rng(0))
    moved = np.flatnonzero(np.abs(end - positions).max(axis=1) > 1e-9)
    assert moved.tolist() == [8] and len(atoms) == 4


@pytest.mark.parametrize("kind, options, message", [
    (MinimaHopping, {"temperature_K": -1}, "temperature_K must be > 0"), (Dihedral, {"bonds": 9}, "between 1 and most_bonds"),
    (BasinHopping, {"taken": 2}, "taken must be between 0 and 1"), (MinimaHopping, {"raise_same": 0.9}, "raise_same and raise_known must be >= 1"),
])
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_the_mixture_learns_which_move_pays():
    mixture, rng, world = Mixture(["good", "bad"]), np.random.default_rng(2), np.random.default_rng(3)
    chosen = []
    for _ in range(400):
        name = mixture.choose(rng)
        chosen.append(name)
        mixture.learn(name, bool(world.random() < (0.6 if name == "good" else 0.1)), 100)
    assert chosen[:10].count("bad") > 0  # both are tried
    assert chosen[-200:].count("good") > 170
    assert mixture.arms["good"].per_thousand == pytest.approx(6.0, rel=0.2)


def test_a_move_that_never_gets_as_far_as_an_evaluation_is_given_up_too():
    mixture, rng = Mixture(["good", "futile"]), np.random.default_rng(2)
    chosen = []
    for _ in range(300):
        name = mixture.choose(rng)
        chosen.append(name)
        mixture.learn(name, name == "good", 100 if name == "good" else 0)
    assert 0 < chosen.count("futile") < 60


def test_the_mixture_forgets_a_move_that_has_found_all_it_can():
    mixture, rng = Mixture(["first", "later"]), np.random.default_rng(2)
    for _ in range(300):
        mixture.learn("first", True, 100)
        mixture.learn("later", False, 100)
    chosen = []
    for _ in range(4000):
        name = mixture.choose(rng)
        chosen.append(name)
        mixture.learn(name, name == "later", 100)
    assert chosen[-500:].count("later") > 400


def test_completeness_of_a_known_population():
    """300 equally likely minima, 600 visits: e^-2 of them are unseen, 13.5 %."""
    rng = np.random.default_rng(4)
    counts = np.bincount(rng.integers(300, size=600), minlength=300)
    c = completeness(counts.tolist())
    assert c.found == (counts > 0).sum() and c.visits == 600
    assert c.coverage == pytest.approx(1 - math.exp(-2), abs=0.06)
    assert c.low < 300 < c.high and c.expected == pytest.approx(300, rel=0.1)


def test_completeness_says_nothing_of_nothing_and_all_of_what_was_seen_often():
    assert completeness([]).found == 0 and completeness([]).share == 0.0
    all_seen = completeness([5, 9, 3])
    assert (all_seen.coverage, all_seen.expected, all_seen.share) == (1.0, 3.0, 1.0)
    once = completeness([1] * 10)
    assert once.coverage == 0.0 and once.expected == pytest.approx(10 + 0.9 * 45) and once.high > once.expected
