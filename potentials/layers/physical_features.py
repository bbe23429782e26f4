"""Charge and Lennard-Jones parameters of an atom as features: what makes one substance another, as a force field says it.

They are numbers of the atom alone, made into features by a small network, and no norm over atoms takes them away again: in a substance of one
kind of atom they still count.
"""
from __future__ import annotations

from collections.abc import Mapping

import torch
from ase.data import atomic_numbers
from torch import Tensor

from potentials.layers.constants import WithConstants
from potentials.layers.embedding import N_NUMBERS
from potentials.layers.message_passing import TwoDense

UNITS = (1.0, 0.01, 3.0)  # e, eV, Å: the sizes that such numbers have


class PhysicalFeatures(WithConstants):
    """(n_atoms,) atomic numbers -> (n_atoms, n_features).

    Parameters
    ----------
    parameters : by symbol: charge (e), epsilon (eV), sigma (Å).
    """

    def __init__(self, parameters: Mapping[str, tuple[float, float, float]], n_features: int, activation: str = "silu"):
        super().__init__()
        table = torch.zeros(N_NUMBERS, 3, dtype=torch.float64)
        for symbol, values in parameters.items():
            table[atomic_numbers[symbol]] = torch.tensor(values, dtype=torch.float64) / torch.tensor(UNITS, dtype=torch.float64)
        self.constant("table", table)
        self.network = TwoDense(3, n_features, n_features, activation)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.network(self.table.index_select(0, numbers).to(self.network.first.weight.dtype))
