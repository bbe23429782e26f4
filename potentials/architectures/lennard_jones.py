"""The Lennard-Jones potential, smoothly switched off: the readable reference.

E_i = 1/2 sum_j 4 epsilon [(sigma/r)^12 - (sigma/r)^6] s(r), with s a fifth-order switch from 1 to 0 between `switch_on` and
the cutoff. Defaults are argon's.

J. E. Lennard-Jones, Proc. Phys. Soc. 43, 461 (1931); argon: A. Rahman, Phys. Rev. 136, A405 (1964).
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.architectures import architectures
from potentials.graph import AtomicGraph, pair_vectors, sum_over_neighbours
from potentials.potential import Potential


@dataclass(frozen=True)
class Config:
    """One kind of pair for all elements."""

    epsilon: float = 0.010341  # eV, depth of the well (120 K)
    sigma: float = 3.405  # Å, where the energy crosses zero
    cutoff: float = 8.5  # Å
    switch_on: float = 7.5  # Å
    elements: tuple[int, ...] | None = None  # None: any

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and self.sigma > 0):
            raise ValueError(f"epsilon and sigma must be > 0, got {self.epsilon} and {self.sigma}.")
        if not 0 < self.switch_on < self.cutoff:
            raise ValueError(f"switch_on must lie between 0 and the cutoff, got {self.switch_on} and {self.cutoff} Å.")


@architectures.register("lennard-jones")
class LennardJones(Potential):
    """See the module's head."""

    Config = Config

    def __init__(self, config: Config = Config()):
        super().__init__(cutoff=config.cutoff, elements=config.elements)
        self.config = config
        self.typical_force = 2.4 * config.epsilon / config.sigma  # the strongest pull of a pair

    def forward(self, graph: AtomicGraph) -> Tensor:  # (n_atoms,), eV
        c = self.config
        r = pair_vectors(graph).norm(dim=1)  # (n_pairs,)
        x = (c.sigma / r) ** 6
        t = ((r - c.switch_on) / (c.cutoff - c.switch_on)).clamp(0, 1)
        s = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        half = 0.5 * 4 * c.epsilon * (x**2 - x) * s
        return sum_over_neighbours(torch.cat([half, half]), graph)
