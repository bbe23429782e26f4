"""Several heads of the energy on one trunk: what architectures with a shallow ensemble share."""
from __future__ import annotations

import torch
from torch import Tensor

from potentials.layers.mlp import lecun_normal_


def mean_of_heads(e: Tensor) -> Tensor:
    """(n_atoms, n_heads) -> (n_atoms,)."""
    return e[:, 0] if e.shape[1] == 1 else e.mean(1)


def with_other_terms(e: Tensor, energies: Tensor) -> Tensor | None:
    """Energies of the heads (n_atoms, n_heads), everything included, where `e` holds what they say and `energies` (n_atoms,) the whole of their mean;
    None for a single head."""
    return None if e.shape[1] == 1 else e + (energies - e.mean(1))[:, None]


@torch.no_grad()
def part_heads_(last: torch.nn.Linear) -> None:
    """Draw the weights of each head anew about the mean of all, which stays what it was: where it is 0, the heads begin apart all the same."""
    mean = last.weight.mean(0, keepdim=True)
    lecun_normal_(last.weight, last.in_features)
    last.weight += mean - last.weight.mean(0, keepdim=True)
