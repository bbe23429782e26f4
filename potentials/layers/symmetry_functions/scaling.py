"""Descriptors brought to the size of a network's inputs, and the range in which it has seen them.

================  =====================================================  ================
mode              scaled G                                               n2p2's keyword
================  =====================================================  ================
"none"            G                                                      none
"range"           S_min + (S_max - S_min) (G - G_min) / (G_max - G_min)  scale
"centre"          G - mean                                               center
"centre-range"    S_min + (S_max - S_min) (G - mean) / (G_max - G_min)   both of these
"sigma"           S_min + (S_max - S_min) (G - mean) / σ                 scale ... sigma
================  =====================================================  ================

A descriptor that is the same in all training data is dropped: its input is always 0. Its range still counts as a range.

A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019).
"""
from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Mode = Literal["none", "range", "centre", "centre-range", "sigma"]
MODES: tuple[Mode, ...] = ("none", "range", "centre", "centre-range", "sigma")
TOLERANCE = 1e-6  # of the range: the extremes of the training data themselves come out a little different


class Scaling(torch.nn.Module):
    """Scaling of the descriptors (n_atoms, K) of one kind of atom; the identity before `take`."""

    minimum: Tensor
    maximum: Tensor
    mean: Tensor
    sigma: Tensor
    centre: Tensor
    factor: Tensor
    offset: Tensor
    n_seen: Tensor

    def __init__(self, n: int, mode: Mode = "sigma", lowest: float = 0.0, highest: float = 1.0):
        super().__init__()
        self.mode, self.lowest, self.highest = mode, lowest, highest
        for name in ("minimum", "maximum", "mean", "sigma", "centre", "offset"):
            self.register_buffer(name, torch.zeros(n, dtype=torch.float64))
        self.register_buffer("factor", torch.ones(n, dtype=torch.float64))
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.int64))  # atoms that the statistics are of; 0: none, nothing is known

    def take(self, minimum: Tensor, maximum: Tensor, mean: Tensor, sigma: Tensor, n_seen: int) -> None:
        """Statistics of the training data, (K,) each."""
        with torch.no_grad():
            for mine, value in ((self.minimum, minimum), (self.maximum, maximum), (self.mean, mean), (self.sigma, sigma)):
                mine.copy_(value)
            self.n_seen.fill_(n_seen)
            if self.mode == "none":
                return
            width = (maximum - minimum).double()
            dropped = width <= 1e-12 * torch.maximum(minimum.abs(), maximum.abs())
            spread = {"centre": torch.ones_like(width), "sigma": sigma.double()}.get(self.mode, width)
            span = 1.0 if self.mode == "centre" else self.highest - self.lowest
            self.centre.copy_(minimum if self.mode == "range" else mean)
            self.factor.copy_(torch.where(dropped, 0.0, span / torch.where(spread > 0, spread, 1.0)))
            self.offset.copy_(torch.where(dropped, 0.0, 0.0 if self.mode == "centre" else self.lowest))

    @property
    def n_dropped(self) -> int:
        return int((self.factor == 0).sum())

    def forward(self, G: Tensor) -> Tensor:
        return (G - self.centre.to(G.dtype)) * self.factor.to(G.dtype) + self.offset.to(G.dtype)

    def overshoot(self, G: Tensor) -> Tensor:
        """How far each descriptor lies outside the range of the training data, as a part of the range (n_atoms, K); 0 inside.

        Where the training data had a single value, the distance from it.
        """
        low, high = self.minimum.to(G.dtype), self.maximum.to(G.dtype)
        width = high - low
        rounding = 8 * torch.finfo(G.dtype).eps * torch.maximum(low.abs(), high.abs())
        beyond = torch.maximum(G - high, low - G)
        out = beyond / torch.where(width > 0, width, 1.0)
        return torch.where((beyond > TOLERANCE * width + rounding) & (self.n_seen > 0), out, 0.0)


class Moments:
    """Extremes, mean and deviation of descriptors, gathered batch by batch."""

    def __init__(self, n: int):
        self.n_seen = 0
        self.minimum, self.maximum = torch.full((n,), torch.inf, dtype=torch.float64), torch.full((n,), -torch.inf, dtype=torch.float64)
        self.mean, self.squares = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)

    def add(self, G: Tensor) -> None:
        """Descriptors of more atoms, (n_atoms, K)."""
        if not len(G):
            return
        G = G.double().cpu()
        self.minimum, self.maximum = torch.minimum(self.minimum, G.amin(0)), torch.maximum(self.maximum, G.amax(0))
        n, mean = len(G), G.mean(0)
        shift, total = mean - self.mean, self.n_seen + n
        self.squares = self.squares + (G - mean).square().sum(0) + shift.square() * self.n_seen * n / total
        self.mean, self.n_seen = self.mean + shift * n / total, total

    def give(self, scaling: Scaling) -> None:
        """Hand the statistics on; nothing happens where no atom was seen."""
        if self.n_seen:
            sigma = torch.sqrt(self.squares / max(self.n_seen - 1, 1))
            scaling.take(self.minimum, self.maximum, self.mean, sigma, self.n_seen)
