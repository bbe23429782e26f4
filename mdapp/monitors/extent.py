"""Does it stay together? Atoms, fragments or molecules that leave a free system.

Two parts belong together as long as a chain of neighbours, none farther than the limit from the next, joins them; unfolding is therefore no alarm,
however long the chain becomes. Periodic systems are not judged: in a box nothing can leave.
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
from mdapp.observables import extent


@monitors.register("extent")
@dataclass(frozen=True)
class ExtentGuard:
    """Warns when a gap wider than `warn_gap_A` opens, and stops at `stop_gap_A`; wider where the start already has a gap."""

    warn_gap_A: float = 7.0
    stop_gap_A: float = 15.0

    def __post_init__(self):
        require_rising("warn_gap_A", self.warn_gap_A, "stop_gap_A", self.stop_gap_A)

    def begin(self, start: Frame, bonds: np.ndarray) -> ExtentWatch:
        return ExtentWatch(self, start)


class ExtentWatch:
    monitor = "extent"

    def __init__(self, guard: ExtentGuard, start: Frame):
        self.guard = guard
        self.start_A = extent(start.positions)
        self.allowance_A = 0.0  # what the gaps of the start add to both limits
        while not start.pbc.any() and _parts(start, guard.warn_gap_A + self.allowance_A) is not None:
            self.allowance_A = 1.5 * self.allowance_A + guard.warn_gap_A

    def look(self, frame: Frame) -> Verdict:
        if frame.pbc.any():
            return OK
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

    def _left(self, level: str, frame: Frame, gone: np.ndarray, gap_A: float, limit: float) -> Verdict:
        verb = "is" if len(gone) == 1 else "are"
        reason = f"{named(frame.numbers, gone)} {verb} {gap_A:.1f} Å away from all others, limit {limit:g}"
        return Verdict(level, self.monitor, reason, tuple(gone.tolist()), gap_A, limit)

    def state(self) -> dict[str, Any]:
        return {"start_A": self.start_A, "allowance_A": self.allowance_A}

    def restore(self, state: dict[str, Any]) -> None:
        self.start_A, self.allowance_A = float(state["start_A"]), float(state["allowance_A"])


def _parts(frame: Frame, gap_A: float) -> np.ndarray | None:
    """Which part each atom belongs to, (n_atoms,); None where there is one part only."""
    n = len(frame.numbers)
    i, j, _ = close_pairs(frame, gap_A)
    count, labels = connected_components(coo_array((np.ones(len(i), bool), (i, j)), shape=(n, n)), directed=False)
    return labels if count > 1 else None


def _gap(positions: np.ndarray, gone: np.ndarray) -> float:
    """Shortest distance between those that have gone and the others, Å."""
    from scipy.spatial import cKDTree

    rest = np.delete(positions, gone, axis=0)
    return float(cKDTree(rest).query(positions[gone])[0].min())
