"""The temperature of all, and the kinetic temperature of the hottest atom.

Limits are relative to the target, and widen for few atoms: the kinetic energy of a sound run follows a gamma distribution with
as many degrees of freedom as there are, so that a small molecule is allowed what a large one is not. The kinetic energy of one atom follows a chi-square
distribution of three degrees of freedom. Its limit is such that a sound run of any length raises a false alarm with the chance `false_alarms`: at look k, each
of n atoms is given the share k0 / ((k0 + k)(k0 + k + 1) n) of it, and all shares together make one.
"""
from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from scipy.special import gammainccinv  # scipy.stats would take half a second to load

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict
from mdapp.monitors._registry import monitors
from mdapp.observables import atomic_temperatures_K

NEVER = 1e-13  # chance of a single look: not once in a run of 1e9 steps
SPENDING = 10_000  # k0: half of the chance of a false alarm is spent in so many looks
ROOM_K = 300.0  # the scale where a run begins at rest and no target is given


@monitors.register("temperature")
@dataclass(frozen=True)
class TemperatureGuard:
    """Warns when the mean over a while is far from the target or one atom is hot; stops when all of it, or one atom, is out of all measure."""

    target_K: float | None = None  # of the thermostat; None: the start's, and then nothing is too cold
    average_fs: float = 100.0
    warn_deviations: float = 5.0  # of the mean over `average_fs`, in standard deviations of the instantaneous temperature
    settle_fs: float = 5000.0  # too cold counts only after this time: a start from a minimum has to warm up
    stop_factor: float = 3.0  # times the target, or what chance allows so few atoms
    start_factor: float = 6.0  # the same before `start_fs`: a start that is some eV off its minimum heats up and is cooled again, as it should be
    start_fs: float = 5000.0
    false_alarms: float = 1e-3  # chance that a sound run warns of a hot atom: at 166 atoms 15 times the target at first, 25 after 1e7 looks
    atom_stop_factor: float = 60.0  # kinetic temperature of one atom over the target

    def __post_init__(self):
        positive = ("average_fs", "warn_deviations", "stop_factor", "start_factor", "false_alarms", "atom_stop_factor")
        for name, value in ((n, getattr(self, n)) for n in positive + (("target_K",) if self.target_K is not None else ())):
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value:g}.")

    def begin(self, start: Frame, bonds: np.ndarray) -> TemperatureWatch:
        return TemperatureWatch(self, start)


class TemperatureWatch:
    monitor = "temperature"

    def __init__(self, guard: TemperatureGuard, start: Frame):
        self.guard = guard
        target = guard.target_K or (start.temperature_K if start.temperature_K > 1.0 else ROOM_K)
        moving = start.temperature_K > 0
        dof = 2.0 * start.kinetic_energy / (units.kB * start.temperature_K) if moving else 3.0 * len(start.numbers)
        self._set(target, dof, deque(), 0)

    def _set(self, target_K: float, dof: float, recent: deque[tuple[float, float]], looks: int) -> None:
        self.looks, self._limit_at, self._atom_limit_K = looks, -1, 0.0
        self.target_K, self.dof, self.recent = target_K, dof, recent  # recent: time in fs and temperature in K
        self.deviation_K = target_K * math.sqrt(2.0 / dof)
        chance = 2.0 * float(gammainccinv(dof / 2.0, NEVER)) / dof
        self.stop_K, self.start_stop_K = target_K * max(self.guard.stop_factor, chance), target_K * max(self.guard.start_factor, self.guard.stop_factor, chance)

    def look(self, frame: Frame) -> Verdict:
        T = frame.temperature_K
        self.looks += 1
        self.recent.append((frame.time_fs, T))
        while self.recent[0][0] < frame.time_fs - self.guard.average_fs:
            self.recent.popleft()
        limit = self.start_stop_K if frame.time_fs < self.guard.start_fs else self.stop_K
        if T > limit:
            return Verdict("stop", self.monitor, f"temperature of {T:.0f} K, limit {limit:.0f}", (), T, limit, "all")
        hot = self._hottest_atom(frame)
        return hot if hot.level != "ok" else self._mean(frame)

    def _atom_limit(self, n_atoms: int) -> float:
        """Kinetic temperature of one atom that a sound run hardly ever reaches, K; anew every hundredth look, as it rises slowly."""
        k = self.looks // 100 * 100
        if k != self._limit_at:
            share = self.guard.false_alarms * SPENDING / ((SPENDING + k) * (SPENDING + k + 1.0) * n_atoms)
            factor = 2.0 * float(gammainccinv(1.5, share)) / 3.0
            self._limit_at, self._atom_limit_K = k, self.target_K * min(factor, self.guard.atom_stop_factor)
        return self._atom_limit_K

    def _hottest_atom(self, frame: Frame) -> Verdict:
        temperatures = atomic_temperatures_K(frame.momenta, frame.masses)
        atom = int(temperatures.argmax())
        value = float(temperatures[atom])
        warn = self._atom_limit(len(temperatures))
        if value <= warn:
            return OK
        stops = value > self.guard.atom_stop_factor * self.target_K
        limit = self.target_K * self.guard.atom_stop_factor if stops else warn
        reason = f"{named(frame.numbers, (atom,))} alone has a kinetic temperature of {value:.0f} K, limit {limit:.0f}"
        return Verdict("stop" if stops else "warn", self.monitor, reason, (atom,), value, limit, "atom")

    def _mean(self, frame: Frame) -> Verdict:
        if frame.time_fs - self.recent[0][0] < 0.8 * self.guard.average_fs or len(self.recent) < 3:
            return OK  # a look back over most of the while is wanted
        mean = sum(T for _, T in self.recent) / len(self.recent)
        away = self.guard.warn_deviations * self.deviation_K
        cold_counts = self.guard.target_K is not None and frame.time_fs > self.guard.settle_fs
        if mean > self.target_K + away or (cold_counts and mean < self.target_K - away):
            limit = self.target_K + math.copysign(away, mean - self.target_K)
            reason = f"temperature of {mean:.0f} K over {self.guard.average_fs:g} fs, target {self.target_K:.0f}, limit {limit:.0f}"
            return Verdict("warn", self.monitor, reason, (), mean, limit, "mean")
        return OK

    def state(self) -> dict[str, Any]:
        return {"target_K": self.target_K, "dof": self.dof, "recent": np.array(self.recent, float).reshape(-1, 2), "looks": self.looks}

    def restore(self, state: dict[str, Any]) -> None:
        recent = deque((float(t), float(T)) for t, T in np.asarray(state["recent"]).reshape(-1, 2))
        self._set(float(state["target_K"]), float(state["dof"]), recent, int(state["looks"]))
