"""Is every number a number?"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Memoryless, Verdict
from mdapp.monitors._registry import monitors


@monitors.register("finite")
@dataclass(frozen=True)
class FiniteGuard:
    """Stops at the first frame with a NaN or an infinity in it, and names the atoms."""

    def begin(self, start: Frame, bonds: np.ndarray) -> FiniteWatch:
        return FiniteWatch()


class FiniteWatch(Memoryless):
    monitor = "finite"

    def look(self, frame: Frame) -> Verdict:
        return non_finite(frame)


def non_finite(frame: Frame) -> Verdict:
    """The verdict on one frame. (A sum over all is finite as long as nothing is not, which makes the common case cheap.)"""
    with np.errstate(invalid="ignore", over="ignore"):
        total = (frame.potential_energy + frame.kinetic_energy + frame.conserved_energy
                 + frame.positions.sum() + frame.momenta.sum() + frame.forces.sum() + frame.cell.sum())
    if np.isfinite(total):
        return OK
    for what in ("positions", "momenta", "forces"):
        bad = np.flatnonzero(~np.isfinite(getattr(frame, what)).all(axis=1))
        if len(bad):
            return Verdict("stop", "finite", f"{what} of {named(frame.numbers, bad)} are not finite", tuple(bad.tolist()), np.nan, np.nan)
    for what in ("cell", "potential_energy", "kinetic_energy", "conserved_energy"):
        value = getattr(frame, what)
        if not np.isfinite(value).all():
            return Verdict("stop", "finite", f"{what.replace('_', ' ')} is not finite", (), float(np.max(value)), np.nan)
    return OK  # large but finite numbers whose sum overflowed
