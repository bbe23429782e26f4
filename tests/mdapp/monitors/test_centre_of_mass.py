"""The guard of the centre of mass sees a push on the whole, and leaves heat and the motion of the start alone."""
from dataclasses import replace

import numpy as np
import pytest
from ase import units

from mdapp.monitors import monitors
from mdapp.frame import Frame

NONE = np.zeros((0, 2), int)


def frame(momenta, masses, temperature_K=300.0):
    n = len(masses)
    return Frame(0, 0.0, np.full(n, 18), masses, np.zeros((n, 3)), momenta, np.zeros((n, 3)), np.eye(3) * 20, np.ones(3, bool), 0.0, 1.0, temperature_K, 1.0)


@pytest.fixture
def masses():
    return np.full(50, 39.948)


def heat(masses, rng, kelvin=300.0):
    return rng.normal(size=(len(masses), 3)) * np.sqrt(units.kB * kelvin * masses)[:, None]


def pushed(start, ratio, masses):
    """The start with a gain of so many times the energy of heat."""
    gain = np.sqrt(2 * masses.sum() * ratio * 1.5 * units.kB * 300.0)
    return replace(start, momenta=start.momenta + np.array([gain, 0, 0]) * (masses / masses.sum())[:, None])


@pytest.mark.parametrize("ratio, level", [(0.0, "ok"), (20.0, "ok"), (40.0, "warn"), (1100.0, "stop")])
def test_a_push_on_the_whole_is_seen_by_its_size(masses, ratio, level):
    start = frame(heat(masses, np.random.default_rng(0)) + 100.0, masses)  # that the start moves is nobody's fault
    found = monitors.get("centre-of-mass")().begin(start, NONE).look(pushed(start, ratio, masses))
    assert found.level == level
    if level != "ok":
        assert found.value == pytest.approx(ratio) and "centre of mass has gained" in found.reason


def test_random_kicks_of_a_bath_raise_no_alarm(masses):
    rng = np.random.default_rng(1)
    watch = monitors.get("centre-of-mass")().begin(frame(heat(masses, rng), masses), NONE)
    assert {watch.look(frame(heat(masses, rng), masses)).level for _ in range(3000)} == {"ok"}


def test_the_temperature_of_the_start_counts_where_the_system_has_cooled(masses):
    start = frame(heat(masses, np.random.default_rng(2)), masses)
    assert monitors.get("centre-of-mass")().begin(start, NONE).look(replace(pushed(start, 20.0, masses), temperature_K=0.0)).level == "ok"
