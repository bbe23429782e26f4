r"""How often runs fail: failures in the time that was simulated, with exact limits.

.. math:: \lambda = n / T, \qquad \left[ \tfrac{1}{2T} \chi^2_{\alpha/2, 2n}, \; \tfrac{1}{2T} \chi^2_{1-\alpha/2, 2n+2} \right]

n failures of runs that were together T long; a run that ended sound counts with its length alone. Where none has failed the lower limit is 0, and the upper one:
3.7 / T at 95 %, is all that can be said.

F. Garwood, Biometrika 28, 437 (1936).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FailureRate:
    """Failures per nanosecond of simulated time."""

    per_ns: float
    low_per_ns: float
    high_per_ns: float  # limits at `level`
    failures: int
    runs: int
    simulated_ps: float
    level: float


def failure_rate(time_ps: np.ndarray, failed: np.ndarray, level: float = 0.95) -> FailureRate:
    """Rate of failures of independent runs.

    Parameters
    ----------
    time_ps : (n_runs,) until it failed, or its length.
    failed : (n_runs,) bool.
    level : of the limits.

    Raises
    ------
    ValueError : no simulated time; a level that is not between 0 and 1.
    """
    from scipy.stats import chi2

    n, total = int(np.sum(failed)), float(np.sum(time_ps))
    if not total > 0:
        raise ValueError("The runs have no simulated time: there is no rate of failures.")
    if not 0 < level < 1:
        raise ValueError(f"The level must be between 0 and 1, got {level}.")
    tail = (1 - level) / 2
    low = chi2.ppf(tail, 2 * n) / 2 if n else 0.0
    high = chi2.ppf(1 - tail, 2 * n + 2) / 2
    return FailureRate(1000 * n / total, 1000 * low / total, 1000 * high / total, n, len(np.ravel(time_ps)), total, level)
