"""A guard of one's own: no stereocentre may turn over.

A potential out of its depth can turn an L-amino acid into a D one without breaking a bond for long. (The house has a guard for that, `chirality`; this is a small one,
to show how one is made.) It remembers the handedness of every carbon with four partners of which at most one is hydrogen, and stops the run when one has changed.

    python examples/plugin_monitor.py              1 ps of the shipped peptide under its watch

In a package of its own, an entry point of the group `mdapp.monitors` (`handedness = yourpackage:HandednessGuard`) makes it part of every `mdapp run`, with
`--guard no-handedness` and `--guard handedness:persist_fs=20` as for the guards of the house.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mdapp.frame import Frame
from mdapp.monitors import Verdict, monitors


@monitors.register("handedness")
@dataclass(frozen=True)
class HandednessGuard:
    """Stops when a stereocentre has had the other hand for `persist_fs`."""

    persist_fs: float = 20.0

    def __post_init__(self):
        if self.persist_fs < 0:
            raise ValueError(f"persist_fs must be >= 0, got {self.persist_fs:g}.")

    def begin(self, start: Frame, bonds: np.ndarray) -> HandednessWatch:
        return HandednessWatch(self, start, bonds)


class HandednessWatch:
    """What the guard remembers of one run."""

    monitor = "handedness"

    def __init__(self, guard: HandednessGuard, start: Frame, bonds: np.ndarray):
        self.guard = guard
        self.centres, self.partners = stereocentres(start.numbers, bonds)  # (n_centres,), (n_centres, 3)
        self.hands = self._hands(start)  # (n_centres,) +1 or -1, at the start
        self.since_fs = np.full(len(self.centres), np.inf)  # since when each has had the other one

    def _hands(self, frame: Frame) -> np.ndarray:
        a, b, c = np.moveaxis(frame.positions[self.partners] - frame.positions[self.centres][:, None], 1, 0)
        return np.sign(np.einsum("ij,ij->i", a, np.cross(b, c)))

    def look(self, frame: Frame) -> Verdict:
        turned = self._hands(frame) != self.hands
        self.since_fs = np.where(turned, np.minimum(self.since_fs, frame.time_fs), np.inf)
        lasting = frame.time_fs - self.since_fs  # (n_centres,), minus infinity where all is well
        if not len(lasting) or lasting.max() < self.guard.persist_fs:
            return Verdict()
        worst = int(lasting.argmax())
        atom = int(self.centres[worst])
        return Verdict("stop", self.monitor, f"C{atom} has turned into its mirror image, for {lasting[worst]:.0f} fs now", (atom,), float(lasting[worst]), self.guard.persist_fs)

    def state(self) -> dict[str, Any]:
        return {"hands": self.hands.copy(), "since_fs": self.since_fs.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        self.hands, self.since_fs = np.array(state["hands"], float), np.array(state["since_fs"], float)


def stereocentres(numbers: np.ndarray, bonds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Carbons with four partners, at most one of them hydrogen: their indices (n_centres,), and three partners of each (n_centres, 3)."""
    partners: dict[int, list[int]] = {int(k): [] for k in np.flatnonzero(numbers == 6)}
    for i, j in bonds.tolist():
        for a, b in ((i, j), (j, i)):
            if a in partners:
                partners[a].append(b)
    found = {k: sorted(p, key=lambda i: (numbers[i] == 1, i))[:3] for k, p in partners.items() if len(p) == 4 and sum(numbers[i] == 1 for i in p) <= 1}
    return np.array(list(found), int), np.array(list(found.values()), int).reshape(-1, 3)


def main(structure: str = str(Path(__file__).with_name("peptide.xyz")), potential: str = "so3krates.pt", time: str = "1ps", *output: str) -> int:
    from mdapp.config import RunConfig
    from mdapp.jobs import run
    from mdapp.screen import Screen

    return run.run(RunConfig(structure=structure, potential=(potential,), time=time, output=output[0] if output else None), Screen()).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
