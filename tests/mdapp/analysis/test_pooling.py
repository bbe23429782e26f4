"""Means over runs: their errors against runs whose truth is known, and what peptides' results become together."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.free_energy import basin_populations, free_energy_surface
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.pooling import joined_ramachandran, length_ps, pooled_hydrogen_bonds, pooled_mean, pooled_surface
from mdapp.analysis.statistics import mean_with_error


@pytest.mark.parametrize("stuck", [0.0, 1.0])
def test_the_pooled_error_covers_the_truth_also_where_runs_are_stuck(stuck):
    """Six runs of unit noise, each displaced by a normal number of width `stuck` that its own error cannot know of."""
    rng, pulls, within = np.random.default_rng(1), [], []
    for _ in range(400):
        means = [mean_with_error(rng.standard_normal(200) + stuck * rng.standard_normal()) for _ in range(6)]
        one = pooled_mean([m.value for m in means], [m.error for m in means], [1.0] * 6)
        pulls.append(one.value / one.error)
        within.append(one.value / one.within)
    assert np.mean(np.abs(pulls) < 2) > 0.85  # 5 degrees of freedom: 90 % of Student's t; larger of two errors: more
    assert (np.std(within) > 4) == (stuck > 0)  # the runs' own errors alone: 0.07 where 1 / √6 is true


def test_a_run_weighs_as_much_as_it_is_long():
    one = pooled_mean([1.0, 5.0], [0.3, 0.4], [3.0, 1.0])
    assert one.value == pytest.approx(2.0) and one.within == pytest.approx(np.hypot(0.75 * 0.3, 0.25 * 0.4))
    assert one.between == pytest.approx(np.sqrt((0.75 * 1 + 0.25 * 9) * (10 / 16) / (6 / 16)))
    assert pooled_mean([2.0], [0.1], [7.0]).error == pytest.approx(0.1)


def test_equal_weights_give_the_error_of_the_mean_of_the_means():
    means = np.array([1.0, 2.0, 4.0, 4.5])
    assert pooled_mean(means, np.zeros(4), np.ones(4)).error == pytest.approx(means.std(ddof=1) / 2)
    many = pooled_mean(np.stack([means, 2 * means], axis=1), np.zeros((4, 2)), np.ones(4))
    assert many.error == pytest.approx([means.std(ddof=1) / 2, means.std(ddof=1)]) and many.value == pytest.approx([means.mean(), 2 * means.mean()])


@pytest.mark.parametrize("lengths", [[1.0], [0.0, 0.0]])
def test_what_are_not_the_same_runs_is_refused(lengths):
    with pytest.raises(ValueError, match="not those of the same runs"):
        pooled_mean([1.0, 2.0], [0.1, 0.1], lengths)


def torsions(phi: float, psi: float, n: int, seed: int) -> Ramachandran:
    rng = np.random.default_rng(seed)
    return Ramachandran(0.1 * np.arange(n), ("ALA2",), phi + 15 * rng.standard_normal((n, 1)), psi + 15 * rng.standard_normal((n, 1)))


def test_runs_in_different_basins_give_a_surface_that_knows_it():
    runs = [torsions(-80, 80, 2000, 1), torsions(-80, -40, 2000, 2)]
    alone, both = free_energy_surface(joined_ramachandran(runs), 300.0), pooled_surface(runs, 300.0)
    assert np.nan_to_num(both.F_kJ_mol, nan=-1) == pytest.approx(np.nan_to_num(alone.F_kJ_mol, nan=-1))  # the same shares
    low = both.F_kJ_mol < 2.0
    assert np.all(both.error_kJ_mol[low] > 0.9 * 2.494)  # seen by one run of two: kT
    same = pooled_surface([runs[0], torsions(-80, 80, 2000, 3)], 300.0)
    assert np.nanmedian(same.error_kJ_mol[same.F_kJ_mol < 2.0]) < 0.5


def test_populations_of_runs_of_one_ensemble_agree_with_their_errors():
    runs = [torsions(-80, 50, 1000, seed) for seed in range(8)]  # on the border: half alpha
    shares = [basin_populations(one)["alpha"] for one in runs]
    one = pooled_mean([m.value for m in shares], [m.error for m in shares], [length_ps(r.time_ps) for r in runs])
    assert one.value == pytest.approx(0.5, abs=4 * one.error) and one.within == pytest.approx(0.5 / np.sqrt(8000), rel=0.3) and one.between < 3 * one.within


def test_a_hydrogen_bond_of_one_run_alone_counts_half():
    t = 0.1 * np.arange(4)
    a = HydrogenBonds(t, np.array([1, 1, 0, 0]), np.array([[0, 1, 2]]), ("A-N-H...B-O",), np.array([0.5]), np.array([0.1]), "baker-hubbard", (np.array([0, 1]),))
    b = HydrogenBonds(t, np.array([1, 1, 1, 1]), np.array([[3, 4, 5]]), ("C-N-H...D-O",), np.array([1.0]), np.array([0.0]), "baker-hubbard", (np.array([0, 1, 2, 3]),))
    both = pooled_hydrogen_bonds([a, b])
    assert both.labels == ("C-N-H...D-O", "A-N-H...B-O") and both.share == pytest.approx([0.5, 0.25]) and both.share_error == pytest.approx([0.5, 0.25])
    assert both.events[0].tolist() == [4, 5, 6, 7] and both.events[1].tolist() == [0, 1] and len(both.time_ps) == 8 and np.all(np.diff(both.time_ps) > 0)
