"""The core of every molecule and the trees that hang from it: what the search for automorphisms works on.

A core is a molecule's rings with what joins them, or the one or two atoms in the middle of a tree without rings. Trees are known by codes, equal ones for equal
trees; so only cores need a search for isomorphisms, and it is a short one.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_TRIES = 200_000  # steps of one search for an automorphism


@dataclass(frozen=True)
class Part:
    """One connected part: its core, and a key that equal molecules share."""

    core: list[int]
    key: tuple


class CoreGraph:
    """The bond graph with the trees that hang from the cores of its molecules."""

    def __init__(self, numbers: np.ndarray, neighbours: Sequence[Sequence[int]], labels: np.ndarray):
        self.numbers, self.neighbours, self.labels = numbers.tolist(), neighbours, labels.tolist()
        self.children: list[list[int]] = [[] for _ in self.numbers]  # in the order of their codes
        self.code = [-1] * len(self.numbers)  # equal codes: equal trees
        self._codes: dict[tuple, int] = {}
        self._in_core = [False] * len(self.numbers)

    def molecule(self, atoms: list[int]) -> Part:
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
        return Part(core, (len(atoms), tuple(sorted(self.code[a] for a in core)), tuple(sorted(self.labels[a] for a in atoms))))

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

    def isomorphism(self, first: Part, second: Part, begin: Sequence[int] = ()) -> list[int] | None:
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
