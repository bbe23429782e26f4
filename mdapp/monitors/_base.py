"""What a monitor is: a setting that begins a watch, and a watch that looks at frames and gives verdicts.

A monitor cannot change the physics that it judges. What it must remember lives in the watch, which a restart file can hold.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from mdapp.frame import Frame

Level = Literal["ok", "warn", "stop"]


@dataclass(frozen=True)
class Verdict:
    """What a watch says of one frame."""

    level: Level = "ok"
    monitor: str = ""
    reason: str = ""  # a sentence with numbers and units
    atoms: tuple[int, ...] = ()  # indices from 0, the worst first
    value: float = math.nan
    limit: float = math.nan  # in the unit of `value`
    topic: str = ""  # of a monitor that speaks of several things: a word for this one; what is told once in a while is told once for each


OK = Verdict()


class Watch(Protocol):
    """One monitor at work on one run."""

    monitor: str  # the name of its kind

    def look(self, frame: Frame) -> Verdict:
        """Judges a frame. Frames come in rising order of time."""
        ...

    def state(self) -> dict[str, Any]:
        """What it remembers: plain numbers and arrays, the references taken at the start included."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        ...


class Monitor(Protocol):
    """A frozen dataclass: the thresholds, with units in their names."""

    name: ClassVar[str]

    def begin(self, start: Frame, bonds: np.ndarray) -> Watch:
        """Starts to watch. `bonds` is (n_bonds, 2), indices of atoms; empty where no topology is known."""
        ...


class Memoryless:
    """A watch that judges each frame by itself."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def require_rising(warn_name: str, warn: float, stop_name: str, stop: float) -> None:
    """Both limits are positive numbers, and the softer one comes first."""
    if not (0 < warn <= stop):
        raise ValueError(f"{warn_name} must be > 0 and at most {stop_name}, got {warn:g} and {stop:g}.")
