"""Does it stay together? Atoms, fragments or molecules that leave a free system, and boxes that burst or collapse.

Two parts belong together as long as a chain of neighbours, none farther than the limit from the next, joins them; unfolding is therefore no alarm,
however long the chain becomes. In a periodic system nothing can leave; there the volume is judged instead.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._pairs import close_pairs
from mdapp.monitors._registry import monitors
from mdapp.observables import extent, volume


@monitors.register("extent")
@dataclass(frozen=True)
class ExtentGuard:
    """Warns when a gap wider than `warn_gap_A` opens, and stops at `stop_gap_A`; wider where the start already has a gap."""

    warn_gap_A: float = 7.0
    stop_gap_A: float = 15.0
    warn_volume_ratio: float = 1.5  # of the box to that of the start, or the other way round
    stop_volume_ratio: float = 4.0

    def __post_init__(self):
        require_rising("warn_volume_ratio", self.warn_volume_ratio, "stop_volume_ratio", self.stop_volume_ratio)
        require_rising("warn_gap_A", self.warn_gap_A, "stop_gap_A", self.stop_gap_A)

    def begin(self, start: Frame, bonds: np.ndarray) -> ExtentWatch:
        return ExtentWatch(self, start)


class ExtentWatch:
    monitor = "extent"

    def __init__(self, guard: ExtentGuard, start: Frame):
        self.guard = guard
        self.start_A = extent(start.positions)
        self.start_volume = volume(start.cell)
        apart = not start.pbc.any() and _parts(start, guard.warn_gap_A) is not None
        self.allowance_A = widest_gap(start.positions) if apart else 0.0  # what the start adds to both limits

    def look(self, frame: Frame) -> Verdict:
        if frame.pbc.any():
            return self._box(frame)
        warn, stop = self.guard.warn_gap_A + self.allowance_A, self.guard.stop_gap_A + self.allowance_A
        now_A = extent(frame.positions)
        if now_A <= self.start_A + 0.5 * warn:  # nothing can have left so far
            return OK
        if now_A > 10.0 * (self.start_A + stop):  # so far that a search for neighbours would be waste
            away = np.linalg.norm(frame.positions - np.median(frame.positions, axis=0), axis=1)
            gone = np.argsort(-away)[: max(1, int((away > now_A / 2).sum()))]
            return self._left("stop", frame, gone, float(away.max()), stop)
        parts = _parts(frame, warn)
        if parts is None:
            return OK
        far = _parts(frame, stop)
        labels, level, limit = (parts, "warn", warn) if far is None else (far, "stop", stop)
        gone = np.flatnonzero(labels != np.bincount(labels).argmax())
        return self._left(level, frame, gone, _gap(frame.positions, gone), limit)

    def _box(self, frame: Frame) -> Verdict:
        if self.start_volume == 0:
            return OK
        ratio = volume(frame.cell) / self.start_volume
        away = max(ratio, 1.0 / ratio) if ratio > 0 else np.inf
        if away <= self.guard.warn_volume_ratio:
            return OK
        level, limit = ("stop", self.guard.stop_volume_ratio) if away > self.guard.stop_volume_ratio else ("warn", self.guard.warn_volume_ratio)
        limit = limit if ratio > 1 else 1.0 / limit
        return Verdict(level, self.monitor, f"the box has {ratio:.3g} times the volume of the start, limit {limit:.3g}", (), ratio, limit)

    def _left(self, level: str, frame: Frame, gone: np.ndarray, gap_A: float, limit: float) -> Verdict:
        verb = "is" if len(gone) == 1 else "are"
        reason = f"{named(frame.numbers, gone)} {verb} {gap_A:.1f} Å away from all others, limit {limit:g}"
        return Verdict(level, self.monitor, reason, tuple(gone.tolist()), gap_A, limit)

    def state(self) -> dict[str, Any]:
        return {"start_A": self.start_A, "start_volume": self.start_volume, "allowance_A": self.allowance_A}

    def restore(self, state: dict[str, Any]) -> None:
        self.start_A, self.start_volume, self.allowance_A = (float(state[name]) for name in ("start_A", "start_volume", "allowance_A"))


def _parts(frame: Frame, gap_A: float) -> np.ndarray | None:
    """Which part each atom belongs to, (n_atoms,); None where there is one part only."""
    n = len(frame.numbers)
    i, j, _ = close_pairs(frame, gap_A)
    count, labels = connected_components(coo_array((np.ones(len(i), bool), (i, j)), shape=(n, n)), directed=False)
    return labels if count > 1 else None


def widest_gap(positions: np.ndarray) -> float:
    """The longest link of the shortest tree that joins all atoms (Prim's), Å."""
    distance = np.linalg.norm(positions - positions[0], axis=1)  # (n_atoms,), to the tree; -1 where in it
    distance[0], widest = -1.0, 0.0
    for _ in range(len(positions) - 1):
        nearest = int(np.where(distance < 0, np.inf, distance).argmin())
        widest = max(widest, float(distance[nearest]))
        distance = np.minimum(distance, np.linalg.norm(positions - positions[nearest], axis=1))
        distance[nearest] = -1.0
    return widest


def _gap(positions: np.ndarray, gone: np.ndarray) -> float:
    """Shortest distance between those that have gone and the others, Å."""
    from scipy.spatial import cKDTree

    rest = np.delete(positions, gone, axis=0)
    return float(cKDTree(rest).query(positions[gone])[0].min())
