"""A potential of one's own, as a package of its own: soft spheres.

E_i = 1/2 sum_j epsilon (1 - r_ij / r_c)^2 for r_ij < r_c: each atom pushes its neighbours away, softly, and no farther than the cutoff.
Energy and force end at zero there, as they must. Forces and stress are not our business: mdapp takes the gradient.
"""
from __future__ import annotations

from dataclasses import dataclass

from potentials.architectures import architectures
from potentials.calculator import PotentialCalculator
from potentials.graph import AtomicGraph, edge_lengths, sum_over_neighbours
from potentials.potential import Potential
from torch import Tensor


@dataclass(frozen=True)
class Config:
    """One kind of sphere for all elements. These are the keys of [train.potential.config] and of a potential file."""

    epsilon: float = 1.0  # eV, energy of a pair at distance 0
    cutoff: float = 3.0  # Å, where spheres begin to touch

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and self.cutoff > 0):
            raise ValueError(f"epsilon and cutoff must be > 0, got {self.epsilon} eV and {self.cutoff} Å.")


@architectures.register("soft-sphere")
class SoftSphere(Potential):
    """See the module's head."""

    Config = Config

    def __init__(self, config: Config = Config()):
        super().__init__(cutoff=config.cutoff)
        self.config = config

    def forward(self, graph: AtomicGraph) -> Tensor:  # (n_atoms,), eV
        r = edge_lengths(graph)  # (n_edges,), both i->j and j->i
        overlap = (1 - r / self.config.cutoff).clamp(min=0)
        return 0.5 * sum_over_neighbours(self.config.epsilon * overlap**2, graph)


def soft_sphere(device: str = "cpu", dtype: str | None = None) -> PotentialCalculator:
    """What `--potential soft-sphere` gives."""
    return PotentialCalculator(SoftSphere(), device=device, name="soft-sphere")
