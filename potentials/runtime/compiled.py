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
from potentials.graph import AtomicGraph, Edges, sum_over_atoms
from potentials.potential import Potential

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
        from torch.fx.experimental import _config as config
        from torch.fx.experimental.proxy_tensor import make_fx

        names = [name for name, _ in self.potential.named_parameters()]

        def function(parameters: list[Tensor], *tensors: Tensor) -> tuple[Tensor, Tensor]:
            graph = _graph(tensors)
            atoms = torch.func.functional_call(self.potential, dict(zip(names, parameters)), (graph,))
            energy = sum_over_atoms(atoms.double(), graph)
            (gradient,) = torch.autograd.grad(energy.sum(), graph.positions, create_graph=True)
            return energy, -gradient

        # Without duck shapes: else sizes that happen to be equal here (structures and 3, structures and a width of the network) are taken
        # for the same size, and a batch of another size gets wrong numbers.
        with config.patch(use_duck_shape=False):
            trace = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(self.parameters, *_tensors(example))
        _reattach(trace)
        return torch.compile(trace, dynamic=True)


def _reattach(trace: torch.fx.GraphModule) -> None:
    """Take `detach` out of a trace.

    Where a derivative reuses the result of its operation (exp, say), tracing writes that result down as detached, and the
    gradient to the parameters would miss what flows through it.
    """
    for node in list(trace.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            trace.graph.erase_node(node)
    trace.recompile()


def _tensors(graph: AtomicGraph) -> tuple[Tensor, ...]:
    e = graph.edges
    positions = graph.positions.detach().requires_grad_(True)
    return positions, graph.numbers, graph.structure, graph.cell, e.centres, e.neighbours, e.shifts, graph.charge, graph.unpaired


def _graph(tensors: tuple[Tensor, ...]) -> AtomicGraph:
    positions, numbers, structure, cell, centres, neighbours, shifts, charge, unpaired = tensors
    return AtomicGraph(positions, numbers, structure, cell, Edges(centres, neighbours, shifts), charge, unpaired)
