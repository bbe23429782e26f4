"""Means of arrays along a trajectory, with the error of every element, in constant memory.

Frames are gathered in blocks. There are never more than `MOST` of them: when they are full, neighbours are joined and blocks become twice as
long. A short trajectory thus keeps every frame as its own block. The error of each element is that of `statistics.mean_with_error` on the
series of its block means, which counts what correlation is left between blocks.
"""
from __future__ import annotations

import math

import numpy as np

from mdapp.analysis.statistics import mean_with_error

MOST = 128


class BlockMeans:
    """Gathers arrays (n_frames, ...) and knows their mean over frames and its error."""

    def __init__(self, most: int = MOST):
        self.most = most
        self.length = 1  # frames in a block
        self.n_frames = 0
        self._blocks: list[np.ndarray] = []  # means of whole blocks
        self._rest: np.ndarray | None = None  # sum of the frames since the last whole block
        self._in_rest = 0

    def add(self, values: np.ndarray) -> None:
        """Values (n_frames, ...) of some successive frames."""
        values = np.asarray(values, dtype=float)
        self.n_frames += len(values)
        while len(values):
            take = min(self.length - self._in_rest, len(values))
            total = values[:take].sum(axis=0)
            self._rest = total if self._rest is None else self._rest + total
            self._in_rest += take
            values = values[take:]
            if self._in_rest == self.length:
                self._blocks.append(self._rest / self.length)
                self._rest, self._in_rest = None, 0
                if len(self._blocks) == self.most:
                    self._blocks = [0.5 * (a + b) for a, b in zip(self._blocks[::2], self._blocks[1::2])]
                    self.length *= 2

    @property
    def series(self) -> np.ndarray:
        """(n_blocks, ...) means of the whole blocks; of all frames where there is no whole block."""
        return np.stack(self._blocks) if self._blocks else self.mean[None]

    @property
    def mean(self) -> np.ndarray:
        """Over all frames.

        Raises
        ------
        ValueError : nothing was added.
        """
        if not self.n_frames:
            raise ValueError("The trajectory holds no frames.")
        total = self._rest if self._rest is not None else 0.0
        return np.asarray((self.length * sum(self._blocks) + total) / self.n_frames)

    @property
    def error(self) -> np.ndarray:
        """Standard error of each element of the mean; infinite for a single frame."""
        return series_errors(self.series)


def series_errors(series: np.ndarray) -> np.ndarray:
    """Standard error of the mean of each element of (n_samples, ...), correlations counted."""
    flat = np.asarray(series, dtype=float).reshape(len(series), -1)
    errors = [_error(column) for column in flat.T]
    return np.array(errors).reshape(np.shape(series)[1:])


def _error(values: np.ndarray) -> float:
    if len(values) > 1 and np.ptp(values) == 0:  # most elements of a sparse map
        return 0.0
    return mean_with_error(values).error if np.isfinite(values).all() else math.nan
