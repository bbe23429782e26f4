"""One structure in arrays whose sizes stay while its neighbour list changes, as a captured CUDA graph needs them.

Behind the atoms stands one more, a ghost in a structure of its own and farther from the first atom than any cutoff. Places of
the pair lists that no pair fills hold the pair of the first atom with the ghost: everything built on it is zero.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from potentials.graph import AtomicGraph, Edges

ROOM = 1.15  # of what a list holds at first
STEP = 64  # pairs; capacities are whole numbers of it
BEYOND = 10.0  # Å, how much farther than the largest cutoff the ghost is


@dataclass
class Padded:
    """Static tensors of one structure and its ghost, and the pair lists that they hold now."""

    graph: AtomicGraph  # n_atoms + 1 atoms, 2 structures
    away: Tensor  # (3,) Å, from the first atom to the ghost
    held: tuple[Edges | None, Edges | None]  # what the lists were filled from

    @classmethod
    def like(cls, example: AtomicGraph, cutoff: float, device: torch.device) -> Padded:
        """Room for `example` and lists somewhat longer than its own; nothing is filled in yet but what never changes."""
        n = example.n_atoms
        far = example.long_range_cutoff
        reach = max([cutoff] + [R for R in far or () if math.isfinite(R)])

        def twice(values: Tensor, ghost: float) -> Tensor:
            return torch.cat([values, torch.full_like(values, ghost)]).to(device)

        def room_for(edges: Edges, exact: bool) -> Edges:
            pairs = edges.n_pairs if exact else STEP * math.ceil(ROOM * max(edges.n_pairs, 1) / STEP)
            whole = torch.zeros(2 * pairs, dtype=torch.int64, device=device)
            return Edges(whole, whole.clone(), torch.zeros(2 * pairs, 3, dtype=torch.float64, device=device))

        graph = AtomicGraph(
            positions=torch.zeros(n + 1, 3, dtype=torch.float64, device=device),
            numbers=torch.cat([example.numbers, example.numbers[:1]]).to(device),
            structure=torch.tensor([0] * n + [1], device=device),
            cell=torch.zeros(2, 3, 3, dtype=torch.float64, device=device),
            edges=room_for(example.edges, exact=False),
            charge=twice(example.charge, 0.0),
            unpaired=twice(example.unpaired, 0.0),
            long_range=None if example.long_range is None else room_for(example.long_range, exact=math.isinf(far[0])),  # type: ignore[index]
            long_range_cutoff=None if far is None else far * 2,
        )
        away = torch.tensor([reach + BEYOND, 0.0, 0.0], dtype=torch.float64, device=device)
        return cls(graph, away, (None, None))

    def holds(self, graph: AtomicGraph) -> bool:
        """Is there room for this graph: the same atoms, and lists that are not too long?"""
        mine = self.graph
        return (
            graph.n_atoms + 1 == mine.n_atoms
            and graph.long_range_cutoff == (mine.long_range_cutoff[:1] if mine.long_range_cutoff is not None else None)
            and graph.edges.n_pairs <= mine.edges.n_pairs
            and (graph.long_range is None or mine.long_range is not None and _fits(graph.long_range, mine.long_range, graph))
        )

    def fill(self, graph: AtomicGraph) -> None:
        """Take over positions, cell and, where they are others than last time, atoms and pair lists."""
        mine, n = self.graph, graph.n_atoms
        mine.positions[:n].copy_(graph.positions)
        mine.positions[n].copy_(mine.positions[0] + self.away)
        mine.cell[0].copy_(graph.cell[0])
        if graph.edges is not self.held[0] or graph.long_range is not self.held[1]:
            mine.numbers[:n].copy_(graph.numbers)
            mine.numbers[n].copy_(mine.numbers[0])
            mine.charge[0].copy_(graph.charge[0])
            mine.unpaired[0].copy_(graph.unpaired[0])
            _refill(mine.edges, graph.edges, n)
            if mine.long_range is not None and graph.long_range is not None:
                _refill(mine.long_range, graph.long_range, n)
            self.held = graph.edges, graph.long_range

    def with_cell_of_ghost(self) -> AtomicGraph:
        """The graph for a stress: the ghost's cell has a volume as well."""
        return replace(self.graph, cell=torch.stack([self.graph.cell[0], self.graph.cell[0]]))


def _fits(edges: Edges, room: Edges, graph: AtomicGraph) -> bool:
    """A list of all pairs has no room for pairs with a ghost: an infinite range would feel them."""
    assert graph.long_range_cutoff is not None
    return edges.n_pairs == room.n_pairs if math.isinf(graph.long_range_cutoff[0]) else edges.n_pairs <= room.n_pairs


def _refill(room: Edges, edges: Edges, ghost: int) -> None:
    p, capacity = edges.n_pairs, room.n_pairs
    for begin, mine in ((0, 0), (p, capacity)):
        room.centres[mine : mine + p].copy_(edges.centres[begin : begin + p])
        room.neighbours[mine : mine + p].copy_(edges.neighbours[begin : begin + p])
        room.shifts[mine : mine + p].copy_(edges.shifts[begin : begin + p])
    room.centres[p:capacity].fill_(0)
    room.neighbours[p:capacity].fill_(ghost)
    room.centres[capacity + p :].fill_(ghost)
    room.neighbours[capacity + p :].fill_(0)
    room.shifts[p:capacity].fill_(0.0)
    room.shifts[capacity + p :].fill_(0.0)
