"""The contract of every potential: a graph goes in, energies of atoms come out.

Forces and stress are not a potential's business: `potentials.derivatives` makes them for all alike.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from potentials.graph import AtomicGraph


@dataclass(frozen=True)
class Outputs:
    """What a potential says about a graph, per atom."""

    energies: Tensor  # (n_atoms,), eV, everything included
    terms: dict[str, Tensor] = field(default_factory=dict)  # parts of `energies` by name, each (n_atoms,), eV
    charges: Tensor | None = None  # (n_atoms,), e
    hirshfeld_ratios: Tensor | None = None  # (n_atoms,)


class Potential(torch.nn.Module):
    """A potential energy as a sum over atoms.

    A subclass gives `forward`. One that has more to say (energy terms, charges) gives `outputs` too.
    Its class also holds a frozen dataclass `Config`, and is built from one: ``cls(cls.Config(...))``.

    Parameters
    ----------
    cutoff : pairs farther apart than this do not see each other, Å.
    elements : atomic numbers that it knows; None for any.
    """

    knows_charge = False  # does the total charge of a structure mean anything to it
    conservative = True  # are its forces the gradient of its energy
    equivariant = True  # do its forces turn with the molecule
    net_force_zero = True  # do its forces sum to zero by construction
    provides_stress = True
    long_range_cutoff: float | None = None  # Å; not None where it reads graph.long_range

    def __init__(self, cutoff: float, elements: tuple[int, ...] | None = None):
        super().__init__()
        self.cutoff = float(cutoff)
        self.elements = None if elements is None else tuple(sorted(int(z) for z in elements))

    def forward(self, graph: AtomicGraph) -> Tensor:
        """Energies of atoms, (n_atoms,), eV."""
        raise NotImplementedError

    def outputs(self, graph: AtomicGraph) -> Outputs:
        """Energies of atoms and whatever else it knows."""
        return Outputs(energies=self(graph))
