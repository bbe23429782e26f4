"""How many minima are there still to find, by how often those found were seen.

Good-Turing: of the visits to come, a share of f1/N goes to minima not seen yet, where f1 of them were seen once in N visits; 1 - f1/N is the coverage.
Chao1: at least f1 (f1 - 1) / (2 (f2 + 1)) more minima exist, f2 having been seen twice (the bias-corrected form). Both speak of minima that this search
can reach, weighed by how easily it does: a lower bound, as long as a large share was seen once.

I. J. Good, Biometrika 40, 237 (1953); A. Chao, Scand. J. Statist. 11, 265 (1984) and Biometrics 43, 783 (1987) for the interval.
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Completeness:
    """What a search has seen of what it can reach."""

    found: int  # distinct minima
    visits: int  # arrivals at them, from elsewhere
    once: int  # minima seen once
    twice: int
    coverage: float  # Good-Turing: share of the next arrivals that would be at minima that are known; 0 to 1
    expected: float  # Chao1: how many there are, at least
    low: float  # of `expected`, 95 %
    high: float

    @property
    def share(self) -> float:
        """Found over expected, 0 to 1: the completeness."""
        return self.found / self.expected if self.expected > 0 else 0.0


def completeness(arrivals: Iterable[int]) -> Completeness:
    """Estimates from the number of arrivals at each minimum.

    Parameters
    ----------
    arrivals : one number a minimum; zeros are left out.
    """
    counts = np.array([n for n in arrivals if n > 0], dtype=np.int64)
    found, visits, once, twice = len(counts), int(counts.sum()), int((counts == 1).sum()), int((counts == 2).sum())
    if not found:
        return Completeness(0, 0, 0, 0, 0.0, 0.0, 0.0, math.inf)
    coverage = 1.0 - once / visits
    k = (visits - 1) / visits
    unseen = k * once * (once - 1) / (2 * (twice + 1))
    ratio, f = once / max(twice, 1), max(twice, 1)
    if twice:
        variance = f * (0.5 * k * ratio**2 + k**2 * ratio**3 + 0.25 * k**2 * ratio**4)
    else:
        variance = k * once * (once - 1) / 2 + k**2 * once * (2 * once - 1) ** 2 / 4 - k**2 * once**4 / (4 * max(found + unseen, 1.0))
    if unseen <= 0:
        return Completeness(found, visits, once, twice, coverage, float(found), float(found), float(found))
    spread = math.exp(1.96 * math.sqrt(math.log1p(max(variance, 0.0) / unseen**2)))
    return Completeness(found, visits, once, twice, coverage, found + unseen, found + unseen / spread, found + unseen * spread)
