"""The structures that `mdapp relax` and `mdapp label` were asked for: files, patterns, files with many frames, frames of runs."""
from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdapp.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

_OF_MANY = re.compile(r"^The file holds \d+ structures; number ")


@dataclass(frozen=True)
class Source:
    """One structure, or the reason why it is none."""

    file: str
    frame: int  # of the file, from 0
    atoms: Atoms | None
    problem: str | None = None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.file} frame {self.frame}" if self.frame else self.file


def read_all(words: tuple[str, ...], stride: int = 1) -> list[Source]:
    """Every `stride`-th frame of all files, in order; a frame that cannot be used stands in the list with its reason.

    Parameters
    ----------
    words : structure files, patterns of such, folders of runs or their trajectory.h5.

    Raises
    ------
    StructureError, RunFolderError : a file that is missing or cannot be read at all; a pattern that nothing matches.
    """
    found: list[Source] = []
    for word in words:
        files = [word]
        if any(c in word for c in "*?[") and not Path(word).exists():
            files = sorted(glob.glob(word))
            if not files:
                raise StructureError(f"structure '{word}': no file matches this pattern.")
        for file in files:
            frames = [frame for frame in _frames(file, stride) if frame.frame % stride == 0]
            if len(frames) == 1 and frames[0].problem is not None:
                raise StructureError(frames[0].problem)
            found += frames
    return found


def _frames(file: str, stride: int) -> Iterator[Source]:
    from mdapp.structure import pdb, read_structure, xyz
    from mdapp.structure.read import clean, existing_file, format_of
    from mdapp.trajectory.write import TRAJECTORY

    if Path(file).is_dir() or Path(file).name == TRAJECTORY:
        yield from _frames_of_run(file, stride)
        return
    path = existing_file(file)
    kind = format_of(path)
    if kind == "xyz":
        for k, block in enumerate(xyz.blocks(path)):
            try:
                yield Source(file, k, clean(xyz.parse(block, path), path, []))
            except StructureError as error:
                yield Source(file, k, None, str(error))
    elif kind == "pdb":
        for k, (model, box) in enumerate(pdb.models(path)):
            try:
                atoms, notes = pdb.atoms_of(model, box)
                yield Source(file, k, clean(atoms, path, notes, from_pdb=True))
            except StructureError as error:
                yield Source(file, k, None, str(error))
    else:
        last = read_structure(path)
        count = next((int(note.split()[3]) for note in last.info["notes"] if _OF_MANY.match(note)), 1)
        for k in range(count):
            try:
                atoms = read_structure(path, k) if count > 1 else last
                atoms.info["notes"] = [note for note in atoms.info["notes"] if not _OF_MANY.match(note)]
                yield Source(file, k, atoms)
            except StructureError as error:
                yield Source(file, k, None, str(error))


def _frames_of_run(file: str, stride: int) -> Iterator[Source]:
    """Frames of a run, with the charge and multiplicity that it was told."""
    from mdapp.structure import read_structure
    from mdapp.structure.read import clean
    from mdapp.trajectory import atoms_of, read_frames

    path = Path(file)
    start = (path if path.is_dir() else path.parent) / "input.extxyz"
    known = read_structure(start).info if start.exists() else {}
    for k, frame in enumerate(read_frames(path, stride)):
        atoms = atoms_of(frame)
        atoms.info.update({name: known[name] for name in ("charge", "multiplicity") if name in known})
        try:
            yield Source(file, k * stride, clean(atoms, path, []))
        except StructureError as error:
            yield Source(file, k * stride, None, str(error))
