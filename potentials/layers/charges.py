"""Partial charges and Hirshfeld ratios read off the features of atoms.

A. Kabylda et al., J. Am. Chem. Soc. 147, 33723 (2025) (SO3LR); the charges after O. T. Unke and M. Meuwly,
J. Chem. Theory Comput. 15, 3678 (2019), Eq. 13.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_atoms
from potentials.layers.mlp import TwoLayers

N_ROWS = 100  # rows of the element tables


class PartialCharges(torch.nn.Module):
    """q_i = b_Z + MLP(x_i), shifted by the same amount on all atoms of a structure so that they sum to its total charge."""

    def __init__(self, n_features: int):
        super().__init__()
        self.element = torch.nn.Embedding(N_ROWS, 1)
        torch.nn.init.zeros_(self.element.weight)
        self.network = TwoLayers(n_features, n_features, 1)

    def forward(self, x: Tensor, graph: AtomicGraph) -> Tensor:
        """(n_atoms, n_features) -> (n_atoms,), e."""
        raw = (self.element(graph.numbers) + self.network(x))[:, 0]
        counts = sum_over_atoms(torch.ones_like(raw), graph)
        excess = (graph.charge.to(raw.dtype) - sum_over_atoms(raw, graph)) / counts  # (n_structures,)
        return raw + excess.index_select(0, graph.structure)


class HirshfeldRatios(torch.nn.Module):
    """v_i = |V_Z + q_Z . k_i / sqrt(n)| with k_i = MLP(x_i): the volume of an atom against that of the free atom."""

    def __init__(self, n_features: int):
        super().__init__()
        n = n_features // 2
        self.volume = torch.nn.Embedding(N_ROWS, 1)
        torch.nn.init.ones_(self.volume.weight)
        self.query = torch.nn.Embedding(N_ROWS, n)
        torch.nn.init.normal_(self.query.weight, std=1 / math.sqrt(n))
        self.network = TwoLayers(n_features, n, n)
        self.norm = math.sqrt(n)

    def forward(self, x: Tensor, graph: AtomicGraph) -> Tensor:
        """(n_atoms, n_features) -> (n_atoms,)."""
        k = self.network(x)
        return (self.volume(graph.numbers)[:, 0] + (self.query(graph.numbers) * k).sum(dim=1) / self.norm).abs()


def dipole(charges: Tensor, graph: AtomicGraph) -> Tensor:
    """mu = sum_i q_i r_i, (n_structures, 3), e Å: depends on the origin for a charged structure, means nothing in a cell."""
    return sum_over_atoms(charges.double()[:, None] * graph.positions, graph)
