"""`mdapp resume`: a run goes on where it stopped, to the same bits.

What a trajectory hangs on (settings, structure, potential) must be what it was; what changes nothing (the total length, the wall time, threads, the device) may
change. A finished run is left as it is.
"""
from __future__ import annotations

import importlib.util
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, RunFolderError, UserError
from mdapp.jobs import minima
from mdapp.jobs._checkpoints import refuse_changes
from mdapp.jobs._log import Teller
from mdapp.jobs._potential import file_hash
from mdapp.jobs._report import header, versions
from mdapp.jobs._session import RunResult, Session, earlier_alarms, go, summary_of
from mdapp.jobs._start import Start, first_moment, prepare
from mdapp.jobs._stopping import Stopping
from mdapp.jobs.run import begin, deadline, refuse_to_begin
from mdapp.screen import Screen, silent
from mdapp.toml import fill, read_settings
from mdapp.trajectory import EventLog, RunFolder, RunLock, load_checkpoint, open_run_folder, read_events
from mdapp.trajectory.files import write_text


def resume(config: ResumeConfig, screen: Screen | None = None) -> RunResult | minima.MinimaResult:
    """Go on with a run or a search for minima, or extend a finished one.

    Parameters
    ----------
    config : the folder, and what may change. `steps` and `time` are totals.
    screen : where to show what happens; nowhere when not given.

    Returns
    -------
    As `run.run`. For a finished run that is not extended: what its summary says, with exit code 0.

    Raises
    ------
    RunFolderError : no run there, a damaged one, or one whose settings, structure or potential are not what they were.
    """
    screen = screen or silent()
    with Stopping(None, deadline(config.wall_time, time.monotonic())) as stopping:
        folder = open_run_folder(config.run)
        with RunLock(folder.path):
            stopping.stop_file = folder.stop
            folder.stop.unlink(missing_ok=True)  # of an earlier session
            if minima.is_search(folder):
                return minima.resume_minima(config, folder, screen, stopping)
            for name in ("hops", "minima"):
                if getattr(config, name) is not None:
                    raise UserError(f"{folder.path} is a trajectory; --{name} is for searches for minima. Give --steps or --time, the totals, to make it longer.")
            asked, provenance = stored_settings(folder)
            device, threads = config.device or asked.device, config.threads or asked.threads
            asked = replace(asked, steps=_total(config, asked), device=device, threads=threads, wall_time=config.wall_time)
            if asked.replicas > 1:
                from mdapp.jobs.replicas import resume_replicas

                return resume_replicas(config, asked, folder, screen, stopping)
            if not _has_checkpoint(folder):
                return _anew(folder, asked, provenance, screen, stopping)
            loaded = load_checkpoint(folder.path)
            done = _step_of(loaded.state, folder)
            _compare(loaded.state, asked, folder)
            summary = summary_of(folder)
            if summary is not None and done == asked.steps and summary.get("exit_code") == EXIT_FINISHED:
                return _finished(folder, summary, screen)
            if done > (asked.steps or 0):
                raise UserError(f"{folder.path}: {done} steps are done already, more than the {asked.steps} asked for. --steps is the total; give more.")
            with stopping.at_once(stays(folder)):
                start = prepare(asked, screen, stopping, resumed_from=folder.input)
            if start.potential.fingerprint != loaded.state["potential"]:
                raise RunFolderError(f"{folder.path}: the potential {start.potential.title} is not the one that the run began with "
                                     f"(SHA-256 {start.potential.fingerprint[:12]} in place of {loaded.state['potential'][:12]}). "
                                     "Bring the right one back, or start a new run.")
            refuse_to_go_on(stopping, folder)
            return _go_on(folder, start, loaded.state, loaded.notes, summary, screen, stopping)


def _go_on(
    folder: RunFolder, start: Start, state: dict[str, Any], notes: tuple[str, ...], summary: dict[str, Any] | None, screen: Screen, stopping: Stopping
) -> RunResult:
    """The session that follows on a restart state."""
    from mdapp.dynamics._stepper import ASEStepper

    start.structure_hash, start.bonds, start.relaxation, start.warnings = state["structure"], state["bonds"], str(state["relaxation"]), tuple(state.get("start_warnings", ()))
    teller = Teller(screen, folder.log)
    done = int(state["stepper"]["step"])
    rows = header(start, folder.path, done)
    screen.header("mdapp resume", rows)
    teller.rows("mdapp resume", rows)
    for note in notes:
        teller.warn(note)
    if summary is not None and summary.get("exit_code") == EXIT_GUARD:
        teller.warn(f"This run was stopped by a guard at step {summary.get('steps')}; it goes on from step {done} and will meet the same event again.")
    try:
        stepper = ASEStepper(_with_momenta(start, state), start.ensemble, start.config.timestep, _generator(), schedule=start.config.schedule)
        stepper.restore(state["stepper"])
        first = stepper.frame()
        watches = [guard.begin(first, start.bonds) for guard in start.guards]
        for watch in watches:
            if watch.monitor in state["watches"]:
                watch.restore(state["watches"][watch.monitor])
    except (KeyError, ValueError, TypeError) as error:
        raise RunFolderError(f"{folder.path}: the restart state does not fit this run ({type(error).__name__}: {error}).") from error
    changed = changes_since(folder, start.config)
    _write_total(folder, start.config)
    folder.summary.unlink(missing_ok=True)  # of the session before; the new one writes its own
    said = f"Resumed at step {done} of {start.config.steps}." + (f" Changed: {', '.join(changed)}." if changed else "")
    EventLog(folder.path).write("restart", done, stepper.time_fs, said, changed=changed, device=start.config.device, threads=start.config.threads, versions=versions())
    if changed:
        teller.say(f"Not as in the session before: {', '.join(changed)}.")
    return go(Session(start, folder, stepper, watches, str(state["run_id"]), stopping, teller, state, earlier_alarms(folder, done)))


def changes_since(folder: RunFolder, config: RunConfig) -> list[str]:
    """What may change at a resume and did: 'steps 40 -> 60', 'device cpu -> cuda', 'numpy 2.4.5 -> 2.4.6'; against the session before."""
    asked, provenance = stored_settings(folder)
    before = {"steps": asked.steps, "device": asked.device, "threads": asked.threads, **provenance.get("versions", {})}
    for event in read_events(folder.path):
        if event.get("kind") == "restart":
            before |= {name: event[name] for name in ("device", "threads") if name in event} | dict(event.get("versions", {}))
    now = {"steps": config.steps, "device": config.device, "threads": config.threads, **versions()}
    return [f"{name} {before[name]} -> {value}" for name, value in now.items() if name in before and before[name] != value]


def _with_momenta(start: Start, state: dict[str, Any]) -> Any:
    """The atoms with the momenta of the restart state: some integrators look at them when they are made."""
    start.atoms.set_momenta(state["stepper"]["momenta"], apply_constraint=False)
    return start.atoms


def _generator() -> Any:
    """A generator of the right kind; its state is put back by the stepper."""
    import numpy as np

    return np.random.default_rng(0)


def _anew(folder: RunFolder, config: RunConfig, provenance: dict[str, Any], screen: Screen, stopping: Stopping) -> RunResult:
    """A run that was killed before its first restart state: it begins once more, in the same folder."""
    if folder.trajectory.exists() and folder.thermo.exists() and len(folder.thermo.read_bytes().splitlines()) > 2:
        raise RunFolderError(f"{folder.path} holds frames but no checkpoint, so it cannot be resumed. Start a new run; the frames can be analysed.")
    with stopping.at_once(stays(folder)):
        start = prepare(config, screen, stopping)
        stepper, watches = first_moment(start)
    if start.structure_hash != provenance.get("structure_sha256") or start.potential.fingerprint != provenance.get("potential_sha256"):
        raise RunFolderError(f"{folder.path} was killed before its first step, and its structure or potential has changed since. Start a new run.")
    refuse_to_go_on(stopping, folder)
    for path in (folder.trajectory, folder.thermo, folder.path / "trajectory.journal"):
        path.unlink(missing_ok=True)
    screen.say(f"{folder.path} was killed before its first step; it begins anew.")
    return begin(start, stepper, watches, folder, screen, stopping)


def refuse_to_go_on(stopping: Stopping, folder: RunFolder) -> None:
    """A signal that came while files were read: the run stays as it is."""
    refuse_to_begin(stopping, stays(folder))


def stays(folder: RunFolder) -> str:
    return f"{folder.path} stays as it was"


def stored_settings(folder: RunFolder) -> tuple[RunConfig, dict[str, Any]]:
    """The configuration in run.toml and where the run came from.

    Raises
    ------
    RunFolderError : run.toml is missing or damaged.
    """
    import tomllib

    try:
        settings = fill(RunConfig, read_settings(str(folder.config), "run"), str(folder.config))
        provenance = tomllib.loads(folder.config.read_text(encoding="utf-8")).get("provenance", {})
    except UserError as error:
        raise RunFolderError(f"{folder.path} cannot be resumed. {error}") from None
    refuse_code_in(folder.path, settings.potential)
    source, home = Path(str(provenance.get("potential", ""))), Path(str(provenance.get("folder", "")))
    if len(settings.potential) == 1 and source.is_file() and (home / settings.potential[0]).resolve() == source and not Path(settings.potential[0]).exists():
        settings = replace(settings, potential=(str(source),))  # named relative to another folder
    if not Path(settings.structure).exists():
        settings = replace(settings, structure=str(provenance.get("structure", settings.structure)))
    return settings, provenance


def refuse_code_in(folder: Path, potential: tuple[str, ...]) -> None:
    """A run folder may come from a stranger: `ase:module:Class` in its run.toml must not mean a Python file that came along.

    Raises
    ------
    RunFolderError : the module would be taken from the folder.
    """
    for word in potential:
        if not word.startswith("ase:"):
            continue
        top = word.split(":")[1].partition(".")[0]
        try:
            spec = importlib.util.find_spec(top)  # of a whole package: nothing is imported
        except (ImportError, ValueError):
            spec = None
        places = [] if spec is None else [*([spec.origin] if spec.origin else []), *(spec.submodule_search_locations or [])]
        if any(Path(place).resolve().is_relative_to(folder.resolve()) for place in places):
            raise RunFolderError(f"{folder} brings its own code: '{word}' would run {places[0]}. Install the package that holds the calculator, outside the run's folder.")


def _total(config: ResumeConfig, asked: RunConfig) -> int | None:
    """The total number of steps: what is asked for now, else what was asked for at first."""
    if config.time is not None:
        return max(1, math.ceil(config.time / asked.timestep - 1e-9))
    return config.steps or asked.steps


def _has_checkpoint(folder: RunFolder) -> bool:
    return folder.checkpoint.exists() or (folder.path / "checkpoint.prev.h5").exists()


def _step_of(state: dict[str, Any], folder: RunFolder) -> int:
    try:
        return int(state["stepper"]["step"])
    except (KeyError, TypeError, ValueError):
        raise RunFolderError(f"{folder.path}: the restart state is not one of a run.") from None


def _compare(state: dict[str, Any], asked: RunConfig, folder: RunFolder) -> None:
    missing = {"run_id", "settings", "potential", "structure", "input", "bonds", "relaxation", "stepper", "watches", "trajectory"} - set(state)
    if missing:
        raise RunFolderError(f"{folder.path}: the restart state lacks {', '.join(sorted(missing))}.")
    refuse_changes(state["settings"], asked, folder.config)
    if not folder.input.is_file():
        raise RunFolderError(f"{folder.input} is missing; bring it back to resume the run.")
    if file_hash(folder.input) != state["input"]:
        raise RunFolderError(f"{folder.input} is not the structure that the run began with. Bring the right one back, or start a new run.")


def _write_total(folder: RunFolder, config: RunConfig) -> None:
    """The new total in run.toml; everything else stays as the first session wrote it."""
    text = folder.config.read_text(encoding="utf-8")
    new = re.sub(r"(?m)^steps = \d+$", f"steps = {config.steps}", text, count=1)
    if new != text:
        write_text(folder.config, new)


def _finished(folder: RunFolder, summary: dict[str, Any], screen: Screen) -> RunResult:
    screen.close(str(summary.get("verdict")), f"{folder.path} has finished its {summary.get('steps')} steps already; nothing was changed.", [],
                 f"mdapp resume {folder.path} --steps {2 * int(summary.get('steps', 0))}")
    return RunResult(folder.path, str(summary.get("verdict")), EXIT_FINISHED, summary)
