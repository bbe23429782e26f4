"""Flat arrays, batches and splits."""
import numpy as np
import pytest
import torch
from ase import Atoms

from potentials.data import DataError, LabelledStructure, batches, build_dataset, split
from potentials.data.pairlists import find_pairs
from potentials.graph import batch as join
from potentials.neighbours import graph_of, pairs


def structure(seed, n_atoms=5, periodic=False, molecule="m"):
    rng = np.random.default_rng(seed)
    return LabelledStructure(
        numbers=rng.choice([1, 6, 8], n_atoms), positions=rng.uniform(0, 4, (n_atoms, 3)), energy=float(rng.standard_normal()),
        forces=rng.standard_normal((n_atoms, 3)).astype(np.float32).astype(float), stress=np.eye(3) * seed if periodic else None,
        cell=np.diag([4.0, 5.0, 6.0]) if periodic else np.zeros((3, 3)), pbc=np.full(3, periodic), charge=float(seed % 2), molecule=molecule,
        source=f"frame {seed}",
    )


def as_atoms(s):
    return Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc, info={"charge": s.charge})


def edge_set(edges):
    return sorted(zip(edges.centres.tolist(), edges.neighbours.tolist(), map(tuple, edges.shifts.tolist())))


@pytest.mark.parametrize("periodic", [False, True])
def test_batch_is_the_join_of_single_graphs(periodic):
    structures = [structure(k, n_atoms=3 + k, periodic=periodic and k != 1) for k in range(4)]
    dataset = build_dataset(structures, 3.0, long_range_cutoff=3.5)
    chosen = [2, 0, 1]
    b = dataset.batch(chosen)
    expected = join([graph_of(as_atoms(structures[k]), 3.0, 3.5) for k in chosen])
    for name in ("positions", "numbers", "structure", "cell", "charge", "unpaired"):
        assert torch.equal(getattr(b.graph, name), getattr(expected, name)), name
    assert edge_set(b.graph.edges) == edge_set(expected.edges)
    assert edge_set(b.graph.long_range) == edge_set(expected.long_range)
    assert b.energy.tolist() == [structures[k].energy for k in chosen]
    assert torch.equal(b.forces, torch.from_numpy(np.concatenate([structures[k].forces for k in chosen])))
    assert b.atom_counts.tolist() == [5, 3, 4]
    assert torch.isnan(b.stress).all(dim=2).all(dim=1).tolist() == [not structures[k].pbc.any() for k in chosen]


def test_every_frame_comes_once_and_the_seed_decides_the_order():
    dataset = build_dataset([structure(k) for k in range(23)], 3.0)
    orders = [list(batches(dataset, np.arange(23), 4, rng=np.random.default_rng(seed))) for seed in (1, 1, 2)]
    for order in orders:
        assert sorted(np.concatenate(order)) == list(range(23))
        assert [len(b) for b in order] == [4, 4, 4, 4, 4, 3]
    assert all(np.array_equal(a, b) for a, b in zip(orders[0], orders[1]))
    assert not all(np.array_equal(a, b) for a, b in zip(orders[0], orders[2]))


@pytest.mark.parametrize("limits", [{"batch_atoms": 20}, {"batch_atoms": 20, "batch_size": 2}, {"batch_atoms": 25, "batch_edges": 40}, {"batch_atoms": 5}])
def test_batches_by_atoms_are_as_full_as_the_limits_let_them(limits):
    dataset = build_dataset([structure(k, n_atoms=2 + k % 9) for k in range(30)], 3.0)
    found = list(batches(dataset, np.arange(30), limits.get("batch_size"), limits.get("batch_edges"), np.random.default_rng(1), limits["batch_atoms"]))
    assert sorted(np.concatenate(found)) == list(range(30))

    def fits(chosen):
        sums = {"batch_atoms": dataset.atom_counts[chosen].sum(), "batch_edges": dataset.edge_counts[chosen].sum(), "batch_size": len(chosen)}
        return all(sums[name] <= limit for name, limit in limits.items())

    assert all(fits(b) or len(b) == 1 for b in found) and any(len(b) > 1 for b in found)
    assert not any(fits(np.append(b, after[0])) for b, after in zip(found, found[1:]))


def test_batches_by_edges_stay_below_the_limit():
    dataset = build_dataset([structure(k, n_atoms=2 + k) for k in range(12)], 3.0)
    limit = int(dataset.edge_counts.max()) - 1  # the largest frame alone is above it
    found = list(batches(dataset, np.arange(12), None, limit))
    assert sorted(np.concatenate(found)) == list(range(12))
    assert all(len(b) == 1 or dataset.edge_counts[b].sum() <= limit for b in found)
    assert dataset.edge_counts[3] == len(dataset.batch([3]).graph.edges)
    with pytest.raises(ValueError, match="batch_size .* or batch_edges"):
        list(batches(dataset, np.arange(12), None))


def test_split_by_molecule_keeps_molecules_together():
    dataset = build_dataset([structure(k, molecule=f"m{k % 7}") for k in range(40)], 3.0)
    training, validation = split(dataset, 0.2, seed=3, by="molecule")
    names = np.array(dataset.molecules)
    assert not set(names[training]) & set(names[validation])
    assert sorted([*training, *validation]) == list(range(40))
    assert 8 <= len(validation) <= 8 + 6  # at most one molecule too many


def test_split_by_frame_has_the_fraction_and_the_seed_decides():
    dataset = build_dataset([structure(k) for k in range(40)], 3.0)
    (a, va), (b, vb), (_, vc) = (split(dataset, 0.25, seed) for seed in (0, 0, 1))
    assert len(va) == 10 and len(a) == 30 and not set(a) & set(va)
    assert np.array_equal(va, vb) and np.array_equal(a, b) and not np.array_equal(va, vc)


def test_split_that_leaves_nothing_is_refused():
    dataset = build_dataset([structure(k, molecule="one") for k in range(5)], 3.0)
    with pytest.raises(DataError, match="1 molecules, split by molecule, leaves 0 for training and 5"):
        split(dataset, 0.2, 0, by="molecule")
    with pytest.raises(DataError, match="leaves 5 for training and 0"):
        split(dataset, 0.01, 0)


def test_no_structures_are_refused():
    with pytest.raises(DataError, match="No labelled structures"):
        build_dataset([], 3.0)


@pytest.mark.parametrize("n_atoms", [1, 2, 9, 32, 33])
@pytest.mark.parametrize("periodic", [False, True])
def test_pairs_of_small_molecules_are_those_of_the_search_in_its_order(n_atoms, periodic):
    s = structure(n_atoms, n_atoms=n_atoms, periodic=periodic)
    for found, expected in zip(find_pairs(s.positions, s.cell, s.pbc, 2.5), pairs(s.positions, s.cell, s.pbc, 2.5)):
        assert np.array_equal(found, expected) and found.dtype == expected.dtype
