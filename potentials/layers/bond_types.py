"""Types of pairs by the bonds that geometry shows: in other molecules, bonded, in one molecule and not bonded.

What GNNforMD told apart by the two kinds of atoms of water, for any molecule. Two atoms are bonded where they are nearer than 1.25 times the sum of
their covalent radii; a molecule is what bonds connect. A type changes at once when a bond breaks: forces then jump, and no energy can be conserved.
"""
from __future__ import annotations

import torch
from ase.data import covalent_radii
from torch import Tensor

from potentials.layers.constants import WithConstants

TOLERANCE = 1.25  # of the sum of covalent radii
ROUNDS = 12  # of handing on a molecule's number; each doubles how far it reaches along a chain


class BondTypes(WithConstants):
    """One-hot (n_pairs, 3): other molecules, bonded, one molecule."""

    def __init__(self) -> None:
        super().__init__()
        self.constant("radii", torch.as_tensor(covalent_radii, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, numbers: Tensor, i: Tensor, j: Tensor, d: Tensor) -> Tensor:
        reach = self.radii.index_select(0, numbers)
        bonded = d < TOLERANCE * (reach.index_select(0, i) + reach.index_select(0, j))
        molecule = torch.arange(len(numbers), device=numbers.device)  # the lowest number of an atom of the molecule, in the end
        for _ in range(ROUNDS):
            at_i, at_j = molecule.index_select(0, i), molecule.index_select(0, j)
            lowest = torch.where(bonded, torch.minimum(at_i, at_j), molecule.new_full((), len(numbers)))
            molecule = molecule.scatter_reduce(0, i, lowest, "amin").scatter_reduce(0, j, lowest, "amin")
            molecule = molecule.scatter_reduce(0, at_i, lowest, "amin").scatter_reduce(0, at_j, lowest, "amin")
            molecule = molecule.index_select(0, molecule)
        same = molecule.index_select(0, i) == molecule.index_select(0, j)
        return torch.stack([~same, bonded, same & ~bonded], dim=1).to(d.dtype)
