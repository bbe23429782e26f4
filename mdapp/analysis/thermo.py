"""The thermodynamic time series of a run: temperature, energies, pressure, and the drift of what should be conserved."""
from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.result import Result
from mdapp.analysis.statistics import Drift, Mean, drift, mean_with_error
from mdapp.frame import Frame

EV_PER_A3_IN_BAR = 1602176.634  # CODATA 2018, exact
WIDTH = 9  # numbers of a frame in a table


@dataclass(frozen=True)
class Thermo(Result):
    """What a thermo table holds, each (n_samples,); None where the run did not have it. Units as in thermo.csv."""

    step: np.ndarray
    time_fs: np.ndarray
    n_atoms: int
    T_K: np.ndarray | None = None
    E_pot_eV: np.ndarray | None = None
    E_kin_eV: np.ndarray | None = None
    conserved_eV: np.ndarray | None = None  # total energy less the heat and work that the ensemble exchanged
    P_bar: np.ndarray | None = None
    fmax_eV_A: np.ndarray | None = None
    spread_eV_A: np.ndarray | None = None

    COLUMNS = ("T_K", "E_pot_eV", "E_kin_eV", "conserved_eV", "P_bar", "fmax_eV_A", "spread_eV_A")

    def __len__(self) -> int:
        return len(self.step)

    @property
    def time_ps(self) -> np.ndarray:
        return self.time_fs / 1000

    @property
    def total_eV(self) -> np.ndarray | None:
        return None if self.E_pot_eV is None or self.E_kin_eV is None else self.E_pot_eV + self.E_kin_eV

    def present(self) -> list[str]:
        """Names of the columns that this run has, in the table's order."""
        return [name for name in self.COLUMNS if getattr(self, name) is not None]

    def since(self, time_fs: float) -> Thermo:
        """The part from a time on; the clock is not set back."""
        keep = self.time_fs >= time_fs
        parts = {name: getattr(self, name)[keep] for name in self.present()}
        return Thermo(self.step[keep], self.time_fs[keep], self.n_atoms, **parts)

    def mean(self, name: str) -> Mean:
        """Mean of a column with its error; see `mdapp.analysis.statistics`."""
        return mean_with_error(getattr(self, name))

    def drift_meV(self) -> Drift | None:
        """Drift of the conserved energy in meV per atom and ps, with its error; None without one or with fewer than three samples."""
        if self.conserved_eV is None or len(self) < 3 or np.ptp(self.time_fs) == 0:
            return None
        return drift(self.time_ps, 1000 * (self.conserved_eV - self.conserved_eV[0]) / self.n_atoms)

    def to_csv(self, path: Path) -> None:
        """Write the columns that are present."""
        names = ["step", "time_fs", *self.present()]
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(names)
            out.writerows([f"{value:.10g}" for value in row] for row in zip(*(getattr(self, name) for name in names), strict=True))


def thermo_of_columns(columns: dict[str, np.ndarray], n_atoms: int) -> Thermo:
    """A thermo table already read, as columns by name.

    A column with gaps in more than every twentieth sample counts as absent; of the others, samples with a gap are left out.
    """
    known = {name: np.asarray(columns[name], dtype=float) for name in Thermo.COLUMNS if name in columns}
    present = {name: values for name, values in known.items() if len(values) and np.isfinite(values).mean() >= 0.95}
    step, time_fs = np.asarray(columns["step"], dtype=float), np.asarray(columns["time_fs"], dtype=float)
    sound = np.all([np.isfinite(step), np.isfinite(time_fs), *(np.isfinite(values) for values in present.values())], axis=0)
    return Thermo(step[sound], time_fs[sound], n_atoms, **{name: values[sound] for name, values in present.items()})


class ThermoRows:
    """Gathers the table's numbers of frame after frame: 9 numbers of each, for trajectories that come without a table."""

    def __init__(self) -> None:
        self._rows, self.n_atoms = array("d"), 0

    def add(self, frame: Frame) -> None:
        self.n_atoms = len(frame.numbers)
        pressure = np.nan if frame.pressure is None else frame.pressure * EV_PER_A3_IN_BAR
        spread = np.nan if frame.spread is None else frame.spread
        fmax = float(np.sqrt(np.einsum("ij,ij->i", frame.forces, frame.forces).max(initial=0.0))) if frame.forces is not None else np.nan
        self._rows.extend((frame.step, frame.time_fs, frame.temperature_K, frame.potential_energy, frame.kinetic_energy, frame.conserved_energy,
                           pressure, fmax, spread))

    def __len__(self) -> int:
        return len(self._rows) // WIDTH

    @property
    def step(self) -> np.ndarray:
        """(n_frames,)"""
        return self._table[:, 0].astype(int)

    def thermo(self) -> Thermo:
        """The table.

        Raises
        ------
        ValueError : no frames.
        """
        if not len(self):
            raise ValueError("No frames to make a table of.")
        return thermo_of_columns(dict(zip(("step", "time_fs", *Thermo.COLUMNS), self._table.T, strict=True)), self.n_atoms)

    @property
    def _table(self) -> np.ndarray:
        return np.array(self._rows).reshape(-1, WIDTH)


def thermo_of_frames(frames: Iterable[Frame]) -> Thermo:
    """The table of a series of frames.

    Raises
    ------
    ValueError : no frames.
    """
    rows = ThermoRows()
    for frame in frames:
        rows.add(frame)
    return rows.thermo()
