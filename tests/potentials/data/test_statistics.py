"""Reference energies by least squares, on the training frames only."""
import logging
import sys
from dataclasses import replace

import numpy as np
import pytest

from data.test_dataset import structure

from potentials.data import DataError, build_dataset
from potentials.data.statistics import composition, residual_per_atom, statistics

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


def test_frames_taken_up_piece_by_piece_give_least_squares_of_all(monkeypatch):
    """Nearly collinear compositions (C_n H_2n+2 with one other) are where normal equations lose half of the digits."""
    monkeypatch.setattr(sys.modules["potentials.data.statistics"], "_TOGETHER", 7)
    rng = np.random.default_rng(5)
    shapes = [(n, 2 * n + 2, 0) for n in range(40, 75)] + [(50, 101, 1)]
    frames = []
    for c, h, o in shapes:
        numbers = np.repeat([6, 1, 8], [c, h, o])
        energy = float(numbers.size * 1e-3 * rng.standard_normal() + sum(E[z] for z in numbers.tolist()))
        frames.append(replace(structure(c), numbers=numbers, positions=rng.uniform(0, 30, (len(numbers), 3)), forces=None, energy=energy))
    dataset = build_dataset(frames, 1.0)
    elements, counts = composition(dataset, np.arange(len(frames)))
    n = counts.sum(axis=1)
    expected, *_ = np.linalg.lstsq(counts / n[:, None], dataset.energy / n, rcond=None)
    assert np.linalg.cond(counts / n[:, None]) > 500
    known = statistics(dataset, np.arange(len(frames)))
    assert [known.reference_energies[z] for z in elements] == pytest.approx(expected, rel=1e-11)
    assert known.energy_spread == pytest.approx(np.std(residual_per_atom(dataset, np.arange(len(frames)), known.reference_energies)))
    assert np.isnan(known.force_rms)


def test_frames_without_an_energy_do_not_count(caplog):
    structures = with_energies([structure(k) for k in range(20)])
    mixed = [replace(s, energy=None) if k % 3 == 0 else s for k, s in enumerate(structures)]
    known = statistics(build_dataset(mixed, 3.0), np.arange(20))
    assert known.reference_energies == pytest.approx(E, rel=1e-9) and known.energy_spread < 1e-9
    nothing = statistics(build_dataset([replace(s, energy=None) for s in structures], 3.0), np.arange(20))
    assert set(nothing.reference_energies.values()) == {0.0} and "No training frame has an energy" in caplog.text
