"""Choosing points that are far from each other and from what is known (farthest point sampling, Gonzalez 1985)."""
from __future__ import annotations

import numpy as np


def farthest_points(points: np.ndarray, n: int, known: np.ndarray | None = None, first: int = 0) -> list[int]:
    """Points one by one, each the farthest from all that were chosen before and from what is known.

    Parameters
    ----------
    points : (n_points, n_features).
    n : how many; fewer where the rest lies exactly on points that are chosen or known.
    known : (n_known, n_features) points that count as chosen.
    first : the first choice where nothing is known.

    Returns
    -------
    Indices in the order of choice; of two points equally far the first.

    Source: T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985).
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"points must be (n_points, n_features), got shape {points.shape}.")
    if n <= 0 or not len(points):
        return []
    chosen: list[int] = []
    nearest = np.full(len(points), np.inf)  # squared distance to what is chosen or known
    if known is not None and len(known):
        for row in np.asarray(known, dtype=np.float64):
            nearest = np.minimum(nearest, np.square(points - row).sum(1))
    else:
        chosen, nearest = [int(first)], np.square(points - points[first]).sum(1)
    while len(chosen) < n:
        farthest = int(np.argmax(nearest))
        if not nearest[farthest] > 0:
            break
        chosen.append(farthest)
        nearest = np.minimum(nearest, np.square(points - points[farthest]).sum(1))
    return chosen


def uncertain_and_diverse(uncertainty: np.ndarray, points: np.ndarray, n: int, least: float, most: float = np.inf, known: np.ndarray | None = None,
                          pool: int = 10) -> list[int]:  # fmt: skip
    """Which configurations to label: of the most uncertain ones those that lie far apart.

    Parameters
    ----------
    uncertainty : (n_points,), of each configuration; one that is not finite is left out.
    points : (n_points, n_features), descriptors.
    n : how many at most.
    least, most : configurations below the one are known already; above the other the potential has lost its way, and so has what it says of them.
    known : (n_known, n_features) descriptors of what is labelled.
    pool : the choice is among so many times n of the most uncertain ones.

    Returns
    -------
    Indices in the order of choice.
    """
    uncertainty = np.asarray(uncertainty, dtype=np.float64)
    if len(uncertainty) != len(points):
        raise ValueError(f"{len(uncertainty)} uncertainties for {len(points)} configurations.")
    candidates = np.flatnonzero((uncertainty >= least) & (uncertainty <= most))  # NaN is neither
    candidates = candidates[np.argsort(-uncertainty[candidates], kind="stable")][: pool * max(n, 0)]
    return [int(candidates[k]) for k in farthest_points(np.asarray(points)[candidates], n, known)]
