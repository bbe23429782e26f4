"""`mdapp check`: every start check of a run and a short probe of its dynamics; nothing is kept."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mdapp.config import CheckConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, PotentialError
from mdapp.jobs._potential import first_line, is_out_of_memory
from mdapp.jobs._report import Speed, header
from mdapp.jobs._start import first_moment, prepare
from mdapp.jobs._stopping import Stopping
from mdapp.jobs.run import refuse_to_begin
from mdapp.quantities import shown_time
from mdapp.screen import Screen, shown_duration, silent
from mdapp.simulation import simulate
from mdapp.trajectory import planned_run_folder


@dataclass(frozen=True)
class CheckResult:
    """What was found."""

    verdict: str  # ready, suspect or stopped
    exit_code: int
    summary: dict[str, Any]


def check(config: CheckConfig, screen: Screen | None = None) -> CheckResult:
    """Do all that a run does before its first step, make a few steps in memory, say what was found.

    Raises
    ------
    UserError : as `run.run` would.
    """
    screen = screen or silent()
    with Stopping(None, None) as stopping:
        folder = planned_run_folder(config.structure, config.ensemble, config.temperature, config.output)
        with stopping.at_once():
            start = prepare(config, screen, stopping)
        refuse_to_begin(stopping)
        screen.header("mdapp check", header(start, folder))
        for warning in start.warnings:
            screen.warn(warning)
        stepper, watches = first_moment(start)
        first = stepper.frame()
        begun = time.perf_counter()
        try:
            outcome = simulate(stepper, config.probe, watches, every=config.probe, check_every=1, should_stop=stopping, stop_on_guard=config.on_event != "warn")
        except Exception as error:
            memory = "Not enough memory. " if is_out_of_memory(error) else ""
            where = f"failed in the probe at step {stepper.step_number} ({type(error).__name__})"
            raise PotentialError(f"{memory}{start.potential.title} {where}: {first_line(error)}") from error
        speed = Speed(outcome.step, time.perf_counter() - begun, config.timestep)
    last = stepper.frame() if outcome.last_sound is None else outcome.last_sound
    alarms = [v for v in outcome.verdicts if v.level != "ok"]
    verdict = "stopped" if outcome.reason == "guard" else "suspect" if alarms or start.warnings else "ready"
    if outcome.cause is not None:
        why = f"guard {outcome.cause.verdict.monitor} at step {outcome.step} of the probe: {outcome.cause.verdict.reason}."
    else:
        doubts = [*start.warnings, *(f"{v.monitor}: {v.reason}" for v in alarms)]
        counted = "is a warning" if len(doubts) == 1 else f"are {len(doubts)} warnings"
        why = f"it can run, but there {counted}; nothing was written." if doubts else f"a probe of {outcome.step} steps went well; nothing was written."
    exit_code = EXIT_GUARD if outcome.reason == "guard" else EXIT_FINISHED
    all_seconds = (config.steps or 0) * speed.seconds / max(speed.steps, 1)
    rows = [("forces", f"largest {start.largest_force:.3g} eV/Å at the start"),
            ("T", f"{first.temperature_K:.0f} K at the start, {last.temperature_K:.0f} K after {shown_time(last.time_fs)}")]
    if speed.ms_per_step is not None and speed.ns_per_day is not None:
        rows.append(("speed", f"about {speed.ms_per_step:.3g} ms/step, {speed.ns_per_day:.3g} ns/day: {shown_duration(all_seconds)} for {config.steps} steps"))
    screen.close(verdict, why, rows)
    summary = {
        "verdict": verdict, "why": why, "exit_code": exit_code, "n_atoms": len(start.atoms),
        "largest_force_eV_A": start.largest_force, "relaxation": start.relaxation or None,
        "warnings": list(start.warnings), "alarms": [{"monitor": v.monitor, "level": v.level, "reason": v.reason} for v in alarms],
        "probe_steps": outcome.step, "ms_per_step": speed.ms_per_step, "ns_per_day": speed.ns_per_day, "folder": str(folder),
    }  # fmt: skip
    return CheckResult(verdict, exit_code, summary)
