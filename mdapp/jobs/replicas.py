"""`mdapp run --replicas K`: K whole runs in the folders r000, r001, ... of one, as many at a time as there are cores for.

Each is what `mdapp run` would make with its seed: the first has the seed of all, the next one more, and so on. Each has a process of its own, its own
guards and checkpoints; one that a guard stops does not stop the others. A stop of the whole reaches all of them, and `mdapp resume` goes on with those that
have not finished.
"""
from __future__ import annotations

import json
import shlex
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, EXIT_INTERNAL, EXIT_STOPPED, UserError
from mdapp.jobs._children import Child, command_of, finished
from mdapp.jobs._compute import free_cores
from mdapp.jobs._log import Teller
from mdapp.jobs._report import header
from mdapp.jobs._session import RunResult, summary_of
from mdapp.jobs._start import first_moment, prepare
from mdapp.jobs._stopping import Stopping
from mdapp.screen import Screen
from mdapp.trajectory import RunFolder, RunLock, create_run_folder, planned_run_folder, write_input
from mdapp.trajectory.files import write_text

VERDICTS = ("stopped", "interrupted", "suspect", "too short", "sound")  # the worst first
POLL_S = 0.1


def run_replicas(config: RunConfig, screen: Screen, deadline: float | None) -> RunResult:
    """All of them, from nothing.

    Parameters
    ----------
    config : with a seed; `replicas` of it are run, `parallel` at a time.
    deadline : `time.monotonic()` at which all stop.

    Raises
    ------
    UserError : the run is impossible as asked for; nothing was written.
    """
    from mdapp.jobs.run import record, refuse_to_begin, write_topology

    config = config.with_seed()
    with Stopping(None, deadline) as stopping:
        planned_run_folder(config.structure, config.ensemble, config.temperature, config.output)
        with stopping.at_once():  # one of them is put together here: what is refused is refused once, and code is compiled once
            start = prepare(replace(config, replicas=1, parallel=None, threads=config.threads or 1), screen, stopping)
            first_moment(start)
        refuse_to_begin(stopping)
        folder = create_run_folder(config.structure, config.ensemble, config.temperature, config.output)
        stopping.stop_file = folder.stop
        with RunLock(folder.path):
            write_input(folder.input, start.original)
            write_topology(folder, start)
            settled = replace(start.config, replicas=config.replicas, parallel=_at_once(config, start.config))
            write_text(folder.config, record(replace(start, config=settled), uuid.uuid4().hex))
            teller = Teller(screen, folder.log)
            rows = [*header(start, folder.path), ("replicas", f"{config.replicas}, seeds {settled.seed} to {(settled.seed or 0) + config.replicas - 1}, "
                                                              f"{settled.parallel} at a time")]
            screen.header("mdapp run", rows)
            teller.rows("mdapp run", rows)
            for warning in start.warnings:
                teller.warn(warning)
            children = [Child(f"r{k:03d}", _begin(settled, folder, k)) for k in range(config.replicas)]
            return _drive(children, settled, folder, teller, stopping)


def resume_replicas(config: ResumeConfig, asked: RunConfig, folder: RunFolder, screen: Screen, stopping: Stopping) -> RunResult:
    """Those that have not finished go on, in a folder that is locked.

    Parameters
    ----------
    asked : the settings of all, with the total of steps and what else may change.

    Raises
    ------
    UserError : one has done more steps than asked for; nothing was changed.
    """
    from mdapp.jobs.resume import _write_total

    asked = replace(asked, parallel=asked.parallel or 1)
    done = max(finished(folder.path / f"r{k:03d}") for k in range(asked.replicas))
    if done > (asked.steps or 0):
        raise UserError(f"{folder.path}: {done} steps are done already, more than the {asked.steps} asked for. --steps is the total; give more.")
    children, left = [], []
    for k in range(asked.replicas):
        name = f"r{k:03d}"
        inside = RunFolder(folder.path / name)
        summary = summary_of(inside)
        if summary is not None and (summary.get("exit_code") == EXIT_GUARD or (summary.get("exit_code") == EXIT_FINISHED and summary.get("steps") == asked.steps)):
            left.append(name)
        elif inside.config.exists():
            changes = {name: value for name, value in (("steps", asked.steps), ("device", config.device), ("threads", config.threads)) if value is not None}
            children.append(Child(name, command_of("resume", ResumeConfig(run=str(inside.path), **changes))))
        else:
            children.append(Child(name, _begin(asked, folder, k)))
    teller = Teller(screen, folder.log)
    teller.say(f"mdapp resume {folder.path}: {len(children)} of {asked.replicas} replicas go on; {len(left)} have ended by themselves.")
    _write_total(folder, asked)
    return _drive(children, asked, folder, teller, stopping)


def _begin(settled: RunConfig, folder: RunFolder, k: int) -> list[str]:
    """The command of one that begins."""
    own = replace(settled, replicas=1, parallel=None, seed=(settled.seed or 0) + k, output=str(folder.path / f"r{k:03d}"), wall_time=None)
    return command_of("run", own)


def _at_once(config: RunConfig, settled: RunConfig) -> int:
    """How many at a time: as asked, one on a GPU, else what the free cores carry."""
    usual = 1 if settled.device != "cpu" else max(1, free_cores() // (settled.threads or 1))
    return min(config.replicas, config.parallel or usual)


def _drive(waiting: Sequence[Child], config: RunConfig, folder: RunFolder, teller: Teller, stopping: Stopping) -> RunResult:
    """Keep so many going until all have ended, or a stop was asked for and has been passed on."""
    queue, running, told = list(waiting), [], False
    words: dict[str, str] = {}  # the last of each that has ended
    before = {c.name: _stamp(RunFolder(folder.path / c.name)) for c in waiting}
    begun = time.perf_counter()
    try:
        while queue or running:
            if stopping() and not told:
                told = True
                queue.clear()
                for child in running:
                    child.stop()
            while queue and len(running) < (config.parallel or 1):
                running.append(queue.pop(0))
                running[-1].start()
            for child in [c for c in running if c.ended()]:
                running.remove(child)
                words[child.name] = child.last_words()
                if words[child.name]:
                    teller.warn(f"{child.name}: {words[child.name]}")
            share, line = _progress(folder, config, running)
            teller.screen.live(line, share)
            time.sleep(POLL_S)
    finally:
        for child in running:  # an error of ours: none is left alone
            child.stop()
    teller.screen.end_live()
    ended, found = {c.name: c for c in waiting if c.exit_code is not None}, []
    for k in range(config.replicas):
        name = f"r{k:03d}"
        inside = RunFolder(folder.path / name)
        end = _end(inside, ended.get(name), words.get(name, ""), config, _stamp(inside) != before.get(name))
        found.append({"folder": str(inside.path), "seed": (config.seed or 0) + k, **end})
    return _close(found, config, folder, teller, stopping, time.perf_counter() - begun)


def _stamp(folder: RunFolder) -> tuple[int, int] | None:
    """Another one where a summary has been written since."""
    try:
        stat = folder.summary.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _end(folder: RunFolder, child: Child | None, said: str, config: RunConfig, is_new: bool) -> dict[str, Any]:
    """How one ended: as its summary says, unless its process says otherwise or the steps asked for are not done.

    Parameters
    ----------
    child : its process, where one was started and has ended.
    said : the last words of that.
    is_new : the summary is of this session.
    """
    own = summary_of(folder) or {}
    steps, rate = own.get("steps", 0), own.get("ns_per_day")
    code = own.get("exit_code", EXIT_STOPPED if child is None else child.exit_code)
    why = own.get("why", "not begun" if child is None else child.why)
    verdict = own.get("verdict", "interrupted" if code == EXIT_STOPPED else "stopped")
    if child is not None and child.exit_code == EXIT_STOPPED and not (own and is_new):
        code, verdict, why = EXIT_STOPPED, "interrupted", (said or "interrupted before it went on") if finished(folder.path) else child.why
    elif child is not None and child.exit_code not in (EXIT_FINISHED, EXIT_STOPPED, EXIT_GUARD):
        code, verdict, why = child.exit_code, "stopped", said or child.why
    elif code == EXIT_FINISHED and steps < (config.steps or 0):
        code, verdict, why = EXIT_STOPPED, "interrupted", f"{steps} of {config.steps} steps are done"
    return {"verdict": verdict, "exit_code": code, "steps": steps, "why": why, "ns_per_day": rate if isinstance(rate, (int, float)) else None}


def _progress(folder: RunFolder, config: RunConfig, running: Sequence[Child]) -> tuple[float, str]:
    steps = config.steps or 1
    done = [finished(folder.path / f"r{k:03d}") for k in range(config.replicas)]
    at = ", ".join(f"{c.name} {done[int(c.name[1:])]}/{steps}" for c in running[:6])
    return sum(done) / (steps * config.replicas), f"{sum(n >= steps for n in done)} of {config.replicas} finished; {at}"


def _close(found: Sequence[dict[str, Any]], config: RunConfig, folder: RunFolder, teller: Teller, stopping: Stopping, seconds: float) -> RunResult:
    """summary.json of all, and the last lines."""
    worst = min((r["verdict"] for r in found), key=lambda v: VERDICTS.index(v) if v in VERDICTS else 0)
    exit_code = _worst_code([int(r["exit_code"]) for r in found])
    if stopping.reason is not None and folder.stop.exists():
        folder.stop.unlink(missing_ok=True)
    counted = ", ".join(f"{sum(r['verdict'] == v for r in found)} {v}" for v in VERDICTS if any(r["verdict"] == v for r in found))
    why = f"{config.replicas} replicas: {counted}" + (f"; stopped by {stopping.reason}." if stopping.reason else ".")
    rate = sum(r["ns_per_day"] or 0.0 for r in found)
    summary = {"verdict": worst, "why": why, "exit_code": exit_code, "folder": str(folder.path), "steps_asked": config.steps, "replicas": found,
               "parallel": config.parallel, "session_seconds": seconds}  # fmt: skip
    write_text(folder.summary, json.dumps(summary, indent=1) + "\n")
    rows = [(Path(r["folder"]).name, f"seed {r['seed']}: {r['verdict']}, {r['steps']} steps. {r['why']}") for r in found]
    rows += [("speed", f"{rate * min(1, (config.parallel or 1) / config.replicas):.3g} ns/day in all, {config.parallel} at a time"), ("output", str(folder.path))]
    next_command = f"mdapp {'resume' if exit_code == EXIT_STOPPED else 'analyse'} {shlex.quote(str(folder.path))}"
    teller.screen.close(worst, why, rows, next_command)
    teller.rows(f"{worst}: {why}", rows)
    if all(r["steps"] == 0 and r["exit_code"] not in (EXIT_FINISHED, EXIT_STOPPED, EXIT_GUARD) for r in found):
        raise UserError(f"None of the {config.replicas} replicas could be run. {folder.log} says why.")
    return RunResult(folder.path, worst, exit_code, summary)


def _worst_code(codes: Sequence[int]) -> int:
    """Of an error before that of a guard, before that of an interruption."""
    for code in (EXIT_INTERNAL, *sorted({c for c in codes if c not in (EXIT_INTERNAL, EXIT_GUARD, EXIT_STOPPED, EXIT_FINISHED)}), EXIT_GUARD, EXIT_STOPPED):
        if code in codes:
            return code
    return EXIT_FINISHED
