"""Networks, trees and populations of landscapes that are known by construction."""
from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
from ase import units

from mdapp.minima.landscape.disconnectivity import draw, pruned, tree
from mdapp.minima.landscape.network import Edge, Network, distances, next_pairs
from mdapp.minima.landscape.populations import populations, vibrational_free_energy

#       two funnels: 0 (lowest) with 1 and 2; 3 with 4; between them 0.9 eV; minimum 5 is joined to nothing
FUNNELS = Network(np.array([-1.0, -0.8, -0.7, -0.9, -0.6, -0.5]),
                  (Edge(0, 1, -0.5), Edge(1, 2, -0.4), Edge(0, 2, -0.1), Edge(3, 4, -0.3), Edge(2, 3, -0.1), Edge(0, 4, 0.2), Edge(1, 1, -0.2)))


def random_network(n: int = 40, n_edges: int = 90, seed: int = 1) -> Network:
    rng = np.random.default_rng(seed)
    energies = rng.uniform(0, 1, n)
    pairs = rng.integers(0, n, (n_edges, 2))
    return Network(energies, tuple(Edge(int(a), int(b), float(max(energies[a], energies[b]) + rng.exponential(0.3))) for a, b in pairs))


def test_the_constructed_tree_is_the_right_one():
    first, second = tree(FUNNELS)
    assert second.minima() == [5] and second.children == ()
    assert first.energy == pytest.approx(-0.1) and sorted(first.minima()) == [0, 1, 2, 3, 4] and first.minimum == 0
    left, right = sorted(first.children, key=lambda b: b.minimum)
    assert (left.energy, sorted(left.minima()), left.minimum) == (-0.4, [0, 1, 2], 0)
    assert (right.energy, sorted(right.minima()), right.minimum) == (-0.3, [3, 4], 3)
    inner = next(b for b in left.children if b.children)
    assert (inner.energy, sorted(inner.minima())) == (-0.5, [0, 1])


def test_branches_meet_at_the_lowest_pass_between_any_two_minima():
    network = random_network()
    roots = tree(network)
    meets = {}
    for branch in (b for root in roots for b in root.branches()):
        for one, other in itertools.combinations(branch.children, 2):
            for a, b in itertools.product(one.minima(), other.minima()):
                meets[min(a, b), max(a, b)] = branch.energy
    for a, b in itertools.combinations(range(len(network.energies)), 2):
        found = network.lowest_pass(a, b)
        assert (found is None) == ((a, b) not in meets)
        if found is not None:
            height, way = found
            assert meets[a, b] == height and way[0] == a and way[-1] == b


@pytest.mark.parametrize("step", [0.05, 0.2])
def test_levels_round_meetings_up_and_never_below_a_saddle(step):
    network = random_network()
    exact = {frozenset(b.minima()): b.energy for root in tree(network) for b in root.branches() if b.children}
    for branch in (b for root in tree(network, step) for b in root.branches() if b.children):
        above = (branch.energy - network.energies.min()) / step
        assert above == pytest.approx(round(above), abs=1e-6)
        assert branch.energy >= max(energy for members, energy in exact.items() if members <= set(branch.minima())) - 1e-9
        assert all(child.energy < branch.energy for child in branch.children)


@pytest.mark.parametrize("step", [None, 0.1])
def test_the_drawing_has_every_leaf_at_its_energy_and_no_crossing_lines(step):
    network = random_network()
    drawing = draw(tree(network, step), network, step)
    assert sorted(drawing.leaves) == list(range(len(network.energies)))
    for k, (_, energy) in drawing.leaves.items():
        assert energy == pytest.approx(network.energies[k] - network.energies.min())
    assert len({round(x, 9) for x, _ in drawing.leaves.values()}) == len(network.energies)
    assert np.all(drawing.lines[:, 0, 1] < drawing.lines[:, 1, 1])  # every line rises
    for one, other in itertools.combinations(drawing.lines, 2):
        assert not crosses(one, other)


def test_a_pruned_tree_keeps_what_meets_where():
    network = random_network()
    keep = np.argsort(network.energies)[:15].tolist()
    small = pruned(tree(network), keep)
    assert sorted(k for root in small for k in root.minima()) == sorted(keep) and sum(root.size for root in small) == 15
    meets = {(a, b): branch.energy for root in small for branch in root.branches() for one, other in itertools.permutations(branch.children, 2)
             for a, b in itertools.product(one.minima(), other.minima())}
    for a, b in itertools.combinations(keep, 2):
        found = network.lowest_pass(a, b)
        assert meets.get((a, b)) == (None if found is None else found[0])
    for branch in (b for root in small for b in root.branches()):
        assert network.energies[branch.minimum] == min(network.energies[branch.minima()])


def crosses(p: np.ndarray, q: np.ndarray) -> bool:
    """Do two segments cut each other in their inside?"""
    side = lambda a, b, c: float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
    s = [side(p[0], p[1], q[0]), side(p[0], p[1], q[1]), side(q[0], q[1], p[0]), side(q[0], q[1], p[1])]
    return s[0] * s[1] < -1e-12 and s[2] * s[3] < -1e-12


def test_parts_and_passes():
    assert len(set(FUNNELS.components())) == 2 and FUNNELS.lowest_pass(0, 5) is None
    assert FUNNELS.lowest_pass(1, 4) == (-0.1, [1, 2, 3, 4])
    joined, chosen = FUNNELS.joined()
    assert chosen.tolist() == [0, 1, 2, 3, 4] and len(joined.edges) == len(FUNNELS.edges)


def test_a_saddle_below_its_minimum_is_refused():
    with pytest.raises(ValueError, match="lies below one of them"):
        Network(np.array([0.0, 1.0]), (Edge(0, 1, 0.5),))
    with pytest.raises(ValueError, match="there are 2 minima"):
        Network(np.array([0.0, 1.0]), (Edge(0, 2, 1.5),))


def test_saddles_in_a_table(tmp_path):
    FUNNELS.to_csv(tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(rows) == len(FUNNELS.edges) and float(rows[0]["above_lowest_eV"]) == pytest.approx(0.5)
    assert all(float(r["barrier_from_a_eV"]) >= 0 for r in rows)


def test_pairs_join_what_is_apart_first_and_are_never_proposed_twice():
    places = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    network, apart = Network(np.arange(5.0)), distances(places)
    wanted = next_pairs(network, apart)
    assert wanted == [(0, 1), (1, 2), (2, 3), (3, 4)]  # a chain along the line, low minima first
    assert (2, 3) not in next_pairs(network, apart, tried=[(2, 3)]) and (1, 3) in next_pairs(network, apart, tried=[(2, 3)])
    half = Network(np.arange(5.0), (Edge(0, 1, 2.0), Edge(1, 2, 3.0)))
    assert next_pairs(half, apart) == [(2, 3), (3, 4)]
    assert next_pairs(half, apart, transitions={(0, 3): 4}) == [(0, 3), (3, 4)]  # seen by a search: worth half its distance
    whole = Network(np.arange(3.0), (Edge(0, 1, 2.0), Edge(1, 2, 3.0)))
    assert next_pairs(whole, apart[:3, :3]) == [(0, 2)]  # all joined: the nearest pair without a saddle
    assert next_pairs(whole, apart[:3, :3], tried=[(0, 2)]) == []


def test_populations_by_energy_obey_boltzmann():
    kT = units.kB * 300
    found = populations(np.array([-5.0, -5.0 + kT, -5.0 + 3 * kT]), 300)
    assert not found.harmonic and "energies alone" in found.basis
    assert found.shares.sum() == pytest.approx(1) and found.shares[0] / found.shares[1:] == pytest.approx(np.exp([1, 3]))


def test_soft_and_symmetric_minima_are_weighed_right():
    kT = units.kB * 300
    found = populations(np.zeros(2), 300, {0: np.array([50.0, 1000]), 1: np.array([100.0, 1000])})
    assert found.harmonic and found.shares[0] / found.shares[1] == pytest.approx(2.0, rel=0.02)  # classical: the inverse ratio of frequencies; h nu is 0.5 kT
    stiff = populations(np.zeros(2), 1.0, {0: np.array([3000.0]), 1: np.array([3100.0])})
    assert stiff.free_energies[1] == pytest.approx(50 * units.invcm, rel=1e-6)  # at 1 K the zero-point energy is all there is
    twofold = populations(np.zeros(2), 300, None, {0: 2})
    assert twofold.shares.tolist() == pytest.approx([1 / 3, 2 / 3]) and twofold.free_energies[0] == pytest.approx(kT * np.log(2))


def test_minima_without_frequencies_are_left_out_only_where_they_do_not_matter():
    f = {0: np.array([100.0]), 1: np.array([100.0])}
    high = populations(np.array([0.0, 0.01, 1.0]), 300, f)
    assert high.harmonic and high.left_out == 1 and high.minima.tolist() == [0, 1] and "1 higher minima" in high.basis
    low = populations(np.array([0.0, 0.01, 0.02]), 300, f)
    assert not low.harmonic and len(low.shares) == 3
    saddle = populations(np.array([0.0, 0.01]), 300, {0: np.array([100.0]), 1: np.array([-200.0])})
    assert not saddle.harmonic  # an imaginary mode is no frequency of a minimum


def test_a_free_energy_of_a_saddle_is_refused():
    with pytest.raises(ValueError, match="imaginary"):
        vibrational_free_energy(np.array([-300.0, 100.0]), 300)
    with pytest.raises(ValueError, match="temperature_K must be > 0"):
        populations(np.zeros(1), 0.0)
