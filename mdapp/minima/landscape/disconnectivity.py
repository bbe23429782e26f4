"""The disconnectivity graph: which minima can reach each other below which energy.

At each level of energy the minima fall into superbasins: sets whose members can reach each other without rising above that level. Going up, superbasins merge; a branch
ends where a minimum lies. The tree is data (`Branch`), and so is the picture (`Drawing`): lines and their places, which `mdapp.plots.minima` only paints.

O. M. Becker and M. Karplus, J. Chem. Phys. 106, 1495 (1997); D. J. Wales, M. A. Miller and T. R. Walsh, Nature 394, 758 (1998).
"""
from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from mdapp.minima.landscape.network import Network


@dataclass(frozen=True)
class Branch:
    """A superbasin, or a minimum where there are no `children`."""

    energy: float  # eV: where its children meet; of the minimum itself, where it is one
    minimum: int  # the lowest of its minima
    size: int  # minima in it
    children: tuple[Branch, ...] = ()

    def minima(self) -> list[int]:
        return [self.minimum] if not self.children else [k for child in self.children for k in child.minima()]

    def branches(self) -> Iterator[Branch]:
        """Itself and everything below."""
        yield self
        for child in self.children:
            yield from child.branches()


@dataclass(frozen=True)
class Drawing:
    """Places of the tree's lines; energies in eV above the lowest minimum, x without unit."""

    lines: np.ndarray  # (n_lines, 2, 2): two ends, each x and energy
    lowest_of: np.ndarray  # (n_lines,) the lowest minimum below each line
    single: np.ndarray  # (n_lines,) bool: there is no other one below it
    leaves: dict[int, tuple[float, float]]  # minimum: x and energy
    top: float  # eV, where the trunk ends
    step: float  # eV between levels; 0 where branches meet at their own heights


def tree(network: Network, step: float | None = None) -> tuple[Branch, ...]:
    """The superbasins of a network, one tree a connected part, that of the lowest minimum first.

    Parameters
    ----------
    step : eV between levels, counted from the lowest minimum up: branches that meet between two levels meet at the upper one (a threshold at which they
        are one superbasin for certain). None: each meets at the height of its saddle.
    """
    if step is not None and not step > 0:
        raise ValueError(f"step must be > 0 eV, got {step}.")
    energies = network.energies
    zero = float(energies.min()) if len(energies) else 0.0
    level = (lambda e: e) if step is None else (lambda e: zero + step * float(np.ceil(round((e - zero) / step, 9))))
    of: dict[int, Branch] = {k: Branch(float(e), k, 1) for k, e in enumerate(energies)}
    root = list(range(len(energies)))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    for edge in sorted(network.barriers().values(), key=lambda e: e.energy):
        a, b = find(edge.a), find(edge.b)
        if a == b:
            continue
        one, other, height = of.pop(a), of.pop(b), level(edge.energy)
        parts = [part for branch in (one, other) for part in (branch.children if branch.children and branch.energy == height else (branch,))]
        lowest = min((one.minimum, other.minimum), key=lambda k: energies[k])
        root[b] = a
        of[a] = Branch(height, lowest, one.size + other.size, tuple(parts))
    return tuple(sorted(of.values(), key=lambda branch: energies[branch.minimum]))


def pruned(roots: tuple[Branch, ...], keep: Collection[int]) -> tuple[Branch, ...]:
    """The trees with some of their minima only; what meets where stays as it is."""
    kept = set(keep)

    def cut(branch: Branch) -> Branch | None:
        if not branch.children:
            return branch if branch.minimum in kept else None
        parts = [part for child in branch.children if (part := cut(child)) is not None]
        if len(parts) < 2:
            return parts[0] if parts else None
        lowest = branch.minimum if branch.minimum in kept else min(parts, key=lambda part: _floor(part)).minimum
        return replace(branch, children=tuple(parts), minimum=lowest, size=sum(part.size for part in parts))

    return tuple(part for root in roots if (part := cut(root)) is not None)


def _floor(branch: Branch) -> float:
    """Energy of its lowest minimum."""
    return min(b.energy for b in branch.branches() if not b.children)


def draw(roots: tuple[Branch, ...], network: Network, step: float | None = None) -> Drawing:
    """Lay the trees out side by side: each branch as wide as it has minima, the lowest of its children in the middle, no line crosses another.

    `step` as in `tree`: a branch goes straight up from where its own children meet and leans over in the last level below its parent.
    """
    energies = network.energies
    zero = float(energies.min()) if len(energies) else 0.0
    heights = [branch.energy for root in roots for branch in root.branches()]
    span = max(heights, default=zero) - zero or 1.0
    rise = step or 0.06 * span  # energy over which a branch leans
    top = max(heights, default=zero) + rise
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    whose: list[tuple[int, bool]] = []
    leaves: dict[int, tuple[float, float]] = {}

    def add(x0: float, e0: float, x1: float, e1: float, branch: Branch) -> None:
        if e1 > e0:
            lines.append(((x0, e0 - zero), (x1, e1 - zero)))
            whose.append((branch.minimum, not branch.children))

    waiting: list[tuple[Branch, float, float, float, float, float]] = []  # branch, from x, to x, x of its parent, energies at which it leans and meets
    left = 0.0
    for root in roots:
        waiting.append((root, left, left + root.size, left + root.size / 2, top, top))
        left += root.size + 0.5
    while waiting:
        branch, low, high, above, leans, meets = waiting.pop()
        x = (low + high) / 2
        bend = max(branch.energy, leans)
        add(x, branch.energy, x, bend, branch)
        add(x, bend, above, meets, branch)
        if not branch.children:
            leaves[branch.minimum] = (x, branch.energy - zero)
        at = low
        leans = max([branch.energy - rise, *(child.energy for child in branch.children if child.children)])  # above all meetings further down: no line crosses them
        for child in _arranged(branch.children, energies):
            waiting.append((child, at, at + child.size, x, leans, branch.energy))
            at += child.size
    return Drawing(np.array(lines, dtype=float).reshape(-1, 2, 2), np.array([k for k, _ in whose], dtype=int), np.array([one for _, one in whose], dtype=bool), leaves,
                   top - zero, step or 0.0)


def _arranged(children: tuple[Branch, ...], energies: np.ndarray) -> list[Branch]:
    """The lowest in the middle, the others by turns on its two sides."""
    found: list[Branch] = []
    for k, child in enumerate(sorted(children, key=lambda c: energies[c.minimum])):
        if k % 2:
            found.append(child)
        else:
            found.insert(0, child)
    return found
