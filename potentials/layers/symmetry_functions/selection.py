r"""A few of many descriptors, chosen on data.

First go those that hardly change, then one of each pair that says the same (correlation), then the rest is thinned:

================  ===========================================================================================================
method            what is kept
================  ===========================================================================================================
"cur"             columns with the largest weight in the leading right singular vectors, one by one, each projected out
"farthest"        the column that is farthest from all chosen ones, again and again
"correlation"     nothing more is thinned: all that are not too alike, up to the number asked for
================  ===========================================================================================================

Columns are standardised first, so that it hardly matters how large a function's values are; only those that stay below a thousandth of the largest
spread count less, for a function that is zero but for a few atoms would else seem to say more than any other. Earlier functions win ties.

G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018), Sec. II C.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

SMALLEST_SPREAD = 1e-10  # of a column's largest value
FULL_SPREAD = 1e-3  # of the largest spread of all; columns of less are not blown up to the size of the others


@dataclass(frozen=True)
class Selection:
    """How many descriptors of each element are kept, and how they are chosen."""

    keep: int = 0  # 0: all, nothing is chosen
    method: Literal["cur", "farthest", "correlation"] = "cur"
    correlation: float = 0.98  # of two columns that are more alike than this, the later one goes; 1: none goes
    atoms: int = 5000  # of each element that are looked at, evenly over the training data

    def __post_init__(self) -> None:
        if self.keep < 0 or self.atoms < 2:
            raise ValueError(f"keep must be 0 or more and atoms 2 or more, got {self.keep} and {self.atoms}.")
        if not 0 < self.correlation <= 1:
            raise ValueError(f"correlation must be above 0 and at most 1, got {self.correlation}.")


def selected(G: np.ndarray, wish: Selection) -> np.ndarray:
    """Columns of G (n_atoms, K) that are kept, ascending."""
    spread = G.std(axis=0)
    alive = np.flatnonzero(spread > SMALLEST_SPREAD * np.maximum(np.abs(G).max(axis=0), 1e-300))
    X = (G[:, alive] - G[:, alive].mean(axis=0)) / spread[alive]
    if wish.correlation < 1:
        kept = uncorrelated(X, wish.correlation)
        alive, X = alive[kept], X[:, kept]
    if len(alive):
        X = X * np.minimum(spread[alive] / (FULL_SPREAD * spread[alive].max()), 1.0)
    n = min(wish.keep or len(alive), len(alive))
    if n == len(alive):
        return alive
    if wish.method == "correlation":
        return alive[:n]
    return np.sort(alive[cur(X, n) if wish.method == "cur" else farthest(X, n)])


def uncorrelated(X: np.ndarray, limit: float) -> np.ndarray:
    """Columns of which no two are correlated by more than `limit`, the earlier of two kept; X has standardised columns."""
    C = np.abs(X.T @ X) / len(X)
    kept: list[int] = []
    for k in range(X.shape[1]):
        if not kept or C[k, kept].max() <= limit:
            kept.append(k)
    return np.array(kept, dtype=np.int64)


def farthest(X: np.ndarray, n: int) -> np.ndarray:
    """n columns by farthest-point sampling, beginning with the one farthest from the mean of all."""
    first = int(np.argmax(np.linalg.norm(X - X.mean(axis=1, keepdims=True), axis=0)))
    chosen, distance = [first], np.linalg.norm(X - X[:, [first]], axis=0)
    while len(chosen) < n:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(X - X[:, [chosen[-1]]], axis=0))
    return np.array(chosen)


def cur(X: np.ndarray, n: int) -> np.ndarray:
    """n columns by CUR: the largest entry of the leading right singular vector, then what it explains is taken out of all columns."""
    C, chosen = X.T @ X, []  # everything that is needed is in the K x K matrix
    while len(chosen) < n:
        v = np.linalg.eigh(C)[1][:, -1]
        v[chosen] = 0.0
        best = int(np.argmax(np.abs(v) - 1e-12 * np.arange(len(v))))
        if C[best, best] <= 1e-12 * len(X):  # nothing is left to explain: any of the others will do
            return np.array([*chosen, *[k for k in range(len(v)) if k not in chosen][: n - len(chosen)]])
        chosen.append(best)
        C = C - np.outer(C[:, best], C[best]) / C[best, best]
    return np.array(chosen)
