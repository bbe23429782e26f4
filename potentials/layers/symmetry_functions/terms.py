r"""The equations: radial and angular factors of symmetry functions on grids of their parameters.

.. math::
    G^1_i &= \sum_j f_c(r_{ij}) \qquad
    G^2_i = \sum_j e^{-\eta (r_{ij} - R_s)^2} f_c(r_{ij}) \qquad
    G^3_i = \sum_j \cos(\kappa r_{ij}) f_c(r_{ij}) \\
    G^4_i &= 2^{1-\zeta} \sum_{j<k} (1 + \lambda \cos\theta)^\zeta e^{-\eta (r_{ij}^2 + r_{ik}^2 + r_{jk}^2)} f_c(r_{ij}) f_c(r_{ik}) f_c(r_{jk}) \\
    G^5_i &= 2^{1-\zeta} \sum_{j<k} (1 + \lambda \cos\theta)^\zeta e^{-\eta (r_{ij}^2 + r_{ik}^2)} f_c(r_{ij}) f_c(r_{ik}) \\
    R_i &= \tfrac{1}{4} \sum_j e^{-\eta (r_{ij} - R_m)^2} f_c(r_{ij}) \\
    A_i &= 2 \sum_{j<k} \left(\frac{1 + \cos(\theta' - \theta_n)}{2}\right)^\zeta e^{-\eta ((r_{ij} + r_{ik})/2 - R_m)^2} f_c(r_{ij}) f_c(r_{ik}),
    \quad \theta' = \arccos(0.95 \cos\theta)

Each unordered pair of neighbours counts once. Gaussians of angular functions may be shifted: (r - R_s)^2 in the place of r^2.
The weighted kinds multiply each term by g(j), or g(j) g(k).

J. Behler, J. Chem. Phys. 134, 074106 (2011), Eqs. 5-9; M. Gastegger et al., J. Chem. Phys. 148, 241709 (2018), Eqs. 5 and 6;
R_i and A_i: J. S. Smith, O. Isayev, A. E. Roitberg, Chem. Sci. 8, 3192 (2017), with the factors of TorchANI.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 1e-30  # under a power that is no whole number


def gaussians(r: Tensor, eta: Tensor, rs: Tensor) -> Tensor:
    """exp(-η (r - R_s)²): r (n,) -> (n, n_grid)."""
    return torch.exp(-eta * (r[:, None] - rs).square())


def radial_factor(distances: Sequence[Tensor], eta: Tensor, rs: Tensor, shifted: bool) -> Tensor:
    """exp(-η Σ (r - R_s)²) over the sides of a triangle: each (n,) -> (n, n_grid)."""
    if shifted:
        return torch.exp(-eta * sum((r[:, None] - rs).square() for r in distances))
    return torch.exp(sum(r.square() for r in distances)[:, None] * -eta)


def angular_factor(cos: Tensor, lam: Tensor, zetas: Sequence[float]) -> Tensor:
    """((1 + λ cos θ) / 2)^ζ: cos (n,) -> (n, n_zeta n_lam), ζ slowest."""
    return powers(0.5 + 0.5 * cos[:, None] * lam, zetas)


def aev_angular_factor(cos: Tensor, theta: Tensor, zetas: Sequence[float]) -> Tensor:
    """((1 + cos(θ' - θ_n)) / 2)^ζ with cos θ' = 0.95 cos θ, by the cosine of a difference: no arccos is needed."""
    cos = 0.95 * cos
    sin = torch.sqrt(1 - cos.square())  # θ' lies between 18° and 162°
    directions = 0.5 * torch.stack([torch.cos(theta), torch.sin(theta)], 1)
    return powers(torch.nn.functional.linear(torch.stack([cos, sin], 1), directions, torch.full_like(theta, 0.5)), zetas)


def powers(base: Tensor, zetas: Sequence[float]) -> Tensor:
    """Every column of `base` (n, n_bases) to every exponent: (n, n_zeta n_bases), exponents slowest; whole ones by repeated multiplication."""
    known: dict[int, Tensor] = {1: base}

    def whole(n: int) -> Tensor:
        if n not in known:
            half = whole(n // 2)
            known[n] = half * half * base if n % 2 else half * half
        return known[n]

    columns = [whole(int(z)) if float(z).is_integer() else torch.pow(base.clamp(min=SMALLEST), z) for z in zetas]
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)


def third_side(a: Tensor, b: Tensor, cos: Tensor) -> Tensor:
    """The side opposite to the angle, Å."""
    return torch.sqrt((a.square() + b.square() - 2 * a * b * cos).clamp(min=1e-12))


def oscillations(r: Tensor, kappa: Tensor) -> Tensor:
    """cos(κ r): (n,) -> (n, n_grid)."""
    return torch.cos(r[:, None] * kappa)
