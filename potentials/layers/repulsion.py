"""Screened nuclear repulsion at short range, with trainable constants (Ziegler, Biersack and Littmark, 1985)."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, sum_over_neighbours
from potentials.layers.cutoffs import switch

COULOMB = 14.399645351950548  # e^2 / (4 pi epsilon_0), eV Å
BOHR = 0.5291772105638411  # Å


class ZBLRepulsion(torch.nn.Module):
    """E_i = 1/2 sum_j phi(d) sw(d; 0, off) k_e Z_i Z_j / d sum_k c_k exp(-a_k d (Z_i^p + Z_j^p) / d_0).

    It acts inside covalent bonds (it vanishes at `off`, 1.5 Å in the source), so it belongs to the model that was
    trained with it. All constants are positive through a softplus; the c_k sum to 1.

    Source: Kabylda et al., J. Am. Chem. Soc. (2025), SO3LR; textbook constants at the start.
    """

    def __init__(self, off: float = 1.5):
        super().__init__()
        self.off = off
        self.a = torch.nn.Parameter(_inverse_softplus([3.2, 0.9423, 0.4028, 0.2016]))
        self.c = torch.nn.Parameter(_inverse_softplus([0.1818, 0.5099, 0.2802, 0.02817]))
        self.p = torch.nn.Parameter(_inverse_softplus([0.23]))
        self.d = torch.nn.Parameter(_inverse_softplus([1 / (0.8854 * BOHR)]))

    def forward(self, graph: AtomicGraph, d: Tensor, phi: Tensor) -> Tensor:
        """Energies of atoms (n_atoms,), eV; `d` distances of the pairs (n_pairs,), `phi` the cutoff function there (n_pairs,)."""
        softplus = torch.nn.functional.softplus
        a, c = softplus(self.a), softplus(self.c)
        c = c / c.sum()
        Z = graph.numbers.to(d.dtype)
        Z_p = Z ** softplus(self.p)
        n_pairs = graph.edges.n_pairs
        i, j = graph.edges.centres[:n_pairs], graph.edges.neighbours[:n_pairs]
        rz = d * (Z_p[i] + Z_p[j]) * softplus(self.d)  # (n_pairs,)
        screening = (c * torch.exp(-a * rz[:, None])).sum(dim=1)
        pair = 0.5 * phi * switch(d, 0.0, self.off) * COULOMB * Z[i] * Z[j] / d * screening
        return sum_over_neighbours(torch.cat([pair, pair]), graph)


def _inverse_softplus(values: list[float]) -> Tensor:
    return torch.tensor([math.log(math.expm1(v)) for v in values])
