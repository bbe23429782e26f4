"""Energies and forces of batches by one compiled function (AOTInductor), for long evaluations on the CPU.

The plain path is traced once, forward pass and gradient together, with sizes kept symbolic; the compiled result serves batches of any size, keeps
nothing that could be differentiated again, and is kept for the next start (see `code_cache`). The plain twin is `potentials.derivatives.energy_forces_stress`.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from potentials.derivatives import energy_forces_stress
from potentials.graph import AtomicGraph
from potentials.potential import Potential
from potentials.runtime.ahead_of_time import compiled
from potentials.runtime.code_cache import file_of
from potentials.runtime.tracing import graph_of_tensors, tensors_of, traceable

LENGTHS = ("n", "n", "n", "s", "e", "e", "e", "s", "s")  # of `tensors_of`: atoms, structures, directed pairs


class CompiledBatches:
    """graph -> energy (n_structures,) and forces (n_atoms, 3), both float64, eV and Å.

    Compiled at the first batch of two or more structures with two or more pairs; smaller ones, graphs with long-range pairs, and potentials
    that no trace can hold (`traceable`), go to the plain path.
    """

    def __init__(self, potential: Potential):
        self.potential = potential.requires_grad_(False)
        self.traceable = traceable(potential)
        self._compiled: Callable[..., Sequence[Tensor]] | None = None

    def __call__(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        if not self.traceable or graph.n_structures < 2 or graph.edges.n_pairs < 2 or graph.long_range is not None:
            return self._plain(graph)
        if self._compiled is None:
            file = file_of(self.potential, "batches")
            self._compiled = compiled(lambda *tensors: self._plain(graph_of_tensors(tensors)), tensors_of(graph), LENGTHS, file)
        with torch.no_grad():
            energy, forces = self._compiled(*tensors_of(graph))
        return energy, forces

    def _plain(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        r = energy_forces_stress(self.potential, graph)
        assert r.forces is not None
        return r.energy, r.forces
