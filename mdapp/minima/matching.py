"""The cheapest automorphism of one kind of molecule, exact without listing them all.

Trees are matched from their leaves up, child by child: methyls, CH2, isopropyl, carboxylates, guanidinium. The automorphisms of the core (flips of rings) fall into
factors that move different atoms, each listed once and chosen by itself.
"""
from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from mdapp.minima.cores import CoreGraph, Part
from mdapp.minima.permutation_groups import closure, factors_of, generators_of

MOST_ELEMENTS = 20_000  # of one factor of a core's group; beyond, its members are searched greedily
FEW = 48  # automorphisms of a molecule that are listed, to compare many copies of it at once
SMALL = 4  # so many children are assigned by trying all orders


@dataclass(frozen=True)
class Factor:
    """A part of a core's group that moves its own atoms only."""

    atoms: np.ndarray  # (n,) of the molecule's list
    images: np.ndarray  # (n_elements, n) places in `atoms`
    complete: bool  # all elements, or generators only


class Kind:
    """The automorphisms of one kind of molecule, in the order of its list."""

    def __init__(self, graph: CoreGraph, molecule: Part, order: np.ndarray):
        local = {int(a): k for k, a in enumerate(order)}
        self.children = [[local[c] for c in graph.children[a]] for a in order.tolist()]
        self.code = [graph.code[a] for a in order.tolist()]
        self.size = [1] * len(order)  # atoms of each tree, listed from its root on
        for k in reversed(range(len(order))):
            self.size[k] += sum(self.size[c] for c in self.children[k])
        self.loose = [len({self.code[c] for c in near}) < len(near) for near in self.children]  # may children change places?
        for k in reversed(range(len(order))):
            self.loose[k] |= any(self.loose[c] for c in self.children[k])
        self.factors = [self._listed(f, local) for f in factors_of(generators_of(graph, molecule))]
        moved = {int(a) for f in self.factors for a in f.atoms}
        self.core = [local[a] for a in molecule.core if local[a] not in moved]  # what no automorphism of the core moves
        self.order: int = math.prod([len(f.images) for f in self.factors] + [self._tree_order(local[a]) for a in molecule.core])

    @cached_property
    def elements(self) -> np.ndarray | None:
        """All automorphisms (order, n_atoms) of the list, where they are few."""
        if self.order > FEW:
            return None
        n = len(self.code)
        swaps = []
        for near in self.children:
            for a, b in itertools.pairwise(near):
                if self.code[a] == self.code[b]:
                    swap = np.arange(n)
                    swap[a : a + self.size[a]], swap[b : b + self.size[b]] = np.arange(b, b + self.size[b]), np.arange(a, a + self.size[a])
                    swaps.append(swap)
        for factor in self.factors:
            for image in factor.images:
                move = np.arange(n)
                for a, b in zip(factor.atoms.tolist(), factor.atoms[image].tolist()):
                    move[a : a + self.size[a]] = np.arange(b, b + self.size[b])
                swaps.append(move)
        return np.array(closure([tuple(s.tolist()) for s in swaps], n, FEW))

    @staticmethod
    def _listed(generators: list[dict[int, int]], local: dict[int, int]) -> Factor:
        atoms = sorted({local[a] for g in generators for a in g})
        place = {a: k for k, a in enumerate(atoms)}
        moves = [tuple(place[{local[a]: local[b] for a, b in g.items()}.get(x, x)] for x in atoms) for g in generators]
        found = closure(moves, len(atoms), MOST_ELEMENTS)
        complete = len(found) <= MOST_ELEMENTS
        return Factor(np.array(atoms), np.array(found if complete else [range(len(atoms)), *moves]), complete)

    def _tree_order(self, k: int) -> int:
        alike: dict[int, int] = defaultdict(int)
        for c in self.children[k]:
            alike[self.code[c]] += 1
        return math.prod([math.factorial(n) for n in alike.values()] + [self._tree_order(c) for c in self.children[k]])

    def best(self, cost: np.ndarray) -> tuple[float, np.ndarray]:
        """The least cost of matching two copies, and the permutation (n,) of their lists that has it."""
        p = np.arange(len(cost))
        total = 0.0
        for k in self.core:
            total += self._match(cost, k, k, p)
        for factor in self.factors:
            total += self._best_of(factor, cost, p)
        return total, p

    def _best_of(self, factor: Factor, cost: np.ndarray, p: np.ndarray) -> float:
        atoms, n = factor.atoms.tolist(), len(factor.atoms)
        table = cost[np.ix_(factor.atoms, factor.atoms)]
        if any(self.children[a] for a in atoms):
            scratch = p.copy()
            table = np.array([[self._match(cost, a, b, scratch) if self.code[a] == self.code[b] else np.inf for b in atoms] for a in atoms])
        rows = np.arange(n)
        image = rows
        while True:
            images = factor.images if factor.complete else factor.images[:, image]
            totals = table[rows, images].sum(axis=1)
            chosen = images[totals.argmin()]
            if factor.complete or totals.min() >= table[rows, image].sum() - 1e-12:
                break
            image = chosen
        for a, b in zip(atoms, factor.atoms[chosen].tolist()):
            self._match(cost, a, b, p)
        return float(totals.min())

    def _match(self, cost: np.ndarray, u: int, v: int, p: np.ndarray) -> float:
        """The least cost of laying the tree at u on the equal tree at v; p is filled in for the atoms of u's tree."""
        if not self.loose[u]:
            size = self.size[u]
            p[u : u + size] = range(v, v + size)
            return float(cost[u, v]) if size == 1 else float(cost[range(u, u + size), range(v, v + size)].sum())
        p[u] = v
        total = float(cost[u, v])
        ours, theirs = self.children[u], self.children[v]  # both in the order of their codes
        first = 0
        while first < len(ours):
            last = first + 1
            while last < len(ours) and self.code[ours[last]] == self.code[ours[first]]:
                last += 1
            total += self._match_alike(cost, ours[first:last], theirs[first:last], p)
            first = last
        return total

    def _match_alike(self, cost: np.ndarray, ours: list[int], theirs: list[int], p: np.ndarray) -> float:
        n = len(ours)
        if n == 1:
            return self._match(cost, ours[0], theirs[0], p)
        if self.size[ours[0]] == 1:
            table = [[float(cost[a, b]) for b in theirs] for a in ours]
        else:
            table = [[self._match(cost, a, b, p) for b in theirs] for a in ours]
        if n <= SMALL:
            order = min(itertools.permutations(range(n)), key=lambda o: sum(table[k][o[k]] for k in range(n)))
        else:
            order = tuple(linear_sum_assignment(np.array(table))[1].tolist())
        for k, j in enumerate(order):
            self._match(cost, ours[k], theirs[j], p)
        return sum(table[k][order[k]] for k in range(n))
