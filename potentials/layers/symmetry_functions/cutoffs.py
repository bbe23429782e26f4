"""Cutoff functions of symmetry functions: 1 up to an inner radius, smoothly 0 at the cutoff and beyond.

With x = (r - r_in) / (r_c - r_in) and r_in = inner r_c. J. Behler, J. Chem. Phys. 134, 074106 (2011), Eqs. 4 and 5; the polynomials and
`exp` as in n2p2: A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019).
"""
from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

CutoffOfX = Callable[[Tensor], Tensor]


def cosine(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.cos(math.pi * x))


def exponential(x: Tensor) -> Tensor:
    """exp(1 - 1 / (1 - x^2)): all derivatives vanish at the cutoff."""
    inside = x < 1
    return torch.where(inside, torch.exp(1 - 1 / torch.where(inside, 1 - x * x, 1.0)), 0.0)


def poly3(x: Tensor) -> Tensor:
    return 1 + x**2 * (-3 + 2 * x)


def poly5(x: Tensor) -> Tensor:
    return 1 + x**3 * (-10 + x * (15 - 6 * x))


def poly7(x: Tensor) -> Tensor:
    return 1 + x**4 * (-35 + x * (84 + x * (-70 + 20 * x)))


def poly9(x: Tensor) -> Tensor:
    return 1 + x**5 * (-126 + x * (420 + x * (-540 + x * (315 - 70 * x))))


SMOOTH: dict[str, CutoffOfX] = {
    "hard": torch.ones_like, "cosine": cosine, "exp": exponential, "poly3": poly3, "poly5": poly5, "poly7": poly7, "poly9": poly9,
}  # fmt: skip
NAMES = (*SMOOTH, "tanh3", "tanh3_norm")


def cutoff_function(r: Tensor, name: str, r_c: float, inner: float = 0.0) -> Tensor:
    """f_c(r), any shape.

    Parameters
    ----------
    r : Å.
    name : one of `NAMES`; "tanh3" and "tanh3_norm" have no inner radius, "hard" is for tests.
    inner : the inner radius as a part of `r_c`, 0 to 1.
    """
    if name in ("tanh3", "tanh3_norm"):
        top = math.tanh(1.0) ** 3 if name == "tanh3_norm" else 1.0
        return torch.where(r < r_c, torch.tanh(1 - r / r_c) ** 3 / top, 0.0)
    if name == "cosine" and not inner:  # the usual one, in the fewest calls
        return 0.5 * (1 + torch.cos(r.clamp(max=r_c) * (math.pi / r_c)))
    x = ((r - inner * r_c) / (r_c - inner * r_c)).clamp(0, 1) if inner else (r / r_c).clamp(max=1)
    return SMOOTH[name](x) if name != "hard" else (r < r_c).to(r.dtype)  # all others are 0 at x = 1 to the bit
