"""Peptide bonds stay what they are, cis or trans, and near to flat.

Omega is the angle C-C(=O)-N-C; the barrier between 180° (trans) and 0° (cis) is 0.8 eV, so that a bond changes sides in seconds at room temperature, never in a
simulation. Thermal twists reach 30°.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._graph import dihedral_cosines, peptide_bonds
from mdapp.monitors._lasting import Lasting
from mdapp.monitors._registry import monitors


@monitors.register("peptide-bond")
@dataclass(frozen=True)
class PeptideBondGuard:
    """Warns when omega is far from its side of the start for a while; stops when it has been on the other side for long."""

    warn_twist_deg: float = 60.0  # from flat, on the side of the start
    warn_fs: float = 50.0
    stop_twist_deg: float = 120.0  # beyond 90 it is on the other side
    stop_fs: float = 500.0

    def __post_init__(self):
        require_rising("warn_twist_deg", self.warn_twist_deg, "stop_twist_deg", self.stop_twist_deg)
        require_rising("warn_fs", self.warn_fs, "stop_fs", self.stop_fs)

    def begin(self, start: Frame, bonds: np.ndarray) -> PeptideBondWatch:
        return PeptideBondWatch(self, start, bonds)


class PeptideBondWatch:
    monitor = "peptide-bond"

    def __init__(self, guard: PeptideBondGuard, start: Frame, bonds: np.ndarray):
        self.guard = guard
        self.bonds = peptide_bonds(start.numbers, bonds)  # (n_bonds, 4)
        self.sides = np.sign(dihedral_cosines(start, self.bonds))  # (n_bonds,) 1 cis, -1 trans
        self.twisted, self.changed = Lasting(len(self.bonds)), Lasting(len(self.bonds))

    def look(self, frame: Frame) -> Verdict:
        if not len(self.bonds):
            return OK
        cosines = dihedral_cosines(frame, self.bonds) * self.sides  # 1 as at the start, -1 on the other side
        twisted = self.twisted.longer_than(cosines < np.cos(np.radians(self.guard.warn_twist_deg)), frame.time_fs, self.guard.warn_fs)
        changed = self.changed.longer_than(cosines < np.cos(np.radians(self.guard.stop_twist_deg)), frame.time_fs, self.guard.stop_fs)
        level, bad, limit = ("stop", changed, self.guard.stop_twist_deg) if len(changed) else ("warn", twisted, self.guard.warn_twist_deg)
        if not len(bad):
            return OK
        worst = bad[cosines[bad].argmin()]
        twist = float(np.degrees(np.arccos(np.clip(cosines[worst], -1.0, 1.0))))
        side, other = ("cis", "trans") if self.sides[worst] > 0 else ("trans", "cis")
        pair = tuple(self.bonds[worst, 1:3].tolist())
        what = f"has gone from {side} to {other}" if twist > 90 else f"of the {side} form is twisted"
        more = f"; {len(bad) - 1} more" if len(bad) > 1 else ""
        return Verdict(level, self.monitor, f"peptide bond {named(frame.numbers, pair)} {what}, {twist:.0f}° from flat, limit {limit:g}{more}", pair, twist, limit)

    def state(self) -> dict[str, Any]:
        return {"bonds": self.bonds.copy(), "sides": self.sides.copy(), "twisted_fs": self.twisted.state(), "changed_fs": self.changed.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.bonds = np.array(state["bonds"], np.int64).reshape(-1, 4)
        self.sides = np.array(state["sides"], float)
        self.twisted, self.changed = Lasting(len(self.bonds)), Lasting(len(self.bonds))
        self.twisted.restore(state["twisted_fs"])
        self.changed.restore(state["changed_fs"])
