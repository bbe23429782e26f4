"""Stereocentres keep their hand.

A centre is an atom with four partners (or a phosphorus or sulfur with three and a lone pair) that the bond graph of the start tells apart. Its hand is the sign of the volume that three of them span. At any
temperature at which bonds hold none turns over; a potential that lets one do so has let go of the molecule.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._graph import stereocentres, triple_products, vectors
from mdapp.monitors._lasting import Lasting
from mdapp.monitors._registry import monitors

FLAT = 0.1  # of the product of the three lengths (0.77 in a tetrahedron): less is no hand at all


@monitors.register("chirality")
@dataclass(frozen=True)
class ChiralityGuard:
    """Warns of a stereocentre that has turned over, and stops when it stays so."""

    warn_fs: float = 10.0
    stop_fs: float = 100.0

    def __post_init__(self):
        require_rising("warn_fs", self.warn_fs, "stop_fs", self.stop_fs)

    def begin(self, start: Frame, bonds: np.ndarray) -> ChiralityWatch:
        return ChiralityWatch(self, start, bonds)


class ChiralityWatch:
    monitor = "chirality"

    def __init__(self, guard: ChiralityGuard, start: Frame, bonds: np.ndarray):
        self.guard = guard
        centres = stereocentres(start.numbers, bonds)
        volumes = _volumes(start, centres)
        self.centres = centres[np.abs(volumes) > FLAT]  # (n_centres, 5)
        self.hands = np.sign(volumes[np.abs(volumes) > FLAT])  # (n_centres,)
        self.turned = Lasting(len(self.centres))

    def look(self, frame: Frame) -> Verdict:
        if not len(self.centres):
            return OK
        volumes = _volumes(frame, self.centres) * self.hands
        bad = self.turned.longer_than(volumes < -FLAT, frame.time_fs, self.guard.warn_fs)
        if not len(bad):
            return OK
        worst = bad[self.turned.since_fs[bad].argmin()]
        lasted = frame.time_fs - float(self.turned.since_fs[worst])
        level, limit = ("stop", self.guard.stop_fs) if lasted >= self.guard.stop_fs else ("warn", self.guard.warn_fs)
        atoms = self.centres[bad, 0]
        verb = "stereocentre" if len(atoms) == 1 else "stereocentres"
        have = "has" if len(atoms) == 1 else "have"
        return Verdict(level, self.monitor, f"{verb} {named(frame.numbers, atoms)} {have} turned over, for {lasted:.0f} fs, limit {limit:g}",
                       (int(self.centres[worst, 0]), *(int(a) for a in atoms if a != self.centres[worst, 0])), lasted, limit)

    def state(self) -> dict[str, Any]:
        return {"centres": self.centres.copy(), "hands": self.hands.copy(), "since_fs": self.turned.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.centres = np.array(state["centres"], np.int64).reshape(-1, 5)
        self.hands = np.array(state["hands"], float)
        self.turned = Lasting(len(self.centres))
        self.turned.restore(state["since_fs"])


def _volumes(frame: Frame, centres: np.ndarray) -> np.ndarray:
    """(n_centres,) the triple product of the first three partners' vectors over their lengths."""
    r = vectors(frame, centres[:, :1], centres[:, 1:4])  # (n_centres, 3, 3)
    lengths = np.sqrt(np.einsum("ijk,ijk->ij", r, r)).prod(axis=1)
    return triple_products(r[:, 0], r[:, 1], r[:, 2]) / np.maximum(lengths, 1e-12)
