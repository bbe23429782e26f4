"""The file of labelled structures, which holds whole frames whatever kills the job, and what is beside it.

=====================  =========================================================================================================
FILE.xyz               each structure that has its label: in the order of arrival while the job runs, of input at its end
FILE.label.json        what was asked: structures and calculator; a job goes on only where they are the same
FILE.failed.csv        the structures that have none, and why; absent where all have one
=====================  =========================================================================================================
"""
from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.errors import OutputError, RunFolderError
from mdapp.jobs._appended import whole_frames
from mdapp.trajectory.files import replacing, sync_open, told, write_text

if TYPE_CHECKING:
    from ase import Atoms

COLUMNS = ("structure", "file", "frame", "reason")


class LabelFile:
    """The file, opened for writing.

    Parameters
    ----------
    asked : what the labels hang on; compared where the file has been begun.
    resume : go on in it.

    Raises
    ------
    OutputError : there is something that is no such file, or that was not to be resumed; it cannot be written.
    RunFolderError : it was begun with other structures or another calculator.
    """

    def __init__(self, path: Path, asked: dict[str, Any], resume: bool):
        self.path, self.asked_path, self.failed_path = path, path.with_suffix(".label.json"), path.with_suffix(".failed.csv")
        begun = self.asked_path.exists()
        if begun and not resume:
            raise OutputError(f"{path} holds labels already and is not overwritten. Choose another --output, or go on in it with --resume.")
        if not begun and path.exists():
            raise OutputError(f"{path} is there already and was not begun by `mdapp label`; it is not overwritten. Choose another --output.")
        with told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if begun:
            self._compare(asked)
        else:
            write_text(self.asked_path, json.dumps(asked, indent=1) + "\n")
        self.places = whole_frames(path)
        self._end = max((end for _, end in self.places.values()), default=0)
        with told(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)

    def _compare(self, asked: dict[str, Any]) -> None:
        try:
            before = json.loads(self.asked_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.asked_path} cannot be read ({error}). Take another --output.") from None
        other = [key for key in asked if not isinstance(before, dict) or before.get(key) != asked[key]]
        if other:
            raise RunFolderError(f"{self.path} was begun with another {' and '.join(other)}: those labels cannot go on here. Take another --output.")

    def keep(self, structure: int, atoms: Atoms) -> None:
        """A labelled structure; whole and on the disk when this returns, or not there at all."""
        from ase.io import write

        text = io.StringIO()
        write(text, atoms, format="extxyz")
        data = text.getvalue().encode()
        with told(self.path):
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError:
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
                raise
        sync_open(self._file, self.path)
        self.places[structure] = (self._end, self._end + len(data))
        self._end += len(data)

    def close(self, failed: list[dict[str, Any]], complete: bool) -> None:
        """Writes the table of failures; where every structure has come to its end, the labels in the order of input."""
        order = sorted(self.places)
        if complete and order != list(self.places):
            with replacing(self.path) as part, open(part, "wb") as file:
                for k in order:
                    begin, end = self.places[k]
                    file.write(os.pread(self._file, end - begin, begin))
        if not failed:
            self.failed_path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(failed)
        write_text(self.failed_path, text.getvalue())

    def forget(self) -> None:
        """Leave nothing behind of a job that has come to nothing."""
        if not self.places:
            for path in (self.path, self.asked_path, self.failed_path):
                path.unlink(missing_ok=True)

    def __enter__(self) -> LabelFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
