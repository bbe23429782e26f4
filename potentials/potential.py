"""The contract of every potential: a graph goes in, energies of atoms come out.

Forces and stress are not a potential's business: `potentials.derivatives` makes them for all alike. A potential whose forces are no gradient
says so (`conservative = False`) and gives them itself, in `Outputs.forces`.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from potentials.graph import AtomicGraph

PERIODIC_LONG_RANGE_CUTOFF = 12.0  # Å, the published default


@dataclass(frozen=True)
class Outputs:
    """What a potential says about a graph, per atom."""

    energies: Tensor  # (n_atoms,), eV, everything included
    terms: dict[str, Tensor] = field(default_factory=dict)  # parts of `energies` by name, each (n_atoms,), eV
    charges: Tensor | None = None  # (n_atoms,), e
    hirshfeld_ratios: Tensor | None = None  # (n_atoms,)
    extrapolation: Tensor | None = None  # (n_atoms, 2): descriptors outside the range of the training data, and the farthest one in ranges
    forces: Tensor | None = None  # (n_atoms, 3), eV/Å, of a potential that is not conservative and says its forces itself
    features: Tensor | None = None  # (n_atoms, n_features), as `atomic_features` gives them, of a potential that holds its training domain
    head_energies: Tensor | None = None  # (n_atoms, n_heads), eV, everything included, of a potential with several heads; `energies` is their mean


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
    knows_spin = False  # and the number of its unpaired electrons
    conservative = True  # are its forces the gradient of its energy
    equivariant = True  # do its forces turn with the molecule
    net_force_zero = True  # do its forces sum to zero by construction
    provides_energy = True  # False: forces only; its energies are 0 and mean nothing
    provides_stress = True
    has_long_range = False  # does it read graph.long_range
    local = True  # does an atom feel nothing of what is some cutoffs away; False where it feels charges at any distance without graph.long_range
    energy_heads = 1  # opinions of the energy that it has; where there are several, `Outputs.head_energies` holds them
    long_range_cutoff: float | None | str = None  # Å; None: all pairs; "auto": all pairs, and 12 Å in a cell
    typical_force: float | None = None  # eV/Å, of an atom in what it was made for; None: its card may tell, or nothing does
    domain: Any = None  # `potentials.uncertainty.Domain` of its training set, where its file holds one

    def __init__(self, cutoff: float, elements: tuple[int, ...] | None = None):
        super().__init__()
        self.cutoff = float(cutoff)
        self.elements = None if elements is None else tuple(sorted(int(z) for z in elements))

    def far_cutoff(self, periodic: bool) -> float | None:
        """The cutoff of the long-range pairs of a structure, Å: infinite for all pairs, None if the potential wants none.

        Raises
        ------
        ValueError : all pairs of a periodic structure.
        """
        if not self.has_long_range:
            return None
        if self.long_range_cutoff == "auto":
            return PERIODIC_LONG_RANGE_CUTOFF if periodic else math.inf
        if self.long_range_cutoff is None:
            if periodic:
                raise ValueError("A periodic structure has infinitely many pairs: give a long-range cutoff (12 Å is the usual one).")
            return math.inf
        return float(self.long_range_cutoff)

    @property
    def provides(self) -> tuple[str, ...]:
        """What may be asked of it: of energy, forces, stress."""
        asked = {"energy": self.provides_energy, "forces": True, "stress": self.provides_stress}
        return tuple(name for name, given in asked.items() if given)

    def forward(self, graph: AtomicGraph) -> Tensor:
        """Energies of atoms, (n_atoms,), eV."""
        raise NotImplementedError

    def outputs(self, graph: AtomicGraph) -> Outputs:
        """Energies of atoms and whatever else it knows."""
        return Outputs(energies=self(graph))

    def atomic_features(self, graph: AtomicGraph) -> Tensor | None:
        """What it makes of the surroundings of each atom, invariant under rotation, (n_atoms, n_features); None where there is no such thing.

        They say how alike two atoms are (`potentials.uncertainty`, `potentials.active_learning`).
        """
        return None
