"""One session of a run: from a system that can step to a folder that tells how it went.

`run` opens the first session, `resume` every later one; both come here, so that a resumed run differs from an uninterrupted one by nothing.
"""
from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from mdapp.dynamics._stepper import ASEStepper
from mdapp.errors import EXIT_STOPPED, Interrupted, OutputError
from mdapp.frame import Frame
from mdapp.jobs._charge import stated_multiplicity
from mdapp.jobs._checkpoints import Checkpoints, physical
from mdapp.jobs._live import Live
from mdapp.jobs._log import Teller
from mdapp.jobs._long_range import long_range_summary
from mdapp.jobs._potential import file_hash, first_line, is_out_of_memory
from mdapp.jobs._report import Ending, Speed, ending, numbers_of, versions
from mdapp.jobs._start import Start
from mdapp.jobs._stopping import Stopping
from mdapp.simulation import Event, Outcome, simulate
from mdapp.trajectory import EventLog, RunFolder, ThermoWriter, TrajectoryWriter, read_events, save_event_frames, write_frames
from mdapp.trajectory.files import write_text

CHECK_EVERY = 10  # steps between two looks of the guards


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    folder: Path
    verdict: str  # sound, suspect or stopped
    exit_code: int
    summary: dict[str, Any]

    @property
    def trajectory(self) -> Path:
        return self.folder / "trajectory.h5"


@dataclass
class Session:
    """What a session needs to know beyond the start itself."""

    start: Start
    folder: RunFolder
    stepper: ASEStepper
    watches: list[Any]
    run_id: str
    stopping: Stopping
    teller: Teller
    state: dict[str, Any] | None = None  # the restart state that it goes on from
    alarms: Counter[str] = field(default_factory=Counter)

    @property
    def first_step(self) -> int:
        return self.stepper.step_number


def go(session: Session) -> RunResult:
    """Step to the end, write everything, judge.

    Raises
    ------
    Interrupted : the disk is full or the folder has gone; what was written is whole.
    """
    start, folder, state = session.start, session.folder, session.state
    config, first = start.config, session.first_step
    resume = None if state is None else state["trajectory"]
    trajectory = TrajectoryWriter(folder.path, start.topology, session.run_id, resume=resume)
    thermo = ThermoWriter(folder.path, None if resume is None else resume["last_step"])
    identity = {
        "run_id": session.run_id, "settings": physical(config), "potential": start.potential.fingerprint, "structure": start.structure_hash,
        "input": file_hash(folder.input), "bonds": start.bonds, "relaxation": start.relaxation,
    }  # fmt: skip
    checkpoints = Checkpoints(folder, identity, trajectory, thermo)
    live = Live(session.teller.screen, config.steps or 0, first, config.timestep, len(start.atoms))
    live.alarms |= set(session.alarms)
    try:
        if state is None:
            checkpoints(session.stepper.state(), {w.monitor: w.state() for w in session.watches})
        live.begun = time.perf_counter()
        outcome = simulate(
            session.stepper, config.steps or 0, session.watches, [trajectory, thermo],
            every=config.every, check_every=CHECK_EVERY, checkpoint_every=config.every, should_stop=session.stopping,
            on_checkpoint=checkpoints, on_event=_event_writer(session, live), on_check=live, stop_on_guard=config.on_event == "stop",
        )  # fmt: skip
        seconds = time.perf_counter() - live.begun
        session.teller.screen.end_live()
        checkpoints.flush()
        trajectory.close()
        thermo.close()
        return _close(session, outcome, Speed(outcome.step - first, seconds, config.timestep))
    except Exception as error:
        session.teller.screen.end_live()
        _save_what_can_be(checkpoints, trajectory, thermo)
        raise _explained(error, session) from error


def _event_writer(session: Session, live: Live) -> Callable[[Event, Frame], None]:
    """Writes what a guard says to events.jsonl and says it aloud."""
    log = EventLog(session.folder.path)

    def write(event: Event, frame: Frame) -> None:
        v = event.verdict
        live.alarms.add(v.monitor)
        session.alarms[v.monitor] += 1
        kind = "guard" if v.level == "stop" else "warning"
        log.write(kind, event.step, event.time_fs, v.reason, monitor=v.monitor, level=v.level, atoms=list(v.atoms), value=v.value, limit=v.limit)
        session.teller.warn(f"{v.monitor} at step {event.step} ({event.time_fs / 1000:.3f} ps): {v.reason}.")

    return write


def _close(session: Session, outcome: Outcome, speed: Speed) -> RunResult:
    """The last files, the verdict, the closing block."""
    start, folder, config = session.start, session.folder, session.start.config
    if outcome.last_sound is not None:
        write_frames(folder.final, [outcome.last_sound], like=start.original)
    event_frames = save_event_frames(folder.path, outcome.verdicts[-1].monitor, outcome.recorded) if outcome.reason == "guard" else None
    if session.stopping.reason is not None and folder.stop.exists():
        folder.stop.unlink(missing_ok=True)  # it has done its work; left there it would stop the resumed run too
    if outcome.reason == "stopped":
        EventLog(folder.path).write("stop", outcome.step, outcome.step * config.timestep, f"Stopped by {session.stopping.reason}.")
    warnings = session.alarms if outcome.reason != "guard" else session.alarms - Counter([outcome.verdicts[-1].monitor])
    numbers = numbers_of(folder.path, len(start.atoms))
    end = ending(outcome, config, session.stopping.reason, numbers, dict(warnings))
    summary = {
        "verdict": end.verdict, "status": end.status, "why": end.why, "exit_code": end.exit_code, "folder": str(folder.path),
        "steps": outcome.step, "steps_asked": config.steps, "time_ps": session.stepper.time_fs / 1000,
        "failure": _failure(outcome, start), "warnings": dict(warnings),
        **numbers.summary, "ms_per_step": speed.ms_per_step, "ns_per_day": speed.ns_per_day, "session_steps": speed.steps, "session_seconds": speed.seconds,
        "n_atoms": len(start.atoms), "formula": start.original.get_chemical_formula("hill"), "charge": start.original.info.get("charge", 0),
        "multiplicity": stated_multiplicity(start.original), **long_range_summary(start.original, start.potential, config.electrostatics),
        "method": config.method, "seed": config.seed, "device": config.device, "dtype": start.potential.dtype, "threads": config.threads,
        "potential": start.potential.source, "potential_sha256": start.potential.fingerprint, "structure_sha256": start.structure_hash,
        "relaxation": start.relaxation or None, "start_warnings": list(start.warnings), "versions": versions(),
    }  # fmt: skip
    write_text(folder.summary, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    rows = list(numbers.rows)
    if speed.ms_per_step is not None and speed.ns_per_day is not None:
        rows.append(("speed", f"{speed.ms_per_step:.3g} ms/step, {speed.ns_per_day:.3g} ns/day"))
    if event_frames is not None:
        rows.append(("event", f"{event_frames} holds the {len(outcome.recorded)} steps before it, {folder.final.name} the last sound frame"))
    rows.append(("output", str(folder.path)))
    session.teller.screen.close(end.verdict, end.why, rows, next_command(end, folder.path))
    session.teller.rows(f"{end.verdict}: {end.why}", rows)
    return RunResult(folder.path, end.verdict, end.exit_code, summary)


def next_command(end: Ending, folder: Path) -> str:
    """What to type next."""
    return f"mdapp {'resume' if end.exit_code == EXIT_STOPPED else 'analyse'} {shlex.quote(str(folder))}"


def _failure(outcome: Outcome, start: Start) -> dict[str, Any] | None:
    """When and why a guard ended the run."""
    if outcome.reason != "guard":
        return None
    event = outcome.events[-1]
    v = event.verdict
    atoms = [{"index": int(k), "element": chemical_symbols[start.original.numbers[k]]} for k in v.atoms[:20]]
    return {"step": event.step, "time_ps": event.time_fs / 1000, "monitor": v.monitor, "reason": v.reason, "atoms": atoms}


def _save_what_can_be(checkpoints: Checkpoints, trajectory: TrajectoryWriter, thermo: ThermoWriter) -> None:
    """After an error: the last state offered, if the disk still takes it; then close."""
    for save in (checkpoints.flush, trajectory.close, thermo.close):
        try:
            save()
        except Exception:  # the first error is the one to tell
            pass


def _explained(error: Exception, session: Session) -> Exception:
    """An error of the session as the user should read it; what is our own fault keeps its traceback in run.log."""
    at = f"Stopped at step {session.stepper.step_number}"
    again = f"Go on with `mdapp resume {shlex.quote(str(session.folder.path))}`"
    if isinstance(error, FileNotFoundError) and not session.folder.path.exists():
        error = OutputError(f"{session.folder.path} cannot be written: the folder has gone.")
    if isinstance(error, OutputError):
        if session.stepper.step_number == 0:
            return error
        return Interrupted(f"{at}: {error}")
    if is_out_of_memory(error):
        session.teller.error(error)
        size = f"{len(session.start.atoms)} atoms"
        return Interrupted(f"{at}: not enough memory on {session.start.config.device} for {size}. {again} --device cpu, or on a larger device.")
    session.teller.error(error)
    described = RuntimeError(f"{at}: {type(error).__name__}: {first_line(error)}")
    described.run_log = session.teller.path  # type: ignore[attr-defined]
    return described


def summary_of(folder: RunFolder) -> dict[str, Any] | None:
    """The summary that a session left; None where there is none that can be read."""
    try:
        found = json.loads(folder.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def earlier_alarms(folder: RunFolder, step: int) -> Counter[str]:
    """How often each guard spoke in earlier sessions, up to the step from which the run goes on."""
    found = (e for e in read_events(folder.path) if e.get("kind") in ("guard", "warning") and int(e.get("step", 0)) <= step)
    distinct = {(e.get("step"), str(e.get("monitor"))) for e in found}
    return Counter(monitor for _, monitor in distinct)
