"""Shallow ensembles: several heads of the energy on one trunk, a committee at about the price of one potential.

The energy is the mean of the heads'. How far their energies lie apart costs nothing beside it; how far their forces do costs a backward pass in which the
gradients of all heads go together, so that a calculator does it only when somebody asks: guards look at every tenth step.

M. Kellner and M. Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024), arXiv 2402.16621.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from potentials.combine import CommitteeResults
from potentials.derivatives import energy_forces_stress, forces_of_heads
from potentials.graph import AtomicGraph, batch
from potentials.potential import Potential
from potentials.runtime.ahead_of_time import compiled
from potentials.runtime.code_cache import file_of
from potentials.runtime.compiled_derivatives import LEAST, LENGTHS
from potentials.runtime.tracing import graph_of_tensors, tensors_of


def of_all_heads(potential: Potential, graph: AtomicGraph, *, stress: bool = False) -> CommitteeResults:
    """Energies, forces, stress and spread of a potential with several heads, each head as a member of a committee."""
    outputs, energies, forces = forces_of_heads(potential, graph)
    sigma = energy_forces_stress(potential, graph, stress=True).stress if stress else None
    return CommitteeResults(energies.mean(1), outputs.energies, forces.mean(0), sigma, outputs, energies.T, forces)


class SpreadOfForces:
    """How far the forces of the heads lie apart on each atom, (n_atoms,), eV/Å; see `CommitteeResults.forces_spread`.

    Parameters
    ----------
    compile : by compiled code on the CPU; a minute at the first call, as for `CompiledDerivatives`.
    """

    def __init__(self, potential: Potential, compile: bool = False):
        self.potential, self.compile = potential.requires_grad_(False), compile
        self._functions: dict[tuple[float, ...] | None, Callable[..., Sequence[Tensor]]] = {}

    def __call__(self, graph: AtomicGraph) -> Tensor:
        sizes = [graph.n_atoms, graph.edges.n_pairs] + ([graph.long_range.n_pairs] if graph.long_range is not None else [])
        if not self.compile or graph.n_structures > 1 or min(sizes) < LEAST or graph.positions.device.type != "cpu":
            return self._plain(graph)
        far, tensors = graph.long_range_cutoff, tensors_of(graph)
        if far not in self._functions:
            file = file_of(self.potential, "spread of forces", far)
            self._functions[far] = compiled(lambda *t: (self._by_copies(graph_of_tensors(t, far)),), tensors, LENGTHS[: len(tensors)], file)
        with torch.no_grad():
            return self._functions[far](*tensors)[0]

    def _plain(self, graph: AtomicGraph) -> Tensor:
        return _spread(forces_of_heads(self.potential, graph)[2])

    def _by_copies(self, graph: AtomicGraph) -> Tensor:
        """A copy of the structure for each head: what a tracer with open lengths can follow, and gradients that go together by vmap are not."""
        n = self.potential.energy_heads
        r = energy_forces_stress(self.potential, batch([graph] * n), head=torch.arange(n, device=graph.positions.device))
        assert r.forces is not None
        return _spread(r.forces.view(n, -1, 3))


def _spread(forces: Tensor) -> Tensor:
    """(n_heads, n_atoms, 3) -> (n_atoms,)."""
    return forces.var(0).sum(-1).sqrt()
