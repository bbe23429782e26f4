"""thermo.csv: one line of scalars per stored moment, for spreadsheets and plots. What is not known stays empty."""
from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mdapp.errors import OutputError, RunFolderError
from mdapp.frame import Frame
from mdapp.observables import PER_BAR
from mdapp.trajectory.lines import Lines

THERMO = "thermo.csv"
COLUMNS = ("step", "time_fs", "T_K", "E_pot_eV", "E_kin_eV", "conserved_eV", "P_bar", "fmax_eV_A", "spread_eV_A")
HEADER = ",".join(COLUMNS)


class ThermoWriter:
    """Writes the table of one run folder; call it with a frame. A step that is there already is passed over.

    `checksum` is that of all that the table holds: a restart state that keeps it knows at a resume whether the table is still its own.
    """

    def __init__(self, folder: Path, resume_at: int | None = None):
        """
        Parameters
        ----------
        resume_at : step of the checkpoint from which the run goes on; later lines are cut off. None for a new table.

        Raises
        ------
        OutputError : there is a table already, or the folder cannot be written.
        RunFolderError : the table that is there is damaged.
        """
        self.path = Path(folder) / THERMO
        self.last_step, self.checksum = -1, 0
        if resume_at is None:
            if self.path.exists():
                raise OutputError(f"{self.path} exists already; a table is never overwritten.")
            self._begin()
            return
        self._open(resume_at)

    def _begin(self) -> None:
        self._lines = Lines(self.path)
        self.last_step, self.checksum = -1, 0
        self._put(HEADER)

    def _put(self, line: str) -> None:
        self._lines.write(line)
        self.checksum = zlib.crc32(f"{line}\n".encode(), self.checksum)

    def _open(self, resume_at: int) -> None:
        """The table with its lines up to a step."""
        if self.path.exists():
            steps = read_thermo(self.path)["step"]
            kept = steps[steps <= resume_at]
            self.last_step = int(kept[-1]) if len(kept) else -1
        self._lines = Lines(self.path, lambda line: line == HEADER or int(line.split(",", 1)[0]) <= resume_at)
        self.checksum = zlib.crc32(self.path.read_bytes())
        if not self.path.stat().st_size:
            self._put(HEADER)

    def make_again(self, frames: Iterable[Frame]) -> None:
        """The whole table from stored frames, in place of what is there."""
        self._lines.close()
        self.path.unlink(missing_ok=True)
        self._begin()
        for frame in frames:
            self.write(frame)

    def rewind(self, step: int) -> None:
        """Takes back the lines after a step."""
        self._lines.close()
        self._open(step)

    def write(self, frame: Frame) -> None:
        """One line."""
        if frame.step <= self.last_step:
            return
        largest = math.sqrt(float(np.einsum("ij,ij->i", frame.forces, frame.forces).max()))
        pressure = "" if frame.pressure is None else f"{frame.pressure / PER_BAR:.3f}"
        spread = "" if frame.spread is None else f"{frame.spread:.6f}"
        self._put(
            f"{frame.step},{frame.time_fs:.12g},{frame.temperature_K:.4f},{frame.potential_energy:.8f},{frame.kinetic_energy:.8f},"
            f"{frame.conserved_energy:.8f},{pressure},{largest:.6f},{spread}"
        )
        self.last_step = frame.step

    __call__ = write

    def sync(self) -> None:
        """The table is on the disk when this returns."""
        self._lines.sync()

    def close(self) -> None:
        self._lines.close()


def read_thermo(path: Path) -> dict[str, np.ndarray]:
    """The columns of a table by name, each (n_lines,); NaN where a field is empty. A partial last line is left out.

    Raises
    ------
    RunFolderError : another table, or damaged before its last line.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}.") from None
    text = text[: text.rfind("\n") + 1].replace("\r\n", "\n")
    rows = list(csv.reader(text.splitlines())) if "\0" not in text else [["damaged"]]
    if not rows and not text:
        return {name: np.zeros(0) for name in COLUMNS}
    names = rows[0]
    if names[:2] != ["step", "time_fs"]:
        raise RunFolderError(f"{path} is no thermo table: it should begin with {HEADER}.")
    try:
        values = np.array([[float(word) if word else math.nan for word in row] for row in rows[1:]], dtype=float).reshape(len(rows) - 1, len(names))
        sound = np.isfinite(values[:, 0]).all() and (np.diff(values[:, 0]) > 0).all()
    except ValueError:
        sound = False
    if not sound:
        raise RunFolderError(f"{path} is damaged: its lines do not hold {len(names)} numbers each with rising steps.")
    return dict(zip(names, values.T))
