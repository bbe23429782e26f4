"""Cutoff functions: 1 at distance 0, smoothly 0 at the cutoff and beyond.

With q = d / r_c. `phys`: PhysNet's polynomial (Unke and Meuwly, J. Chem. Theory Comput. 15, 3678 (2019), Eq. 8);
`cosine`: Behler, J. Chem. Phys. 134, 074106 (2011), Eq. 4; `polynomial`: Gasteiger et al., ICLR 2020 (DimeNet), Eq. 8;
`exponential`: Unke et al., Nat. Commun. 12, 7273 (2021), Eq. 14.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Cutoff = Callable[[Tensor, float], Tensor]


def phys(d: Tensor, r_c: float) -> Tensor:
    """1 - 6 q^5 + 15 q^4 - 10 q^3."""
    q = d / r_c
    return torch.where(q < 1, 1 + q**3 * (-10 + q * (15 - 6 * q)), 0.0)


def cosine(d: Tensor, r_c: float) -> Tensor:
    """(1 + cos(pi q)) / 2."""
    q = d / r_c
    return torch.where(q < 1, 0.5 * (1 + torch.cos(math.pi * q)), 0.0)


def polynomial(d: Tensor, r_c: float, p: int = 6) -> Tensor:
    """1 - (p+1)(p+2)/2 q^p + p(p+2) q^(p+1) - p(p+1)/2 q^(p+2)."""
    q = d / r_c
    envelope = 1 - q**p * ((p + 1) * (p + 2) / 2 - q * (p * (p + 2) - q * p * (p + 1) / 2))
    return torch.where(q < 1, envelope, 0.0)


def exponential(d: Tensor, r_c: float) -> Tensor:
    """exp(-d^2 / ((r_c - d)(r_c + d))): all derivatives vanish at the cutoff."""
    inside = d < r_c
    d = torch.where(inside, d, 0.0)
    return torch.where(inside, torch.exp(-(d**2) / ((r_c - d) * (r_c + d))), 0.0)


CUTOFFS: dict[str, Cutoff] = {"phys": phys, "cosine": cosine, "polynomial": polynomial, "exponential": exponential}


def switch(d: Tensor, on: float, off: float) -> Tensor:
    """1 below `on`, 0 above `off`, with all derivatives continuous between (both Å).

    sw = sig(1-c) / (sig(1-c) + sig(c)) with sig(u) = exp(-1/u) for u > 0 and c = (d - on) / (off - on).
    """
    c = (d - on) / (off - on)
    down, up = _sig(1 - c), _sig(c)
    return down / (down + up)


def _sig(u: Tensor) -> Tensor:
    positive = u > 0
    return torch.where(positive, torch.exp(-1 / torch.where(positive, u, 1.0)), 0.0)
