"""Reference energies by least squares, on the training frames only."""
import logging
from dataclasses import replace

import numpy as np
import pytest

from data.test_dataset import structure
from potentials.data import DataError, build_dataset, statistics

E = {1: -13.6, 6: -1029.0, 8: -2042.0}


def with_energies(structures):
    return [replace(s, energy=sum(E[z] for z in s.numbers.tolist())) for s in structures]


def test_known_energies_of_atoms_are_found():
    dataset = build_dataset(with_energies([structure(k, n_atoms=4 + k % 3) for k in range(20)]), 3.0)
    known = statistics(dataset, np.arange(20))
    assert known.reference_energies == pytest.approx(E, rel=1e-9)
    assert known.energy_spread < 1e-9


def test_only_training_frames_count():
    structures = with_energies([structure(k) for k in range(20)])
    structures[19] = replace(structures[19], energy=1e6)
    assert statistics(build_dataset(structures, 3.0), np.arange(19)).reference_energies == pytest.approx(E, rel=1e-9)


def test_undetermined_energies_are_said_and_sum_to_the_right_energy(caplog):
    water = replace(structure(0, n_atoms=3), numbers=np.array([8, 1, 1]), energy=-2070.0)
    dataset = build_dataset([water, replace(water, energy=-2072.0)], 3.0)
    with caplog.at_level(logging.WARNING):
        found = statistics(dataset, np.arange(2)).reference_energies
    assert "rank 1 of 2" in caplog.text and "H, O" in caplog.text
    assert found[8] + 2 * found[1] == pytest.approx(-2071.0)


def test_given_energies_must_cover_all_elements():
    dataset = build_dataset([structure(k) for k in range(3)], 3.0)
    with pytest.raises(DataError, match="No reference energy for C, which"):
        statistics(dataset, np.arange(3), {1: -13.0, 8: -2000.0})


def test_mean_neighbours_and_force_size():
    structures = [structure(k) for k in range(6)]
    dataset = build_dataset(structures, 3.0)
    known = statistics(dataset, np.array([1, 4]))
    edges = sum(len(dataset.batch([k]).graph.edges) for k in (1, 4))
    assert known.mean_neighbours == pytest.approx(edges / 10)
    assert known.force_rms == pytest.approx(np.sqrt(np.mean([structures[k].forces ** 2 for k in (1, 4)])))
