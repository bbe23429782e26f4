"""Electrostatics of charges that each element is given: what messages of finite reach cannot carry.

Passes of messages end after a few cutoffs, and what is learnt in a small cell knows no wave of charge that is longer than the cell. The damped
interaction erf(d/sigma)/d of the given charges has its long waves exactly; what it leaves, inside a molecule and between neighbours, is short-ranged
and learnt. In a cell it is Ewald's reciprocal sum (`potentials.layers.ewald`), in a free molecule the sum over all pairs.
"""
from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from ase.data import atomic_numbers
from torch import Tensor

from potentials.graph import AtomicGraph
from potentials.layers.embedding import N_NUMBERS
from potentials.layers.ewald import DampedEwald
from potentials.layers.repulsion import COULOMB


class GivenCharges(torch.nn.Module):
    """Energies and forces of fixed charges.

    Parameters
    ----------
    charges : e, by symbol.
    sigma : Å, the damping length; the larger, the fewer waves.
    """

    capturable = traceable = False  # its wave vectors are counted anew for each cell: neither a CUDA graph nor compiled code can hold it

    def __init__(self, charges: Mapping[str, float], sigma: float):
        super().__init__()
        table = torch.zeros(N_NUMBERS, dtype=torch.float64)
        for symbol, q in charges.items():
            table[atomic_numbers[symbol]] = q
        self.charges = table  # no buffer: it stays in float64 whatever the precision of the networks
        self.ewald = DampedEwald(sigma, accuracy=1e-8)

    def energies(self, graph: AtomicGraph) -> Tensor:
        """(n_atoms,), eV, float64; positions and cell may be differentiated."""
        return torch.cat([self._energies(*one) for one in self._structures(graph)])

    def forces(self, graph: AtomicGraph) -> Tensor:
        """(n_atoms, 3), eV/Å, float64: minus the gradient of `energies`, without differentiating anything."""
        with torch.no_grad():
            return torch.cat([self.ewald.forces(q, r, cell) if _is_cell(cell) else self._free(q, r)[1] for q, r, cell in self._structures(graph)])

    def _energies(self, q: Tensor, positions: Tensor, cell: Tensor) -> Tensor:
        return self.ewald.energies(q, positions, cell) if _is_cell(cell) else self._free(q, positions)[0]

    def _structures(self, graph: AtomicGraph) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Charges, positions and cell of each.

        Raises
        ------
        ValueError : a structure that is periodic along one or two vectors only.
        """
        q = self.charges.to(graph.numbers.device).index_select(0, graph.numbers)
        sizes = torch.bincount(graph.structure, minlength=graph.n_structures).tolist()
        for cell in graph.cell:
            if 0 < int((cell.detach().norm(dim=1) > 0).sum()) < 3:
                raise ValueError("The electrostatics of given charges need a structure that is periodic along all three vectors, or along none.")
        return list(zip(q.split(sizes), graph.positions.split(sizes), graph.cell))

    def _free(self, q: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """Energies of atoms and forces of a structure without a cell, by all its pairs."""
        i, j = torch.triu_indices(len(q), len(q), 1, device=q.device)
        r_ij = r.index_select(0, j) - r.index_select(0, i)
        d, s = r_ij.norm(dim=1), self.ewald.sigma
        qq = COULOMB * q.index_select(0, i) * q.index_select(0, j)
        half = 0.5 * qq * torch.erf(d / s) / d
        slope = qq * (2 / (math.sqrt(math.pi) * s) * torch.exp(-((d / s) ** 2)) / d - torch.erf(d / s) / d**2)
        along = (slope / d)[:, None] * r_ij  # on i; the opposite on j
        return torch.zeros_like(q).index_add(0, i, half).index_add(0, j, half), torch.zeros_like(r).index_add(0, i, along).index_add(0, j, -along)


def _is_cell(cell: Tensor) -> bool:
    return bool(cell.detach().abs().sum() > 0)
