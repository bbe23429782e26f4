"""Rates of failure and their limits, against what is known of Poisson's distribution."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.failure_rate import failure_rate
from mdapp.plots.stability import failures_against_temperature


def test_without_a_failure_there_is_an_upper_limit():
    rate = failure_rate(np.array([500.0, 500.0]), np.array([False, False]))
    assert (rate.per_ns, rate.low_per_ns, rate.failures, rate.runs) == (0, 0, 0, 2)
    assert rate.high_per_ns == pytest.approx(-np.log(0.025))  # 3.69 in a nanosecond


def test_limits_of_ten_failures_are_garwoods():
    rate = failure_rate(np.full(10, 100.0), np.ones(10, dtype=bool))
    assert (rate.low_per_ns, rate.per_ns, rate.high_per_ns) == pytest.approx((4.795, 10.0, 18.390), abs=1e-3)


def test_the_limits_hold_the_truth_as_often_as_they_say():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        times = rng.exponential(50.0, 20)  # 20 failures per ns, runs of 100 ps at most
        rate = failure_rate(np.minimum(times, 100.0), times < 100.0)
        inside += rate.low_per_ns <= 20.0 <= rate.high_per_ns
    assert 0.93 <= inside / 400 <= 1.0  # exact limits are a little wide


def test_no_time_has_no_rate():
    with pytest.raises(ValueError, match="no simulated time"):
        failure_rate(np.zeros(3), np.zeros(3, dtype=bool))


def test_the_figure_shows_rates_and_limits():
    hot, cold = failure_rate(np.full(5, 10.0), np.ones(5, dtype=bool)), failure_rate(np.full(5, 10.0), np.zeros(5, dtype=bool))
    axes = failures_against_temperature({"a": {300.0: cold, 900.0: hot}, "b": {300.0: cold}}).axes[0]
    assert axes.get_xlabel() == "temperature / K" and [t.get_text() for t in axes.get_legend().get_texts()] == ["a (5 of 10 runs failed)", "b (0 of 5 runs failed)"]
