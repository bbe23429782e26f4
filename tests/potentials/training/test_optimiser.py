"""Schedule, clipping, skipping and the running mean."""
import numpy as np
import pytest
import torch

from potentials.training.config import OptimiserConfig
from potentials.training.optimiser import RunningMean, build_optimiser, update
from potentials.training.schedules import learning_rate


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_schedule_goes_from_the_first_to_the_final_rate(schedule):
    config = OptimiserConfig(learning_rate=1e-2, final_learning_rate=1e-5, warmup_steps=0, schedule=schedule)
    rates = [learning_rate(config, 10_000, p) for p in np.linspace(0, 1, 21)]
    assert rates[0] == pytest.approx(1e-2) and rates[-1] == pytest.approx(1e-5)
    assert np.all(np.diff(rates) < 0)
    middle = 0.5 * (1e-2 + 1e-5) if schedule == "cosine" else (1e-2 * 1e-5) ** 0.5
    assert rates[10] == pytest.approx(middle)


def test_warm_up_rises_linearly_from_a_first_step_above_zero():
    config = OptimiserConfig(learning_rate=1.0, warmup_steps=4, schedule="constant")
    assert [learning_rate(config, step, 0.0) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_a_gradient_that_is_not_finite_changes_nothing():
    model = linear()
    optimiser = build_optimiser(model, OptimiserConfig(learning_rate=0.1, weight_decay=0.5))
    before = [p.detach().clone() for p in model.parameters()]
    model.weight.grad, model.bias.grad = torch.full_like(model.weight, float("nan")), torch.ones_like(model.bias)
    assert update(optimiser, 1.0) is False
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    model.weight.grad, model.bias.grad = torch.ones_like(model.weight), torch.ones_like(model.bias)
    assert update(optimiser, 1.0) is True
    assert not torch.equal(before[0], model.weight)


def test_gradients_are_clipped_to_a_total_norm():
    model = linear()
    optimiser = build_optimiser(model, OptimiserConfig())
    for p in model.parameters():
        p.grad = torch.full_like(p, 100.0)
    update(optimiser, 2.0)
    norm = torch.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
    assert float(norm.detach()) == pytest.approx(2.0, rel=1e-4)


def test_only_matrices_decay():
    groups = build_optimiser(linear(), OptimiserConfig(weight_decay=0.3)).param_groups
    assert {(g["params"][0].ndim, g["weight_decay"]) for g in groups} == {(2, 0.3), (1, 0.0)}


def test_running_mean_is_the_mean_and_leaves_the_weights_alone():
    model = linear()
    mean = RunningMean(model, 0.5)
    first = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1.0
    mean.update()  # within the first steps the decay is 1/11
    decay = 1 / 11
    with mean.in_place():
        torch.testing.assert_close(model.weight.detach(), decay * first + (1 - decay) * (first + 1))
    torch.testing.assert_close(model.weight.detach(), first + 1, rtol=0, atol=0)


def test_without_a_running_mean_the_weights_stand():
    model = linear()
    mean = RunningMean(model, 0.0)
    with torch.no_grad():
        model.weight *= 3
    mean.update()
    now = model.weight.detach().clone()
    with mean.in_place():
        assert torch.equal(model.weight, now)
