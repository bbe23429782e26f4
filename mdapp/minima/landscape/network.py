"""Minima as nodes, saddles as edges: who is joined with whom, over which height, and which pairs are worth the next path.

Which pairs to try: the tree of shortest distances through all minima, where what is joined already costs nothing and what was tried in vain is left out
(the missing-connection algorithm of J. M. Carr, S. A. Trygubenko and D. J. Wales, J. Chem. Phys. 122, 234903 (2005), with a spanning tree in
place of Dijkstra's paths). Transitions that a search has seen halve a distance.
"""
from __future__ import annotations

import csv
import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

Pair = tuple[int, int]  # smaller number first


@dataclass(frozen=True)
class Edge:
    """A saddle between two minima."""

    a: int
    b: int
    energy: float  # eV, of the saddle
    frequency_cm1: float = float("nan")  # of the mode that leads down; negative: imaginary


@dataclass(frozen=True)
class Network:
    """Minima and the saddles between them."""

    energies: np.ndarray  # (n_minima,), eV
    edges: tuple[Edge, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.energies)
        for e in self.edges:
            if not (0 <= e.a < n and 0 <= e.b < n):
                raise ValueError(f"A saddle joins minima {e.a} and {e.b}, but there are {n} minima, counted from 0.")
            if e.energy < max(self.energies[e.a], self.energies[e.b]) - 1e-6:
                raise ValueError(f"The saddle between minima {e.a} and {e.b} lies below one of them ({e.energy:.6f} eV).")

    @property
    def lowest(self) -> int:
        return int(np.argmin(self.energies))

    def barriers(self) -> dict[Pair, Edge]:
        """The lowest saddle of each pair of different minima."""
        found: dict[Pair, Edge] = {}
        for e in self.edges:
            pair = (min(e.a, e.b), max(e.a, e.b))
            if e.a != e.b and (pair not in found or e.energy < found[pair].energy):
                found[pair] = e
        return found

    def components(self) -> np.ndarray:
        """(n_minima,) label of the part of the network that each minimum belongs to."""
        n = len(self.energies)
        pairs = np.array(list(self.barriers()), dtype=int).reshape(-1, 2)
        return connected_components(coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n)), directed=False)[1]

    def joined(self) -> tuple[Network, np.ndarray]:
        """The minima that some saddle joins to another, and the lowest one, as a network of their own; beside it their numbers here."""
        some = {self.lowest, *(k for pair in self.barriers() for k in pair)} if len(self.energies) else set()
        chosen = np.array(sorted(some), dtype=int)
        place = {int(k): i for i, k in enumerate(chosen)}
        edges = tuple(replace(e, a=place[e.a], b=place[e.b]) for e in self.edges if e.a in place and e.b in place)
        return Network(self.energies[chosen], edges), chosen

    def lowest_pass(self, a: int, b: int) -> tuple[float, list[int]] | None:
        """The least height that must be climbed between two minima, eV, and the minima on the way; None where they are not joined."""
        neighbours: dict[int, list[tuple[int, float]]] = {}
        for (i, j), e in self.barriers().items():
            neighbours.setdefault(i, []).append((j, e.energy))
            neighbours.setdefault(j, []).append((i, e.energy))
        best: set[int] = set()
        waiting: list[tuple[float, int, list[int]]] = [(float(self.energies[a]), a, [a])]
        while waiting:
            height, at, way = heapq.heappop(waiting)
            if at == b:
                return height, way
            if at in best:
                continue
            best.add(at)
            for other, energy in neighbours.get(at, []):
                if other not in best:
                    heapq.heappush(waiting, (max(height, energy), other, [*way, other]))
        return None

    def to_csv(self, path: Path) -> None:
        """One row a saddle: the minima that it joins, energies above the lowest minimum and barriers from both sides, eV."""
        zero = float(self.energies.min()) if len(self.energies) else 0.0
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["minimum_a", "minimum_b", "energy_eV", "above_lowest_eV", "barrier_from_a_eV", "barrier_from_b_eV", "imaginary_frequency_cm1"])
            for e in sorted(self.edges, key=lambda e: e.energy):
                out.writerow([e.a, e.b, f"{e.energy:.6f}", f"{e.energy - zero:.6f}", f"{e.energy - self.energies[e.a]:.6f}",
                              f"{e.energy - self.energies[e.b]:.6f}", f"{abs(e.frequency_cm1):.1f}"])


def distances(fingerprints: np.ndarray) -> np.ndarray:
    """(n, n) distances of fingerprints (n, n_features), Å: never more than the aligned RMSD."""
    return squareform(pdist(np.asarray(fingerprints, dtype=float))) if len(fingerprints) > 1 else np.zeros((len(fingerprints),) * 2)


def next_pairs(network: Network, apart: np.ndarray, tried: Collection[Pair] = (), transitions: Mapping[Pair, int] | None = None,
               among: np.ndarray | None = None) -> list[Pair]:
    """Pairs of minima between which to look for saddles, the most urgent first.

    First what joins the parts of the network, lower minima first; where all is joined, near pairs without a saddle.

    Parameters
    ----------
    apart : (n_minima, n_minima) distances, Å.
    tried : pairs that will not be proposed again.
    transitions : how often a search went from one to the other.
    among : numbers of the minima to consider; all where not given.
    """
    chosen = np.arange(len(network.energies)) if among is None else np.asarray(among)
    weight = np.array(apart[np.ix_(chosen, chosen)], dtype=float) + 1e-3
    place = {int(k): i for i, k in enumerate(chosen)}
    for (a, b), count in (transitions or {}).items():
        if count and a != b and a in place and b in place:
            weight[place[a], place[b]] = weight[place[b], place[a]] = 0.5 * weight[place[a], place[b]]
    labels = network.components()[chosen]
    done = {(min(p), max(p)) for p in tried}
    blocked = [(place[a], place[b]) for a, b in done if a in place and b in place]
    cost = np.where(labels[:, None] == labels[None], 1e-6, weight)  # scipy takes less for no edge at all
    for i, j in blocked:
        if labels[i] != labels[j]:
            cost[i, j] = cost[j, i] = 1e6
    np.fill_diagonal(cost, 0.0)
    tree = minimum_spanning_tree(cost).tocoo()
    joins = [(int(chosen[i]), int(chosen[j])) for i, j, w in zip(tree.row, tree.col, tree.data, strict=True) if 1e-5 < w < 1e5]
    if joins:
        return sorted(((min(p), max(p)) for p in joins), key=lambda p: max(network.energies[p[0]], network.energies[p[1]]))
    known = set(network.barriers()) | done
    i, j = np.triu_indices(len(chosen), 1)
    order = np.argsort(weight[i, j], kind="stable")
    near = ((int(chosen[i[k]]), int(chosen[j[k]])) for k in order)
    return [p for p in ((min(a, b), max(a, b)) for a, b in near) if p not in known][: 3 * len(chosen)]
