"""The closest two atoms, measured by the length of a bond between them."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Memoryless, Verdict, require_rising
from mdapp.monitors._pairs import close_pairs
from mdapp.monitors._registry import monitors


@monitors.register("closest-contact")
@dataclass(frozen=True)
class ClosestContactGuard:
    """Distance over the sum of covalent radii. A stretching O-H of a hot molecule comes down to 0.8; fused atoms are below 0.5."""

    warn_ratio: float = 0.65
    stop_ratio: float = 0.45

    def __post_init__(self):
        require_rising("stop_ratio", self.stop_ratio, "warn_ratio", self.warn_ratio)

    def begin(self, start: Frame, bonds: np.ndarray) -> ClosestContactWatch:
        return ClosestContactWatch(self, start)


class ClosestContactWatch(Memoryless):
    monitor = "closest-contact"

    def __init__(self, guard: ClosestContactGuard, start: Frame):
        self.guard = guard
        self.radii = covalent_radii[start.numbers]
        self.cutoff = 2.0 * guard.warn_ratio * float(self.radii.max())

    def look(self, frame: Frame) -> Verdict:
        i, j, d = close_pairs(frame, self.cutoff)
        if not len(d):
            return OK
        ratio = d / (self.radii[i] + self.radii[j])
        worst = int(ratio.argmin())
        value, pair = float(ratio[worst]), (int(i[worst]), int(j[worst]))
        if value >= self.guard.warn_ratio:
            return OK
        level, limit = ("stop", self.guard.stop_ratio) if value < self.guard.stop_ratio else ("warn", self.guard.warn_ratio)
        reason = f"{named(frame.numbers, pair)} are {d[worst]:.3f} Å apart, {value:.2f} of the sum of their covalent radii, limit {limit:g}"
        return Verdict(level, self.monitor, reason, pair, value, limit)
