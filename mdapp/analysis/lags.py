r"""Time correlations up to a largest lag, in one pass and constant memory.

.. math:: C(l) = \frac{1}{n - l} \sum_{t = l}^{n - 1} x(t - l) \cdot x(t)

The last frames are kept and correlated with each chunk by Fourier transform, so that every pair of times counts exactly once, as in the plain sum.
"""
from __future__ import annotations

import math

import numpy as np


class LaggedSums:
    """Correlation of x (n_frames, n_series) with itself for lags 0 to max_lag, for each series."""

    def __init__(self, max_lag: int):
        self.max_lag = max_lag
        self.n_frames = 0
        self._past: np.ndarray | None = None  # (max_lag, n_series), zero before the start
        self.products: np.ndarray | None = None  # (max_lag + 1, n_series) sum of x(t - l) x(t)
        self.squares: np.ndarray | None = None  # (max_lag + 1, n_series) sum of x(t)² + x(t - l)² over the same pairs

    def add(self, x: np.ndarray) -> None:
        x = np.asarray(x, dtype=float)
        if self._past is None:
            self._past = np.zeros((self.max_lag, x.shape[1]))
            self.products, self.squares = np.zeros((self.max_lag + 1, x.shape[1])), np.zeros((self.max_lag + 1, x.shape[1]))
        step = max(self.max_lag, 64)
        for begin in range(0, len(x), step):
            self._add(x[begin : begin + step])

    def _add(self, x: np.ndarray) -> None:
        L, n = self.max_lag, len(x)
        joined = np.concatenate([self._past, x])  # (L + n, n_series); x starts at L
        size = 2 ** math.ceil(math.log2(2 * L + 2 * n + 1))
        spectrum = np.fft.rfft(joined, size, axis=0) * np.conj(np.fft.rfft(np.concatenate([np.zeros_like(self._past), x]), size, axis=0))
        correlated = np.fft.irfft(spectrum, size, axis=0)  # at -l: sum of joined(s - l) x(s)
        self.products += correlated[-np.arange(L + 1) % size]
        squared = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(joined**2, axis=0)])  # sums before each index
        lags = np.arange(L + 1)
        first = np.maximum(lags - self.n_frames, 0)  # the first frame of x that has a partner at this lag
        first = np.minimum(first, n)
        new = squared[L + n] - squared[L + first]
        old = squared[L + n - lags] - squared[np.minimum(L + first - lags, L + n - lags)]
        self.squares += new + old
        self._past = joined[-L:] if L else joined[:0]
        self.n_frames += n

    @property
    def n_pairs(self) -> np.ndarray:
        """(max_lag + 1,) pairs of times at each lag."""
        return np.maximum(self.n_frames - np.arange(self.max_lag + 1), 0)

    @property
    def correlation(self) -> np.ndarray:
        """(n_lags, n_series) mean of x(t - l) x(t), as far as there are pairs."""
        seen = self.n_pairs > 0
        return self.products[seen] / self.n_pairs[seen, None]

    @property
    def displacement(self) -> np.ndarray:
        """(n_lags, n_series) mean of (x(t) - x(t - l))², as far as there are pairs."""
        seen = self.n_pairs > 0
        return (self.squares - 2 * self.products)[seen] / self.n_pairs[seen, None]
