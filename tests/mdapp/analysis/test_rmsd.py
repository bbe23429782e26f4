"""Superposition against motions that are known."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdapp.analysis.rmsd import displacement, radius_of_gyration, rmsd, superpose


@pytest.fixture
def shape():
    return np.random.default_rng(1).normal(size=(12, 3)) * 3


def test_turns_and_shifts_do_not_count(shape):
    turns = Rotation.random(20, rng=np.random.default_rng(2)).as_matrix()
    moved = shape @ turns + np.random.default_rng(3).normal(size=(20, 1, 3)) * 50
    assert rmsd(moved, shape) == pytest.approx(0, abs=1e-12)
    assert superpose(moved, shape) == pytest.approx(np.broadcast_to(shape, moved.shape), abs=1e-12)


def test_a_mirror_image_is_another_shape(shape):
    assert rmsd(shape[None] * [1, 1, -1], shape)[0] > 0.5


def test_breathing_by_one_percent_is_one_percent_of_the_radius(shape):
    radius = radius_of_gyration(shape[None], np.ones(12))[0]
    assert rmsd(1.01 * shape[None], shape)[0] == pytest.approx(0.01 * radius)


def test_agrees_with_scipy_for_weighted_noise(shape):
    rng = np.random.default_rng(4)
    weights = rng.uniform(1, 16, 12)
    noisy = shape + rng.normal(size=(5, 12, 3))
    centre = lambda x: x - weights @ x / weights.sum()
    expected = [Rotation.align_vectors(centre(shape), centre(x), weights)[1] / np.sqrt(weights.sum()) for x in noisy]
    assert rmsd(noisy, shape, weights) == pytest.approx(np.array(expected))


def test_no_superposition_is_better(shape):
    noisy = shape + np.random.default_rng(5).normal(size=(1, 12, 3))
    best = rmsd(noisy, shape)[0]
    fitted = superpose(noisy, shape)
    for turn in Rotation.from_rotvec(np.random.default_rng(6).normal(size=(30, 3)) * 0.05).as_matrix():
        centre = shape.mean(axis=0)
        assert np.sqrt(np.mean(np.sum(((fitted[0] - centre) @ turn + centre - shape) ** 2, axis=1))) >= best


def test_radius_of_gyration_of_two_masses():
    assert radius_of_gyration(np.array([[[0, 0, 0], [3.0, 0, 0]]]), np.array([1.0, 2.0]))[0] == pytest.approx(np.sqrt(2))


def test_strain_and_shift_of_a_crystal_do_not_count():
    rng = np.random.default_rng(7)
    cell = np.diag([10.0, 11, 12]) + rng.normal(size=(3, 3))
    scaled = rng.uniform(size=(9, 3))
    grown = cell @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3)))
    assert displacement(scaled @ cell, scaled @ grown + 1.5, cell, grown) == pytest.approx(0, abs=1e-12)
    assert displacement(scaled @ cell, scaled @ cell + np.eye(9, 3) * 0.3, cell, cell) > 0.1
