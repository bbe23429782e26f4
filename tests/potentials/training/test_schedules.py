"""Learning rates of every schedule, and the counts behind plateau and patience."""
import math

import numpy as np
import pytest

from potentials.training.config import OptimiserConfig
from potentials.training.schedules import Waiting, after_plateau, learning_rate


def test_steps_fall_at_their_parts_and_no_lower_than_the_end():
    config = OptimiserConfig(learning_rate=1.0, final_learning_rate=0.2, warmup_steps=0, schedule="step", steps_at=(0.25, 0.5, 0.75), factor=0.5)
    assert [learning_rate(config, 9, p) for p in (0.0, 0.24, 0.25, 0.5, 0.75, 1.0)] == [1.0, 1.0, 0.5, 0.25, 0.2, 0.2]


def test_plateau_lowers_the_rate_by_its_factor_and_no_lower_than_the_end():
    config = OptimiserConfig(learning_rate=1.0, final_learning_rate=0.01, warmup_steps=0, schedule="plateau", factor=0.1)
    assert [learning_rate(config, 9, 0.5, n) for n in range(4)] == pytest.approx([1.0, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("schedule", ["cosine", "exponential", "step", "plateau", "constant"])
def test_warm_up_rises_and_then_no_rate_rises_again(schedule):
    config = OptimiserConfig(learning_rate=1e-2, final_learning_rate=1e-4, warmup_steps=10, schedule=schedule)
    rates = [learning_rate(config, step, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(1e-2 / 11, rel=0.02) and np.argmax(rates) <= 11
    assert np.all(np.diff(rates[11:]) <= 0) and rates[-1] >= 1e-4 * (1 - 1e-12)


def test_waiting_counts_validations_since_the_smallest_loss():
    waiting = Waiting()
    for loss, expected in ((3.0, 0), (2.0, 0), (2.0, 1), (math.nan, 2), (1.9, 0), (5.0, 1)):
        waiting = waiting.after(loss)
        assert waiting.validations == expected
    assert waiting.smallest == 1.9


def test_plateau_acts_after_its_patience_and_waits_anew():
    config = OptimiserConfig(schedule="plateau", plateau_patience=2)
    waiting, reductions, seen = Waiting(), 0, []
    for loss in (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.6):
        waiting, reductions = after_plateau(config, waiting.after(loss), reductions)
        seen.append(reductions)
    assert seen == [0, 0, 1, 1, 2, 2, 2]


def test_other_schedules_know_no_plateau():
    config = OptimiserConfig(schedule="cosine", plateau_patience=1)
    assert after_plateau(config, Waiting(1.0, 50), 0) == (Waiting(1.0, 50), 0)


@pytest.mark.parametrize(
    "wrong, claim",
    [({"factor": 1.0}, "factor must be between 0 and 1"), ({"plateau_patience": 0}, "plateau_patience must be at least 1"), ({"steps_at": (0.5, 1.0)}, "steps_at")],
)
def test_schedules_that_mean_nothing_are_refused(wrong, claim):
    with pytest.raises(ValueError, match=claim):
        OptimiserConfig(**wrong)
