r"""Means, errors and drifts of correlated series.

Successive values of a trajectory resemble each other, so N of them count for less than N:

.. math:: g = 1 + 2 \sum_{t=1}^{W} \rho(t), \qquad \sigma^2_{\bar x} = \frac{g}{N} \, \sigma^2_x

with :math:`\rho` the normalised autocorrelation and :math:`g` the statistical inefficiency, in samples. The window W is the
smallest one with W ≥ 5 g / 2 (Sokal's self-consistent window), which keeps the noise of the tail out. Block averages give
the same error by another road and are reported beside it.

Sources: A. Sokal, Monte Carlo Methods in Statistical Mechanics (1996), sec. 3; H. Flyvbjerg and H. G. Petersen,
J. Chem. Phys. 91, 461 (1989); K. P. White Jr., Simulation 69, 323 (1997) for the start of the sound part.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

ENOUGH = 20  # independent samples below which an error bar is itself not worth much


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error."""

    value: float
    error: float  # standard error, correlations counted; infinite for a single sample
    deviation: float  # standard deviation of the samples
    n_samples: int
    n_independent: float  # n_samples / g
    block_error: float  # the same error from block averages; NaN when too short

    @property
    def reliable(self) -> bool:
        """Enough independent samples to believe the error bar."""
        return self.n_independent >= ENOUGH


@dataclass(frozen=True)
class Drift:
    """The slope of a straight line through a series."""

    slope: float  # unit of the values per unit of the times
    error: float  # standard error, correlations of the residuals counted
    intercept: float  # at time 0
    spread: float  # standard deviation around the line


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """Normalised autocorrelation (n_samples,) of a series, 1 at lag 0; zero beyond it for a constant series."""
    x = _series(values)
    n = len(x)
    x = x - x.mean()
    size = 2 ** math.ceil(math.log2(2 * n))  # padded, so that the end does not meet the start
    power = np.abs(np.fft.rfft(x, size)) ** 2
    covariance = np.fft.irfft(power, size)[:n]
    if covariance[0] <= n * np.finfo(float).eps ** 2 * max(1.0, float(np.abs(values).max())) ** 2:
        return np.where(np.arange(n) == 0, 1.0, 0.0)
    return covariance / covariance[0]


def inefficiency(values: np.ndarray) -> float:
    """Statistical inefficiency g >= 1, in samples: how many successive values count for one."""
    rho = autocorrelation(values)
    g = 2.0 * np.cumsum(rho) - 1.0
    windows = np.arange(len(rho))
    inside = windows >= 2.5 * np.maximum(g, 1.0)
    best = int(np.argmax(inside)) if inside.any() else len(rho) - 1
    return float(np.clip(g[best], 1.0, len(rho)))


def mean_with_error(values: np.ndarray) -> Mean:
    """Mean of a series with a standard error that counts correlations.

    The deviation is corrected for the mean having been taken from the same correlated samples.

    Raises
    ------
    ValueError : no samples, or one that is not finite.
    """
    x = _series(values)
    n = len(x)
    if n == 1:
        return Mean(float(x[0]), math.inf, 0.0, 1, 1.0, math.nan)
    g = min(inefficiency(x), n / 2)
    variance = float(np.mean((x - x.mean()) ** 2)) * n / (n - g)
    blocks = block_errors(x)
    return Mean(float(x.mean()), math.sqrt(variance * g / n), math.sqrt(variance), n, n / g, float(blocks[:, 1].max()) if len(blocks) else math.nan)


def block_errors(values: np.ndarray, fewest: int = 10) -> np.ndarray:
    """Standard error of the mean against block length (n_lengths, 2): it rises to a plateau, the true error.

    Parameters
    ----------
    values : (n_samples,).
    fewest : blocks that must remain; longer ones would make the error itself too uncertain.
    """
    x = _series(values)
    rows, length = [], 1
    while len(x) // length >= fewest:
        blocks = x[:len(x) // length * length].reshape(-1, length).mean(axis=1)
        rows.append((length, blocks.std(ddof=1) / math.sqrt(len(blocks))))
        length *= 2
    return np.array(rows).reshape(-1, 2)


def drift(times: np.ndarray, values: np.ndarray) -> Drift:
    """Straight line through a series by least squares, with the error of its slope.

    Parameters
    ----------
    times : (n_samples,), any unit, rising.
    values : (n_samples,).

    Raises
    ------
    ValueError : fewer than three samples, lengths that differ, or times that are all the same.
    """
    t, x = _series(times), _series(values)
    if len(t) != len(x):
        raise ValueError(f"{len(t)} times for {len(x)} values.")
    if len(t) < 3 or np.ptp(t) == 0:
        raise ValueError(f"A drift needs three samples at different times, got {len(t)}.")
    centred = t - t.mean()
    weight = float(np.sum(centred ** 2))
    slope = float(np.sum(centred * (x - x.mean()))) / weight
    residuals = x - x.mean() - slope * centred
    spread = math.sqrt(float(np.sum(residuals ** 2)) / (len(t) - 2))
    return Drift(slope, spread * math.sqrt(inefficiency(residuals) / weight), float(x.mean() - slope * t.mean()), spread)


def equilibrated_from(values: np.ndarray) -> int:
    """Index of the first sample of the sound part: the cut that leaves the smallest marginal standard error. At most half is cut away.

    It asks for no correlation time. A cut that is chosen for the most independent samples is one where these are overestimated, and the error bar of what is left comes out
    too small.
    """
    x = _series(values)
    n = len(x)
    if n < 2 * ENOUGH:
        return 0
    x = x - x.mean()
    left = np.arange(n, 0, -1)  # samples from each one on, and the sum of squares about their mean
    squares = np.cumsum(x[::-1] ** 2)[::-1] - np.cumsum(x[::-1])[::-1] ** 2 / left
    return int(np.argmin((squares / left ** 2.0)[:n // 2 + 1]))


def sound_mean(values: np.ndarray, relaxations: float | None = None) -> Mean:
    """Mean without the approach to equilibrium, and no surer than a thermostat allows.

    The heat of a thermostatted molecule comes and goes with the relaxation time τ of its thermostat, and half of the variance of its kinetic energy,
    and of its potential energy, is such heat (equipartition). Over a time L the mean of either is thus uncertain by at least σ √(τ / L). A series of a few
    τ that happens to hold still does not show this in its own autocorrelation.

    Parameters
    ----------
    values : (n_samples,) of a quantity that follows the heat.
    relaxations : L / τ of the whole series; no such limit where None.
    """
    start = equilibrated_from(values)
    mean = mean_with_error(values[start:])
    if relaxations is None or mean.n_samples < 2:
        return mean
    most = max(relaxations * mean.n_samples / len(values), 1.0)
    return mean if mean.n_independent <= most else replace(mean, error=mean.deviation / math.sqrt(most), n_independent=most)


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Centred running mean (n_samples,); near the ends the window shrinks to stay centred."""
    x = _series(values)
    total = np.concatenate([[0.0], np.cumsum(x)])
    index = np.arange(len(x))
    half = np.minimum(np.minimum(index, index[::-1]), max(width, 1) // 2)
    return (total[index + half + 1] - total[index - half]) / (2 * half + 1)


def plus_minus(value: float, error: float) -> str:
    """'0.012 ± 0.003': as many digits as the error carries (two of its own)."""
    if not np.isfinite(error) or error <= 1e-12:
        return f"{round(value, 12):.4g}"
    digits = int(max(1 - np.floor(np.log10(error)), 0))
    if digits > 6 or error < 1e-4 * abs(value):
        return f"{value:.5g} ± {error:.1g}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _series(values: np.ndarray) -> np.ndarray:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"A series is one-dimensional and not empty, got shape {x.shape}.")
    if not np.all(np.isfinite(x)):
        raise ValueError(f"Sample {int(np.argmin(np.isfinite(x)))} of the series is not finite.")
    return x
