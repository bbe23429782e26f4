"""Saddles for a library of minima: pair after pair, the most urgent first, each written down when it is done."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mdapp.minima.landscape.network import distances, next_pairs
from mdapp.minima.landscape.saddles import Crossed, SaddleOptions, saddles_between
from mdapp.minima.landscape.store import Landscape
from mdapp.minima.landscape.surface import Surface


@dataclass(frozen=True)
class Explored:
    """What a search for saddles did in this session."""

    pairs: int
    new_saddles: int
    evaluations: int
    left: int  # pairs that it was asked for and did not find to try


def find_saddles(landscape: Landscape, surface: Surface, pairs: int, options: SaddleOptions | None = None, lowest: int | None = None,
                 on_pair: Callable[[int, tuple[int, int], Crossed, int], None] | None = None, should_stop: Callable[[], bool] | None = None) -> Explored:
    """Try pairs of minima until `pairs` of them have been tried in all, those of earlier sessions included.

    Parameters
    ----------
    lowest : consider only so many minima, the lowest; `pairs` + 1 where not given: as many as that number of pairs can join.
    on_pair : called after each with the number tried, the pair, what came of it, and how many saddles were new.
    should_stop : asked between pairs.
    """
    minima = landscape.minima
    energies = minima.energies()
    among = np.argsort(energies, kind="stable")[: lowest or pairs + 1]
    apart = distances(minima.fingerprints())
    transitions = {(min(p), max(p)): n for p, n in minima.transitions().items() if p[0] != p[1]}
    positions, found, before = minima.positions(), 0, surface.evaluations
    done = 0
    while len(landscape.tried) < pairs and not (should_stop is not None and should_stop()):
        wanted = next_pairs(landscape.network(), _with_extras(apart, landscape.n_extra), landscape.tried, transitions, among)
        if not wanted:
            break
        pair = wanted[0]
        crossed = saddles_between(surface, minima.identity, positions[pair[0]], positions[pair[1]], options)
        new = landscape.add(pair, crossed)
        found, done = found + new, done + 1
        if on_pair is not None:
            on_pair(len(landscape.tried), pair, crossed, new)
    return Explored(done, found, surface.evaluations - before, max(0, pairs - len(landscape.tried)))


def find_frequencies(landscape: Landscape, surface: Surface, lowest: int, on_minimum: Callable[[int, np.ndarray], None] | None = None,
                     should_stop: Callable[[], bool] | None = None) -> int:
    """Harmonic frequencies of the lowest minima that have none yet; how many were computed."""
    minima, done = landscape.minima, 0
    positions = minima.positions()
    for k in np.argsort(minima.energies(), kind="stable")[:lowest].tolist():
        if k in landscape.frequencies or (should_stop is not None and should_stop()):
            continue
        found = surface.frequencies_cm1(positions[k], surface.hessian(positions[k]))
        landscape.add_frequencies(k, found)
        done += 1
        if on_minimum is not None:
            on_minimum(k, found)
    return done


def _with_extras(apart: np.ndarray, extras: int) -> np.ndarray:
    """Distances with rows for minima that only saddles know; those are never among the pairs to try."""
    if not extras:
        return apart
    return np.pad(apart, (0, extras), constant_values=1e3)
