"""L-BFGS in stretches, bends and torsions, for many molecules at once: what turns goes round, and bonds are not stretched on the way.

In the atoms' own coordinates a turn of a chain is a curve, and each straight step along it pulls at stiff bonds; the search then spends its steps on
undoing that. Here the two-loop recursion works on `mdapp.relax.internals`, from a diagonal model of the Hessian, and steps are taken back as in `_lbfgs`.
Structures of the same bonds go through the linear algebra together. What has no such coordinates (clusters, crystals, straight or very large
molecules) descends by `_lbfgs` beside them, and so does what becomes straight on its way.

J. Baker, J. Comput. Chem. 14, 1085 (1993); J. Nocedal and S. J. Wright, Numerical Optimization, 2nd ed. (2006), algorithm 7.4.
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mdapp.relax._lbfgs import MOST_RETREATS, OVERSHOT, RISE, Lbfgs
from mdapp.relax._ragged import Ragged
from mdapp.relax.internals import Frame, Internals, internals_of, moved

MEMORY = 40
REACH = 4.0  # Å, longest move of an atom, over `max_step`: the far end of what turns goes further than what is near


@dataclass
class _Way:
    """One structure on its way down."""

    internals: Internals
    numbers: np.ndarray  # (n_atoms,)
    stiffness: np.ndarray  # (n_coordinates,)
    trust: float  # longest change of a coordinate
    x: np.ndarray | None = None  # (n_atoms, 3), where the present step began; the rest there:
    energy: float = 0.0
    values: np.ndarray | None = None
    gradient: np.ndarray | None = None
    to_atoms: np.ndarray | None = None
    retreats: int = 0
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = field(default_factory=lambda: deque(maxlen=MEMORY))  # steps, changes of the gradient, 1 / s.y

    def ahead(self) -> np.ndarray:
        """The quasi-Newton step, (n_coordinates,)."""
        assert self.gradient is not None
        q, weights = -self.gradient, []
        for s, y, rho in reversed(self.pairs):
            weights.append(rho * (s @ q))
            q = q - weights[-1] * y
        q = q / self.stiffness
        for (s, y, rho), weight in zip(self.pairs, reversed(weights), strict=True):
            q = q + (weight - rho * (y @ q)) * s
        return q


class Internal:
    """State of the searches; see `RelaxationPool` for who calls what."""

    def __init__(self, max_step: float):
        self.max_step = max_step
        self.ways: list[_Way | None] = []  # None: among the others
        self.others: list[int] = []  # numbers of those that `rest` has, in its order
        self.rest = Lbfgs(max_step)
        self._counts = np.zeros(0, dtype=int)  # atoms of each

    def enter(self, numbers: list[np.ndarray], positions: list[np.ndarray], cells: list[np.ndarray], pbcs: list[np.ndarray],
              bonds: list[np.ndarray | None]) -> None:
        """Structures that come in, after those that are there."""
        from mdapp.topology import find_bonds

        for z, x, cell, pbc, known in zip(numbers, positions, cells, pbcs, bonds, strict=True):
            found = None
            if not np.any(pbc):
                pairs = find_bonds(z, x, cell, pbc) if known is None else known
                found = internals_of(np.asarray(z, dtype=np.int64).tobytes(), np.asarray(pairs, dtype=np.int64).tobytes())
            straight = found is None or bool(found.straight(x[None])[0])
            if found is None or straight:
                self.others.append(len(self.ways))
                self.rest.enter([z], [x], [cell], [pbc], [known])
            self.ways.append(None if found is None or straight else _Way(found, z, found.stiffness(x[None])[0], self.max_step))
        self._counts = np.append(self._counts, [len(z) for z in numbers]).astype(int)

    def leave(self, kept: np.ndarray, kept_atoms: np.ndarray) -> None:
        """Only these structures and their atoms stay."""
        inside = kept[self.others]
        self.rest.leave(inside, np.repeat(inside, self._counts[self.others]))
        place = np.cumsum(kept) - 1
        self.others = [int(place[k]) for k in self.others if kept[k]]
        self.ways, self._counts = [self.ways[k] for k in np.flatnonzero(kept)], self._counts[kept]

    def step(self, layout: Ragged, positions: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Where to evaluate next, (n_atoms, 3)."""
        result = np.array(positions)
        at = [np.arange(a, a + n) for a, n in zip(layout.starts.tolist(), layout.counts.tolist(), strict=True)]
        groups: dict[int, list[int]] = {}
        for k, way in enumerate(self.ways):
            if way is not None:
                groups.setdefault(id(way.internals), []).append(k)
        for members in groups.values():
            way = self.ways[members[0]]
            assert way is not None
            straight = way.internals.straight(np.stack([positions[at[k]] for k in members]))
            for k in (k for k, is_straight in zip(members, straight.tolist(), strict=True) if is_straight and np.isfinite(energies[k])):
                self._give_up(k, positions[at[k]])
            members = [k for k in members if self.ways[k] is not None]
            if members:
                x, f = (np.stack([array[at[k]] for k in members]) for array in (positions, forces))
                for k, ahead in zip(members, self._together(members, x, energies[members], f), strict=True):
                    result[at[k]] = ahead
        if self.others:
            rows = np.concatenate([at[k] for k in self.others])
            result[rows] = self.rest.step(Ragged(layout.counts[self.others]), positions[rows], energies[self.others], forces[rows])
        return result

    def _give_up(self, member: int, x: np.ndarray) -> None:
        """What has become straight goes on in the atoms' coordinates."""
        way = self.ways[member]
        assert way is not None
        self.ways[member] = None
        self.others.append(member)
        self.rest.enter([way.numbers], [x], [np.zeros((3, 3))], [np.zeros(3, dtype=bool)], [way.internals.stretches])

    def _together(self, members: list[int], x: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """The next positions (n_structures, n_atoms, 3) of structures with the same coordinates."""
        ways = [way for k in members if (way := self.ways[k]) is not None]
        internals = ways[0].internals
        frame = Frame.at(internals, x, np.stack([way.stiffness for way in ways]))
        gradients = frame.gradient(forces)
        changes = []
        for k, way in enumerate(ways):
            changes.append(self._judge(way, x[k], float(energies[k]), frame.values[k], gradients[k], frame.to_atoms[k]))
        change = np.stack(changes)
        return moved(internals, np.stack([way.x for way in ways]), np.stack([way.values for way in ways]), np.stack([way.to_atoms for way in ways]), change)

    def _judge(self, way: _Way, x: np.ndarray, energy: float, values: np.ndarray, gradient: np.ndarray, to_atoms: np.ndarray) -> np.ndarray:
        """Take the point or go back from it; the change of the coordinates (n_coordinates,) from where the structure then is."""
        if way.x is not None:
            s = way.internals.difference(way.values, values)
            before, after = -float(way.gradient @ s), float(gradient @ s)  # how it fell at the beginning of the step, how it rises at its end
            lost = not np.isfinite(energy)
            if not lost:
                y = gradient - way.gradient
                if before + after > 1e-8 * np.linalg.norm(s) * np.linalg.norm(y):
                    way.pairs.append((s, y, 1 / (before + after)))
            uphill = after > OVERSHOT * before or energy - way.energy > RISE + 1e-7 * abs(way.energy)
            if lost or (uphill and way.retreats < MOST_RETREATS):
                part = float(np.clip(before / max(before + after, 1e-300), 0.1, 0.5)) if after > 0 and not lost else 0.25
                way.trust = float(np.clip(part * _length(s), 0.01 * self.max_step, self.max_step))
                way.retreats += 1
                return part * s
            if way.retreats >= MOST_RETREATS:
                way.pairs.clear()
            way.trust = min(max(way.trust, 2 * _length(s)), self.max_step)
        way.x, way.energy, way.values, way.gradient, way.to_atoms, way.retreats = x, energy, values, gradient, to_atoms, 0
        change = way.ahead()
        far = np.linalg.norm((to_atoms @ change).reshape(-1, 3), axis=1).max()
        return change * min(1.0, way.trust / max(_length(change), 1e-300), REACH * self.max_step / max(far, 1e-300))


def _length(change: np.ndarray) -> float:
    """Of the coordinate that changes most, Å or radians."""
    return float(np.abs(change).max())
