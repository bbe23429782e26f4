"""Energy, forces and stress of a potential as one CUDA graph, captured once and replayed at every step.

A small molecule on a GPU waits for the launches of a thousand kernels, not for arithmetic; a replay launches them all at once.
Per step positions and cell go up, one vector with all results comes down, and nothing else waits for the device. The neighbour
list stays with its skin on the host, which has the positions anyway; its pairs go up when they are searched anew (every 20 to
40 steps), into arrays with room to spare. When the room is used up, the graph is captured again.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from potentials.derivatives import Results, energy_forces_stress
from potentials.graph import AtomicGraph
from potentials.potential import Outputs, Potential
from potentials.runtime.padded import Padded

WARM_UP = 3  # evaluations before a capture, as torch asks for


class ReplayedDerivatives:
    """A twin of `energy_forces_stress` for one potential and one structure that moves.

    Parameters
    ----------
    potential : on its device, its parameters frozen.
    capture : False evaluates the padded arrays without a CUDA graph, on any device; what tests compare.

    Graphs come in on the CPU, pairs within the skin included; results are on the CPU. Several structures at once, structures without
    pairs, and potentials with parts that no graph can hold (`capturable` False in a module) go the plain way.
    """

    takes_host_graphs = True  # an evaluator leaves the graph on the CPU, and does not pick out pairs

    def __init__(self, potential: Potential, capture: bool = True):
        self.potential = potential
        self.device = next((p.device for p in potential.parameters()), torch.device("cpu"))
        self.capture = capture
        self.captures = 0
        self.capturable = all(getattr(m, "capturable", True) for m in potential.modules())
        self._prepared: dict[bool, tuple[Padded, Callable[[], Tensor]]] = {}
        self._terms: list[str] = []
        self._has = (False, False, 0)  # charges, ratios, heads

    def __call__(self, potential: Potential, graph: AtomicGraph, *, stress: bool = False) -> Results:
        """See `potentials.derivatives.energy_forces_stress`; `potential` must be the one that this was made for."""
        assert potential is self.potential, "a replayed twin serves the potential that it was made for"
        if graph.n_structures > 1 or not self.capturable or graph.edges.n_pairs == 0:
            return _on_host(energy_forces_stress(potential, graph.to(self.device), stress=stress))
        if stress not in self._prepared or not self._prepared[stress][0].holds(graph):
            self._prepared[stress] = self._prepare(graph, stress)
        padded, replay = self._prepared[stress]
        padded.fill(graph)
        return self._unpacked(replay().cpu(), graph.n_atoms, stress)

    def _prepare(self, graph: AtomicGraph, stress: bool) -> tuple[Padded, Callable[[], Tensor]]:
        padded = Padded.like(graph, self.potential.cutoff, self.device)
        padded.fill(graph)

        def evaluate() -> Tensor:
            return self._packed(energy_forces_stress(self.potential, padded.with_cell_of_ghost() if stress else padded.graph, stress=stress), graph.n_atoms)

        if not self.capture:
            return padded, evaluate
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                evaluate()
        torch.cuda.current_stream(self.device).wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            packed = evaluate()
        self.captures += 1

        def replay() -> Tensor:
            captured.replay()
            return packed

        return padded, replay

    def _packed(self, r: Results, n: int) -> Tensor:
        """Everything that is known of the structure, end to end in one float64 vector; the ghost stays out."""
        o = r.outputs
        self._terms = list(o.terms)
        heads = [] if o.head_energies is None else list(o.head_energies.unbind(1))
        self._has = o.charges is not None, o.hirshfeld_ratios is not None, len(heads)
        assert r.forces is not None
        columns = [o.energies, *(x for x in (o.charges, o.hirshfeld_ratios) if x is not None), *heads, *o.terms.values()]
        parts = [r.energy[:1], r.forces[:n].reshape(-1), *(c[:n] for c in columns)]
        if r.stress is not None:
            parts.append(r.stress[0].reshape(-1))
        return torch.cat([p.double() for p in parts])

    def _unpacked(self, packed: Tensor, n: int, stress: bool) -> Results:
        has_charges, has_ratios, n_heads = self._has
        energy, forces, rest = packed[:1], packed[1 : 1 + 3 * n].view(n, 3), packed[1 + 3 * n :]
        n_columns = 1 + has_charges + has_ratios + n_heads + len(self._terms)
        columns = list(rest[: n_columns * n].view(n_columns, n))
        energies = columns.pop(0)
        charges = columns.pop(0) if has_charges else None
        ratios = columns.pop(0) if has_ratios else None
        heads = torch.stack([columns.pop(0) for _ in range(n_heads)], 1) if n_heads else None
        sigma = rest[n_columns * n :].view(1, 3, 3) if stress else None
        return Results(energy, energies, forces, sigma, Outputs(energies, dict(zip(self._terms, columns)), charges, ratios, head_energies=heads))


def _on_host(r: Results) -> Results:
    def down(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.cpu()

    o = r.outputs
    outputs = Outputs(o.energies.cpu(), {name: e.cpu() for name, e in o.terms.items()}, down(o.charges), down(o.hirshfeld_ratios), head_energies=down(o.head_energies))
    return Results(r.energy.cpu(), r.energies.cpu(), down(r.forces), down(r.stress), outputs)
