"""Radial bases against their formulas, written out a second time with numpy."""
from math import comb

import numpy as np
import pytest
import torch

from potentials.layers.radial import BERNSTEIN_GAMMA, RADIAL_BASES, Bernstein

R_C, K = 5.0, 16
D = np.concatenate([[1e-3, 0.05], np.linspace(0.3, 6.0, 60)])


def bernstein(d):
    t = np.exp(-0.94486308097839355 * d)[:, None]
    k = np.arange(K)
    return np.array([comb(K - 1, j) for j in k]) * t**k * (1 - t) ** (K - 1 - k)


def physnet(d):
    mu, beta = np.linspace(np.exp(-R_C), 1, K), ((2 / K) * (1 - np.exp(-R_C))) ** -2
    return np.exp(-beta * (np.exp(-d)[:, None] - mu) ** 2)


def bessel(d):
    return np.sin(np.pi * np.arange(K) * d[:, None] / R_C) / d[:, None]


def gaussian(d):
    centres = np.linspace(0, R_C, K)
    return np.exp(-((d[:, None] - centres) ** 2) / (2 * (centres[1] - centres[0]) ** 2))


FORMULAS = {"bernstein": bernstein, "physnet": physnet, "bessel": bessel, "gaussian": gaussian}
# the Gaussians' centres are weights, made in single precision
ATOL = {"bernstein": 1e-12, "physnet": 1e-13, "bessel": 1e-12, "gaussian": 1e-6}


@pytest.mark.parametrize("name", RADIAL_BASES)
def test_values_follow_the_formula(name):
    basis = RADIAL_BASES[name](K, R_C).double()
    np.testing.assert_allclose(basis(torch.from_numpy(D)).detach().numpy(), FORMULAS[name](D), atol=ATOL[name])


@pytest.mark.parametrize("name", RADIAL_BASES)
def test_single_precision_agrees_with_double(name):
    basis, single = RADIAL_BASES[name](K, R_C).double(), RADIAL_BASES[name](K, R_C).float()
    exact = basis(torch.from_numpy(D)).detach()
    found = single(torch.from_numpy(D).float()).detach()
    assert found.dtype == torch.float32
    # the argument of each exponential or sine has up to 50 in it: 50 times 6e-8
    np.testing.assert_allclose(found.numpy(), exact.numpy(), atol=1e-5 * float(exact.abs().max()))


@pytest.mark.parametrize("n", [2, 16, 32, 64])
def test_bernstein_in_single_precision_loses_no_small_value_that_counts(n):
    d = torch.linspace(0.4, 5.0, 100, dtype=torch.float64)
    exact, found = Bernstein(n, R_C).double()(d), Bernstein(n, R_C).float()(d.float()).double()
    seen = exact > 1e-15
    assert ((found - exact).abs() < 5e-5 * exact)[seen].all()  # relative: exponents up to 60 with 6e-8 each, and the argument's own rounding
    assert (found[~seen] < 2e-15).all() and (found >= 0).all()


@pytest.mark.parametrize("n", [2, 16, 32])
def test_bernstein_polynomials_sum_to_one(n):
    d = torch.linspace(0.01, 9.0, 200, dtype=torch.float64)
    torch.testing.assert_close(Bernstein(n, R_C)(d).sum(1), torch.ones(200, dtype=torch.float64), rtol=0, atol=1e-11)


def test_the_rate_is_that_of_the_published_weights():
    """Half an inverse bohr, as single precision holds it."""
    assert BERNSTEIN_GAMMA == float(np.float32(0.9448630629184640))


@pytest.mark.parametrize("name", RADIAL_BASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_and_slopes_are_finite_everywhere(name, dtype):
    d = torch.tensor([1e-12, 1e-6, 1e-3, 1.0, 4.9999, 5.0, 20.0, 1e3], dtype=dtype, requires_grad=True)
    values = RADIAL_BASES[name](K, R_C).to(dtype)(d)
    (slopes,) = torch.autograd.grad(values.sum(), d, create_graph=True)
    (curvatures,) = torch.autograd.grad(slopes.sum(), d)
    assert torch.isfinite(values).all() and torch.isfinite(slopes).all() and torch.isfinite(curvatures).all()


@pytest.mark.parametrize("name", RADIAL_BASES)
def test_slopes_are_those_of_the_formula(name):
    d = torch.linspace(0.5, 5.5, 40, dtype=torch.float64, requires_grad=True)
    basis = RADIAL_BASES[name](K, R_C).double()
    assert torch.autograd.gradcheck(basis, d, eps=1e-6, atol=1e-6)


def test_bessel_is_zero_at_distance_zero():
    assert RADIAL_BASES["bessel"](K, R_C)(torch.zeros(2)).abs().max() == 0


def test_only_gaussians_learn():
    assert {name: sum(p.numel() for p in kind(K, R_C).parameters()) for name, kind in RADIAL_BASES.items()} == {
        "bernstein": 0, "physnet": 0, "bessel": 0, "gaussian": 2 * K,
    }  # fmt: skip
