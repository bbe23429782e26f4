"""Energy, forces and stress of a potential as one compiled function (AOTInductor), for runs that are long enough to pay for it.

The plain path is traced once, forward pass and gradient together, with sizes kept symbolic, and compiled; the result has the
signature of `potentials.derivatives.energy_forces_stress` and serves structures of any size. Compilation takes a minute the first time; the code
is kept (see `code_cache`), so that the next start takes a second or two.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from potentials.derivatives import Results, energy_forces_stress
from potentials.graph import AtomicGraph
from potentials.potential import Outputs, Potential
from potentials.runtime.ahead_of_time import compiled
from potentials.runtime.code_cache import file_of
from potentials.runtime.tracing import graph_of_tensors, tensors_of

TERM = "term "
WHOLE = ("energy", "energies", "forces", "stress")
PARTS = ("charges", "hirshfeld_ratios", "extrapolation", "features", "head_energies")

LEAST = 2  # sizes 0 and 1 are special to a tracer
LENGTHS = ("n", "n", "n", None, "e", "e", "e", None, None, "f", "f", "f")  # of `tensors_of`: atoms, directed pairs, long-range pairs


class CompiledDerivatives:
    """A twin of `energy_forces_stress` for one potential on the CPU.

    Several structures at once, and graphs with fewer than two atoms or pairs, go to the plain path.
    """

    def __init__(self, potential: Potential):
        self.potential = potential.requires_grad_(False)
        self._functions: dict[tuple[Any, ...], tuple[list[str], Callable[..., Sequence[Tensor]]]] = {}

    def __call__(self, potential: Potential, graph: AtomicGraph, *, stress: bool = False) -> Results:
        """See `potentials.derivatives.energy_forces_stress`; `potential` must be the one that this was made for."""
        assert potential is self.potential, "a compiled twin serves the potential that it was made for"
        sizes = [graph.n_atoms, graph.edges.n_pairs] + ([graph.long_range.n_pairs] if graph.long_range is not None else [])
        if graph.n_structures > 1 or min(sizes) < LEAST or graph.positions.device.type != "cpu":
            return energy_forces_stress(potential, graph, stress=stress)
        kind = (stress, graph.long_range_cutoff)
        if kind not in self._functions:
            self._functions[kind] = self._compile(graph, stress)
        names, function = self._functions[kind]
        with torch.no_grad():
            return unpacked(dict(zip(names, function(*tensors_of(graph)))))

    def _compile(self, example: AtomicGraph, stress: bool) -> tuple[list[str], Callable[..., Sequence[Tensor]]]:
        cutoffs = example.long_range_cutoff
        names = list(packed(energy_forces_stress(self.potential, example, stress=stress)))

        def function(*tensors: Tensor) -> tuple[Tensor, ...]:
            return tuple(packed(energy_forces_stress(self.potential, graph_of_tensors(tensors, cutoffs), stress=stress)).values())

        tensors = tensors_of(example)
        return names, compiled(function, tensors, LENGTHS[: len(tensors)], file_of(self.potential, "derivatives", stress, cutoffs, names))


def packed(r: Results) -> dict[str, Tensor]:
    """What there is of the results, by name; a part of the energy begins with TERM."""
    found = {name: getattr(r, name) for name in WHOLE} | {name: getattr(r.outputs, name) for name in PARTS}
    return {name: value for name, value in found.items() if value is not None} | {TERM + name: value for name, value in r.outputs.terms.items()}


def unpacked(found: dict[str, Tensor]) -> Results:
    terms = {name[len(TERM) :]: value for name, value in found.items() if name.startswith(TERM)}
    outputs = Outputs(energies=found["energies"], terms=terms, **{name: found.get(name) for name in PARTS})
    return Results(outputs=outputs, **{name: found.get(name) for name in WHOLE})  # type: ignore[arg-type]
