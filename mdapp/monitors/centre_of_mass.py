"""Is the system pushed as a whole? Forces that do not sum to zero give it momentum that no law of a closed system allows.

A bath of random kicks gives the centre of mass the kinetic energy 3/2 k_B T, and its change since the start twice that on average; the limits
are far above what chance does in any run.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units

from mdapp.frame import Frame
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._registry import monitors


@monitors.register("centre-of-mass")
@dataclass(frozen=True)
class CentreOfMassGuard:
    """Compares the kinetic energy of the momentum gained since the start with 3/2 k_B T."""

    warn_ratio: float = 30.0  # chance in a bath: 2e-9 a look
    stop_ratio: float = 1000.0

    def __post_init__(self):
        require_rising("warn_ratio", self.warn_ratio, "stop_ratio", self.stop_ratio)

    def begin(self, start: Frame, bonds: np.ndarray) -> CentreOfMassWatch:
        return CentreOfMassWatch(self, start.momenta.sum(axis=0), start.temperature_K)


class CentreOfMassWatch:
    monitor = "centre-of-mass"

    def __init__(self, guard: CentreOfMassGuard, momentum: np.ndarray, temperature_K: float):
        self.guard = guard
        self.momentum = np.array(momentum, float)  # of the start, amu Å per ASE time unit
        self.start_K = float(temperature_K)

    def look(self, frame: Frame) -> Verdict:
        thermal = 1.5 * units.kB * max(frame.temperature_K, self.start_K, 1.0)
        gained = frame.momenta.sum(axis=0) - self.momentum
        mass = float(frame.masses[np.isfinite(frame.masses)].sum())
        ratio = float(gained @ gained) / (2 * mass) / thermal
        if ratio <= self.guard.warn_ratio:
            return OK
        level, limit = ("stop", self.guard.stop_ratio) if ratio > self.guard.stop_ratio else ("warn", self.guard.warn_ratio)
        drift = 1000 * units.fs * float(np.linalg.norm(gained)) / mass
        reason = f"the centre of mass has gained {drift:.3g} Å/ps, {ratio:.3g} times the energy that heat gives it, limit {limit:g}"
        return Verdict(level, self.monitor, reason, (), ratio, limit)

    def state(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "start_K": self.start_K}

    def restore(self, state: dict[str, Any]) -> None:
        self.momentum, self.start_K = np.asarray(state["momentum"], float), float(state["start_K"])
