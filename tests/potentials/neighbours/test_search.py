"""vesin, the tree and the plain search must say the same pairs, in any cell."""
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from potentials.neighbours import pairs, pairs_plain, search
from potentials.neighbours.search import complete_cell, pairs_scattered

PBC = [(True, True, True), (False, False, False), (True, False, False), (False, True, True), (True, True, False), (False, False, True)]


def random_system(rng, pbc):
    """A few atoms in an oblique cell, often smaller than the cutoff, anywhere in space, some far outside the cell."""
    lengths = rng.uniform(1.5, 12.0, size=3)
    shear = np.eye(3) + np.tril(rng.uniform(-0.7, 0.7, size=(3, 3)), -1)
    cell = (lengths[:, None] * shear) @ Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix().T
    n = int(rng.integers(1, 12)) if all(pbc) else int(rng.integers(10, 25))
    positions = rng.uniform(-1.5, 2.5, size=(n, 3)) @ cell + rng.choice([0.0, 300.0]) * rng.normal(size=3)
    cutoff = rng.uniform(1.0, 5.0)
    return positions, np.where(np.array(pbc)[:, None], cell, rng.choice([0.0, 1.0]) * cell), np.array(pbc), cutoff


def as_set(found):
    i, j, shifts = found
    rows = set(zip(i.tolist(), j.tolist(), map(tuple, shifts.tolist())))
    assert len(rows) == len(i)  # no pair twice
    return rows


@pytest.mark.parametrize("pbc", PBC, ids=str)
def test_searches_agree_pair_by_pair(pbc):
    rng = np.random.default_rng(7)
    n_pairs = 0
    for _ in range(40):
        system = random_system(rng, pbc)
        expected = as_set(pairs_plain(*system))
        assert as_set(pairs(*system)) == expected
        assert as_set(pairs_scattered(*system)) == expected
        n_pairs += len(expected)
    assert n_pairs > 50  # otherwise nothing was tried


def test_pairs_come_in_one_order_whoever_searched():
    rng = np.random.default_rng(3)
    for _ in range(20):
        system = random_system(rng, (True, True, True))
        for one, other in zip(pairs(*system), pairs_plain(*system)):
            assert one.dtype == np.int64
            np.testing.assert_array_equal(one, other)


def test_pairs_hold_the_stated_distance_and_nothing_else_does():
    rng = np.random.default_rng(11)
    for _ in range(30):
        positions, cell, pbc, cutoff = random_system(rng, (True, True, True))
        i, j, shifts = pairs(positions, cell, pbc, cutoff)
        assert np.all(np.linalg.norm(positions[j] + shifts @ cell - positions[i], axis=1) <= cutoff + 1e-9)  # rounding, 300 Å away
        assert np.all(i <= j)
        assert not np.any((i == j) & ~shifts.any(axis=1))  # no atom is its own neighbour in place


def test_an_atom_alone_in_a_small_cell_sees_its_images():
    # simple cubic, a = 1, cutoff 1.5: 6 neighbours at 1 and 12 at sqrt(2), each pair once
    i, j, shifts = pairs(np.zeros((1, 3)), np.eye(3), np.ones(3, bool), 1.5)
    assert len(i) == (6 + 12) // 2


def test_no_atoms_have_no_pairs():
    i, j, shifts = pairs(np.zeros((0, 3)), np.eye(3), np.ones(3, bool), 5.0)
    assert len(i) == len(j) == 0 and shifts.shape == (0, 3)


@pytest.mark.parametrize("placeholder", [np.zeros((3, 3)), np.eye(3), 1e-3 * np.eye(3), np.full((3, 3), 7.0)], ids=["zero", "unit", "tiny", "singular"])
def test_what_stands_in_a_free_direction_means_nothing(placeholder):
    rng = np.random.default_rng(5)
    positions = rng.uniform(0, 8, size=(20, 3))
    cell = placeholder.copy()
    cell[0] = (6.0, 1.0, 0.0)
    pbc = np.array([True, False, False])
    clean = np.diag([0.0, 50.0, 50.0])
    clean[0] = cell[0]
    assert as_set(pairs(positions, cell, pbc, 3.0)) == as_set(pairs(positions, clean, pbc, 3.0))
    free = np.zeros(3, bool)
    assert as_set(pairs(positions, placeholder, free, 3.0)) == as_set(pairs(positions, np.zeros((3, 3)), free, 3.0))


@pytest.mark.parametrize("pbc", PBC, ids=str)
def test_free_vectors_are_completed_by_normals(pbc):
    cell = np.array([[4.0, 1.0, 0.0], [0.0, 5.0, 1.0], [1.0, 0.0, 6.0]])
    pbc = np.array(pbc)
    full = complete_cell(cell, pbc)
    np.testing.assert_array_equal(full[pbc], cell[pbc])
    np.testing.assert_allclose(full[~pbc] @ full[~pbc].T, np.eye((~pbc).sum()), atol=1e-14)
    np.testing.assert_allclose(full[~pbc] @ full[pbc].T, 0, atol=1e-14)


def test_translation_by_500_angstrom_changes_neither_pairs_nor_cost():
    rng = np.random.default_rng(1)
    positions = rng.uniform(0, 30, size=(1500, 3))
    free = np.zeros(3, bool)
    timed = {}
    for away in (0.0, 500.0):
        best = np.inf
        for _ in range(5):
            start = time.perf_counter()
            found = pairs(positions + away, np.zeros((3, 3)), free, 5.0)
            best = min(best, time.perf_counter() - start)
        timed[away] = best, as_set(found)
    assert timed[0.0][1] == timed[500.0][1]
    assert timed[500.0][0] < 4 * timed[0.0][0]  # a search that starts its cells at the origin would need 10^4 times as many


FLIGHTS = {"line": (1e6, 0, 0), "plane": (1e4, 1e4, 0), "space": (1e9, -1e9, 1e9), "absurd": (1e30, 1.0, 0)}


def test_an_atom_that_flew_away_is_alone_and_harms_nobody():
    """In a process of its own, without torch: vesin alone dies of a division by zero here."""
    code = f"""
import runpy
import numpy as np
pairs = runpy.run_path({search.__file__!r})["pairs"]
rng = np.random.default_rng(0)
home, cell = rng.uniform(0, 8, size=(40, 3)), np.diag([9.0, 9.0, 0.0])
for pbc in np.array([(False, False, False), (True, True, False)]):
    expected = [x.tolist() for x in pairs(home, cell, pbc, 4.0)]
    for away in {list(FLIGHTS.values())}:
        there = np.vstack([home, home[:1] + np.where(pbc, 0.5, away)])
        i, j, s = pairs(there, cell, pbc, 4.0)
        near = (i != 40) & (j != 40)
        assert [x[near].tolist() for x in (i, j, s)] == expected, away
        assert near.all() or pbc.any(), away
print("sound")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "sound", (done.returncode, done.stderr[-2000:])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad):
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    for pbc in (np.zeros(3, bool), np.ones(3, bool)):
        with pytest.raises(ValueError, match="not finite"):
            pairs(np.where([[False], [True]], bad, positions), 9 * np.eye(3), pbc, 3.0)
    with pytest.raises(ValueError, match="not finite"):
        pairs(positions, np.full((3, 3), bad), np.ones(3, bool), 3.0)


def test_a_periodic_cell_without_volume_is_refused():
    with pytest.raises(ValueError, match="no volume"):
        pairs(np.zeros((2, 3)), np.diag([5.0, 5.0, 0.0]), np.ones(3, bool), 3.0)
