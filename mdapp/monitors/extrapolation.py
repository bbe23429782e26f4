"""Descriptors outside the range of the training data, counted as n2p2 counts them.

A network of symmetry functions is trusted where each function of each atom lies between its extremes in the training data. One
extrapolation is one function of one atom in one frame that is looked at. A few of them now and then are ordinary; many, or one far
out, say that the potential answers a question that nobody asked it in training.

A. Singraber, J. Behler, C. Dellago, J. Chem. Theory Comput. 15, 1827 (2019), sec. 2.5 (showew, maxew, resetew).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict
from mdapp.monitors._registry import monitors


@monitors.register("extrapolation")
@dataclass(frozen=True)
class ExtrapolationGuard:
    """Warns of the first extrapolation and then at every tenfold of their number; stops at too many, or at one too far out.

    Potentials that have no such range pass in silence.
    """

    warn: bool = True
    stop_count: int | None = 10_000  # in the whole run, or in one frame with `per_frame`; None: never
    stop_overshoot: float | None = 1.0  # distance from the range as a part of the range; None: never
    per_frame: bool = False  # forget the count after each frame

    def __post_init__(self):
        for name in ("stop_count", "stop_overshoot"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be > 0, got {value:g}.")

    def begin(self, start: Frame, bonds: np.ndarray) -> ExtrapolationWatch:
        return ExtrapolationWatch(self)


class ExtrapolationWatch:
    monitor = "extrapolation"

    def __init__(self, guard: ExtrapolationGuard):
        self.guard = guard
        self.total = 0  # extrapolations so far
        self.told = 0  # how many there were when it last warned

    def look(self, frame: Frame) -> Verdict:
        counts, overshoot = frame.extras.get("extrapolations"), frame.extras.get("overshoot")
        if counts is None or overshoot is None:
            return OK
        found = int(counts.sum())
        if not found:
            return OK
        self.total = found if self.guard.per_frame else self.total + found
        worst, atoms = float(overshoot.max()), np.argsort(-overshoot, kind="stable")[: int((counts > 0).sum())]
        where = f"{named(frame.numbers, atoms)} in this frame, the worst by {worst:.3g} of the range"
        if self.guard.stop_overshoot is not None and worst > self.guard.stop_overshoot:
            reason = f"descriptors far outside the training data: {where}, limit {self.guard.stop_overshoot:g}"
            return Verdict("stop", self.monitor, reason, tuple(int(a) for a in atoms), worst, self.guard.stop_overshoot)
        if self.guard.stop_count is not None and self.total > self.guard.stop_count:
            reason = f"{self.total} extrapolations, limit {self.guard.stop_count}: {where}"
            return Verdict("stop", self.monitor, reason, tuple(int(a) for a in atoms), float(self.total), float(self.guard.stop_count))
        if self.guard.warn and (self.told == 0 or self.total >= 10 * self.told):
            self.told = self.total
            reason = f"{self.total} extrapolation{'s' if self.total != 1 else ''} so far: {where}"
            return Verdict("warn", self.monitor, reason, tuple(int(a) for a in atoms), worst, 0.0)
        return OK

    def state(self) -> dict[str, Any]:
        return {"total": self.total, "told": self.told}

    def restore(self, state: dict[str, Any]) -> None:
        self.total, self.told = int(state["total"]), int(state["told"])
