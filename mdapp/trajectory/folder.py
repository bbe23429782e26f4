"""The run folder: where everything of a run lies, and the rule that nothing is ever overwritten.

A folder comes into being only when everything has been validated, by `create_run_folder`; `RunFolder.discard` takes it away again if nothing ran.
"""
from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from mdapp.errors import OutputError, RunFolderError
from mdapp.trajectory.checkpoint import CHECKPOINT, PREVIOUS
from mdapp.trajectory.events import EVENTS
from mdapp.trajectory.files import told
from mdapp.trajectory.strange import refuse_strange
from mdapp.trajectory.thermo import THERMO
from mdapp.trajectory.write import JOURNAL, TRAJECTORY

LONGEST_STEM = 80
MARKS = ("run.toml", TRAJECTORY, CHECKPOINT, PREVIOUS, THERMO, JOURNAL, "summary.json", "minima.h5")  # any of them: a run lives here


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path
    created: tuple[Path, ...] = ()  # folders that did not exist before, the outermost first

    @property
    def config(self) -> Path:
        return self.path / "run.toml"

    @property
    def input(self) -> Path:
        return self.path / "input.extxyz"

    @property
    def topology(self) -> Path:
        return self.path / "topology.pdb"

    @property
    def trajectory(self) -> Path:
        return self.path / TRAJECTORY

    @property
    def thermo(self) -> Path:
        return self.path / THERMO

    @property
    def events(self) -> Path:
        return self.path / EVENTS

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def final(self) -> Path:
        return self.path / "final.extxyz"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def log(self) -> Path:
        return self.path / "run.log"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def stop(self) -> Path:
        """A file of this name asks the run to stop."""
        return self.path / "STOP"

    def replica(self, k: int) -> RunFolder:
        """The folder of one replica inside this one, made where it is missing."""
        inside = self.path / f"r{k:03d}"
        with told(inside):
            inside.mkdir(exist_ok=True)
        return RunFolder(inside)

    def discard(self) -> None:
        """Takes away what `create_run_folder` made: for a run in which not a single step was made."""
        if self.path in self.created:
            shutil.rmtree(self.path, ignore_errors=True)
        for folder in reversed(self.created):
            if folder != self.path:
                try:
                    folder.rmdir()
                except OSError:
                    pass  # others have put something there


def holds_run(path: Path) -> bool:
    """Does a run, or something that claims to be one, live in this folder?"""
    return path.is_dir() and any((path / mark).exists() for mark in MARKS)


def planned_run_folder(structure: str | Path, ensemble: str, temperature_K: float | None = None, output: str | Path | None = None, root: Path = Path("runs")) -> Path:
    """Where a run would go, with nothing made yet: `output`, or `runs/<stem>-<ensemble>-<T>K` and, where that exists, `...-2`, `-3`.

    Raises
    ------
    OutputError : `output` is a file, holds a run, or lies in a place that cannot be written.
    """
    if output is not None:
        path = Path(output)
        if not str(output):
            raise OutputError("--output is empty; name a folder.")
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file; --output wants a folder.")
        if holds_run(path):
            raise OutputError(f"{path} holds a run already; nothing is ever overwritten. Give another --output, or go on with 'mdapp resume {path}'.")
        try:
            if path.is_dir():
                refuse_strange(path)
        except RunFolderError as error:  # a run that could be neither resumed nor analysed
            raise OutputError(f"{error} Or give another --output.") from None
        return path
    name = f"{_stem(structure)}-{ensemble}" + (f"-{temperature_K:g}K" if temperature_K is not None else "")
    path, number = root / name, 1
    while path.exists() or path.is_symlink():
        number += 1
        path = root / f"{name}-{number}"
    return path


def create_run_folder(structure: str | Path, ensemble: str, temperature_K: float | None = None, output: str | Path | None = None, root: Path = Path("runs")) -> RunFolder:
    """Makes the folder that `planned_run_folder` tells. Of two processes that want one name, each gets its own.

    Raises
    ------
    OutputError : as there; or permission is missing, or a file stands where a folder should be.
    """
    while True:
        path = planned_run_folder(structure, ensemble, temperature_K, output, root)
        missing: list[Path] = []
        for folder in (path, *path.parents):
            if folder.exists():
                break
            missing.append(folder)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(exist_ok=output is not None)
            probe = path / ".probe"
            probe.touch()
            probe.unlink()
        except FileExistsError:
            if path.parent.is_dir() and output is None:
                continue  # somebody was faster
            raise OutputError(f"{path} cannot be made: a file stands where a folder should be.") from None
        except OSError as error:
            RunFolder(path, tuple(reversed(missing))).discard()
            raise OutputError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}. Give another --output.") from None
        return RunFolder(path, tuple(reversed(missing)))


def open_run_folder(path: str | Path) -> RunFolder:
    """The folder of a run that is there.

    Raises
    ------
    RunFolderError : no such folder, no run in it, or links that lead out of it.
    """
    path = Path(path)
    if path.is_file() and path.parent.is_dir() and holds_run(path.parent):
        path = path.parent  # somebody gave the trajectory in the folder
    if not path.exists():
        raise RunFolderError(f"{path} does not exist.")
    if not path.is_dir():
        raise RunFolderError(f"{path} is a file; give the folder of a run.")
    if not holds_run(path):
        raise RunFolderError(f"{path} holds no run (no run.toml, no {TRAJECTORY}).")
    refuse_strange(path)
    return RunFolder(path)


def _stem(structure: str | Path) -> str:
    """The structure's name as part of a folder's: never a path, never hidden, never too long."""
    stem = re.sub(r"[^\w.@+=-]+", "_", Path(structure).stem, flags=re.UNICODE).lstrip(".-_")[:LONGEST_STEM].rstrip(".")
    return stem or "structure"
