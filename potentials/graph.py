"""Structures as tensors: one or many, with the pairs of atoms that see each other.

Edges are directed: i -> j stands for «j is a neighbour of the centre i», and j -> i is an edge of its own. The first half
of the edges holds each pair once, the second half holds the same pairs in the same order, turned round; so what depends
on a pair and not on its direction (distances, filters) needs to be made for the first half only.
Vectors point from centre to neighbour, ``r_ij = positions[j] + shift @ cell - positions[i]``.
Positions stay in float64 whatever the precision of a network: vectors are formed first and rounded after, so that a
molecule far from the origin loses nothing.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Edges:
    """Directed pairs within some cutoff.

    Distances may exceed the cutoff by the skin of the list that they came from; whatever is built on them is zero there.
    """

    centres: Tensor  # (n_edges,) int64, i; ascending in the first half
    neighbours: Tensor  # (n_edges,) int64, j
    shifts: Tensor  # (n_edges, 3) float64, whole numbers of cell vectors

    def __len__(self) -> int:
        return self.centres.shape[0]

    @property
    def n_pairs(self) -> int:
        return self.centres.shape[0] // 2

    @classmethod
    def of_pairs(cls, i: Tensor, j: Tensor, shifts: Tensor) -> Edges:
        """Both directions of pairs that are given once each: (n_pairs,), (n_pairs,), (n_pairs, 3)."""
        return cls(torch.cat([i, j]), torch.cat([j, i]), torch.cat([shifts, -shifts]))

    def to(self, device: torch.device | str) -> Edges:
        return Edges(self.centres.to(device), self.neighbours.to(device), self.shifts.to(device))


@dataclass(frozen=True)
class AtomicGraph:
    """One or many structures as one graph; atoms of a structure are contiguous."""

    positions: Tensor  # (n_atoms, 3) float64, Å
    numbers: Tensor  # (n_atoms,) int64, atomic numbers
    structure: Tensor  # (n_atoms,) int64, the structure that an atom belongs to, ascending
    cell: Tensor  # (n_structures, 3, 3) float64, Å, rows are cell vectors (zero where there is no cell)
    edges: Edges  # pairs within the potential's cutoff
    charge: Tensor  # (n_structures,) float64, total charge, e
    unpaired: Tensor  # (n_structures,) float64, unpaired electrons (multiplicity - 1)
    long_range: Edges | None = None  # a second list with its own, longer cutoff
    long_range_cutoff: tuple[float, ...] | None = None  # of each structure, Å; infinite where all its pairs are in the list

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def n_structures(self) -> int:
        return self.cell.shape[0]

    def to(self, device: torch.device | str) -> AtomicGraph:
        """The same graph on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return AtomicGraph(**{name: value.to(device) if isinstance(value, (Tensor, Edges)) else value for name, value in moved.items()})


def pair_vectors(graph: AtomicGraph, edges: Edges | None = None) -> Tensor:
    """Vectors r_ij of the first half of the edges, (n_pairs, 3) float64, Å; the second half has their negatives."""
    edges = graph.edges if edges is None else edges
    i, j, shifts = (x[: edges.n_pairs] for x in (edges.centres, edges.neighbours, edges.shifts))
    r_ij = graph.positions.index_select(0, j) - graph.positions.index_select(0, i)
    if graph.n_structures == 1:
        return r_ij + shifts @ graph.cell[0]
    cell = graph.cell.index_select(0, graph.structure.index_select(0, i))  # (n_pairs, 3, 3)
    return r_ij + torch.einsum("ea,eab->eb", shifts, cell)


def edge_vectors(graph: AtomicGraph, edges: Edges | None = None) -> Tensor:
    """Vectors r_ij from centre to neighbour, (n_edges, 3) float64, Å."""
    r_ij = pair_vectors(graph, edges)
    return torch.cat([r_ij, -r_ij])


def edge_lengths(graph: AtomicGraph, edges: Edges | None = None) -> Tensor:
    """Distances |r_ij|, (n_edges,) float64, Å."""
    return edge_vectors(graph, edges).norm(dim=-1)


def sum_over_neighbours(values: Tensor, graph: AtomicGraph, edges: Edges | None = None) -> Tensor:
    """Sum of a quantity of edges over the neighbours of each centre: (n_edges, ...) -> (n_atoms, ...)."""
    edges = graph.edges if edges is None else edges
    return values.new_zeros((graph.n_atoms, *values.shape[1:])).index_add(0, edges.centres, values)


def sum_over_atoms(values: Tensor, graph: AtomicGraph) -> Tensor:
    """Sum of a quantity of atoms over each structure: (n_atoms, ...) -> (n_structures, ...)."""
    if graph.n_structures == 1:
        return values.sum(dim=0, keepdim=True)
    return values.new_zeros((graph.n_structures, *values.shape[1:])).index_add(0, graph.structure, values)


def batch(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Join graphs into one; atoms, edges and structures keep their order.

    Raises
    ------
    ValueError : no graphs, or only some of them have a long-range list.
    """
    if not graphs:
        raise ValueError("batch() needs at least one graph, got none.")
    if len({g.long_range is None for g in graphs}) > 1:
        raise ValueError("Some graphs of the batch have a long-range list and some have none; build them for one potential.")
    if len(graphs) == 1:
        return graphs[0]
    atoms_before, structures_before, n_atoms, n_structures = [], [], 0, 0
    for g in graphs:
        atoms_before.append(n_atoms)
        structures_before.append(n_structures)
        n_atoms, n_structures = n_atoms + g.n_atoms, n_structures + g.n_structures

    def joined(lists: list[Edges]) -> Edges:
        return Edges.of_pairs(
            torch.cat([e.centres[: e.n_pairs] + n for e, n in zip(lists, atoms_before)]),
            torch.cat([e.neighbours[: e.n_pairs] + n for e, n in zip(lists, atoms_before)]),
            torch.cat([e.shifts[: e.n_pairs] for e in lists]),
        )

    long_range = [g.long_range for g in graphs if g.long_range is not None]
    return AtomicGraph(
        positions=torch.cat([g.positions for g in graphs]),
        numbers=torch.cat([g.numbers for g in graphs]),
        structure=torch.cat([g.structure + n for g, n in zip(graphs, structures_before)]),
        cell=torch.cat([g.cell for g in graphs]),
        edges=joined([g.edges for g in graphs]),
        charge=torch.cat([g.charge for g in graphs]),
        unpaired=torch.cat([g.unpaired for g in graphs]),
        long_range=joined(long_range) if long_range else None,
        long_range_cutoff=tuple(R for g in graphs for R in g.long_range_cutoff or ()) if long_range else None,
    )


def with_geometry(graph: AtomicGraph, positions: Tensor, cell: Tensor) -> AtomicGraph:
    """The same atoms and pairs at other positions (n_atoms, 3) and in another cell (n_structures, 3, 3)."""
    return replace(graph, positions=positions, cell=cell)
