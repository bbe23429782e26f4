"""The time between frames, where correlations and spectra need it to be known and even."""
from __future__ import annotations

import numpy as np


class FrameClock:
    """Learns the time between frames from their times.

    Parameters
    ----------
    frame_fs : the time between frames where the file does not tell; its times are then not looked at.
    """

    def __init__(self, frame_fs: float | None = None):
        if frame_fs is not None and not frame_fs > 0:
            raise ValueError(f"The time between frames must be > 0 fs, got {frame_fs}.")
        self._given, self._step, self._last = frame_fs, frame_fs, None

    def see(self, time_ps: np.ndarray) -> None:
        """Times of the next chunk.

        Raises
        ------
        ValueError : the times stand still, or frames are missing.
        """
        if self._given is not None:
            return
        times = 1000 * np.asarray(time_ps, dtype=float)
        if self._last is not None:
            times = np.concatenate([[self._last], times])
        steps = np.diff(times)
        if not len(steps):
            self._last = float(times[-1])
            return
        if self._step is None:
            self._step = float(np.median(steps))
            if not self._step > 0:
                raise ValueError("The trajectory does not tell the times of its frames; give the time between frames in fs.")
        slack = 0.02 * self._step + 4 * np.spacing(np.float32(np.abs(times).max()))  # some formats keep times in single precision
        uneven = np.abs(steps - self._step) > slack
        if uneven.any():
            k = int(uneven.argmax())
            raise ValueError(f"Frames are not evenly spaced: {steps[k]:.6g} fs after {times[k]:.6g} fs, {self._step:.6g} fs elsewhere. "
                             "Frames that follow each other evenly are needed here.")
        self._last = float(times[-1])

    @property
    def frame_fs(self) -> float:
        """Raises ValueError where there are fewer than two frames."""
        if self._step is None:
            raise ValueError("One frame tells no times; two at least are needed here.")
        return self._step
