r"""Density and pressure of a periodic trajectory, and how much it yields.

.. math:: \kappa_T = \frac{\langle V^2 \rangle - \langle V \rangle^2}{k_B T \langle V \rangle}

is the isothermal compressibility of a run at constant pressure. Pressures are those that the run measured (`Frame.pressure`).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import constants

from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.statistics import Mean, mean_with_error
from mdapp.analysis.table import write_columns
from mdapp.analysis.thermo import EV_PER_A3_IN_BAR

AMU_PER_A3_IN_G_CM3 = constants.atomic_mass * 1000 / 1e-24


@dataclass(frozen=True)
class Density(Result):
    """Density, volume and, where the frames hold it, pressure of every frame."""

    time_ps: np.ndarray  # (n_frames,)
    density_g_cm3: np.ndarray  # (n_frames,)
    volume_A3: np.ndarray  # (n_frames,)
    pressure_bar: np.ndarray | None  # (n_frames,) positive under compression

    @property
    def mean(self) -> Mean:
        """g/cm³"""
        return mean_with_error(self.density_g_cm3)

    @property
    def mean_pressure(self) -> Mean | None:
        """bar"""
        return None if self.pressure_bar is None else mean_with_error(self.pressure_bar)

    def compressibility_per_GPa(self, temperature_K: float) -> Mean:
        """Isothermal compressibility with its error, 1/GPa; zero where the volume is fixed."""
        volume = self.volume_A3
        scale = 1e-21 / (constants.k * temperature_K * volume.mean())  # Å⁶ / (J Å³) is 1e-30 m³/J, and 1/Pa is 1e9/GPa
        return mean_with_error(scale * (volume - volume.mean()) ** 2)

    def to_csv(self, path: Path) -> None:
        more = {} if self.pressure_bar is None else {"pressure_bar": self.pressure_bar}
        write_columns(path, {"time_ps": self.time_ps, "density_g_cm3": self.density_g_cm3, "volume_A3": self.volume_A3, **more})


def density(trajectory: Trajectory) -> Density:
    """Density, volume and pressure along a trajectory.

    Raises
    ------
    ValueError : no cell that is periodic in three directions.
    """
    return tally(DensityTally(), trajectory)


class DensityTally:
    """Measures cells; see `density`."""

    def __init__(self) -> None:
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
        self._mass = 0.0

    def add(self, chunk: Chunk) -> None:
        self._mass = float(chunk.system.masses.sum())
        self._rows.append((chunk.time_ps, chunk.volume_A3, chunk.pressure))

    def result(self) -> Density:
        if not self._rows:
            raise ValueError("The trajectory holds no frames.")
        time, volume = (np.concatenate([row[k] for row in self._rows]) for k in (0, 1))
        pressures = [row[2] for row in self._rows if row[2] is not None]
        pressure = EV_PER_A3_IN_BAR * np.concatenate(pressures) if len(pressures) == len(self._rows) else None
        return Density(time, AMU_PER_A3_IN_G_CM3 * self._mass / volume, volume, pressure)
