r"""Is a potential as unsure as it is wrong? Its spread against its errors.

If errors x are normal with the standard deviations s that the potential states, the share of |x/s| below the p-quantile is p, for every p. The curve of
the one against the other is the calibration curve, and the area between it and the diagonal the miscalibration area, from 0 (honest) to 0.5.

A spread that is wrong by one factor can be mended by it: the factor that makes the labels likeliest is the root mean square of x/s. It is found on one half
of the values and judged on the other.

K. Tran et al., Mach. Learn.: Sci. Technol. 1, 025006 (2020); V. Kuleshov et al., ICML 80, 2796 (2018).
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVELS = np.linspace(0.0, 1.0, 101)
LEAST = 20  # values below which nothing is said


@dataclass(frozen=True)
class Calibration:
    """The curve and what sums it up."""

    expected: np.ndarray  # (101,) probabilities
    observed: np.ndarray  # (101,) shares of the errors within the interval that the spread states for each
    scaled: np.ndarray  # (101,) the same after multiplying spreads by `scale`, on the half that it was not found on
    area: float
    area_scaled: float
    scale: float  # by which spreads are to be multiplied
    spearman: float  # of the spread with the absolute error
    finds_worst: float | None  # area under the receiver's curve: does the spread find the tenth of largest errors?
    n: int

    @property
    def summary(self) -> dict[str, Any]:
        return {"miscalibration_area": self.area, "miscalibration_area_scaled": self.area_scaled, "scale": self.scale, "spearman": self.spearman,
                "auroc_worst_tenth": self.finds_worst, "values": self.n}


def calibration(errors: np.ndarray, spreads: np.ndarray) -> Calibration | None:
    """Compare errors with the spreads that go with them; None where there are too few, or no spread at all.

    Parameters
    ----------
    errors : (n,) prediction less label.
    spreads : (n,) standard deviations that the potential states, in the same unit.
    """
    errors, spreads = np.asarray(errors, dtype=float).ravel(), np.asarray(spreads, dtype=float).ravel()
    known = np.isfinite(errors) & np.isfinite(spreads)
    errors, spreads = errors[known], spreads[known]
    if len(errors) < LEAST or not (spreads > 0).any():
        return None
    z = np.abs(errors) / np.maximum(spreads, 1e-12 * spreads.max())
    half = np.random.default_rng(0).random(len(z)) < 0.5  # drawn, for neighbours in a file are alike
    scale = float(np.sqrt(np.mean(np.square(z[half])))) if half.any() else 1.0
    observed, scaled = _shares(z), _shares(z[~half] / max(scale, 1e-300))
    return Calibration(LEVELS, observed, scaled, _area(observed), _area(scaled), scale, spearman(spreads, np.abs(errors)), finds_worst(spreads, errors),
                       len(z))


def binned(errors: np.ndarray, spreads: np.ndarray, bins: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Root mean squares of spread and error in bins of equally many values, by rising spread: two arrays (<= bins,)."""
    order = np.argsort(spreads, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, max(1, len(order) // 10))) if len(part)]
    rms = lambda x: float(np.sqrt(np.mean(np.square(x))))
    return np.array([rms(spreads[p]) for p in parts]), np.array([rms(errors[p]) for p in parts])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation; ties share their rank, and it is 0 where one does not vary."""
    a, b = _ranks(x), _ranks(y)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0


def auroc(doubts: np.ndarray, bad: np.ndarray) -> float | None:
    """Probability that one drawn from the bad is doubted more than one drawn from the rest, ties by half: 0.5 says nothing, 1 parts them; None without both.

    Parameters
    ----------
    doubts : (n,).
    bad : (n,) bool.
    """
    n_bad, n_rest = int(bad.sum()), int((~bad).sum())
    if not n_bad or not n_rest:
        return None
    return float((_ranks(doubts)[bad].sum() - n_bad * (n_bad + 1) / 2) / (n_bad * n_rest))


def finds_worst(doubts: np.ndarray, errors: np.ndarray, share: float = 0.1) -> float | None:
    """`auroc` of the doubts for the share of largest errors."""
    size = np.abs(errors)
    return auroc(np.asarray(doubts), size > np.quantile(size, 1 - share)) if len(size) else None


def _ranks(x: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - 0.5 * (count - 1))[place]


def _shares(z: np.ndarray) -> np.ndarray:
    """Share of |z| within the central interval of each level of a normal distribution, (101,)."""
    if not len(z):
        return LEVELS.copy()
    p = np.array([math.erf(v / math.sqrt(2.0)) for v in z])  # the level that each value just reaches
    return np.searchsorted(np.sort(p), LEVELS, side="right") / len(p)


def _area(observed: np.ndarray) -> float:
    return float(np.trapezoid(np.abs(observed - LEVELS), LEVELS))
