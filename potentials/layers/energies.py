"""Energies of elements: the zero of a potential's energy, in float64 whatever the precision of the network."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from potentials.layers.embedding import N_NUMBERS


class ElementEnergies(torch.nn.Module):
    """A fixed energy for each element, eV, added to what the network says."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("energies", torch.zeros(N_NUMBERS, dtype=torch.float64))

    def set(self, energies: Mapping[int, float]) -> None:
        """Take energies (eV) by atomic number; elements that are not named get 0."""
        self.energies.zero_()
        for number, energy in energies.items():
            self.energies[int(number)] = float(energy)

    def forward(self, numbers: Tensor) -> Tensor:  # (n_atoms,) -> (n_atoms,) float64
        return self.energies.index_select(0, numbers)

    def _apply(self, fn, recurse=True):  # .float() and .half() of the whole model leave the zero of energy alone
        exact = self.energies
        super()._apply(fn, recurse)
        self.energies = exact.to(self.energies.device)
        return self
