"""Energy, forces and stress of a potential as one compiled function (inductor), for runs that are long enough to pay for it.

The plain path is traced once, forward pass and gradient together, with sizes kept symbolic, and compiled; the result has the
signature of `potentials.derivatives.energy_forces_stress` and serves structures of any size. Compilation takes a minute on
two cores the first time; torch keeps compiled code in its cache folder, so that the next start takes seconds.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from potentials.derivatives import Results, energy_forces_stress
from potentials.graph import AtomicGraph
from potentials.potential import Outputs, Potential
from potentials.runtime.tracing import graph_of_tensors, tensors_of, trace_of

LEAST = 2  # sizes 0 and 1 are special to a tracer

Packed = tuple[Tensor, Tensor | None, Tensor | None, list[Tensor | None]]


class CompiledDerivatives:
    """A twin of `energy_forces_stress` for one potential on the CPU.

    Several structures at once, and graphs with fewer than two atoms or pairs, go to the plain path.
    """

    def __init__(self, potential: Potential):
        self.potential = potential.requires_grad_(False)
        self._functions: dict[tuple[Any, ...], Callable[..., Packed]] = {}
        self._terms: list[str] = []

    def __call__(self, potential: Potential, graph: AtomicGraph, *, stress: bool = False) -> Results:
        """See `potentials.derivatives.energy_forces_stress`; `potential` must be the one that this was made for."""
        assert potential is self.potential, "a compiled twin serves the potential that it was made for"
        sizes = [graph.n_atoms, graph.edges.n_pairs] + ([graph.long_range.n_pairs] if graph.long_range is not None else [])
        if graph.n_structures > 1 or min(sizes) < LEAST or graph.positions.device.type != "cpu":
            return energy_forces_stress(potential, graph, stress=stress)
        kind = (stress, graph.long_range_cutoff)
        if kind not in self._functions:
            self._functions[kind] = self._compile(graph, stress)
        with torch.no_grad():
            energy, forces, sigma, (energies, charges, ratios, *terms) = self._functions[kind](*tensors_of(graph))
        assert energies is not None
        return Results(energy, energies, forces, sigma, Outputs(energies, dict(zip(self._terms, terms)), charges, ratios))  # type: ignore[arg-type]

    def _compile(self, example: AtomicGraph, stress: bool) -> Callable[..., Packed]:
        cutoffs = example.long_range_cutoff

        def function(*tensors: Tensor) -> Packed:
            r = energy_forces_stress(self.potential, graph_of_tensors(tensors, cutoffs), stress=stress)
            o = r.outputs
            self._terms = list(o.terms)
            return r.energy, r.forces, r.stress, [o.energies, o.charges, o.hirshfeld_ratios, *o.terms.values()]

        return torch.compile(trace_of(function, *tensors_of(example)), dynamic=True)
