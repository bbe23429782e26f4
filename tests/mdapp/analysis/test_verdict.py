"""A doctored run is found out, a healthy one is left in peace."""
from __future__ import annotations

import numpy as np
import pytest

from mdapp.analysis.bonds import bond_series
from mdapp.analysis.statistics import Drift, Mean
from mdapp.analysis.verdict import judge, relaxations_of, shows_drift

HEALTHY = Drift(slope=0.01, error=0.02, intercept=0.0, spread=1.0)
BONDS = np.array([[0, 1], [1, 2]])


def mean(value: float, error: float = 1.0, n: float = 200.0) -> Mean:
    return Mean(value, error, 20.0, 1000, n, error)


def bonds(lengths: list[list[float]]):
    return bond_series(0.1 * np.arange(len(lengths)), np.array(lengths), np.array([1.0, 1.5]), BONDS)


def test_a_healthy_run_is_sound():
    found = judge(drift=HEALTHY, temperature=mean(302.0), target_K=300.0, bonds=bonds([[1.0, 1.5], [1.1, 1.4]]))
    assert found.word == "sound" and found.checked == ("energy drift", "temperature", "bonds") and not found.reasons


@pytest.mark.parametrize("slope, word", [(0.9, "sound"), (-1.3, "suspect"), (1.3, "suspect"), (12.0, "broken")])
def test_drift_is_judged_by_its_size(slope, word):
    assert judge(drift=Drift(slope, 0.01, 0.0, 1.0)).word == word


def test_an_uncertain_drift_is_not_held_against_a_run():
    assert judge(drift=Drift(1.5, 0.3, 0.0, 1.0)).word == "sound"


def test_temperature_must_be_off_in_errors_and_in_kelvin():
    assert judge(temperature=mean(310.0), target_K=300.0).word == "suspect"
    assert judge(temperature=mean(304.0, error=0.1), target_K=300.0).word == "sound"  # 40 errors, but 1.3 %
    assert judge(temperature=mean(310.0, error=4.0), target_K=300.0).word == "sound"  # 2.5 errors
    assert judge(temperature=mean(330.0, n=5.0), target_K=300.0).word == "not judged"  # too few independent samples
    assert judge(temperature=mean(330.0, n=5.0), target_K=300.0, relaxations=5.0).word == "suspect"  # the error knows of the thermostat
    assert judge(temperature=mean(330.0), target_K=None).word == "not judged"  # NVE has no target


def test_a_bond_that_stays_broken_is_worse_than_one_that_returned():
    found = judge(bonds=bonds([[1.0, 1.5], [1.0, 2.6]]))
    assert found.word == "broken" and "atoms 1 and 2" in found.sentence
    found = judge(bonds=bonds([[1.0, 1.5], [1.0, 2.6], [1.0, 1.5]]))
    assert found.word == "suspect" and "1 frame" in found.sentence and "0.1 ps" in found.sentence


def test_guards_count():
    found = judge(drift=HEALTHY, stopped_by="temperature: 3000 K.", warnings={"extent": 2})
    assert found.word == "broken" and found.sentence == "a guard stopped the run: temperature: 3000 K; guard extent warned 2 times."
    assert judge(warnings={"extent": 1}).word == "suspect"


def test_nothing_to_judge_is_said():
    assert judge().word == "not judged" and "to judge by" in judge().sentence


def test_a_run_shorter_than_its_thermostat_needs_is_not_held_against_its_temperature():
    cold = mean(180.0)
    assert judge(temperature=cold, target_K=300.0, relaxations=relaxations_of(200.0, "nvt-langevin", 1.0, 100.0)).word == "not judged"
    assert judge(temperature=cold, target_K=300.0, relaxations=relaxations_of(10_000.0, "nvt-langevin", 1.0, 100.0)).word == "suspect"
    assert relaxations_of(1000.0, "nvt-csvr", 1.0, 500.0) == 2.0 and relaxations_of(1000.0, "of-a-stranger", 1.0, 500.0) is None


def test_a_drift_shows_in_a_picosecond_of_frames():
    assert shows_drift(np.arange(0.0, 1001.0, 50.0))
    assert not shows_drift(np.arange(0.0, 200.0, 5.0)) and not shows_drift(np.arange(0.0, 5000.0, 1000.0))
