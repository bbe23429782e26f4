"""From which step on is a run not sound? The verdict's reasons, each with the moment at which it begins."""
from __future__ import annotations

from typing import Any

from mdapp.analysis.verdict import Judgement
from mdapp.jobs._measure import Measured
from mdapp.quantities import shown_time


def dated_reasons(judgement: Judgement, measured: Measured, alarms: tuple[dict[str, Any], ...], stopped: bool) -> list[str]:
    """The reasons as sentences, with step and time where they have one; empty for a sound run.

    Parameters
    ----------
    alarms : events of guards in their order.
    stopped : whether the last of them stopped the run.
    """
    return [f"{reason[0].upper()}{reason[1:].rstrip('.')}{_since(reason, measured, alarms, stopped)}." for reason in judgement.reasons]


def first_sign(measured: Measured, alarms: tuple[dict[str, Any], ...]) -> tuple[int, float] | None:
    """Step and time in fs of the first alarm or broken bond; None where there is neither."""
    signs = [(int(e.get("step", 0)), float(e.get("time_fs", 0.0))) for e in alarms]
    if measured.bonds is not None and measured.bonds.broken_frames:
        k = int((measured.bonds.n_broken > 0).argmax())
        signs.append((int(measured.step[k]), 1000 * float(measured.time_ps[k])))
    return min(signs, key=lambda sign: sign[1]) if signs else None


def _since(reason: str, measured: Measured, alarms: tuple[dict[str, Any], ...], stopped: bool) -> str:
    if reason.startswith("a guard stopped") and stopped and alarms:
        return _at(alarms[-1], "seen at ")
    if reason.startswith("guard "):
        name = reason.split()[1]
        first = next((e for e in alarms if str(e.get("monitor") or e.get("kind")) == name), None)
        return _at(first, "first at ") if first else ""
    if "broken at the end" in reason and measured.bonds is not None:
        sound = measured.bonds.n_broken == 0
        k = int(len(sound) - sound[::-1].argmax()) if sound.any() else 0
        return f", from step {measured.step[k]} ({shown_time(1000 * float(measured.time_ps[k]))}) on"
    return ""


def _at(event: dict[str, Any], word: str) -> str:
    return f", {word}step {event.get('step', '?')} ({shown_time(float(event.get('time_fs', 0.0)))})"
