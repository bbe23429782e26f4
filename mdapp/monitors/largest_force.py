"""The largest force on an atom."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Memoryless, Verdict, require_rising
from mdapp.monitors._registry import monitors


@monitors.register("largest-force")
@dataclass(frozen=True)
class LargestForceGuard:
    """Organic molecules at 300 to 500 K see forces up to about 12 eV/Å; a potential out of its depth gives hundreds."""

    warn_eV_per_A: float = 25.0
    stop_eV_per_A: float = 100.0

    def __post_init__(self):
        require_rising("warn_eV_per_A", self.warn_eV_per_A, "stop_eV_per_A", self.stop_eV_per_A)

    def begin(self, start: Frame, bonds: np.ndarray) -> LargestForceWatch:
        return LargestForceWatch(self)


class LargestForceWatch(Memoryless):
    monitor = "largest-force"

    def __init__(self, guard: LargestForceGuard):
        self.guard = guard

    def look(self, frame: Frame) -> Verdict:
        squares = np.einsum("ij,ij->i", frame.forces, frame.forces)
        atom = int(squares.argmax())
        force = float(np.sqrt(squares[atom]))
        if force <= self.guard.warn_eV_per_A:
            return OK
        level, limit = ("stop", self.guard.stop_eV_per_A) if force > self.guard.stop_eV_per_A else ("warn", self.guard.warn_eV_per_A)
        return Verdict(level, self.monitor, f"force of {force:.3g} eV/Å on {named(frame.numbers, [atom])}, limit {limit:g}", (atom,), force, limit)
