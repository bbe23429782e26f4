r"""Power spectra of series along a trajectory, by Welch's method, in one pass.

The trajectory is cut into segments that overlap by half; each is tapered (Hann) and Fourier transformed, and the squares are averaged. The spectrum is
one-sided and its integral over the wavenumber is the mean square of the series. By the theorem of Wiener and Khinchin it is the transform of the autocorrelation.

P. D. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967).
"""
from __future__ import annotations

import numpy as np

from mdapp.analysis.blocks import BlockMeans

CM_PER_FS = 2.99792458e-5  # the speed of light
RESOLUTION_CM1 = 10.0


class Segments:
    """Averages spectra of groups of series.

    Parameters
    ----------
    length : frames in a segment.
    groups : (n_series,) group of each series, 0, 1, ...; the spectra of a group are added up.
    """

    def __init__(self, length: int, groups: np.ndarray):
        self.length, self.groups = max(int(length), 4), np.asarray(groups)
        self.n_groups = int(self.groups.max(initial=0)) + 1
        self._waiting = np.zeros((0, len(self.groups)))
        self._powers, self._totals = BlockMeans(), BlockMeans()
        self.n_segments = 0

    def add(self, x: np.ndarray) -> None:
        """Series (n_frames, n_series)."""
        self._waiting = np.concatenate([self._waiting, x])
        while len(self._waiting) >= self.length:
            self._transform(self._waiting[: self.length])
            self._waiting = self._waiting[self.length - self.length // 2 :]

    def finish(self, frame_fs: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wavenumbers (n_waves,) in 1/cm, spectra (n_groups, n_waves) per 1/cm, and the standard error (n_waves,) of their sum, infinite for one segment.

        Raises
        ------
        ValueError : fewer than four frames.
        """
        if not self.n_segments:
            if len(self._waiting) < 4:
                raise ValueError(f"A spectrum needs four frames at least, got {len(self._waiting)}.")
            self._transform(self._waiting)
        per_cm1 = frame_fs * CM_PER_FS
        wavenumber = np.fft.rfftfreq(self.length, per_cm1)
        return wavenumber, self._powers.mean * per_cm1, self._totals.error * per_cm1

    def _transform(self, x: np.ndarray) -> None:
        taper = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(len(x)) + 0.5) / len(x))
        power = np.abs(np.fft.rfft(x * taper[:, None], self.length, axis=0)) ** 2 / np.sum(taper**2)
        power[1 : (self.length + 1) // 2] *= 2  # negative frequencies; zero and the last even one have no twin
        grouped = np.zeros((self.n_groups, len(power)))
        np.add.at(grouped, self.groups, power.T)
        self._powers.add(grouped[None])
        self._totals.add(grouped.sum(axis=0)[None])
        self.n_segments += 1


def segment_length(frame_fs: float, resolution_cm1: float) -> int:
    """Frames in a segment that tells apart what is `resolution_cm1` apart (an even number)."""
    if not resolution_cm1 > 0:
        raise ValueError(f"The resolution of a spectrum must be > 0 per cm, got {resolution_cm1}.")
    return 2 * max(2, int(round(0.5 / (resolution_cm1 * frame_fs * CM_PER_FS))))


def difference_gain(wavenumber_cm1: np.ndarray, frame_fs: float) -> np.ndarray:
    """What the power of a difference quotient (x(t + d) - x(t)) / d must be multiplied by to be that of the derivative: (a / sin a)², a half of the phase."""
    half = np.pi * wavenumber_cm1 * CM_PER_FS * frame_fs
    return 1 / np.sinc(half / np.pi) ** 2
