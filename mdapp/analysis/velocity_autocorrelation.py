r"""Velocity autocorrelation: how long atoms remember their velocity, and the diffusion coefficient by Green and Kubo.

.. math:: C(t) = \langle \mathbf v(0) \cdot \mathbf v(t) \rangle, \qquad D = \frac{1}{3} \int_0^\infty C \, dt
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.clock import FrameClock
from mdapp.analysis.lags import LaggedSums
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns

A2_PER_FS_IN_CM2_PER_S = 0.1  # 1 Å²/fs


@dataclass(frozen=True)
class VelocityAutocorrelation(Result):
    """C(t), averaged over atoms and time origins."""

    time_fs: np.ndarray  # (n_lags,)
    C_A2_fs2: np.ndarray  # (n_lags,) Å²/fs²
    error_A2_fs2: np.ndarray  # (n_lags,) standard error over atoms and directions; infinite where there is one
    n_atoms: int
    n_frames: int

    @property
    def normalised(self) -> np.ndarray:
        """(n_lags,) 1 at time zero."""
        return self.C_A2_fs2 / self.C_A2_fs2[0]

    @property
    def diffusion_cm2_s(self) -> np.ndarray:
        """(n_lags,) running integral of Green and Kubo; the coefficient is its plateau."""
        step = np.diff(self.time_fs)
        return np.concatenate([[0.0], np.cumsum(0.5 * step * (self.C_A2_fs2[1:] + self.C_A2_fs2[:-1]))]) / 3 * A2_PER_FS_IN_CM2_PER_S

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"time_fs": self.time_fs, "C_A2_fs2": self.C_A2_fs2, "error_A2_fs2": self.error_A2_fs2, "normalised": self.normalised,
                             "diffusion_cm2_s": self.diffusion_cm2_s})


def velocity_autocorrelation(trajectory: Trajectory, max_lag_fs: float = 1000.0, frame_fs: float | None = None, atoms: np.ndarray | None = None) -> VelocityAutocorrelation:
    """Velocity autocorrelation up to a largest time.

    Parameters
    ----------
    trajectory : read once, in chunks; evenly spaced frames with velocities.
    max_lag_fs : largest time; lags beyond half of the trajectory are left out.
    frame_fs : time between frames, where the trajectory does not tell.
    atoms : which ones; all where not given.

    Raises
    ------
    ValueError : no velocities, uneven times, one frame.
    """
    return tally(VelocityAutocorrelationTally(max_lag_fs, frame_fs, atoms), trajectory)


class VelocityAutocorrelationTally:
    """Correlates velocities; see `velocity_autocorrelation`."""

    def __init__(self, max_lag_fs: float = 1000.0, frame_fs: float | None = None, atoms: np.ndarray | None = None):
        self.max_lag_fs, self.atoms = max_lag_fs, atoms
        self._clock = FrameClock(frame_fs)
        self._sums: LaggedSums | None = None

    def add(self, chunk: Chunk) -> None:
        self._clock.see(chunk.time_ps)
        if chunk.velocities is None:
            raise ValueError("The trajectory holds no velocities: no velocity autocorrelation.")
        velocities = chunk.velocities if self.atoms is None else chunk.velocities[:, self.atoms]
        if self._sums is None:
            self._sums = LaggedSums(max(1, int(round(self.max_lag_fs / self._clock.frame_fs))))
        self._sums.add(velocities.reshape(len(velocities), -1))

    def result(self) -> VelocityAutocorrelation:
        if self._sums is None:
            raise ValueError("The trajectory holds no frames.")
        n = self._sums.n_frames
        each = self._sums.correlation[: max(2, n // 2 + 1)]  # (n_lags, 3 n_atoms)
        error = 3 * each.std(axis=1, ddof=1) / np.sqrt(each.shape[1])
        return VelocityAutocorrelation(self._clock.frame_fs * np.arange(len(each)), 3 * each.mean(axis=1), error, each.shape[1] // 3, n)
