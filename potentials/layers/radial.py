"""Radial bases: a distance becomes K numbers. None of them is multiplied by a cutoff function here."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from potentials.layers.constants import WithConstants

# 0.5 per bohr as the reference code holds it: rounded to single precision, also in a double-precision run.
BERNSTEIN_GAMMA = 0.94486308097839355  # 1/Å


class Bernstein(WithConstants):
    """b_k = C(K-1, k) t^k (1-t)^(K-1-k) with t = exp(-gamma d), in logarithms (Unke et al., Nat. Commun. 12, 7273 (2021))."""

    def __init__(self, n_radial: int, cutoff: float):
        super().__init__()
        k = torch.arange(n_radial, dtype=torch.float64)
        n = n_radial - 1
        log_binomial = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        self.constant("log_binomial", log_binomial)
        self.constant("k", k)
        self.n = n

    def forward(self, d: Tensor) -> Tensor:  # (n_edges,) -> (n_edges, K)
        log_t = -BERNSTEIN_GAMMA * d[:, None]
        log_1mt = torch.log(-torch.expm1(log_t.clamp(max=-1e-6)))
        k = self.k.to(d.dtype)
        log_b = self.log_binomial.to(d.dtype) + k * log_t + (self.n - k) * log_1mt
        if d.dtype == torch.float64:
            return torch.exp(log_b)
        # values that single precision cannot tell from 0 beside the others; as subnormal numbers they would halve the speed
        return torch.where(log_b > -46.0, torch.exp(log_b), 0.0)


class PhysNet(WithConstants):
    """b_k = exp(-beta (exp(-d) - mu_k)^2), centres even in exp(-d) (Unke and Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), Eq. 7)."""

    def __init__(self, n_radial: int, cutoff: float):
        super().__init__()
        self.constant("centres", torch.linspace(math.exp(-cutoff), 1.0, n_radial, dtype=torch.float64))
        self.beta = (2 / n_radial * (1 - math.exp(-cutoff))) ** -2

    def forward(self, d: Tensor) -> Tensor:  # (n_edges,) -> (n_edges, K)
        return torch.exp(-self.beta * (torch.exp(-d)[:, None] - self.centres.to(d.dtype)) ** 2)


class Bessel(WithConstants):
    """b_k = sin(pi k d / r_c) / d for k = 0 ... K-1 (the first is 0, as in the reference code)."""

    def __init__(self, n_radial: int, cutoff: float):
        super().__init__()
        self.constant("frequencies", torch.arange(n_radial, dtype=torch.float64) * math.pi / cutoff)

    def forward(self, d: Tensor) -> Tensor:  # (n_edges,) -> (n_edges, K)
        d = d[:, None]
        apart = d > 0
        return torch.where(apart, torch.sin(self.frequencies.to(d.dtype) * d) / torch.where(apart, d, 1.0), 0.0)


class Gaussian(torch.nn.Module):
    """b_k = exp(-(d - c_k)^2 / (2 w_k^2)) with trainable centres and widths, even between 0 and the cutoff at first."""

    def __init__(self, n_radial: int, cutoff: float):
        super().__init__()
        self.centres = torch.nn.Parameter(torch.linspace(0, cutoff, n_radial))
        self.widths = torch.nn.Parameter(torch.full((n_radial,), cutoff / max(n_radial - 1, 1)))

    def forward(self, d: Tensor) -> Tensor:  # (n_edges,) -> (n_edges, K)
        return torch.exp(-0.5 * ((d[:, None] - self.centres) / self.widths) ** 2)


RADIAL_BASES: dict[str, type[torch.nn.Module]] = {"bernstein": Bernstein, "physnet": PhysNet, "bessel": Bessel, "gaussian": Gaussian}
