"""Permutations of equivalent atoms: the automorphisms of a bond graph, and the cheapest of them for given costs.

Automorphisms are never listed for a whole structure, where their number explodes (6 for every methyl, n! for n equal molecules). They factorise:

- equal molecules exchange as wholes: a linear assignment over molecules (atoms without bonds, as in a cluster, are molecules of one atom);
- inside a molecule, trees hang from a core (its rings and what joins them, or the centre of a tree without rings). Trees are matched from their
  leaves up, child by child: methyls, CH2, isopropyl, carboxylates, guanidinium;
- the automorphisms of the core (flips of rings) fall into factors that move different atoms, each listed once and chosen by itself.

So the best of 10^20 permutations costs what a few hundred do, and is exact.
"""
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment

from mdapp.minima.cores import CoreGraph, Part
from mdapp.minima.matching import Kind
from mdapp.monitors._graph import classes_of, neighbours_of
from mdapp.topology import molecules


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
        graph = CoreGraph(numbers, neighbours, self.labels)
        self.kinds: list[tuple[Kind, np.ndarray]] = []  # a kind of molecule, its copies (n_copies, n_atoms of one)
        found: dict[tuple, list[tuple[Part, Kind, list[np.ndarray]]]] = defaultdict(list)
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
                found[molecule.key].append((molecule, Kind(graph, molecule, order), [order]))
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


def _between_copies(kind: Kind, copies: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, Callable[[int, int], np.ndarray]]:
    """The least cost (n_copies, n_copies) of laying each copy of a molecule on each, and the permutation that has it, by the numbers of the two."""
    if kind.elements is not None:  # few automorphisms: all pairs of copies at once
        each = np.stack([sum(cost[np.ix_(copies[:, k], copies[:, image])] for k, image in enumerate(element)) for element in kind.elements])
        best = each.argmin(axis=0)
        return each.min(axis=0), lambda a, b: kind.elements[best[a, b]]
    trial = [[kind.best(cost[np.ix_(a, b)]) for b in copies] for a in copies]
    return np.array([[total for total, _ in row] for row in trial]), lambda a, b: trial[a][b][1]
