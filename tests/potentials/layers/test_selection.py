"""Descriptors are chosen for what they add."""
import numpy as np
import pytest

from potentials.layers.symmetry_functions.selection import Selection, cur, farthest, selected


def columns(n_atoms=300):
    """Three independent directions, each twice with a little noise, and a constant."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, n_atoms))
    noise = 1e-3 * rng.normal(size=(3, n_atoms))
    return np.stack([5 * a, 100 * a + 1 + noise[0], b, np.full(n_atoms, 3.0), -b + noise[1], c, c + noise[2]], axis=1)


@pytest.mark.parametrize("method", ["cur", "farthest", "correlation"])
@pytest.mark.parametrize("factor", [1.0, 1e6])
def test_one_of_each_pair_is_kept_and_constants_never(method, factor):
    G = columns() * np.where(np.arange(7) == 5, factor, 1.0)
    assert list(selected(G, Selection(keep=3, method=method))) == [0, 2, 5]


@pytest.mark.parametrize("method", [cur, farthest])
def test_without_the_correlation_the_methods_themselves_avoid_what_they_have(method):
    X = np.delete(columns(), 3, axis=1)
    X = (X - X.mean(0)) / X.std(0)
    kept = set(method(X, 3))
    if method is cur:
        assert [len(kept & pair) for pair in ({0, 1}, {2, 3}, {4, 5})] == [1, 1, 1]
    else:  # a column and its negative are as far apart as can be
        assert {2, 3} <= kept and len(kept & {0, 1, 4, 5}) == 1


def test_cur_explains_more_than_columns_drawn_at_random():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 12)) @ np.diag(np.geomspace(1, 1e-2, 12)) @ rng.normal(size=(12, 40))
    X = (X - X.mean(0)) / X.std(0)

    def left(kept):
        return np.linalg.norm(X - X[:, kept] @ np.linalg.lstsq(X[:, kept], X, rcond=None)[0])

    for n in (3, 6, 9):
        assert left(cur(X, n)) < 0.9 * np.mean([left(rng.choice(40, n, replace=False)) for _ in range(30)])


def test_a_function_that_sees_a_few_atoms_only_is_not_preferred():
    rng = np.random.default_rng(2)
    plain = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 8))
    rare = np.zeros((500, 6))
    rare[np.arange(6), np.arange(6)] = 1e-6  # each an atom of its own: as independent as can be
    kept = selected(np.concatenate([rare, plain], axis=1), Selection(keep=4, correlation=1.0))
    assert kept.min() >= 6


def test_more_than_there_are_is_all_that_differ():
    assert list(selected(columns(), Selection(keep=50))) == [0, 2, 5]
    assert list(selected(columns(), Selection(keep=50, correlation=1.0))) == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize("change, message", [({"keep": -1}, "keep must be 0"), ({"correlation": 0.0}, "correlation must be above 0"), ({"atoms": 1}, "atoms 2")])
def test_wishes_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Selection(**change)
