"""Where an analysis takes its numbers from: a run folder of ours, or a file that another program wrote."""
from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.analysis.thermo import Thermo, thermo_of_columns
from mdapp.analysis.verdict import doubts_of, relaxations_of
from mdapp.errors import EXIT_GUARD, RunFolderError, StructureError
from mdapp.frame import Frame

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

COUNTED_FS = 1000.0  # between frames of a file that tells no times


@dataclass(frozen=True)
class Source:
    """A trajectory and what is known about it."""

    name: str  # as the user gave it
    path: Path  # of the run folder or the file
    folder: Path | None  # of the run; None for a file
    start: Atoms  # names and charge of the input, positions of the first frame
    frames: Callable[[], Iterator[Frame]]  # each call begins anew
    thermo: Thermo | None  # the run's table; None: to be made from the frames
    target_K: float | None = None  # of the thermostat
    target_bar: float | None = None  # of the barostat
    relaxations: float | None = None  # length of the run in relaxation times of its thermostat
    midstep_excess_K: float | None = None  # of the temperature in the middle of the steps, where that is the one that counts
    stopped_by: str | None = None  # what the guard said that stopped the run
    warnings: dict[str, int] | None = None  # how often each guard raised an alarm without stopping the run
    doubts: tuple[str, ...] = ()  # of the start and of rewinds, as the run had them
    settings_text: str = ""  # run.toml
    remarks: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)  # [run] of run.toml
    events: tuple[dict[str, Any], ...] = ()  # all that was written, also of paths that were taken back
    n_frames: int | None = None  # where that is known beforehand

    @property
    def alarms(self) -> tuple[dict[str, Any], ...]:
        """The events that guards raised on the trajectory as it stands."""
        return alarms_of(self.events)


def alarms_of(events: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """What guards said of the steps that stand; a rewind or a restart takes back what was said of later ones."""
    from mdapp.trajectory.events import standing

    return tuple(event for event in standing(events) if event.get("kind") in ("guard", "warning"))


def replicas_of(word: str) -> list[str]:
    """The folders r000, r001, ... of a run of replicas; the word itself where it is none."""
    path = Path(word)
    if not path.is_dir() or (path / "trajectory.h5").exists():
        return [word]
    found = sorted((f for f in path.iterdir() if re.fullmatch(r"r\d+", f.name) and (f / "trajectory.h5").is_file()), key=lambda f: int(f.name[1:]))
    return [str(f) for f in found] or [word]


def open_source(word: str, topology: str | None = None, elements: Sequence[str] = (), frame_fs: float | None = None) -> Source:
    """What the user named, ready to be read.

    Parameters
    ----------
    word : a run folder, its trajectory.h5, or a trajectory of any program.
    topology : a file with the same atoms, for formats that know no elements; a PDB file of the same name beside the trajectory is found.
    elements : of a LAMMPS dump, symbols of types 1, 2, ...
    frame_fs : time between frames, where the file tells none.

    Raises
    ------
    RunFolderError, StructureError : nothing there, damaged, without a frame, or a format that needs a topology.
    """
    from mdapp.trajectory import holds_run, open_run_folder

    path = Path(word)
    if path.is_dir() or (path.name == "trajectory.h5" and holds_run(path.parent)):
        return _run(word, open_run_folder(path).path)
    return _file(word, path, topology, elements, frame_fs)


def _run(word: str, folder: Path) -> Source:
    from mdapp.trajectory import RunFolder, load_series, read_events, read_frames

    run, remarks = RunFolder(folder), []
    settings = _settings(run.config)
    asked = settings.get("run", {})
    every = asked.get("every")
    frames = partial(_evenly, folder, every) if isinstance(every, int) and every > 0 else partial(read_frames, folder)
    start = _start(next(frames(), None), word, run.input)
    series = load_series(folder)
    thermostatted = asked.get("ensemble", "nve") != "nve" and not asked.get("anneal")
    summary = _json(run.summary)
    if summary is None:
        remarks.append("The run has no summary: it is still going on, or was killed.")
    stopped = summary is not None and summary.get("exit_code") == EXIT_GUARD
    every = read_events(folder)
    events = alarms_of(every)
    end = max((int(event.get("step", 0)) for event in events), default=0) if stopped else None  # what ended the run is no warning
    alarms = Counter(str(event.get("monitor") or event["kind"]) for event in events if event["kind"] == "warning" or event.get("step") != end)
    return Source(
        word, folder, folder, start, frames, thermo_of_columns(series.columns, len(start)),
        target_K=float(asked["temperature"]) if thermostatted and _is_number(asked.get("temperature")) else None,
        target_bar=float(asked["pressure"]) if asked.get("ensemble") == "npt" and _is_number(asked.get("pressure")) else None,
        relaxations=_relaxations(asked, series.columns.get("time_fs")), midstep_excess_K=_number(summary, "midstep_excess_K"),
        stopped_by=str(summary.get("why") or "no reason was written down") if stopped and summary else None, warnings=dict(alarms),
        doubts=tuple(doubts_of(_listed(summary, "start_warnings", str), _listed(summary, "rewinds", dict))),
        settings_text=run.config.read_text(encoding="utf-8", errors="replace") if run.config.exists() else "", remarks=tuple(remarks),
        settings=asked, events=tuple(every), n_frames=len(series.columns["step"]))


def _evenly(folder: Path, every: int) -> Iterator[Frame]:
    """The frames of a run without those between the steps of its grid, which an end that was none has left there; the last one stays in any case."""
    from mdapp.trajectory import read_frames

    between = None
    for frame in read_frames(folder):
        between = frame if frame.step % every else None
        if between is None:
            yield frame
    if between is not None:
        yield between


def _listed(summary: dict[str, Any] | None, name: str, kind: type) -> list[Any]:
    """Entries of a list in a summary that anybody may have written."""
    found = (summary or {}).get(name)
    return [entry for entry in found if isinstance(entry, kind)] if isinstance(found, list) else []


def _number(summary: dict[str, Any] | None, name: str) -> float | None:
    found = (summary or {}).get(name)
    return float(found) if _is_number(found) and math.isfinite(found) else None


def _file(word: str, path: Path, topology: str | None, elements: Sequence[str], frame_fs: float | None) -> Source:
    from mdapp.structure.read import SUFFIXES
    from mdapp.trajectory import read_frames

    beside = path.with_suffix(".pdb")
    if topology is None and path.suffix.lower() != ".pdb" and beside.is_file():
        topology = str(beside)
    read = partial(read_frames, path, topology=topology, elements=elements)
    first = list(islice(read(), 2))
    names = Path(topology) if topology else path
    start = _start(first[0] if first else None, word, names if SUFFIXES.get(names.suffix.lower()) == "pdb" else None)
    if len(first) == 2 and first[0].time_fs == first[1].time_fs:
        step = frame_fs or COUNTED_FS
        counted = lambda: (replace(frame, time_fs=step * k) for k, frame in enumerate(read()))
        remarks = () if frame_fs else ("The file tells no times: its frames are counted as 1 ps apart; --frame-time says what is true.",)
        return Source(word, path, None, start, counted, None, remarks=remarks)
    remarks = ("The file tells its own times, and --frame-time is not used.",) if frame_fs and len(first) == 2 else ()
    return Source(word, path, None, start, read, None, remarks=remarks)


def _start(first: Frame | None, word: str, names: Path | None) -> Atoms:
    """The first frame, with the names and the charge that the input had."""
    from ase import Atoms

    from mdapp.structure import read_structure

    if first is None:
        raise StructureError(f"{word} holds no frame yet.")
    start = Atoms(numbers=first.numbers, positions=first.positions, cell=first.cell, pbc=first.pbc)
    if names is not None and names.is_file():
        known = read_structure(names)
        if len(known) == len(start) and (known.numbers == start.numbers).all():
            known.set_cell(start.cell)
            known.positions, known.pbc = start.positions, start.pbc
            return known
    return start


def _relaxations(asked: dict[str, Any], time_fs: np.ndarray | None) -> float | None:
    """How many relaxation times of its thermostat a run has lasted; None where its settings do not say."""
    ensemble, friction, thermostat_time = (asked.get(key) for key in ("ensemble", "friction", "thermostat_time"))
    if time_fs is None or not len(time_fs) or not (_is_number(friction) and _is_number(thermostat_time)):
        return None
    part = asked.get({"nvt": "thermostat", "npt": "barostat"}.get(str(ensemble), ""))
    return relaxations_of(float(time_fs[-1]), f"{ensemble}-{part}" if part else str(ensemble), friction, thermostat_time)


def _settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}.") from None


def _json(path: Path) -> dict[str, Any] | None:
    """A summary, or None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
