"""What a potential takes from its training data before the first step: the spread of the energies that are left to learn."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor

from potentials.graph import AtomicGraph


class Labelled(Protocol):
    """A batch of training data, as far as a potential looks at it."""

    graph: AtomicGraph
    energy: Tensor  # (n_structures,), eV; NaN where there is none
    atom_counts: Tensor  # (n_structures,)


def energy_left(batch: Labelled, element_energies: Callable[[Tensor], Tensor]) -> Tensor:
    """Energies less those of the elements, per atom: (n_structures,), eV."""
    zero = element_energies(batch.graph.numbers)
    zero = torch.zeros_like(batch.energy).index_add(0, batch.graph.structure, zero.to(batch.energy.dtype))
    return ((batch.energy - zero) / batch.atom_counts).double()


def energy_unit(left: Iterable[Tensor]) -> float:
    """Standard deviation of energies per atom, eV; 1 where there is no spread to speak of."""
    values = torch.cat(list(left))
    values = values[torch.isfinite(values)]
    spread = float(values.std()) if len(values) > 1 else 0.0
    return spread if spread > 1e-6 else 1.0
