"""Graphs: both directions of each pair, vectors from centre to neighbour, batches that keep structures apart."""
import numpy as np
import pytest
import torch

from potentials.graph import Edges, batch, edge_lengths, edge_vectors, pair_vectors, sum_over_atoms, sum_over_neighbours, with_geometry
from potentials.neighbours import graph_of
from samples import argon, water

CUTOFF = 4.0


@pytest.fixture(scope="module")
def graphs():
    far = water(3)
    far.positions += 500.0
    return [graph_of(atoms, CUTOFF) for atoms in (water(1), argon(2, n=1), far, water()[:1], argon(4, n=1, periodic=False))]


def test_every_edge_has_its_opposite(graphs):
    for g in graphs:
        n, e = g.edges.n_pairs, g.edges
        assert len(e) == 2 * n
        assert torch.equal(e.centres[:n], e.neighbours[n:]) and torch.equal(e.neighbours[:n], e.centres[n:])
        assert torch.equal(e.shifts[:n], -e.shifts[n:])
        rows = {(i, j, *s) for i, j, s in zip(e.centres.tolist(), e.neighbours.tolist(), e.shifts.tolist())}
        assert len(rows) == len(e)


def test_vectors_point_from_centre_to_neighbour():
    atoms = argon(1, n=1)
    g = graph_of(atoms, CUTOFF)
    e = g.edges
    expected = atoms.positions[e.neighbours] + e.shifts.numpy() @ atoms.cell.array - atoms.positions[e.centres]
    np.testing.assert_allclose(edge_vectors(g).numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(edge_lengths(g).numpy(), np.linalg.norm(expected, axis=1), atol=1e-13)
    assert edge_lengths(g).max() <= CUTOFF


def test_a_batch_holds_what_its_members_hold(graphs):
    together = batch(graphs)
    assert together.n_structures == len(graphs) and together.n_atoms == sum(g.n_atoms for g in graphs)
    vectors, n = pair_vectors(together), together.edges.n_pairs
    start = first_atom = 0
    for k, g in enumerate(graphs):
        own = slice(start, start + g.edges.n_pairs)
        torch.testing.assert_close(vectors[own], pair_vectors(g), rtol=0, atol=0 if g.n_structures == 1 and not g.cell.any() else 1e-13)
        assert torch.equal(together.edges.centres[own] - first_atom, g.edges.centres[: g.edges.n_pairs])
        assert (together.structure[together.edges.centres[:n][own]] == k).all() and (together.structure[together.edges.neighbours[:n][own]] == k).all()
        start, first_atom = start + g.edges.n_pairs, first_atom + g.n_atoms
    assert start == n


def test_batching_in_two_steps_is_batching_at_once(graphs):
    one, two = batch([batch(graphs[:2]), batch(graphs[2:])]), batch(graphs)
    for name in ("positions", "numbers", "structure", "cell", "charge", "unpaired"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert torch.equal(one.edges.centres, two.edges.centres) and torch.equal(one.edges.shifts, two.edges.shifts)


def test_sums_over_neighbours_and_atoms_are_plain_loops(graphs):
    g = batch(graphs)
    values = torch.arange(len(g.edges), dtype=torch.float64) + 1
    expected = torch.zeros(g.n_atoms, dtype=torch.float64)
    for edge, i in enumerate(g.edges.centres.tolist()):
        expected[i] += values[edge]
    assert torch.equal(sum_over_neighbours(values, g), expected)
    totals = torch.zeros(g.n_structures, dtype=torch.float64)
    for atom, k in enumerate(g.structure.tolist()):
        totals[k] += expected[atom]
    assert torch.equal(sum_over_atoms(expected, g), totals)
    assert sum_over_neighbours(torch.ones(len(g.edges), 2, 3), g).shape == (g.n_atoms, 2, 3)


def test_impossible_batches_are_refused(graphs):
    with pytest.raises(ValueError, match="at least one graph"):
        batch([])
    with pytest.raises(ValueError, match="Some graphs of the batch have a long-range list"):
        batch([graphs[0], graph_of(water(), CUTOFF, 9.0)])
    assert batch(graphs[:1]) is graphs[0]


def test_long_range_pairs_are_joined_alike():
    graphs = [graph_of(water(k), CUTOFF, 9.0) for k in range(3)]
    together = batch(graphs)
    assert together.long_range.n_pairs == sum(g.long_range.n_pairs for g in graphs)
    lengths = torch.cat([edge_lengths(g, g.long_range)[: g.long_range.n_pairs] for g in graphs])
    torch.testing.assert_close(edge_lengths(together, together.long_range)[: together.long_range.n_pairs], lengths, rtol=0, atol=1e-14)


def test_positions_stay_in_double_precision_far_from_the_origin():
    near, far = water(0), water(0)
    far.positions += 1e5
    one, other = (pair_vectors(graph_of(a, CUTOFF)) for a in (near, far))
    assert one.dtype == torch.float64
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)  # 1e5 Å in float64; in float32 it would be 1e-2


def test_geometry_is_replaced_and_nothing_else(graphs):
    g = graphs[1]
    moved = with_geometry(g, g.positions + 1, 2 * g.cell)
    assert torch.equal(moved.positions, g.positions + 1) and torch.equal(moved.cell, 2 * g.cell)
    assert moved.edges is g.edges and moved.numbers is g.numbers
    assert not torch.equal(g.positions, moved.positions)


def test_charge_and_multiplicity_come_from_the_atoms():
    atoms = water()
    assert graph_of(atoms, CUTOFF).charge.tolist() == [0.0] and graph_of(atoms, CUTOFF).unpaired.tolist() == [0.0]
    atoms.info.update(charge=-2, multiplicity=3)
    assert graph_of(atoms, CUTOFF).charge.tolist() == [-2.0] and graph_of(atoms, CUTOFF).unpaired.tolist() == [2.0]


def test_no_pairs_is_a_graph_too():
    g = graph_of(water()[:1], CUTOFF)
    assert len(g.edges) == 0 and edge_vectors(g).shape == (0, 3) and sum_over_neighbours(torch.zeros(0), g).tolist() == [0.0]
    empty = Edges.of_pairs(*(torch.zeros(0, dtype=torch.int64) for _ in range(2)), torch.zeros(0, 3))
    assert empty.n_pairs == 0
