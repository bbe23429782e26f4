import numpy as np
import pytest
from ase import Atoms

from mdapp.frame import Frame
from mdapp.monitors.extrapolation import ExtrapolationGuard


def frame(counts=None, overshoot=None, step=0):
    atoms = Atoms("Li3", [[0, 0, 0], [3, 0, 0], [0, 3, 0]])
    extras = {} if counts is None else {"extrapolations": np.array(counts, float), "overshoot": np.array(overshoot, float)}
    zeros = np.zeros((3, 3))
    return Frame(step, float(step), atoms.numbers, atoms.get_masses(), atoms.positions, zeros, zeros, zeros, np.zeros(3, bool), 0.0, 0.0, 0.0, 0.0, extras=extras)


def watch(**options):
    return ExtrapolationGuard(**options).begin(frame(), np.zeros((0, 2), int))


def test_no_range_and_no_extrapolation_are_no_matter():
    w = watch()
    assert w.look(frame()).level == "ok"
    assert w.look(frame([0, 0, 0], [0, 0, 0])).level == "ok"


def test_the_first_is_told_and_then_every_tenfold():
    w = watch()
    levels = [w.look(frame([0, 1, 0], [0, 0.01, 0], step)).level for step in range(100)]
    assert [n for n, level in enumerate(levels) if level == "warn"] == [0, 9, 99]


def test_a_warning_names_the_worst_atom_first():
    verdict = watch().look(frame([1, 0, 2], [0.02, 0, 0.3]))
    assert verdict.level == "warn" and verdict.atoms == (2, 0)
    assert "3 extrapolations so far: Li2 and Li0 in this frame, the worst by 0.3 of the range" in verdict.reason


def test_too_many_stop_a_run():
    w = watch(stop_count=5)
    assert [w.look(frame([1, 1, 0], [0.1, 0.1, 0])).level for _ in range(3)] == ["warn", "ok", "stop"]


def test_one_too_far_out_stops_a_run_at_once():
    verdict = watch(stop_overshoot=0.5).look(frame([0, 1, 0], [0, 0.6, 0]))
    assert verdict.level == "stop" and "limit 0.5" in verdict.reason


def test_per_frame_forgets():
    w = watch(stop_count=3, per_frame=True)
    assert all(w.look(frame([1, 1, 0], [0.1, 0.1, 0])).level != "stop" for _ in range(20))
    assert w.look(frame([2, 2, 0], [0.1, 0.1, 0])).level == "stop"


def test_it_goes_on_from_its_state():
    one, other = watch(stop_count=5), watch(stop_count=5)
    for _ in range(2):
        one.look(frame([1, 1, 0], [0.1, 0.1, 0]))
    other.restore(one.state())
    assert other.look(frame([1, 1, 0], [0.1, 0.1, 0])).level == "stop"


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match="stop_count must be > 0"):
        ExtrapolationGuard(stop_count=0)
