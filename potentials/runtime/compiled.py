"""Energies and forces of a potential as one compiled function (inductor), for training.

Forward pass and force gradient are traced together into one graph of tensor operations, with sizes kept symbolic; that
graph is compiled, its backward pass to the parameters included. One compilation (a minute or two) serves batches of any
size. The plain twin is `potentials.derivatives.energy_forces_stress(..., create_graph=True)`.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from potentials.derivatives import energies_of_heads, energy_forces_stress
from potentials.graph import AtomicGraph, sum_over_atoms
from potentials.potential import Outputs, Potential
from potentials.runtime.tracing import graph_of_tensors, tensors_of, trace_of

EnergyForces = Callable[[AtomicGraph], tuple[Tensor, Tensor]]


def plain_energy_forces(potential: Potential) -> EnergyForces:
    """graph -> energy (n_structures,) float64 and forces (n_atoms, 3) that can be differentiated again."""

    def energy_forces(graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        results = energy_forces_stress(potential, graph, create_graph=True)
        return results.energy, results.forces

    return energy_forces


def plain_energies_of_heads(potential: Potential, graph: AtomicGraph, head: Tensor) -> tuple[Tensor, Tensor]:
    """Energies of all heads and the forces of one for each structure, that can be differentiated again."""
    results = energy_forces_stress(potential, graph, create_graph=True, head=head)
    assert results.forces is not None
    return energies_of_heads(results.outputs, graph), results.forces


class _Outputs(torch.nn.Module):
    """`functional_call` calls a module; this one gives the outputs."""

    def __init__(self, potential: Potential):
        super().__init__()
        self.potential = potential

    def forward(self, graph: AtomicGraph) -> Outputs:
        return self.potential.outputs(graph)


class CompiledEnergyForces:
    """The same, compiled on the first batch of two or more structures that comes; later batches may have other sizes.

    Single structures, graphs with fewer than two pairs and graphs with long-range pairs go to the plain function. The
    parameters are those of `potential`, also after they were changed in place. A potential with several heads gives their energies
    (n_structures, n_heads), and the forces of the head that is named for each structure.
    """

    def __init__(self, potential: Potential):
        self.potential = potential
        self.plain = plain_energy_forces(potential)
        self.parameters = [parameter for _, parameter in potential.named_parameters()]
        self._compiled: Callable[..., tuple[Tensor, Tensor]] | None = None

    def __call__(self, graph: AtomicGraph, head: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if graph.n_structures < 2 or graph.edges.n_pairs < 2 or graph.long_range is not None:
            return self.plain(graph) if head is None else plain_energies_of_heads(self.potential, graph, head)
        if self._compiled is None:
            self._compiled = self._compile(graph) if head is None else self._compile_heads(graph, head)
        return self._compiled(self.parameters, *_tensors(graph), *(() if head is None else (head,)))

    def _compile_heads(self, example: AtomicGraph, head: Tensor) -> Callable[..., tuple[Tensor, Tensor]]:
        asked, names = _Outputs(self.potential), [f"potential.{name}" for name, _ in self.potential.named_parameters()]

        def function(parameters: list[Tensor], *tensors: Tensor) -> tuple[Tensor, Tensor]:
            graph, chosen = graph_of_tensors(tensors[:-1]), tensors[-1]
            outputs = torch.func.functional_call(asked, dict(zip(names, parameters)), (graph,))
            energies = energies_of_heads(outputs, graph)
            (gradient,) = torch.autograd.grad(energies.gather(1, chosen[:, None]).sum(), graph.positions, create_graph=True)
            return energies, -gradient

        return torch.compile(trace_of(function, self.parameters, *_tensors(example), head), dynamic=True)

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
