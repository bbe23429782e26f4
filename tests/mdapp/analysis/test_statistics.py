"""Errors against processes whose correlation is known."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.statistics import autocorrelation, block_errors, drift, equilibrated_from, inefficiency, mean_with_error, plus_minus, running_mean, sound_mean


def ar1(a: float, n: int, seed: int, runs: int = 1) -> np.ndarray:
    """Stationary autoregressive process of unit variance, rho(t) = a^t, so g = (1 + a) / (1 - a). (runs, n)"""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, runs)) * np.sqrt(1 - a * a)
    x = np.empty((n, runs))
    x[0] = rng.standard_normal(runs)
    for i in range(1, n):
        x[i] = a * x[i - 1] + noise[i]
    return x.T


@pytest.mark.parametrize("a", [0.0, 0.5, 0.9, 0.98])
def test_inefficiency_of_an_autoregressive_process(a):
    g = np.mean([inefficiency(x) for x in ar1(a, 20_000, seed=1, runs=8)])
    assert g == pytest.approx((1 + a) / (1 - a), rel=0.1)  # eight runs; the window cuts off exp(-5) and the noise is 5 %


@pytest.mark.parametrize("a", [0.0, 0.9])
def test_error_bars_cover_the_true_mean_as_often_as_they_promise(a):
    pulls = []
    for x in ar1(a, 2000, seed=2, runs=400):
        mean = mean_with_error(x + 7.0)
        pulls.append((mean.value - 7.0) / mean.error)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)  # 400 pulls: 0.035 statistical, the rest is the finite series
    assert np.mean(np.abs(pulls) < 2) > 0.92


def test_blocks_rise_to_the_same_error():
    x = ar1(0.9, 2 ** 16, seed=3)[0]
    errors = block_errors(x)
    assert errors[0, 1] == pytest.approx(1 / 256, rel=0.05)  # blocks of one: as if independent
    assert errors[8:, 1].mean() == pytest.approx(mean_with_error(x).error, rel=0.15)


def test_slope_and_its_error_on_correlated_noise():
    t = np.linspace(0.0, 50.0, 1500)
    pulls = []
    for x in ar1(0.8, len(t), seed=4, runs=300):
        fit = drift(t, 3.0 + 0.02 * t + x)
        pulls.append((fit.slope - 0.02) / fit.error)
    assert abs(np.mean(pulls)) < 0.25 and np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_a_straight_line_is_found_exactly():
    t = np.arange(10.0)
    fit = drift(t, 5 - 2 * t)
    assert fit.slope == pytest.approx(-2) and fit.intercept == pytest.approx(5) and fit.error == pytest.approx(0, abs=1e-12)


def test_autocorrelation_is_the_plain_sum():
    x = np.random.default_rng(5).standard_normal(64)
    y = x - x.mean()
    plain = [np.sum(y[:64 - t] * y[t:]) for t in range(64)]
    assert autocorrelation(x) == pytest.approx(np.array(plain) / plain[0], abs=1e-12)


def test_a_constant_series_has_no_error():
    mean = mean_with_error(np.full(50, 0.1))
    assert mean.value == pytest.approx(0.1) and mean.error < 1e-12 and inefficiency(np.full(50, 300.1)) == 1.0


def test_one_sample_knows_nothing_of_its_error():
    mean = mean_with_error(np.array([2.0]))
    assert mean.value == 2.0 and mean.error == np.inf and not mean.reliable


def test_a_few_samples_of_a_slow_process_are_called_unreliable():
    assert not mean_with_error(ar1(0.99, 500, seed=6)[0]).reliable
    assert mean_with_error(ar1(0.5, 500, seed=6)[0]).reliable


def test_the_transient_at_the_start_is_cut():
    x = ar1(0.5, 4000, seed=7)[0] + 20 * np.exp(-np.arange(4000) / 100)
    start = equilibrated_from(x)
    assert 300 <= start <= 1200
    assert equilibrated_from(ar1(0.5, 4000, seed=8)[0]) <= 800  # a stationary series loses little


def test_heat_that_comes_and_goes_with_the_thermostat_is_in_the_error():
    """Half of the variance relaxes in 100 samples, as the heat of a thermostatted molecule does, and a record is 20 of those times long."""
    heat, rest = ar1(np.exp(-1 / 100), 2000, seed=9, runs=300), ar1(0.3, 2000, seed=10, runs=300)
    pulls = lambda relaxations: np.array([m.value / m.error for m in (sound_mean(x, relaxations) for x in np.sqrt(0.5) * (heat + rest))])
    known, unknown = pulls(20.0), pulls(None)
    assert np.std(known) < 1.2 and np.abs(known).max() < 4.5
    assert np.std(unknown) > np.std(known) + 0.1 and np.abs(unknown).max() > np.abs(known).max()


@pytest.mark.parametrize("relaxations", [20, 60])
def test_an_error_bar_of_a_run_that_began_cold_covers_the_target_about_twice_in_three(relaxations):
    """A run from a minimum gives half of its heat away and is warmed by its thermostat, here of 20 samples; one standard error holds 68 % where all is known."""
    tau, runs = 20, 400
    n = relaxations * tau
    heat, rest = ar1(np.exp(-1 / tau), n, seed=12, runs=runs), ar1(0.0, n, seed=13, runs=runs)
    x = np.sqrt(0.5) * (heat + rest) - 3.0 * np.exp(-np.arange(n) / tau)
    pulls = np.array([m.value / m.error for m in (sound_mean(row, relaxations) for row in x)])
    share = np.mean(np.abs(pulls) < 1)
    assert 0.58 < share < 0.78 and abs(np.mean(pulls)) < 0.25 and np.abs(pulls).max() < 5


def test_a_long_record_is_as_sure_as_its_own_correlation_says():
    x = ar1(0.5, 4000, seed=11)[0]
    assert sound_mean(x, 3000.0) == sound_mean(x) and sound_mean(x[:1], 20.0).error == np.inf


def test_running_mean_of_a_line_is_the_line():
    x = 3.0 * np.arange(50) - 2
    assert running_mean(x, 9) == pytest.approx(x)
    assert running_mean(np.eye(1, 9, 4)[0], 3)[3:6] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("bad, message", [([], "not empty"), ([[1.0]], "one-dimensional"), ([1.0, np.nan], "Sample 1")])
def test_what_is_no_series_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        mean_with_error(bad)


@pytest.mark.parametrize("value, error, text", [
    (300.123, 0.53, "300.12 ± 0.53"), (300.1, 12.0, "300 ± 12"), (0.00305, 0.00063, "0.00305 ± 0.00063"), (1.5, 0.0, "1.5"), (2.0, np.inf, "2")])
def test_a_value_has_the_digits_of_its_error(value, error, text):
    assert plus_minus(value, error) == text
