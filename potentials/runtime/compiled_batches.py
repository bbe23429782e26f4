"""Energies and forces of batches by one compiled function (inductor), for long evaluations on the CPU.

The plain path is traced once, forward pass and gradient together, with sizes kept symbolic; the compiled result serves batches of any size and keeps
nothing that could be differentiated again. The plain twin is `potentials.derivatives.energy_forces_stress`.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from potentials.derivatives import energy_forces_stress
from potentials.graph import AtomicGraph
from potentials.potential import Potential
from potentials.runtime.tracing import graph_of_tensors, tensors_of, trace_of


class CompiledBatches:
    """graph -> energy (n_structures,) and forces (n_atoms, 3), both float64, eV and Å.

    Compiled at the first batch of two or more structures with two or more pairs; smaller ones, and graphs with long-range pairs, go to the plain path.
    """

    def __init__(self, potential: Potential):
        self.potential = potential.requires_grad_(False)
        self._compiled: Callable[..., tuple[Tensor, Tensor]] | None = None

    def __call__(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        if graph.n_structures < 2 or graph.edges.n_pairs < 2 or graph.long_range is not None:
            return self._plain(graph)
        if self._compiled is None:
            self._compiled = torch.compile(trace_of(lambda *tensors: self._plain(graph_of_tensors(tensors)), *tensors_of(graph)), dynamic=True)
        with torch.no_grad():
            return self._compiled(*tensors_of(graph))

    def _plain(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        r = energy_forces_stress(self.potential, graph)
        assert r.forces is not None
        return r.energy, r.forces
