"""What the potential itself says of its doubts: a committee's spread, and the distance from what it was trained on.

A calculator that knows puts into its `results`, with every evaluation: `forces_spread` (n_atoms,), the standard deviation of the members' forces on each atom in eV/Å;
`domain_distance` (n_atoms,), how far the surroundings of each atom are from those of the training set, 1 at its edge; `energy_spread`, a number in eV, which is
stored and not judged. Where it gives none of them this guard has nothing to say.

An atom that begins outside the training set, a group that the potential never saw, is told of before the first step. From there on it is judged by how much
farther it goes: its edge is that much wider, so that the run is not stopped for what was known when it began.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._registry import monitors

ROOM = 1.25  # an atom's own edge over its distance at the start, which thermal motion changes by a fifth


@monitors.register("uncertainty")
@dataclass(frozen=True)
class UncertaintyGuard:
    """Warns where a configuration is worth a label, stops where the potential is not to be trusted any more."""

    warn_spread_eV_per_A: float = 0.5
    stop_spread_eV_per_A: float = 3.0
    warn_domain_distance: float = 1.0  # the edge of the training set; just beyond it the shipped potential's forces are off by 1.7 eV/Å in the median
    stop_domain_distance: float = 2.0  # and beyond this by 18 eV/Å and more (scripts/domain_study.py)

    def __post_init__(self):
        require_rising("warn_spread_eV_per_A", self.warn_spread_eV_per_A, "stop_spread_eV_per_A", self.stop_spread_eV_per_A)
        require_rising("warn_domain_distance", self.warn_domain_distance, "stop_domain_distance", self.stop_domain_distance)

    def begin(self, start: Frame, bonds: np.ndarray) -> UncertaintyWatch:
        return UncertaintyWatch(self, start)


class UncertaintyWatch:
    monitor = "uncertainty"

    def __init__(self, guard: UncertaintyGuard, start: Frame):
        self.guard = guard
        begun = start.extras.get("domain_distance")
        self.edges = np.ones(len(start.numbers)) if begun is None else np.fmax(1.0, ROOM * np.asarray(begun, float))  # of each atom, 1 for what is known

    def look(self, frame: Frame) -> Verdict:
        g = self.guard
        spread = self._judge(frame, "forces_spread", g.warn_spread_eV_per_A, g.stop_spread_eV_per_A, "the committee disagrees by {:.2g} eV/Å on the force of {}")
        if spread.level == "stop":
            return spread
        far = self._judge(frame, "domain_distance", g.warn_domain_distance, g.stop_domain_distance, "{1} is outside the training set, {0:.2g} times as far as its edge",
                          self.edges)
        return far if far.level == "stop" or spread.level == "ok" else spread

    def _judge(self, frame: Frame, name: str, warn: float, stop: float, sentence: str, edges: np.ndarray | None = None) -> Verdict:
        values = frame.extras.get(name)
        if values is None or not np.size(values):
            return OK
        edges = np.ones(np.size(values)) if edges is None else edges
        atom = int(np.argmax(np.ravel(values) / edges))  # a NaN counts as the largest
        value, warn, stop = float(np.ravel(values)[atom]), warn * float(edges[atom]), stop * float(edges[atom])
        if value <= warn:
            return OK
        level, limit = ("warn", warn) if value <= stop else ("stop", stop)
        return Verdict(level, self.monitor, f"{sentence.format(value, named(frame.numbers, [atom]))}, limit {limit:.3g}", (atom,), value, limit, name)

    def state(self) -> dict[str, Any]:
        return {"edges": self.edges.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.edges = np.array(state.get("edges", self.edges), float)  # an older run kept none
