"""Cutoff functions against their formulas; 1 at zero, smoothly 0 at the cutoff, nothing beyond."""
import numpy as np
import pytest
import torch

from potentials.layers.cutoffs import CUTOFFS, polynomial, switch

R_C = 4.5
D = np.linspace(0, R_C, 91)[:-1]
Q = D / R_C


def written(p):
    return 1 - (p + 1) * (p + 2) / 2 * Q**p + p * (p + 2) * Q ** (p + 1) - p * (p + 1) / 2 * Q ** (p + 2)


FORMULAS = {
    "phys": 1 - 6 * Q**5 + 15 * Q**4 - 10 * Q**3,
    "cosine": (1 + np.cos(np.pi * Q)) / 2,
    "polynomial": written(6),
    "exponential": np.exp(-(D**2) / ((R_C - D) * (R_C + D))),
}
SMOOTH = {"phys": 2, "cosine": 1, "polynomial": 2, "exponential": 4}  # derivatives that vanish at the cutoff (tried up to the fourth)


def derivatives(function, d, order):
    """Value and derivatives at the points d, each (n,)."""
    d = torch.tensor(d, dtype=torch.float64, requires_grad=True)
    values = [function(d, R_C)]
    for _ in range(order):
        (slope,) = torch.autograd.grad(values[-1].sum(), d, create_graph=True)
        values.append(slope)
    return [v.detach() for v in values]


@pytest.mark.parametrize("name", CUTOFFS)
def test_values_follow_the_formula(name):
    np.testing.assert_allclose(CUTOFFS[name](torch.from_numpy(D), R_C).numpy(), FORMULAS[name], atol=1e-14)


def test_the_polynomial_of_any_order():
    for p in (3, 5, 7, 9):
        np.testing.assert_allclose(polynomial(torch.from_numpy(D), R_C, p).numpy(), written(p), atol=1e-13)


@pytest.mark.parametrize("name", CUTOFFS)
def test_it_falls_from_one_to_zero(name):
    f = CUTOFFS[name]
    inside = f(torch.from_numpy(D), R_C)
    assert float(inside[0]) == 1 and (inside.diff() <= 0).all() and (inside >= 0).all()
    beyond = torch.tensor([R_C, R_C + 1e-9, 2 * R_C, 1e6], dtype=torch.float64)
    assert f(beyond, R_C).abs().max() == 0


@pytest.mark.parametrize("name", CUTOFFS)
def test_it_vanishes_smoothly_at_the_cutoff(name):
    order = SMOOTH[name]
    near = derivatives(CUTOFFS[name], [R_C - 1e-7], order)
    beyond = derivatives(CUTOFFS[name], [R_C, R_C + 1e-7, 2 * R_C], order)
    for n in range(order + 1):
        assert abs(float(near[n])) < 1e-5, n  # at most the next derivative, of order 10, times 1e-7
        assert beyond[n].abs().max() == 0, n


@pytest.mark.parametrize("name", CUTOFFS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_slopes_are_finite_at_and_around_the_cutoff(name, dtype):
    eps = torch.finfo(dtype).eps
    d = torch.tensor([0.0, R_C * (1 - eps), R_C, R_C * (1 + eps), 1e3], dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(CUTOFFS[name](d, R_C).sum(), d, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), d)
    assert torch.isfinite(slope).all() and torch.isfinite(curvature).all()


def test_the_switch_follows_its_formula():
    on, off = 1.0, 3.0
    d = np.linspace(1.01, 2.99, 50)
    c = (d - on) / (off - on)
    a, b = np.exp(-1 / (1 - c)), np.exp(-1 / c)
    np.testing.assert_allclose(switch(torch.from_numpy(d), on, off).numpy(), a / (a + b), atol=1e-14)
    assert switch(torch.tensor([0.0, 0.99, on]), on, off).tolist() == [1, 1, 1]
    assert switch(torch.tensor([off, 3.01, 99.0]), on, off).tolist() == [0, 0, 0]
    assert float(switch(torch.tensor(2.0), on, off)) == 0.5


def test_all_derivatives_of_the_switch_are_continuous():
    for where in (1.0, 3.0):
        d = torch.tensor([where - 1e-3, where, where + 1e-3], dtype=torch.float64, requires_grad=True)
        value = switch(d, 1.0, 3.0)
        for _ in range(4):
            (value,) = torch.autograd.grad(value.sum(), d, create_graph=True)
            assert value.abs().max() < 1e-12  # exp(-1/c) with c = 5e-4
