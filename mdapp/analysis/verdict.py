"""Sound, suspect or broken: what the numbers of a trajectory say about it, and why.

Limits stand in one record. Error bars count: a drift or a temperature is held against a run only where it is beyond its limit
by more than its own uncertainty, and a mean of too few independent samples is not judged at all.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdapp.analysis.bonds import BROKEN_A, BondSeries
from mdapp.analysis.statistics import Drift, Mean
from mdapp.quantities import shown_time

JUDGED_FS, JUDGED_FRAMES = 1000.0, 10
FLOW_FS = 200.0  # from motion to bonds and back
SOUND, SUSPECT, BROKEN, SHORT, UNKNOWN = "sound", "suspect", "broken", "too short", "not judged"
DOUBTFUL_STARTS = ("relaxation of the start changed", "The start is strained", "was trained on (")


@dataclass(frozen=True)
class Limits:
    """Beyond these a run is suspect."""

    drift_meV: float = 1.0  # meV per atom and ps, of the conserved energy; ten times as much is broken
    temperature_sigmas: float = 5.0  # standard errors between mean and target temperature, and
    temperature_share: float = 0.015  # at least so far off in relative terms
    relaxations: float = 5.0  # relaxation times of the thermostat that a record must span before its temperature is judged


def shows_drift(time_fs: np.ndarray) -> bool:
    """Is a record long enough to hold a drift against it? A shorter one shows the vibrations of the conserved energy."""
    return bool(len(time_fs) >= JUDGED_FRAMES and np.ptp(time_fs) >= JUDGED_FS)


def relaxations_of(length_fs: float, method: str, friction_per_ps: float, thermostat_time_fs: float) -> float | None:
    """Length of a record in relaxation times of the thermostat of an ensemble ("nvt-langevin"); None where that is not known.

    Langevin dynamics and collisions take 1/friction; what rescales velocities or has a chain takes its own time, and cannot be quicker than energy
    flows within the molecule.
    """
    if method in ("nvt-langevin", "nvt-andersen", "npt-langevin"):
        return length_fs * friction_per_ps / 1000.0
    return length_fs / max(thermostat_time_fs, FLOW_FS) if method in ("nvt-csvr", "nvt-nose-hoover", "npt-mtk", "npt-c-rescale") else None


@dataclass(frozen=True)
class Judgement:
    """A word and its reasons."""

    word: str  # one of sound, suspect, broken, too short, not judged
    reasons: tuple[str, ...]  # why it is suspect, broken or too short
    checked: tuple[str, ...]  # what was looked at and found in order

    @property
    def sentence(self) -> str:
        if self.reasons:
            return "; ".join(self.reasons) + "."
        return f"{', '.join(self.checked)} in order." if self.checked else "no energies, no temperature and no bonds to judge by."


def judge(
    *, drift: Drift | None = None, temperature: Mean | None = None, target_K: float | None = None, bonds: BondSeries | None = None,
    stopped_by: str | None = None, warnings: dict[str, int] | None = None, limits: Limits = Limits(), relaxations: float | None = None,
    doubts: Sequence[str] = (), length_fs: float | None = None,
) -> Judgement:
    """Judge a trajectory by whatever is known of it.

    Parameters
    ----------
    drift : of the conserved energy, meV per atom and ps.
    temperature, target_K : mean kinetic temperature and what the thermostat was told; K.
    bonds : worst bonds along the trajectory.
    stopped_by : what a guard said when it stopped the run.
    warnings : how often each guard warned.
    relaxations : length of the record in relaxation times of its thermostat, None where that is not known. A run that starts from a minimum
        gives half of its heat away at once, and is cold until the thermostat has made up for it. The error of `temperature` should know of them too
        (`statistics.sound_mean`); where they are not known, a mean of few independent samples is not judged.
    doubts : what casts doubt on all that follows, of `doubts_of`.
    length_fs : of a run; one that is shorter than `JUDGED_FS` and gives no reason for doubt is too short to be called sound. None where it is not known.
    """
    broken: list[str] = []
    suspect: list[str] = []
    checked: list[str] = []
    if stopped_by:
        broken.append(f"a guard stopped the run: {stopped_by.rstrip('.')}")
    for guard, count in (warnings or {}).items():
        suspect.append(f"guard {guard} warned {count} time{'s' if count != 1 else ''}")
    suspect += doubts
    _judge_drift(drift, limits, broken, suspect, checked)
    long_enough = temperature is not None and temperature.reliable if relaxations is None else relaxations >= limits.relaxations
    if long_enough:
        _judge_temperature(temperature, target_K, limits, suspect, checked)
    _judge_bonds(bonds, broken, suspect, checked)
    if broken or suspect:
        return Judgement(BROKEN if broken else SUSPECT, (*broken, *suspect), tuple(checked))
    if length_fs is not None and length_fs < JUDGED_FS:
        return Judgement(SHORT, (f"{shown_time(length_fs)} {'is' if length_fs == 1 else 'are'} too short to tell whether it is sound",), tuple(checked))
    return Judgement(SOUND if checked else UNKNOWN, (), tuple(checked))


def doubts_of(start_warnings: Sequence[str], rewinds: Sequence[dict[str, Any]] = ()) -> list[str]:
    """Reasons to call a run suspect that lie in how it began and went: of what was said of the start, that which casts doubt on all that follows; and its
    returns to an earlier moment.
    """
    found = []
    if rewinds:
        monitors = ", ".join(dict.fromkeys(str(entry.get("monitor", "?")) for entry in rewinds))
        found.append(f"it was rewound {len(rewinds)} time{'s' if len(rewinds) != 1 else ''} (guard {monitors})")
    return found + [warning.split(". ")[0].rstrip(".") for warning in start_warnings if any(words in warning for words in DOUBTFUL_STARTS)]


def _judge_drift(drift: Drift | None, limits: Limits, broken: list[str], suspect: list[str], checked: list[str]) -> None:
    if drift is None:
        return
    surely = abs(drift.slope) - 2 * drift.error
    sentence = f"the conserved energy drifts by {drift.slope:+.3g} ± {float(f'{drift.error:.1g}'):g} meV/atom/ps, limit {limits.drift_meV:g}"
    if surely > 10 * limits.drift_meV:
        broken.append(sentence)
    elif surely > limits.drift_meV:
        suspect.append(sentence)
    else:
        checked.append("energy drift")


def _judge_temperature(mean: Mean | None, target_K: float | None, limits: Limits, suspect: list[str], checked: list[str]) -> None:
    if mean is None or target_K is None:
        return
    off = mean.value - target_K
    if abs(off) > limits.temperature_sigmas * mean.error and abs(off) > limits.temperature_share * target_K:
        suspect.append(f"the temperature is {mean.value:.1f} ± {mean.error:.1g} K, {abs(off) / mean.error:.0f} standard errors off its target {target_K:g} K")
    else:
        checked.append("temperature")


def _judge_bonds(bonds: BondSeries | None, broken: list[str], suspect: list[str], checked: list[str]) -> None:
    if bonds is None:
        return
    if bonds.n_broken[-1] > 0:
        i, j = bonds.worst_bond[-1]
        broken.append(f"{bonds.n_broken[-1]} bond{'s' if bonds.n_broken[-1] != 1 else ''} of the start broken at the end (atoms {i} and {j} first)")
    elif bonds.broken_frames:
        first = int((bonds.n_broken > 0).argmax())
        i, j = bonds.worst_bond[first]
        suspect.append(f"a bond was off its start length by more than {BROKEN_A} Å in {bonds.broken_frames} frame{'s' if bonds.broken_frames != 1 else ''}, "
                       f"at first between atoms {i} and {j} at {bonds.time_ps[first]:.3g} ps")
    else:
        checked.append("bonds")
