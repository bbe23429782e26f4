"""The bonds of the start: do they hold, do new ones form?

A bond counts as broken when its length is off by more than 0.5 Å from that of the start, the criterion that X. Fu et al., "Forces are not Enough",
Trans. Mach. Learn. Res. (2023), proposed for the stability of learned potentials; a hydrogen more than 2.5 Å from its partner has left for good. One look is not
enough: what is off must stay off for a while, and what stays off for long does not swing: it is broken. A proton hop (a hydrogen that left one heavy atom and came to
another) is told from bonds that break or form: between atoms other than carbon it may be chemistry. Chemistry on purpose needs other limits, or this guard left out.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import covalent_radii

from mdapp.frame import Frame, named
from mdapp.monitors._base import OK, Verdict, require_rising
from mdapp.monitors._graph import vectors
from mdapp.monitors._pairs import close_pairs
from mdapp.monitors._registry import monitors

NOT_OFF = np.inf
DEVIATION_A = 0.5  # the published criterion


@monitors.register("bond-graph")
@dataclass(frozen=True)
class BondGraphGuard:
    """Warns of bonds that are off and of new ones; stops where a bond is gone."""

    warn_off_A: float = 0.5  # from the length at the start, longer or shorter
    stop_off_A: float = 1.5
    hydrogen_A: float = 2.5  # a hydrogen this far from its partner stops the run
    formed_ratio: float = 1.15  # a new pair this close, over the sum of covalent radii, is a new bond; never stops
    persist_fs: float = 10.0  # for so long before anything is said
    stop_fs: float = 100.0  # off by the softer limit for so long stops the run too, but for a proton that hopped from one N, O, S or halogen to another

    def __post_init__(self):
        require_rising("warn_off_A", self.warn_off_A, "stop_off_A", self.stop_off_A)
        require_rising("persist_fs", max(self.persist_fs, 1e-9), "stop_fs", self.stop_fs)
        for name in ("hydrogen_A", "formed_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name):g}.")

    def begin(self, start: Frame, bonds: np.ndarray) -> BondGraphWatch:
        return BondGraphWatch(self, start, bonds)


class BondGraphWatch:
    monitor = "bond-graph"

    def __init__(self, guard: BondGraphGuard, start: Frame, bonds: np.ndarray):
        self.guard = guard
        self.bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)  # (n_bonds, 2)
        self.radii = covalent_radii[start.numbers]
        self.hydrogen = (start.numbers[self.bonds] == 1).any(axis=1)  # (n_bonds,)
        self.bonded_atoms = np.zeros(len(start.numbers), bool)
        self.bonded_atoms[self.bonds.ravel()] = True
        self.start_lengths = self._lengths(start)
        self.off_since_fs = np.full(len(self.bonds), NOT_OFF)  # (n_bonds,)
        self.gone_since_fs = np.full(len(self.bonds), NOT_OFF)
        self.formed_since_fs: dict[int, float] = {}  # code of a pair: time
        self.largest_off_A, self.largest_at, self.over_since_fs = 0.0, (-1, np.nan), np.nan  # of all looks: bond and time in fs; time of the first beyond 0.5 Å
        self.known = np.unique(np.concatenate([self._codes(*np.sort(self.bonds, axis=1).T), self._close(start)[0]]))

    def look(self, frame: Frame) -> Verdict:
        if not len(self.bonds):
            return OK
        off_A = self._lengths(frame) - self.start_lengths
        self._remember(np.abs(off_A), frame.time_fs)
        gone = np.abs(off_A) > self.guard.stop_off_A
        gone |= self.hydrogen & (off_A + self.start_lengths > self.guard.hydrogen_A)
        self.gone_since_fs = _since(gone, self.gone_since_fs, frame.time_fs)
        self.off_since_fs = _since(np.abs(off_A) > self.guard.warn_off_A, self.off_since_fs, frame.time_fs)
        formed = self._formed(frame)
        gone, off, lasting = (np.flatnonzero(frame.time_fs - since >= fs) for since, fs in (
            (self.gone_since_fs, self.guard.persist_fs), (self.off_since_fs, self.guard.persist_fs), (self.off_since_fs, self.guard.stop_fs)))  # fmt: skip
        lasting = np.array([k for k in lasting.tolist() if not self._may_be_chemistry(k, frame)], np.int64)
        for level, bad, limit in (("stop", gone, self.guard.stop_off_A), ("stop", lasting, self.guard.warn_off_A), ("warn", off, self.guard.warn_off_A)):
            if len(bad):
                return self._broken(level, frame, off_A, bad, limit)
        return formed

    def _remember(self, off_A: np.ndarray, time_fs: float) -> None:
        worst = int(off_A.argmax())
        if off_A[worst] > self.largest_off_A:
            self.largest_off_A, self.largest_at = float(off_A[worst]), (worst, time_fs)
        if off_A[worst] > DEVIATION_A and not self.over_since_fs <= time_fs:
            self.over_since_fs = time_fs

    def summary(self) -> dict[str, Any]:
        """The bond deviation of the stability benchmarks, over all looks."""
        if not len(self.bonds):
            return {}
        worst, at_fs = self.largest_at
        return {"bond_deviation": {
            "largest_A": self.largest_off_A, "at_ps": at_fs / 1000, "atoms": self.bonds[worst].tolist() if worst >= 0 else [],
            "first_beyond_0.5_A_ps": None if np.isnan(self.over_since_fs) else self.over_since_fs / 1000,
        }}  # fmt: skip

    def _broken(self, level: str, frame: Frame, off_A: np.ndarray, bad: np.ndarray, limit: float) -> Verdict:
        worst = bad[np.abs(off_A[bad]).argmax()]
        pair = tuple(self.bonds[worst].tolist())
        length, value = self.start_lengths[worst] + off_A[worst], float(off_A[worst])
        if level == "stop" and limit == self.guard.warn_off_A != self.guard.stop_off_A:
            said = f"{abs(value):.2f} Å off its start for {frame.time_fs - self.off_since_fs[worst]:.0f} fs, limit {limit:g}"
        elif level == "stop" and abs(value) <= self.guard.stop_off_A:  # the hydrogen's own limit
            limit, value = self.guard.hydrogen_A, float(length)
            said = f"limit {limit:g}"
        else:
            said = f"{abs(value):.2f} Å off its start, limit {limit:g}"
        others = f"; {len(bad) - 1} more bonds are off" if len(bad) > 1 else ""
        atoms = dict.fromkeys(pair + tuple(self.bonds[bad].ravel().tolist()))
        taker = self._taker(pair, frame)
        if taker is not None:
            proton, giver = pair if frame.numbers[pair[0]] == 1 else pair[::-1]
            what = f"proton hop: {named(frame.numbers, [proton])} has gone from {named(frame.numbers, [giver])} to {named(frame.numbers, [taker])}, its old bond is"
            atoms = dict.fromkeys((proton, giver, taker, *atoms))
        else:
            what = f"bond {named(frame.numbers, pair)} is" + (" broken:" if level == "stop" else "")
        topic = "off" if taker is None else "hop"
        return Verdict(level, self.monitor, f"{what} {length:.2f} Å long, {said}{others}", tuple(atoms), value, limit, topic)

    def _may_be_chemistry(self, bond: int, frame: Frame) -> bool:
        """Has a proton hopped from one atom to another, neither of them carbon?"""
        pair = tuple(self.bonds[bond].tolist())
        taker = self._taker(pair, frame)
        return taker is not None and 6 not in frame.numbers[[*pair, taker]]

    def _taker(self, pair: tuple[int, int], frame: Frame) -> int | None:
        """The atom to which the hydrogen of a lost bond has a new one; None where it has none, or the bond is of another kind."""
        hydrogens = [k for k in pair if frame.numbers[k] == 1]
        if len(hydrogens) != 1:
            return None
        (proton,) = hydrogens
        for code in self.formed_since_fs:
            new = divmod(code, len(frame.numbers))
            if proton in new:
                other = new[0] if new[1] == proton else new[1]
                if other not in pair and frame.numbers[other] != 1:
                    return other
        return None

    def _formed(self, frame: Frame) -> Verdict:
        codes, ratios = self._close(frame)
        place = np.minimum(np.searchsorted(self.known, codes), len(self.known) - 1)
        new = self.known[place] != codes
        now = dict(zip(codes[new].tolist(), ratios[new].tolist()))
        self.formed_since_fs = {code: self.formed_since_fs.get(code, frame.time_fs) for code in now}
        lasting = [code for code, since in self.formed_since_fs.items() if frame.time_fs - since >= self.guard.persist_fs]
        if not lasting:
            return OK
        closest = min(lasting, key=lambda code: now[code])
        pair = divmod(closest, len(frame.numbers))
        reason = f"new bond: {named(frame.numbers, pair)} have come as close as a bond ({now[closest]:.2f} of the sum of covalent radii), limit {self.guard.formed_ratio:g}"
        return Verdict("warn", self.monitor, reason, pair, now[closest], self.guard.formed_ratio, "formed")

    def _close(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of bonded atoms as close as a bond: codes and ratios, (n_pairs,) each."""
        if not len(self.bonds):
            return np.zeros(0, np.int64), np.zeros(0)
        i, j, d = close_pairs(frame, 2.0 * self.guard.formed_ratio * float(self.radii[self.bonded_atoms].max()))
        ratio = d / (self.radii[i] + self.radii[j])
        close = (ratio < self.guard.formed_ratio) & self.bonded_atoms[i] & self.bonded_atoms[j] & (i != j)
        i, j = i[close], j[close]
        return self._codes(np.minimum(i, j), np.maximum(i, j)), ratio[close]

    def _codes(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return i * len(self.radii) + j

    def _lengths(self, frame: Frame) -> np.ndarray:
        """(n_bonds,), Å."""
        d = vectors(frame, self.bonds[:, 0], self.bonds[:, 1])
        return np.sqrt(np.einsum("ij,ij->i", d, d))

    def state(self) -> dict[str, Any]:
        formed = np.array(list(self.formed_since_fs.items()), float).reshape(-1, 2)
        return {"start_lengths": self.start_lengths.copy(), "known": self.known.copy(), "off_since_fs": self.off_since_fs.copy(),
                "gone_since_fs": self.gone_since_fs.copy(), "formed_since_fs": formed, "largest_off_A": self.largest_off_A,
                "largest_bond": self.largest_at[0], "largest_at_fs": self.largest_at[1], "over_since_fs": self.over_since_fs}

    def restore(self, state: dict[str, Any]) -> None:
        if len(state["start_lengths"]) != len(self.bonds):
            raise ValueError(f"The bond graph's memory holds {len(state['start_lengths'])} bonds, the topology {len(self.bonds)}: they belong to different runs.")
        for name in ("start_lengths", "off_since_fs", "gone_since_fs"):
            setattr(self, name, np.array(state[name], float))
        self.known = np.array(state["known"], np.int64)
        self.largest_off_A, self.over_since_fs = float(state["largest_off_A"]), float(state["over_since_fs"])
        self.largest_at = int(state["largest_bond"]), float(state["largest_at_fs"])
        self.formed_since_fs = {int(code): float(t) for code, t in np.asarray(state["formed_since_fs"]).reshape(-1, 2)}


def _since(bad: np.ndarray, since_fs: np.ndarray, now_fs: float) -> np.ndarray:
    """For each bond the time since which it has been bad without a break; infinite where it is not."""
    return np.where(bad, np.minimum(since_fs, now_fs), NOT_OFF)
