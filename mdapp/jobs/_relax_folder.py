"""The folder of many relaxations: whole structures only, whatever kills the job, and where those under way had got to.

====================  ==============================================================================================
relaxed.extxyz        each structure that has ended, in the order of arrival while the job runs, in the order of input at its end
relaxed.csv           the table: one line a structure
relax.json            what was asked: structures, potential, criterion; a job goes on only where they are the same
under-way.npz         positions of those on their way, every few seconds; gone at the end
====================  ==============================================================================================
"""
from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.errors import OutputError, RunFolderError
from mdapp.jobs._appended import whole_frames
from mdapp.trajectory.files import replacing, told, write_text

if TYPE_CHECKING:
    from ase import Atoms

STRUCTURES, TABLE, ASKED, UNDER_WAY, LOCK = "relaxed.extxyz", "relaxed.csv", "relax.json", "under-way.npz", "relax.lock"
COLUMNS = ("structure", "file", "frame", "converged", "steps", "energy_start_eV", "energy_eV", "fmax_eV_A", "stress_max_eV_A3", "moved_A", "bonds_changed",
           "n_imaginary", "descents", "lowest_frequency_cm1", "zero_point_eV", "free_energy_eV", "reason")  # fmt: skip


class RelaxFolder:
    """The folder, opened for writing.

    Parameters
    ----------
    asked : what the job depends on; compared where the folder has been begun.
    resume : go on in it.

    Raises
    ------
    OutputError : there is something that is no such folder or belongs to a job that was not to be resumed; it cannot be written.
    RunFolderError : it was begun with other structures, another potential or criterion, or is damaged.
    """

    def __init__(self, path: Path, asked: dict[str, Any], resume: bool):
        self.path = path
        begun = (path / ASKED).exists()
        if begun and not resume:
            raise OutputError(f"{path} holds relaxations already and is not overwritten. Choose another --output, or go on in it with --resume.")
        if path.exists() and not path.is_dir():
            raise OutputError(f"output = '{path}' is a file. Name a folder: many structures are given.")
        if not begun and path.is_dir() and any((path / name).exists() for name in (STRUCTURES, TABLE, "summary.json")):
            raise OutputError(f"{path} holds files of something else ({STRUCTURES}, {TABLE} or summary.json). Choose another --output.")
        with told(path):
            path.mkdir(parents=True, exist_ok=True)
        if begun:
            self._compare(asked)
        else:
            write_text(path / ASKED, json.dumps(asked, indent=1) + "\n")
        self.places = self._recover()  # structure -> (begin, end) in the file
        with told(path / STRUCTURES):
            self._file = os.open(path / STRUCTURES, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            end = max((end for _, end in self.places.values()), default=0)
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
        self._end = end

    def _compare(self, asked: dict[str, Any]) -> None:
        try:
            before = json.loads((self.path / ASKED).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / ASKED} cannot be read ({error}). Take another --output.") from None
        other = [key for key in asked if not isinstance(before, dict) or before.get(key) != asked[key]]
        if other:
            raise RunFolderError(f"{self.path} was begun with another {' and '.join(other)}: those relaxations cannot go on here. Take another --output.")

    def _recover(self) -> dict[int, tuple[int, int]]:
        """Where the whole structures stand in the file; what a killed process left half written ends the list."""
        return whole_frames(self.path / STRUCTURES)

    def keep(self, structure: int, atoms: Atoms) -> None:
        """A structure that has ended; whole in the file when this returns, or not there at all."""
        from ase.io import write

        text = io.StringIO()
        write(text, atoms, format="extxyz")
        data = text.getvalue().encode()
        with told(self.path / STRUCTURES):
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError:
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
                raise
        self.places[structure] = (self._end, self._end + len(data))
        self._end += len(data)

    def sync(self, under_way: dict[int, np.ndarray]) -> None:
        """Everything on the disk, and the positions of those on their way."""
        with told(self.path / STRUCTURES):
            os.fsync(self._file)
        with replacing(self.path / UNDER_WAY) as part, open(part, "wb") as file:
            np.savez(file, **{str(k): x for k, x in under_way.items()})

    def under_way(self) -> dict[int, np.ndarray]:
        """Positions of those that were on their way when a job ended; none where the file is missing or damaged."""
        try:
            with np.load(self.path / UNDER_WAY, allow_pickle=False) as stored:
                return {int(k): stored[k] for k in stored.files if int(k) not in self.places}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            return {}

    def rows(self) -> dict[int, dict[str, Any]]:
        """The table's lines of the structures in the file."""
        from ase.io import read

        found = {}
        for structure, (begin, end) in self.places.items():
            atoms = read(io.StringIO(os.pread(self._file, end - begin, begin).decode()), format="extxyz")
            found[structure] = {name: _plain(atoms.info[name]) for name in COLUMNS if name in atoms.info}
            if atoms.calc is not None:
                found[structure]["energy_eV"] = atoms.get_potential_energy()
        return found

    def close(self, rows: list[dict[str, Any]], complete: bool) -> None:
        """Writes the table; where all have ended, the structures in the order of input."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        table.writerows({name: "" if value is None else f"{value:.8g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows)
        write_text(self.path / TABLE, text.getvalue())
        order = sorted(self.places)
        if complete and order != list(self.places):
            with replacing(self.path / STRUCTURES) as part, open(part, "wb") as file:
                for k in order:
                    begin, end = self.places[k]
                    file.write(os.pread(self._file, end - begin, begin))
        if complete:
            (self.path / UNDER_WAY).unlink(missing_ok=True)
        with told(self.path / STRUCTURES):
            os.fsync(self._file)

    def __enter__(self) -> RelaxFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
