"""A bond that leaves is found, a wall is no break."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.bonds import bond_lengths, bond_series

BONDS = np.array([[0, 1], [1, 2]])
FREE = (np.zeros((3, 3)), np.zeros(3, dtype=bool))


def test_the_worst_bond_is_named_and_counted():
    frames = np.zeros((3, 3, 3))
    frames[:, 1, 0] = 1.0
    frames[:, 2, 0] = [2.0, 2.2, 3.1]
    lengths = bond_lengths(frames, BONDS, *FREE)
    series = bond_series(np.arange(3.0), lengths, lengths[0], BONDS)
    assert series.worst_A == pytest.approx([0, 0.2, 1.1])
    assert series.n_broken.tolist() == [0, 0, 1] and series.broken_frames == 1
    assert series.worst_bond[2].tolist() == [1, 2]


def test_a_molecule_across_a_slanted_wall_is_whole():
    rng = np.random.default_rng(1)
    cell = np.array([[12.0, 0, 0], [3, 11, 0], [-2, 4, 13]])
    frames = rng.uniform(-30, 30, size=(50, 1, 3)) + np.array([[0.0, 0, 0], [0.9, 0.2, 0], [1.5, 1.0, 0.4]])
    wrapped = (frames @ np.linalg.inv(cell) % 1.0) @ cell
    assert bond_lengths(wrapped, BONDS, cell, np.ones(3, dtype=bool)) == pytest.approx(bond_lengths(frames, BONDS, *FREE))


def test_open_directions_have_no_images():
    frames = np.array([[[0.0, 0, 0], [9.0, 0, 0], [9.0, 9.0, 0]]])
    lengths = bond_lengths(frames, BONDS, np.diag([10.0, 10, 10]), np.array([True, False, False]))
    assert lengths[0] == pytest.approx([1.0, 9.0])
