"""Energies and forces of a potential as one compiled function (inductor), for training.

Forward pass and force gradient are traced together into one graph of tensor operations, with sizes kept symbolic; that
graph is compiled, its backward pass to the parameters included. One compilation (a minute or two) serves batches of any
size. The plain twin is `potentials.derivatives.energy_forces_stress(..., create_graph=True)`.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from potentials.derivatives import energy_forces_stress
from potentials.graph import AtomicGraph, sum_over_atoms
from potentials.potential import Potential
from potentials.runtime.tracing import graph_of_tensors, tensors_of, trace_of

EnergyForces = Callable[[AtomicGraph], tuple[Tensor, Tensor]]


def plain_energy_forces(potential: Potential) -> EnergyForces:
    """graph -> energy (n_structures,) float64 and forces (n_atoms, 3) that can be differentiated again."""

    def energy_forces(graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        results = energy_forces_stress(potential, graph, create_graph=True)
        return results.energy, results.forces

    return energy_forces


class CompiledEnergyForces:
    """The same, compiled on the first batch of two or more structures that comes; later batches may have other sizes.

    Single structures, graphs with fewer than two pairs and graphs with long-range pairs go to the plain function. The
    parameters are those of `potential`, also after they were changed in place.
    """

    def __init__(self, potential: Potential):
        self.potential = potential
        self.plain = plain_energy_forces(potential)
        self.parameters = [parameter for _, parameter in potential.named_parameters()]
        self._compiled: Callable[..., tuple[Tensor, Tensor]] | None = None

    def __call__(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        if graph.n_structures < 2 or graph.edges.n_pairs < 2 or graph.long_range is not None:
            return self.plain(graph)
        if self._compiled is None:
            self._compiled = self._compile(graph)
        return self._compiled(self.parameters, *_tensors(graph))

    def _compile(self, example: AtomicGraph) -> Callable[..., tuple[Tensor, Tensor]]:
        names = [name for name, _ in self.potential.named_parameters()]

        def function(parameters: list[Tensor], *tensors: Tensor) -> tuple[Tensor, Tensor]:
            graph = graph_of_tensors(tensors)
            atoms = torch.func.functional_call(self.potential, dict(zip(names, parameters)), (graph,))
            energy = sum_over_atoms(atoms.double(), graph)
            (gradient,) = torch.autograd.grad(energy.sum(), graph.positions, create_graph=True)
            return energy, -gradient

        return torch.compile(trace_of(function, self.parameters, *_tensors(example)), dynamic=True)


def _tensors(graph: AtomicGraph) -> tuple[Tensor, ...]:
    positions, *others = tensors_of(graph)
    return positions.requires_grad_(True), *others
