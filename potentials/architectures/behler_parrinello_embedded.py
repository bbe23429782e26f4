r"""Behler-Parrinello with learned element vectors: one network for all elements.

.. math:: E = \sum_i \left[ E^0_{e_i} + s_E\, \varphi\!\left( S(G_i),\, b_{e_i} \right) \right], \qquad
    G_i^{(c)} = \sum_j a^c_{e_j} e^{-\eta (r_{ij} - R_s)^2} f_c(r_{ij}), \quad
    G_i^{(c)} = 2^{1-\zeta} \sum_{j<k} a^c_{e_j} a^c_{e_k} (1 + \lambda \cos\theta)^\zeta \dots

Channels of elements are replaced by a few learned weights a of each neighbour element, and networks of elements by one network that is
told its central element by a learned vector b. The number of descriptors does not grow with the number of elements, elements that are
rare in the data learn from the others, and a new element is a new row of two tables: results for the old ones stay what they were.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from potentials.architectures import architectures
from potentials.architectures.behler_parrinello import Config as Plain
from potentials.graph import AtomicGraph
from potentials.layers.atomic_networks import AtomicNetwork
from potentials.layers.embedding import N_NUMBERS
from potentials.layers.energies import ElementEnergies
from potentials.layers.heads import mean_of_heads, with_other_terms
from potentials.layers.symmetry_functions import SymmetryFunctions, largest_cutoff
from potentials.layers.symmetry_functions.grids import Grid
from potentials.layers.symmetry_functions.records import WEIGHTED
from potentials.layers.symmetry_functions.scaling import Moments, Scaling
from potentials.layers.training_statistics import Labelled, energy_left, energy_unit
from potentials.potential import Outputs, Potential


@dataclass(frozen=True)
class Config(Plain):
    """As of behler-parrinello; functions, if given, must all be weighted ones."""

    grid: Grid = Grid(weighted=True)
    n_channels: int = 4  # learned weights of each neighbour element
    n_centre: int = 8  # length of the vector of the central element

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_channels < 1 or self.n_centre < 1:
            raise ValueError(f"n_channels and n_centre must be 1 or more, got {self.n_channels} and {self.n_centre}.")
        if self.selection.keep:
            raise ValueError("selection needs descriptors that do not change in training; learned element vectors change them.")
        if not self.grid.weighted or any(f.kind not in WEIGHTED for f in self.functions):
            raise ValueError("learned element vectors need weighted symmetry functions: set grid.weighted = true, or give functions W2, W4, W5 only.")


@architectures.register("behler-parrinello-embedded")
class EmbeddedBehlerParrinello(Potential):
    """See the module's head."""

    Config = Config
    energy_unit: Tensor

    def __init__(self, config: Config = Config()):
        super().__init__(cutoff=largest_cutoff(config.functions) if config.functions else config.cutoff, elements=config.elements)
        self.config = config
        known = self.elements or (1,)  # without elements it is a draft that says which pairs it wants to see
        self.descriptors = SymmetryFunctions(config.functions_for(known), known, config.n_channels)
        n = self.descriptors.count(known[0])
        self.neighbour_vectors = torch.nn.Embedding(N_NUMBERS, config.n_channels)  # a
        self.centre_vectors = torch.nn.Embedding(N_NUMBERS, config.n_centre)  # b
        with torch.no_grad():
            self.neighbour_vectors.weight[:, 0] = 1.0  # the first channel begins as the one that sees all neighbours alike
        self.scaling = Scaling(n, config.scaling, config.scale_min, config.scale_max)
        self.network = AtomicNetwork(n + config.n_centre, config.hidden, config.activations, config.energy_heads)
        self.energy_heads = config.energy_heads
        self.register_buffer("energy_unit", torch.ones((), dtype=torch.float64))  # s_E, eV
        self.register_buffer("known", torch.tensor(known), persistent=False)
        self.element_energies = ElementEnergies()

    def set_reference_energies(self, energies: Mapping[int, float]) -> None:
        """E^0: energies of elements (eV) that the network's energies are relative to."""
        self.element_energies.set(energies)

    @torch.no_grad()
    def fit_to(self, batches: Iterable[Labelled]) -> str:
        """Take the scaling of descriptors (with the vectors of now) and the energy unit from training data; called once, before training."""
        moments, left = Moments(len(self.scaling.minimum)), []
        for batch in batches:
            moments.add(self._raw(batch.graph))
            left.append(energy_left(batch, self.element_energies))
        moments.give(self.scaling)
        self.energy_unit.fill_(energy_unit(left))
        n = self.scaling.n_dropped
        return f"Descriptors: {len(self.scaling.minimum)}{f' ({n} constant)' if n else ''}; energy unit {1000 * float(self.energy_unit):.1f} meV."

    def forward(self, graph: AtomicGraph) -> Tensor:
        return self.outputs(graph).energies

    def outputs(self, graph: AtomicGraph) -> Outputs:
        x = torch.cat([self.scaling(self._raw(graph)), self.centre_vectors(graph.numbers)], 1)
        e = self.network(x).double() * self.energy_unit  # (n_atoms, n_heads)
        terms = {"network": mean_of_heads(e), "elements": self.element_energies(graph.numbers)}
        energies = terms["network"] + terms["elements"]
        return Outputs(energies, terms, head_energies=with_other_terms(e, energies))

    def _raw(self, graph: AtomicGraph) -> Tensor:
        weights = self.neighbour_vectors(self.known)  # (n_elements, n_channels)
        return self.descriptors.of_element(self.descriptors(graph, weights.dtype, weights), 0)
