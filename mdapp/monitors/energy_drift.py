"""The quantity that the ensemble conserves: does it drift, does it jump?

The drift is the slope of a straight line through the looks of the last picosecond. A jump is what happened between two looks; its limit grows
with the square root of the number of atoms, as the honest fluctuation of the integrator does.
"""
from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.frame import Frame
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._registry import monitors


@monitors.register("energy-drift")
@dataclass(frozen=True)
class EnergyDriftGuard:
    """A sound run at 0.5 fs drifts by less than 0.2 meV/atom/ps; a time step too long or a rough potential by more than the limits here."""

    window_fs: float = 1000.0
    warn_meV_per_atom_ps: float = 5.0
    stop_meV_per_atom_ps: float = 100.0
    jump_warn_meV_per_root_atom: float = 50.0  # between two looks, for the whole system: 0.3 eV at 42 atoms, 0.6 at 166
    jump_stop_meV_per_root_atom: float = 500.0

    def __post_init__(self):
        require_rising("warn_meV_per_atom_ps", self.warn_meV_per_atom_ps, "stop_meV_per_atom_ps", self.stop_meV_per_atom_ps)
        require_rising("jump_warn_meV_per_root_atom", self.jump_warn_meV_per_root_atom,
                       "jump_stop_meV_per_root_atom", self.jump_stop_meV_per_root_atom)
        if not self.window_fs > 0:
            raise ValueError(f"window_fs must be > 0, got {self.window_fs:g}.")

    def begin(self, start: Frame, bonds: np.ndarray) -> EnergyDriftWatch:
        return EnergyDriftWatch(self)


class EnergyDriftWatch:
    monitor = "energy-drift"

    def __init__(self, guard: EnergyDriftGuard):
        self.guard = guard
        self.recent: deque[tuple[float, float]] = deque()  # time in fs, conserved energy in eV

    def look(self, frame: Frame) -> Verdict:
        before = self.recent[-1][1] if self.recent else frame.conserved_energy
        self.recent.append((frame.time_fs, frame.conserved_energy))
        while self.recent[0][0] < frame.time_fs - self.guard.window_fs:
            self.recent.popleft()
        jump = self._jump(1000.0 * (frame.conserved_energy - before), len(frame.numbers))
        return jump if jump.level != "ok" else self._drift(len(frame.numbers))

    def _jump(self, jump_meV: float, n_atoms: int) -> Verdict:
        root = math.sqrt(n_atoms)
        warn, stop = self.guard.jump_warn_meV_per_root_atom * root, self.guard.jump_stop_meV_per_root_atom * root
        if abs(jump_meV) <= warn:
            return OK
        level, limit = ("stop", stop) if abs(jump_meV) > stop else ("warn", warn)
        return Verdict(level, self.monitor, f"conserved energy jumped by {jump_meV:+.0f} meV between two looks, limit {limit:.0f}", (), jump_meV, limit, "jump")

    def _drift(self, n_atoms: int) -> Verdict:
        t, energy = np.array(self.recent).T
        if len(t) < 10 or t[-1] - t[0] < 0.8 * self.guard.window_fs:
            return OK
        t = t - t.mean()
        slope = 1e6 * float(t @ (energy - energy.mean()) / (t @ t)) / n_atoms  # eV/fs to meV/ps
        if abs(slope) <= self.guard.warn_meV_per_atom_ps:
            return OK
        stops = abs(slope) > self.guard.stop_meV_per_atom_ps
        limit = self.guard.stop_meV_per_atom_ps if stops else self.guard.warn_meV_per_atom_ps
        reason = f"conserved energy drifts by {slope:+.3g} meV/atom/ps over {self.guard.window_fs / 1000:g} ps, limit {limit:g}"
        return Verdict("stop" if stops else "warn", self.monitor, reason, (), slope, limit, "drift")

    def state(self) -> dict[str, Any]:
        return {"recent": np.array(self.recent, float).reshape(-1, 2)}

    def restore(self, state: dict[str, Any]) -> None:
        self.recent = deque((float(t), float(e)) for t, e in np.asarray(state["recent"]).reshape(-1, 2))
