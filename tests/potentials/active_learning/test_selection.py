"""Farthest points: spread out, never twice the same, blind to what is known or hopeless."""
import numpy as np
import pytest

from potentials.active_learning.selection import farthest_points, uncertain_and_diverse


def test_each_choice_is_the_farthest_from_all_before():
    points = np.random.default_rng(0).normal(size=(60, 3))
    chosen = farthest_points(points, 12, first=5)
    assert chosen[0] == 5 and len(set(chosen)) == 12
    for k in range(1, 12):
        away = np.linalg.norm(points[:, None] - points[chosen[:k]], axis=2).min(1)
        assert away[chosen[k]] == away.max()


def test_what_is_known_counts_as_chosen():
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    assert farthest_points(points, 1, known=np.array([[11.0]])) == [0]
    assert farthest_points(points, 4, known=np.array([[11.0], [0.0]])) == [1, 2]  # the others lie on what is known


def test_copies_are_taken_once_and_nothing_gives_nothing():
    assert farthest_points(np.zeros((5, 2)), 3) == [0]
    assert farthest_points(np.zeros((0, 2)), 3) == [] and farthest_points(np.ones((3, 2)), 0) == []


def test_only_uncertain_ones_are_chosen_and_none_behind_the_limit():
    points = np.arange(8.0)[:, None]
    uncertainty = np.array([0.01, 0.2, 5.0, np.inf, np.nan, 0.3, 0.25, 0.04])
    assert sorted(uncertain_and_diverse(uncertainty, points, 8, least=0.05, most=3.0)) == [1, 5, 6]
    assert uncertain_and_diverse(uncertainty, points, 1, least=0.05, most=3.0) == [5]  # the most uncertain one comes first
    assert uncertain_and_diverse(uncertainty, points, 2, least=0.05, most=3.0) == [5, 1]  # then the one that is farthest from it


def test_the_choice_is_among_the_most_uncertain():
    points = np.arange(100.0)[:, None]
    uncertainty = np.linspace(1.0, 2.0, 100)
    assert min(uncertain_and_diverse(uncertainty, points, 2, least=0.0, pool=5)) >= 90


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="3 uncertainties for 2 configurations"):
        uncertain_and_diverse(np.ones(3), np.ones((2, 1)), 1, least=0.0)
