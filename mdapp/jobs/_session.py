"""One session of a run: from a system that can step to a folder that tells how it went.

`run` opens the first session, `resume` every later one; both come here, so that a resumed run differs from an uninterrupted one by nothing.
"""
from __future__ import annotations

import json
import math
import shlex
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdapp.dynamics._stepper import ASEStepper
from mdapp.errors import EXIT_STOPPED, Interrupted, OutputError, RunFolderError
from mdapp.frame import Frame
from mdapp.jobs._checkpoints import Checkpoints, physical
from mdapp.jobs._failure import failure_of, watched
from mdapp.jobs._live import Live
from mdapp.jobs._log import Teller
from mdapp.jobs._potential import file_hash, first_line, is_out_of_memory
from mdapp.jobs._memory import out_of_memory_words
from mdapp.jobs._report import Ending, Speed, ending, numbers_of, versions
from mdapp.jobs._rewind import MARK_EVERY, Rewinder
from mdapp.jobs._start import Start
from mdapp.jobs._stopping import Stopping
from mdapp.simulation import Alarms, Event, Outcome, simulate
from mdapp.trajectory import EventLog, RunFolder, ThermoWriter, TrajectoryWriter, read_events, read_frames, save_event_frames, write_frames
from mdapp.trajectory.events import standing
from mdapp.trajectory.files import write_text

CHECK_EVERY = 10  # steps between two looks of the guards
MOST_EVENT_FILES = 20  # in one session: a run that warns for weeks does not fill the disk


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    folder: Path
    verdict: str  # sound, suspect, too short or stopped
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
    counted: Counter[str] = field(default_factory=Counter)  # how often each guard spoke, in all sessions of the run
    alarms: Alarms = field(default_factory=Alarms)
    rewinder: Rewinder | None = None
    event_files: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.start.config.on_event == "rewind":
            self.rewinder = Rewinder(self.stepper, self.watches, self.alarms, self.start.config.rewinds, int(self.start.config.seed or 0),
                                     self.start.config.rewind_by)
        if self.state is not None:
            if "alarms" in self.state["watches"]:
                self.alarms.restore(self.state["watches"]["alarms"])
            if self.rewinder is not None and self.state.get("rewinds") is not None:
                self.rewinder.restore(self.state["rewinds"])

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
    thermo = ThermoWriter(folder.path) if state is None else _table_of(session, state)
    identity = {
        "run_id": session.run_id, "settings": physical(config), "potential": start.potential.fingerprint, "structure": start.structure_hash,
        "input": file_hash(folder.input), "bonds": start.bonds, "relaxation": start.relaxation, "start_warnings": list(start.warnings),
    }  # fmt: skip
    checkpoints = Checkpoints(folder, identity, trajectory, thermo, session.rewinder)
    live = Live(session.teller.screen, config.steps or 0, first, config.timestep, len(start.atoms))
    live.alarms |= set(session.counted)
    rewinder = session.rewinder
    try:
        if state is None:
            checkpoints(session.stepper.state(), {w.monitor: w.state() for w in (*session.watches, session.alarms)})
        live.begun = time.perf_counter()
        resumed = first > 0
        while True:
            outcome = simulate(
                session.stepper, config.steps or 0, session.watches, [trajectory, thermo],
                every=config.every, check_every=CHECK_EVERY, checkpoint_every=config.every, should_stop=session.stopping,
                on_checkpoint=checkpoints, mark_every=MARK_EVERY if rewinder else None,
                on_mark=(lambda stepper, watches: rewinder.mark(stepper, watches, trajectory.state(), thermo.checksum)) if rewinder else None,
                on_event=_event_writer(session, live), on_recording=lambda event, frames: _keep_frames(session, event, frames),
                on_check=live, alarms=session.alarms, stop_on_guard=config.on_event != "warn", resumed=resumed,
            )  # fmt: skip
            if outcome.reason != "guard" or rewinder is None or rewinder.is_exhausted:
                break
            _go_back(session, rewinder, outcome, checkpoints, live)
            resumed = True
        seconds = time.perf_counter() - live.begun
        session.teller.screen.end_live()
        checkpoints.flush()
        trajectory.close()
        thermo.close()
        return _close(session, outcome, Speed(outcome.step - first + live.redone, seconds, config.timestep))
    except Exception as error:
        session.teller.screen.end_live()
        _save_what_can_be(checkpoints, trajectory, thermo)
        raise _explained(error, session) from error


def _table_of(session: Session, state: dict[str, Any]) -> ThermoWriter:
    """The table up to the restart state; made again from the frames where it is not what the run had written."""
    path, last = session.folder.path, int(state["trajectory"]["last_step"])
    try:
        thermo = ThermoWriter(path, last)
    except RunFolderError:
        session.folder.thermo.unlink()
        thermo = ThermoWriter(path, last)
    if state.get("table") not in (None, thermo.checksum):
        thermo.make_again(frame for frame in read_frames(path) if frame.step <= last)
        session.teller.warn(f"{session.folder.thermo.name} was not what the run had written; it has been made again from the frames.")
    return thermo


def _event_writer(session: Session, live: Live) -> Callable[[Event, Frame], None]:
    """Writes what a guard says to events.jsonl and says it aloud."""
    log = EventLog(session.folder.path)

    def write(event: Event, frame: Frame) -> None:
        v = event.verdict
        live.alarms.add(v.monitor)
        session.counted[v.monitor] += 1
        kind = "guard" if v.level == "stop" else "warning"
        log.write(kind, event.step, event.time_fs, v.reason, monitor=v.monitor, level=v.level, atoms=list(v.atoms), value=v.value, limit=v.limit)
        session.teller.warn(f"{v.monitor} at step {event.step} ({event.time_fs / 1000:.3f} ps): {v.reason}.")

    return write


def _keep_frames(session: Session, event: Event, frames: tuple[Frame, ...]) -> None:
    """What the flight recorder held around an event."""
    if len(session.event_files) < MOST_EVENT_FILES:
        path = save_event_frames(session.folder.path, event.verdict.monitor, event.step, frames)
        if path is not None:
            session.event_files.append(path.name)


def _go_back(session: Session, rewinder: Rewinder, outcome: Outcome, checkpoints: Checkpoints, live: Live) -> None:
    """A guard has stopped the run: back to a sound moment, on the disk as in memory."""
    event = outcome.cause or outcome.events[-1]
    _keep_frames(session, event, outcome.recorded)
    mark = rewinder.back(event)
    to_step, substeps = session.stepper.step_number, session.stepper.substeps
    live.back(outcome.step, to_step)
    said = (f"Rewind {len(rewinder.history)} of {rewinder.limit}: back to step {to_step} ({session.stepper.time_fs / 1000:.3f} ps), on with steps of "
            f"{session.stepper.timestep_fs / substeps:g} fs" + ("" if rewinder.by == "steps" else " and new noise"))
    EventLog(session.folder.path).write("rewind", event.step, event.time_fs, said + ".", to_step=to_step, substeps=substeps, number=len(rewinder.history),
                                        monitor=event.verdict.monitor)
    session.teller.warn(said + ".")
    checkpoints.take_back(session.stepper.state(), mark)
    session.counted = earlier_alarms(session.folder, to_step)
    live.alarms = set(session.counted)


def _close(session: Session, outcome: Outcome, speed: Speed) -> RunResult:
    """The last files, the verdict, the closing block."""
    start, folder, config = session.start, session.folder, session.start.config
    if outcome.last_sound is not None:
        write_frames(folder.final, [outcome.last_sound], like=start.original)
    if outcome.cause is not None:
        _keep_frames(session, outcome.cause, outcome.recorded)
    if session.stopping.reason is not None and folder.stop.exists():
        folder.stop.unlink(missing_ok=True)  # it has done its work; left there it would stop the resumed run too
    if outcome.reason == "stopped":
        EventLog(folder.path).write("stop", outcome.step, outcome.step * config.timestep, f"Stopped by {session.stopping.reason}.")
    warnings = session.counted
    if outcome.cause is not None:  # what ended the run is no warning
        warnings = warnings - Counter(e.verdict.monitor for e in outcome.events if e.verdict.level == "stop" and e.step == outcome.cause.step)
    rewinds = [] if session.rewinder is None else session.rewinder.history
    numbers = numbers_of(folder.path, start.atoms, config)
    end = ending(outcome, config, session.stopping.reason, numbers, dict(warnings), rewinds, start.warnings)
    summary = {
        "verdict": end.verdict, "status": end.status, "why": end.why, "exit_code": end.exit_code, "folder": str(folder.path),
        "steps": outcome.step, "steps_asked": config.steps, "time_ps": session.stepper.time_fs / 1000,
        "failure": failure_of(outcome, start), "warnings": dict(warnings), "rewinds": rewinds, **watched(session.watches, start), "event_files": session.event_files,
        **numbers.summary, "ms_per_step": speed.ms_per_step, "ns_per_day": speed.ns_per_day, "session_steps": speed.steps, "session_seconds": speed.seconds,
        "n_atoms": len(start.atoms), "formula": start.original.get_chemical_formula("hill"), "charge": start.original.info.get("charge", 0),
        "method": config.method, "seed": config.seed, "device": config.device, "dtype": start.potential.dtype, "threads": config.threads,
        "potential": start.potential.source, "potential_sha256": start.potential.fingerprint, "structure_sha256": start.structure_hash,
        "relaxation": start.relaxation or None, "start_warnings": list(start.warnings), "versions": versions(),
    }  # fmt: skip
    write_text(folder.summary, json.dumps(_plain(summary), indent=1, allow_nan=False) + "\n")
    rows = list(numbers.rows)
    if speed.ms_per_step is not None and speed.ns_per_day is not None:
        rows.append(("speed", f"{speed.ms_per_step:.3g} ms/step, {speed.ns_per_day:.3g} ns/day"))
    if session.event_files:
        more = f" and {len(session.event_files) - 1} more" if len(session.event_files) > 1 else ""
        rows.append(("events", f"{session.event_files[-1]}{more}: all steps around an alarm; {folder.final.name} is the last sound frame"))
    rows.append(("output", str(folder.path)))
    session.teller.screen.close(end.verdict, end.why, rows, next_command(end, folder.path))
    session.teller.rows(f"{end.verdict}: {end.why}", rows)
    return RunResult(folder.path, end.verdict, end.exit_code, summary)


def _plain(value: Any) -> Any:
    """Null for numbers that are not finite, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def next_command(end: Ending, folder: Path) -> str:
    """What to type next."""
    return f"mdapp {'resume' if end.exit_code == EXIT_STOPPED else 'analyse'} {shlex.quote(str(folder))}"


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
        device = session.start.config.device
        where = ", when there is room." if device == "cpu" else " --device cpu, or on a larger device."
        return Interrupted(f"{at}: {out_of_memory_words(error, len(session.start.atoms), device)} {again}{where}")
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
    if not isinstance(found, dict) or any(type(found.get(name)) is not int for name in ("steps", "exit_code")) or not isinstance(found.get("verdict"), str):
        return None
    return found


def earlier_alarms(folder: RunFolder, step: int) -> Counter[str]:
    """How often each guard spoke in earlier sessions, up to the step from which the run goes on."""
    found = standing(read_events(folder.path))
    return Counter(str(e.get("monitor")) for e in found if e.get("kind") in ("guard", "warning") and int(e.get("step", 0)) <= step)
