"""Calibration: a potential that knows how wrong it is, and such that do not."""
import numpy as np
import pytest

from mdapp.analysis.calibration import auroc, binned, calibration, finds_worst, spearman


def drawn(n=20_000, factor=1.0, seed=0):
    """Errors with known standard deviations, and spreads that are `factor` times these."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.1, 2.0, n)
    return rng.normal(0.0, sigma), factor * sigma


def test_an_honest_spread_has_no_area():
    found = calibration(*drawn())
    assert found.area < 0.01 and found.scale == pytest.approx(1.0, abs=0.03)  # 20 000 draws: 0.4 % of a share, 0.7 % of a width
    assert found.observed[0] == pytest.approx(0.0, abs=0.001) and found.observed[-1] == 1.0
    assert np.all(np.diff(found.observed) >= 0)


@pytest.mark.parametrize("factor, side", [(0.3, -1), (3.0, 1)])
def test_a_spread_wrong_by_a_factor_is_told_and_mended_by_it(factor, side):
    found = calibration(*drawn(factor=factor))
    assert found.area > 0.1 and found.scale == pytest.approx(1 / factor, rel=0.03)
    assert np.sign(found.observed[50] - 0.5) == side
    assert found.area_scaled < 0.015


def test_the_area_is_that_of_the_formula_for_a_known_curve():
    found = calibration(np.full(1000, 1e-9), np.ones(1000))  # every error is within every interval but the empty one
    assert found.area == pytest.approx(0.5, abs=0.006)  # a step of 0.01 in the integral


def test_ranks_follow_what_rises_together():
    errors, spreads = drawn(2000)
    x = np.arange(50.0)
    assert spearman(x, x**3) == pytest.approx(1.0) and spearman(x, -x) == pytest.approx(-1.0) and spearman(x, np.ones(50)) == 0.0
    assert spearman(np.array([1.0, 1, 2, 2]), np.array([1.0, 1, 2, 2])) == pytest.approx(1.0)
    assert 0.3 < calibration(errors, spreads).spearman < 0.7


def test_too_little_to_say_anything_gives_nothing():
    assert calibration(np.ones(19), np.ones(19)) is None
    assert calibration(np.ones(100), np.zeros(100)) is None
    assert calibration(np.full(100, np.nan), np.ones(100)) is None


def test_bins_hold_equally_many_values_by_rising_spread():
    errors, spreads = drawn(3000)
    spread, error = binned(errors, spreads, 10)
    assert len(spread) == 10 and np.all(np.diff(spread) > 0)
    assert error == pytest.approx(spread, rel=0.2)  # 300 values a bin: 4 % of a width, four times over


def test_the_area_under_the_receivers_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    doubts, bad = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in doubts[bad] for b in doubts[~bad]]
    assert auroc(doubts, bad) == pytest.approx(np.mean(pairs))
    assert auroc(np.array([1.0, 2, 3]), np.array([False, False, True])) == 1.0 and auroc(doubts, np.zeros(60, bool)) is None
    errors = rng.normal(size=500)
    assert finds_worst(np.abs(errors), errors) == 1.0 and 0.4 < finds_worst(rng.random(500), errors) < 0.6 and finds_worst(np.zeros(0), np.zeros(0)) is None
