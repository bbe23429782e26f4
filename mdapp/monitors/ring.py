"""Rings keep their shape: flat ones stay flat, all of them stay open.

How far a ring is from flat is the largest displacement of an atom from its mean plane (D. Cremer and J. A. Pople, J. Am. Chem. Soc. 97, 1354 (1975), Eqs. 9
to 13). A ring that was flat at the start is aromatic or conjugated. In every ring two atoms with one between them keep their distance to some tenths of an Å,
whatever its pucker; where it goes, the ring has collapsed or opened.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._graph import _cross, rings, vectors
from mdapp.monitors._lasting import Lasting
from mdapp.monitors._registry import monitors

FLAT_A = 0.08  # a ring of the start this flat is meant to be
LARGEST = 6  # atoms of a ring that counts as flat


@monitors.register("ring")
@dataclass(frozen=True)
class RingGuard:
    """Warns of flat rings that buckle and of rings that are squeezed or opened for a while; stops at twice as much."""

    warn_buckled_A: float = 0.6  # of an atom from the ring's mean plane
    stop_buckled_A: float = 1.0
    warn_squeezed_A: float = 0.7  # change of the distance of two atoms with one between them
    stop_squeezed_A: float = 1.2
    persist_fs: float = 10.0

    def __post_init__(self):
        require_rising("warn_buckled_A", self.warn_buckled_A, "stop_buckled_A", self.stop_buckled_A)
        require_rising("warn_squeezed_A", self.warn_squeezed_A, "stop_squeezed_A", self.stop_squeezed_A)

    def begin(self, start: Frame, bonds: np.ndarray) -> RingWatch:
        return RingWatch(self, start, bonds)


class RingWatch:
    monitor = "ring"

    def __init__(self, guard: RingGuard, start: Frame, bonds: np.ndarray):
        self.guard = guard
        found = [ring for ring in rings(len(start.numbers), bonds) if len(ring) > 3]
        self.by_size = [np.array([r for r in found if len(r) == n], np.int64) for n in sorted({len(r) for r in found})]  # each (n_rings, size)
        n = sum(len(group) for group in self.by_size)
        self.across = [_across(start, group) for group in self.by_size]  # each (n_rings, size), Å
        self.flat = np.concatenate([(_buckling(start, g) < FLAT_A) & (g.shape[1] <= LARGEST) for g in self.by_size]) if n else np.zeros(0, bool)
        self.off, self.gone = Lasting(n), Lasting(n)

    def look(self, frame: Frame) -> Verdict:
        if not self.by_size:
            return OK
        g = self.guard
        buckled = np.concatenate([_buckling(frame, group) for group in self.by_size]) * self.flat
        squeezed = np.concatenate([np.abs(_across(frame, group) - start).max(axis=1) for group, start in zip(self.by_size, self.across)])
        gone = self.gone.longer_than((buckled > g.stop_buckled_A) | (squeezed > g.stop_squeezed_A), frame.time_fs, g.persist_fs)
        off = self.off.longer_than((buckled > g.warn_buckled_A) | (squeezed > g.warn_squeezed_A), frame.time_fs, g.persist_fs)
        level, bad = ("stop", gone) if len(gone) else ("warn", off)
        if not len(bad):
            return OK
        shares = np.maximum(buckled / g.warn_buckled_A, squeezed / g.warn_squeezed_A)
        worst = int(bad[shares[bad].argmax()])
        if buckled[worst] / g.warn_buckled_A >= squeezed[worst] / g.warn_squeezed_A:
            value, limit, what = float(buckled[worst]), g.stop_buckled_A if level == "stop" else g.warn_buckled_A, "is no longer flat: an atom is {:.2f} Å off its plane"
        else:
            value, limit, what = float(squeezed[worst]), g.stop_squeezed_A if level == "stop" else g.warn_squeezed_A, "has lost its shape: a distance across is off by {:.2f} Å"
        atoms = tuple(self._ring(worst))
        return Verdict(level, self.monitor, f"ring {named(frame.numbers, atoms, most=7)} {what.format(value)}, limit {limit:g}", atoms, value, limit)

    def _ring(self, k: int) -> list[int]:
        """Atoms of the k-th ring of all."""
        for group in self.by_size:
            if k < len(group):
                return group[k].tolist()
            k -= len(group)
        raise IndexError(k)

    def state(self) -> dict[str, Any]:
        return {"rings": list(self.by_size), "across": list(self.across), "flat": self.flat.copy(), "off_fs": self.off.state(), "gone_fs": self.gone.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.by_size = [np.array(group, np.int64) for group in state["rings"]]
        self.across = [np.array(start, float) for start in state["across"]]
        self.flat = np.array(state["flat"], bool)
        self.off, self.gone = Lasting(len(self.flat)), Lasting(len(self.flat))
        self.off.restore(state["off_fs"])
        self.gone.restore(state["gone_fs"])


def _across(frame: Frame, group: np.ndarray) -> np.ndarray:
    """(n_rings, size) distances of atoms with one between them, Å."""
    d = vectors(frame, group, np.roll(group, -2, axis=1))
    return np.sqrt(np.einsum("ijk,ijk->ij", d, d))


def _buckling(frame: Frame, group: np.ndarray) -> np.ndarray:
    """(n_rings,) the largest displacement from the mean plane, Å."""
    size = group.shape[1]
    r = vectors(frame, group[:, :1], group)  # (n_rings, size, 3)
    r = r - r.mean(axis=1, keepdims=True)
    turn = 2.0 * np.pi * np.arange(size) / size
    normal = _cross(np.einsum("j,ijk->ik", np.sin(turn), r), np.einsum("j,ijk->ik", np.cos(turn), r))
    normal /= np.sqrt(np.maximum(np.einsum("ik,ik->i", normal, normal), 1e-12))[:, None]
    return np.abs(np.einsum("ijk,ik->ij", r, normal)).max(axis=1)
