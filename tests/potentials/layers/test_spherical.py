"""Real spherical harmonics against scipy's complex ones, by quadrature and by rotation."""
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from potentials.layers.spherical import Contraction, SphericalHarmonics

ALL = (1, 2, 3, 4)


def columns(degrees):
    """(degree, m, column) of each component."""
    rows = [(l, m) for l in degrees for m in range(-l, l + 1)]
    return [(l, m, k) for k, (l, m) in enumerate(rows)]


def directions(n=200, seed=0):
    u = np.random.default_rng(seed).normal(size=(n, 3))
    u = np.concatenate([u, np.eye(3), -np.eye(3)])  # the axes and both poles too
    return u / np.linalg.norm(u, axis=1, keepdims=True)


def evaluate(degrees, u):
    return SphericalHarmonics(degrees).double()(torch.from_numpy(np.ascontiguousarray(u))).numpy()


def test_they_are_those_of_scipy():
    """Y_l|m| = (-1)^m sqrt(2) Re/Im of the complex ones, whose Condon-Shortley sign is taken back."""
    u = directions()
    theta, phi = np.arccos(np.clip(u[:, 2], -1, 1)), np.arctan2(u[:, 1], u[:, 0])
    ours = evaluate(ALL, u)
    for l, m, k in columns(ALL):
        complex_one = sph_harm_y(l, abs(m), theta, phi) * (-1) ** m
        expected = complex_one.real if m == 0 else np.sqrt(2) * (complex_one.real if m > 0 else complex_one.imag)
        np.testing.assert_allclose(ours[:, k], expected, atol=1e-7)  # arccos loses half the digits at the poles


def sphere_rule():
    """Points and weights exact for polynomials up to degree 9: Gauss in cos(theta), even steps in phi."""
    z, w = np.polynomial.legendre.leggauss(6)
    phi = np.arange(12) * 2 * np.pi / 12
    z, w, phi = np.repeat(z, 12), np.repeat(w, 12) * 2 * np.pi / 12, np.tile(phi, 6)
    s = np.sqrt(1 - z**2)
    return np.column_stack([s * np.cos(phi), s * np.sin(phi), z]), w


def test_they_are_orthonormal():
    u, w = sphere_rule()
    Y = evaluate(ALL, u)
    np.testing.assert_allclose(Y.T @ (w[:, None] * Y), np.eye(Y.shape[1]), atol=1e-13)


@pytest.mark.parametrize("degrees", [(1,), (2,), (4,), (1, 3), (3, 1), (2, 4), ALL], ids=str)
def test_any_choice_of_degrees_takes_its_columns(degrees):
    u = directions(20)
    every, chosen = evaluate(ALL, u), evaluate(degrees, u)
    where = {(l, m): k for l, m, k in columns(ALL)}
    for l, m, k in columns(degrees):
        np.testing.assert_allclose(chosen[:, k], every[:, where[l, m]], atol=1e-15)


def test_parity_and_norm():
    u = directions()
    Y, turned = evaluate(ALL, u), evaluate(ALL, -u)
    for l, m, k in columns(ALL):
        np.testing.assert_allclose(turned[:, k], (-1) ** l * Y[:, k], atol=1e-14)
    start = 0
    for l in ALL:
        np.testing.assert_allclose((Y[:, start : start + 2 * l + 1] ** 2).sum(1), (2 * l + 1) / (4 * np.pi), rtol=1e-13)
        start += 2 * l + 1


def wigner(l, R):
    """The matrix D with Y_l(R u) = D Y_l(u), by least squares over many directions."""
    u = directions(60, seed=l)
    D, residual, *_ = np.linalg.lstsq(evaluate((l,), u), evaluate((l,), u @ R.T), rcond=None)
    assert residual.size == 0 or residual.max() < 1e-24  # a rotation mixes the components of one degree only
    return D.T


def test_contraction_is_invariant_and_expansion_equivariant():
    degrees, rng = (1, 2, 4), np.random.default_rng(5)
    contraction = Contraction(degrees).double()
    v = torch.from_numpy(rng.normal(size=(10, sum(2 * l + 1 for l in degrees))))
    c = torch.from_numpy(rng.normal(size=(10, len(degrees))))
    R = Rotation.random(random_state=3).as_matrix()
    D = torch.zeros(v.shape[1], v.shape[1], dtype=torch.float64)
    start = 0
    for l in degrees:
        D[start : start + 2 * l + 1, start : start + 2 * l + 1] = torch.from_numpy(wigner(l, R))
        start += 2 * l + 1
    torch.testing.assert_close(D @ D.T, torch.eye(len(D), dtype=torch.float64), rtol=0, atol=1e-12)
    turned = v @ D.T
    torch.testing.assert_close(contraction(turned), contraction(v), rtol=0, atol=1e-12)
    scaled = contraction.expand(c) * v
    torch.testing.assert_close(contraction.expand(c) * turned, scaled @ D.T, rtol=0, atol=1e-12)


def test_contraction_follows_its_formula():
    v = torch.arange(1.0, 9.0, dtype=torch.float64)[None]  # degrees 1 and 2
    expected = [(1 + 4 + 9) / np.sqrt(3), (16 + 25 + 36 + 49 + 64) / np.sqrt(5)]
    np.testing.assert_allclose(Contraction((1, 2)).double()(v)[0].numpy(), expected, rtol=1e-15)


@pytest.mark.parametrize("degrees", [(), (0,), (5,), (1, 1), (-1,), (1.5,)], ids=str)
def test_impossible_degrees_are_refused(degrees):
    for kind in (SphericalHarmonics, Contraction):
        with pytest.raises(ValueError, match="degrees must be different whole numbers from 1 to 4"):
            kind(degrees)
