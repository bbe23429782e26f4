"""Permutations of equivalent atoms: the automorphisms of a bond graph, and the cheapest of them for given costs.

Automorphisms are never listed for a whole structure, where their number explodes (6 for every methyl, n! for n equal molecules). They factorise:

- equal molecules exchange as wholes: a linear assignment over molecules (atoms without bonds, as in a cluster, are molecules of one atom);
- inside a molecule, trees hang from a core (its rings and what joins them, or the centre of a tree without rings). Trees are matched from their
  leaves up, child by child: methyls, CH2, isopropyl, carboxylates, guanidinium;
- the automorphisms of the core (flips of rings) fall into factors that move different atoms, each listed once and chosen by itself.

So the best of 10^20 permutations costs what a few hundred do, and is exact.
"""
from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from mdapp.monitors._graph import classes_of, neighbours_of
from mdapp.topology import molecules

MOST_ELEMENTS = 20_000  # of one factor of a core's group; beyond, its members are searched greedily
MOST_TRIES = 200_000  # steps of one search for an automorphism
FEW = 48  # automorphisms of a molecule that are listed, to compare many copies of it at once
SMALL = 4  # so many children are assigned by trying all orders


class Symmetry:
    """Which atoms of a structure are equivalent, and the best way to exchange them.

    Attributes
    ----------
    labels : (n_atoms,) atoms that some automorphism exchanges have one label (and atoms that differ in element or surroundings have two).
    fixed : (n_atoms,) bool, atoms that stay where they are in every automorphism.
    """

    def __init__(self, numbers: np.ndarray, bonds: np.ndarray):
        """
        Parameters
        ----------
        numbers : (n_atoms,) atomic numbers.
        bonds : (n_bonds, 2), as `mdapp.topology.find_bonds` gives them.
        """
        numbers = np.asarray(numbers)
        bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
        neighbours = neighbours_of(len(numbers), bonds)
        self.labels = classes_of(numbers, neighbours)
        self.fixed = np.bincount(self.labels)[self.labels] == 1
        graph = _Graph(numbers, neighbours, self.labels)
        self.kinds: list[tuple[_Kind, np.ndarray]] = []  # a kind of molecule, its copies (n_copies, n_atoms of one)
        found: dict[tuple, list[tuple[_Molecule, _Kind, list[np.ndarray]]]] = defaultdict(list)
        home = molecules(len(numbers), bonds)
        members = np.split(np.argsort(home, kind="stable"), np.cumsum(np.bincount(home))[:-1])
        for atoms in members:
            molecule = graph.molecule(atoms.tolist())
            for first, kind, copies in found[molecule.key]:
                image = graph.isomorphism(first, molecule)
                if image is not None:
                    copies.append(graph.listed(image))
                    break
            else:
                order = graph.listed(molecule.core)
                found[molecule.key].append((molecule, _Kind(graph, molecule, order), [order]))
        for same in found.values():
            self.kinds += [(kind, np.array(copies)) for _, kind, copies in same]

    @property
    def order(self) -> int:
        """The number of automorphisms."""
        return math.prod(kind.order ** len(copies) * math.factorial(len(copies)) for kind, copies in self.kinds)

    def assign(self, cost: np.ndarray) -> np.ndarray:
        """The automorphism p with the least sum of `cost[i, p[i]]`.

        Parameters
        ----------
        cost : (n_atoms, n_atoms), for example squared distances of the atoms of one structure from those of another.

        Returns
        -------
        p (n_atoms,): atom p[i] of the second structure takes the place of atom i of the first.
        """
        p = np.arange(len(cost))
        for kind, copies in self.kinds:
            if len(copies) == 1:
                only = copies[0]
                p[only] = only[kind.best(cost[np.ix_(only, only)])[1]]
            elif copies.shape[1] == 1:
                atoms = copies[:, 0]
                rows, columns = linear_sum_assignment(cost[np.ix_(atoms, atoms)])
                p[atoms[rows]] = atoms[columns]
            else:
                totals, chosen = _between_copies(kind, copies, cost)
                for a, b in zip(*linear_sum_assignment(totals)):
                    p[copies[a]] = copies[b][chosen(a, b)]
        return p


def _between_copies(kind: _Kind, copies: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, Callable[[int, int], np.ndarray]]:
    """The least cost (n_copies, n_copies) of laying each copy of a molecule on each, and the permutation that has it, by the numbers of the two."""
    if kind.elements is not None:  # few automorphisms: all pairs of copies at once
        each = np.stack([sum(cost[np.ix_(copies[:, k], copies[:, image])] for k, image in enumerate(element)) for element in kind.elements])
        best = each.argmin(axis=0)
        return each.min(axis=0), lambda a, b: kind.elements[best[a, b]]
    trial = [[kind.best(cost[np.ix_(a, b)]) for b in copies] for a in copies]
    return np.array([[total for total, _ in row] for row in trial]), lambda a, b: trial[a][b][1]


@dataclass(frozen=True)
class _Molecule:
    """One connected part: its core, and a key that equal molecules share."""

    core: list[int]
    key: tuple


class _Graph:
    """The bond graph with the trees that hang from the cores of its molecules."""

    def __init__(self, numbers: np.ndarray, neighbours: Sequence[Sequence[int]], labels: np.ndarray):
        self.numbers, self.neighbours, self.labels = numbers.tolist(), neighbours, labels.tolist()
        self.children: list[list[int]] = [[] for _ in self.numbers]  # in the order of their codes
        self.code = [-1] * len(self.numbers)  # equal codes: equal trees
        self._codes: dict[tuple, int] = {}
        self._in_core = [False] * len(self.numbers)

    def molecule(self, atoms: list[int]) -> _Molecule:
        """Peels leaves off until the rings with what joins them are left, or the one or two atoms in the middle of a tree."""
        left = set(atoms)
        degree = {a: len(self.neighbours[a]) for a in atoms}
        while len(left) > 2:
            leaves = [a for a in left if degree[a] == 1]
            if not leaves:
                break
            left -= set(leaves)
            for leaf in leaves:
                self._close(leaf)
                for parent in self.neighbours[leaf]:
                    if parent in left:
                        self.children[parent].append(leaf)
                        degree[parent] -= 1
        for a in left:
            self._close(a)
            self._in_core[a] = True
        core = self._walk(left)
        return _Molecule(core, (len(atoms), tuple(sorted(self.code[a] for a in core)), tuple(sorted(self.labels[a] for a in atoms))))

    def _close(self, atom: int) -> None:
        self.children[atom].sort(key=lambda c: (self.code[c], c))
        key = (self.numbers[atom], *(self.code[c] for c in self.children[atom]))
        self.code[atom] = self._codes.setdefault(key, len(self._codes))

    def _walk(self, core: set[int]) -> list[int]:
        """The core with every atom after one of its neighbours, the most singular atom first."""
        count: dict[int, int] = defaultdict(int)
        for a in core:
            count[self.labels[a]] += 1
        order = [min(core, key=lambda a: (count[self.labels[a]], a))]
        seen = set(order)
        for a in order:
            near = sorted((n for n in self.neighbours[a] if n in core and n not in seen), key=lambda n: (count[self.labels[n]], n))
            order += near
            seen.update(near)
        return order

    def listed(self, core: Sequence[int]) -> np.ndarray:
        """All atoms of a molecule: core atoms in this order, each followed by its tree."""
        found: list[int] = []
        waiting = list(reversed(core))
        while waiting:
            atom = waiting.pop()
            found.append(atom)
            waiting += reversed(self.children[atom])
        return np.array(found, dtype=np.int64)

    def isomorphism(self, first: _Molecule, second: _Molecule, begin: Sequence[int] = ()) -> list[int] | None:
        """Images of the atoms of `first.core` in `second`, the first ones given; identical where that is possible. None where there is none."""
        order, members = first.core, set(second.core)
        place = {a: k for k, a in enumerate(order)}
        earlier = [[n for n in self.neighbours[a] if place.get(n, len(order)) < k] for k, a in enumerate(order)]
        image: dict[int, int] = {}
        used: set[int] = set()
        stack: list[list[int]] = []
        tries = 0
        while True:
            k = len(image)
            if k == len(order):
                return [image[a] for a in order]
            if len(stack) == k:  # a new atom: where may it go?
                atom = order[k]
                candidates = [begin[k]] if k < len(begin) else list(self.neighbours[image[earlier[k][0]]] if earlier[k] else members)
                stack.append([c for c in sorted(candidates, key=lambda c: (c == atom, -c)) if c in members and c not in used
                              and self.labels[c] == self.labels[atom] and self.code[c] == self.code[atom]
                              and sum(n in used for n in self.neighbours[c]) == len(earlier[k])
                              and all(image[n] in self.neighbours[c] for n in earlier[k])])  # fmt: skip
            if stack[-1]:
                tries += 1
                if tries > MOST_TRIES:
                    return None
                image[order[k]] = stack[-1].pop()
                used.add(image[order[k]])
            else:
                stack.pop()
                if not image:
                    return None
                used.remove(image.pop(order[len(image) - 1]))


@dataclass(frozen=True)
class _Factor:
    """A part of a core's group that moves its own atoms only."""

    atoms: np.ndarray  # (n,) of the molecule's list
    images: np.ndarray  # (n_elements, n) places in `atoms`
    complete: bool  # all elements, or generators only


class _Kind:
    """The automorphisms of one kind of molecule, in the order of its list."""

    def __init__(self, graph: _Graph, molecule: _Molecule, order: np.ndarray):
        local = {int(a): k for k, a in enumerate(order)}
        self.children = [[local[c] for c in graph.children[a]] for a in order.tolist()]
        self.code = [graph.code[a] for a in order.tolist()]
        self.size = [1] * len(order)  # atoms of each tree, listed from its root on
        for k in reversed(range(len(order))):
            self.size[k] += sum(self.size[c] for c in self.children[k])
        self.loose = [len({self.code[c] for c in near}) < len(near) for near in self.children]  # may children change places?
        for k in reversed(range(len(order))):
            self.loose[k] |= any(self.loose[c] for c in self.children[k])
        self.factors = [self._listed(f, local) for f in _factors(_generators(graph, molecule))]
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
        return np.array(_closure([tuple(s.tolist()) for s in swaps], n, FEW))

    @staticmethod
    def _listed(generators: list[dict[int, int]], local: dict[int, int]) -> _Factor:
        atoms = sorted({local[a] for g in generators for a in g})
        place = {a: k for k, a in enumerate(atoms)}
        moves = [tuple(place[{local[a]: local[b] for a, b in g.items()}.get(x, x)] for x in atoms) for g in generators]
        found = _closure(moves, len(atoms), MOST_ELEMENTS)
        complete = len(found) <= MOST_ELEMENTS
        return _Factor(np.array(atoms), np.array(found if complete else [range(len(atoms)), *moves]), complete)

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

    def _best_of(self, factor: _Factor, cost: np.ndarray, p: np.ndarray) -> float:
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


def _closure(moves: list[tuple[int, ...]], n: int, most: int) -> list[tuple[int, ...]]:
    """All products of permutations of n things; more than `most` where there are more."""
    identity = tuple(range(n))
    found, waiting = {identity}, [identity]
    while waiting and len(found) <= most:
        one = waiting.pop()
        for move in moves:
            new = tuple(move[k] for k in one)
            if new not in found:
                found.add(new)
                waiting.append(new)
    return sorted(found)


def _generators(graph: _Graph, molecule: _Molecule) -> list[dict[int, int]]:
    """Generators of the automorphisms of a core, by a chain of stabilisers: each fixes what stands before its first moved atom."""
    order = molecule.core
    found: list[dict[int, int]] = []
    for k in reversed(range(len(order))):
        orbit = {order[k]}
        for candidate in order[k + 1 :]:
            if candidate in orbit or graph.labels[candidate] != graph.labels[order[k]]:
                continue
            image = graph.isomorphism(molecule, molecule, [*order[:k], candidate])
            if image is not None:
                found.append({a: b for a, b in zip(order, image) if a != b})
                grown = True
                while grown:
                    new = {g.get(a, a) for g in found for a in orbit} - orbit
                    orbit |= new
                    grown = bool(new)
    return found


def _factors(generators: list[dict[int, int]]) -> list[list[dict[int, int]]]:
    """Generators that share a moved atom, together."""
    parts: list[tuple[set[int], list[dict[int, int]]]] = []
    for g in generators:
        atoms, together = set(g), [g]
        apart = []
        for others, gs in parts:
            if others & atoms:
                atoms |= others
                together += gs
            else:
                apart.append((others, gs))
        parts = [*apart, (atoms, together)]
    return [gs for _, gs in parts]
