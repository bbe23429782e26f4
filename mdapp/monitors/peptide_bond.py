"""Peptide bonds stay what they are, cis or trans, and near to flat.

Omega is the angle C-C(=O)-N-C; the barrier between 180° (trans) and 0° (cis) is 0.8 eV, so that a bond changes sides in seconds at room temperature, never in a
simulation. Thermal twists reach 30°.

A bond that is twisted at the start stands on that barrier and is on no side yet. It will fall to one, by chance and with all its heat, and that is the start's doing, not the
potential's: it is told and stops nothing. From then on the bond is watched like any other.
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

ON_NO_SIDE_DEG = 45.0  # from flat, at the start
FLAT_DEG = 30.0  # where a bond that was on no side has come to rest, when it stays there


@monitors.register("peptide-bond")
@dataclass(frozen=True)
class PeptideBondGuard:
    """Warns when omega is far from its side of the start for a while; stops when it has been on the other side for long."""

    warn_twist_deg: float = 60.0  # from flat, on the side of the start
    warn_fs: float = 50.0
    stop_twist_deg: float = 120.0  # beyond 90 it is on the other side
    stop_fs: float = 500.0
    settle_fs: float = 200.0  # a bond that was twisted at the start is cis or trans once it has been flat for so long

    def __post_init__(self):
        require_rising("warn_twist_deg", self.warn_twist_deg, "stop_twist_deg", self.stop_twist_deg)
        require_rising("warn_fs", self.warn_fs, "stop_fs", self.stop_fs)
        if not self.settle_fs > 0:
            raise ValueError(f"settle_fs must be > 0, got {self.settle_fs:g}.")

    def begin(self, start: Frame, bonds: np.ndarray) -> PeptideBondWatch:
        return PeptideBondWatch(self, start, bonds)


class PeptideBondWatch:
    monitor = "peptide-bond"

    def __init__(self, guard: PeptideBondGuard, start: Frame, bonds: np.ndarray):
        self.guard = guard
        self.bonds = peptide_bonds(start.numbers, bonds)  # (n_bonds, 4)
        cosines = dihedral_cosines(start, self.bonds)
        self.sides = np.where(np.abs(cosines) < np.cos(np.radians(ON_NO_SIDE_DEG)), 0.0, np.sign(cosines))  # (n_bonds,) 1 cis, -1 trans, 0 neither yet
        self.twisted, self.changed, self.settling = (Lasting(len(self.bonds)) for _ in range(3))

    def look(self, frame: Frame) -> Verdict:
        if not len(self.bonds):
            return OK
        omega = dihedral_cosines(frame, self.bonds)
        cosines = np.where(self.sides == 0, 1.0, omega * self.sides)  # 1 as at the start, -1 on the other side; a bond on no side cannot leave it
        twisted = self.twisted.longer_than(cosines < np.cos(np.radians(self.guard.warn_twist_deg)), frame.time_fs, self.guard.warn_fs)
        changed = self.changed.longer_than(cosines < np.cos(np.radians(self.guard.stop_twist_deg)), frame.time_fs, self.guard.stop_fs)
        level, bad, limit = ("stop", changed, self.guard.stop_twist_deg) if len(changed) else ("warn", twisted, self.guard.warn_twist_deg)
        settled = self._settled(omega, frame) if not self.sides.all() else OK
        if not len(bad) or (level == "warn" and settled is not OK):
            return settled
        worst = bad[cosines[bad].argmin()]
        twist = float(np.degrees(np.arccos(np.clip(cosines[worst], -1.0, 1.0))))
        side, other = ("cis", "trans") if self.sides[worst] > 0 else ("trans", "cis")
        pair = tuple(self.bonds[worst, 1:3].tolist())
        what = f"has gone from {side} to {other}" if twist > 90 else f"of the {side} form is twisted"
        more = f"; {len(bad) - 1} more" if len(bad) > 1 else ""
        return Verdict(level, self.monitor, f"peptide bond {named(frame.numbers, pair)} {what}, {twist:.0f}° from flat, limit {limit:g}{more}", pair, twist, limit)

    def _settled(self, omega: np.ndarray, frame: Frame) -> Verdict:
        """Bonds of the start that were on no side: those that have found one are told, and watched from here on."""
        flat = (self.sides == 0) & (np.abs(omega) > np.cos(np.radians(FLAT_DEG)))
        found = self.settling.longer_than(flat, frame.time_fs, self.guard.settle_fs)
        if not len(found):
            return OK
        self.sides[found] = np.sign(omega[found])
        told = ", ".join(f"{named(frame.numbers, self.bonds[k, 1:3].tolist())} ({'cis' if self.sides[k] > 0 else 'trans'})" for k in found.tolist())
        which = "bond" if len(found) == 1 else "bonds"
        atoms = tuple(self.bonds[found, 1:3].ravel().tolist())
        twist = float(np.degrees(np.arccos(np.clip(np.abs(omega[found]), 0.0, 1.0))).max())
        said = f"peptide {which} that the start had twisted {'has' if len(found) == 1 else 'have'} come to rest: {told}; the strain was the start's"
        return Verdict("warn", self.monitor, said, atoms, twist, FLAT_DEG, f"rest of bond {found[0]}")

    def state(self) -> dict[str, Any]:
        return {"bonds": self.bonds.copy(), "sides": self.sides.copy(), "twisted_fs": self.twisted.state(), "changed_fs": self.changed.state(),
                "settling_fs": self.settling.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.bonds = np.array(state["bonds"], np.int64).reshape(-1, 4)
        self.sides = np.array(state["sides"], float)
        self.twisted, self.changed, self.settling = (Lasting(len(self.bonds)) for _ in range(3))
        self.twisted.restore(state["twisted_fs"])
        self.changed.restore(state["changed_fs"])
        if "settling_fs" in state:  # older restart states know of no bond without a side
            self.settling.restore(state["settling_fs"])
