"""What an atom knows before it has seen a neighbour: its element, and the charge and spin of its molecule."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_atoms
from potentials.layers.mlp import ACTIVATIONS, ResidualMLP

N_NUMBERS = 119  # rows of a table of elements; row Z belongs to atomic number Z


def element_table(n_rows: int, n_features: int) -> torch.nn.Embedding:
    """A table of element vectors of variance 1/n_features."""
    table = torch.nn.Embedding(n_rows, n_features)
    torch.nn.init.normal_(table.weight, std=1 / math.sqrt(n_features))
    return table


class ChargeSpinEmbedding(torch.nn.Module):
    """A number of the whole molecule (total charge, or unpaired electrons) spread over its atoms by attention on elements.

    y_i = softplus(q_Zi . k / sqrt(F)), a_i = psi y_i / sum_j y_j, e_i = residual MLP of a_i v, with rows k and v for
    psi >= 0 and psi < 0 apart (Unke et al., Nat. Commun. 12, 7273 (2021), Eqs. 9-11, with softplus weights).
    It does not depend on positions. psi = 0 gives the zero vector.
    """

    def __init__(self, n_features: int, activation: str = "silu"):
        super().__init__()
        self.q = element_table(N_NUMBERS, n_features)
        self.k = element_table(2, n_features)
        self.v = element_table(2, n_features)
        self.residual = ResidualMLP(n_features, activation, bias=False)
        self.n_features = n_features

    def forward(self, graph: AtomicGraph, psi: Tensor) -> Tensor:
        """Vectors of atoms (n_atoms, n_features); `psi` is one number a structure, (n_structures,)."""
        row = (psi < 0).long().index_select(0, graph.structure)  # (n_atoms,)
        y = ACTIVATIONS["softplus"]((self.q(graph.numbers) * self.k(row)).sum(-1) / math.sqrt(self.n_features))
        share = (psi.to(y.dtype) / sum_over_atoms(y, graph)).index_select(0, graph.structure)
        return self.residual((share * y)[:, None] * self.v(row))
