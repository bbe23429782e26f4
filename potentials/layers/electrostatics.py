"""Electrostatic energy of partial charges, softened at short range: g(d) = erf(d/sigma)/d.

Without a cutoff every pair counts. With one, R, the interaction is shifted so that energy and force vanish there: at short
range by its value at R, towards R by its value and slope, with a smooth switch between both from 0.45 R on.
No pair is excluded and there is no self-energy.

A. Kabylda et al., J. Am. Chem. Soc. 147, 33723 (2025) (SO3LR).
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_neighbours
from potentials.layers.cutoffs import switch
from potentials.layers.pairs import FarPairs
from potentials.layers.repulsion import COULOMB

SWITCH_ON = 0.45  # in units of the cutoff


class DampedCoulomb(torch.nn.Module):
    """E_i = 1/2 sum_j k_e q_i q_j g(d_ij), with `sigma` in Å."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def forward(self, charges: Tensor, pairs: FarPairs, graph: AtomicGraph) -> Tensor:
        """Energies of atoms (n_atoms,), eV, from charges (n_atoms,), e."""
        d, R = pairs.d, pairs.cutoff
        value = self.g(d)
        if not pairs.all_pairs:
            at_R = self.g(R)
            shifted = value - at_R
            f = switch(d / R, SWITCH_ON, 1.0)
            cut = torch.where(d < R, shifted - (1 - f) * self.slope(R) * (d - R), 0.0)
            value = torch.where(pairs.has_cutoff, cut, value)
        half = 0.5 * COULOMB * charges.index_select(0, pairs.i) * charges.index_select(0, pairs.j) * value
        return sum_over_neighbours(torch.cat([half, half]), graph, graph.long_range)

    def g(self, d: Tensor) -> Tensor:
        """erf(d/sigma)/d, 1/Å."""
        return torch.erf(d / self.sigma) / d

    def slope(self, d: Tensor) -> Tensor:
        """dg/dd, 1/Å^2."""
        return 2 / (math.sqrt(math.pi) * self.sigma) * torch.exp(-((d / self.sigma) ** 2)) / d - torch.erf(d / self.sigma) / d**2
