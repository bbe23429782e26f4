"""Copies: the same geometry again, turned, moved or with its atoms in another order; and frames so near that they say the same.

Copies weigh their geometry twice; across training and validation they make the validation error a memory test; with other
energies they contradict each other. Frames are compared within one composition by a k-d tree over their fingerprints
(`geometry`), so that 100 000 frames take seconds.
"""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.spatial import cKDTree

from potentials.data.cleaning.finding import Finding, finding
from potentials.data.cleaning.robust import grouped
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable

NEIGHBOURS = 24  # nearest frames that are looked at; denser data lose nothing but which of many copies is named
AXES = 8  # directions in which near frames are searched
FEW = 20  # distances; where there are fewer, frames come near each other by chance, and the limit is lowered
SAME_SUMS = 1e-6  # relative; sums over all pairs, of positions with at least six decimals


def copies(table: FrameTable, settings: CleaningSettings) -> Iterable[Finding]:
    """Exact copies, copies across training and validation, near copies, contradicting labels."""
    other, apart = originals(table, settings)
    copy = other >= 0
    exact = copy & (apart <= settings.exact_copy)
    off = np.zeros(len(table))
    off[copy] = (table.energy[copy] - table.energy[other[copy]]) / table.n_atoms[copy]
    off[~np.isfinite(off)] = 0.0
    contradicts = exact & (np.abs(off) > settings.contradiction)
    across = exact & (table.held_out != table.held_out[other])
    yield from finding("contradiction", "{n} with the geometry of another and a different energy: levels of theory, charges or spins are mixed, or labels are wrong.",
                       contradicts, np.abs(off), settings.contradiction, "eV/atom", others=other)
    yield from finding("copy across the split", "{n} in both training and validation: the validation error would be a test of memory.",
                       across & ~contradicts, apart, settings.exact_copy, "Å", others=other, doubtless=np.ones(len(table), dtype=bool))
    yield from finding("exact copy", "{n} with the geometry of an earlier one, as it is, turned, or with its atoms in another order.",
                       exact & ~across & ~contradicts, apart, settings.exact_copy, "Å", others=other)
    near = copy & ~exact
    leaks = near & (table.held_out != table.held_out[other])
    yield from finding("near copy across the split", "{n} of training so near to one of validation that the validation error is too good.",
                       leaks, apart, settings.near_copy, "Å", others=other)
    correlated = (near & ~leaks).sum() > settings.correlated * len(table)
    advice = ": the steps of a trajectory. Keep fewer of them, and split by time." if correlated else ", too few to matter."
    yield from finding("near copy", "{n} so near to another one that they add little" + advice,
                       near & ~leaks, apart, settings.near_copy, "Å", others=other, note=not correlated)


def originals(table: FrameTable, settings: CleaningSettings) -> tuple[np.ndarray, np.ndarray]:
    """For each frame the one that it is a copy of, (n_frames,), -1 where it is none, and how far apart they are, Å.

    Frames of validation come first, then the order of the files: what is held out stays as it is, and a frame is a copy of
    one that is kept, so that leaving out all copies leaves one of each.
    """
    other = np.full(len(table), -1, dtype=np.int64)
    apart = np.full(len(table), np.inf)
    for frames in grouped(table.composition, table.finite & (table.n_atoms > 1)).values():
        frames = frames[np.argsort(~table.held_out[frames], kind="stable")]
        frames = _collapse(table, frames, settings.exact_copy, other, apart)
        _near(table, frames, settings.near_copy, other, apart)
        _reordered(table, frames[other[frames] < 0], settings.contradiction / 10, other, apart)
    for frames in grouped(table.composition, table.finite & (table.n_atoms == 1)).values():  # a lone atom has one geometry, if it has no cell
        for cell in {tuple(c) for c in table.distances[frames]}:
            same = frames[(table.distances[frames] == cell).all(axis=1) & (table.charge[frames] == table.charge[frames[0]])]
            other[same[1:]], apart[same[1:]] = same[:1], 0.0
    return other, apart


def _collapse(table: FrameTable, frames: np.ndarray, resolution: float, other: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Mark what falls into one bin of `resolution` with an earlier frame; the frames that are left, in the same order."""
    if len(frames) < 2:
        return frames
    binned = np.round(table.distances[frames] / resolution).astype(np.int64)
    _, first, where = np.unique(binned, axis=0, return_index=True, return_inverse=True)
    original = frames[first[where.ravel()]]
    again = original != frames
    other[frames[again]], apart[frames[again]] = original[again], _between(table, frames[again], original[again])
    return frames[~again]


def _near(table: FrameTable, frames: np.ndarray, limit: float, other: np.ndarray, apart: np.ndarray) -> None:
    """Mark frames within `limit` of one that is kept, going through them in order."""
    if len(frames) < 2:
        return
    points = table.distances[frames].astype(np.float64)
    used = int(points.any(axis=0).sum())
    if not used:
        return
    limit *= min(1.0, used / FEW)
    bound = limit * np.sqrt(used)
    main = _main_axes(points)  # distances along them are at most the whole ones: nothing near is missed
    tree = cKDTree(main)
    with_company = np.flatnonzero(np.isfinite(tree.query(main, k=2, distance_upper_bound=bound)[0][:, 1]))
    if not len(with_company):
        return
    _, near = tree.query(main[with_company], k=min(NEIGHBOURS, len(frames)), distance_upper_bound=bound)
    kept = np.ones(len(frames), dtype=bool)
    for place, neighbours in zip(with_company, near):
        earlier = neighbours[neighbours < place]
        earlier = earlier[kept[earlier]]
        if not len(earlier):
            continue
        d = np.sqrt(((points[earlier] - points[place]) ** 2).sum(axis=1) / used)
        if d.min() < limit:
            kept[place] = False
            other[frames[place]], apart[frames[place]] = frames[earlier[d.argmin()]], d.min()


def _main_axes(points: np.ndarray) -> np.ndarray:
    """The points in the few directions in which they spread most, (n, AXES): a k-d tree is fast there, and slow in all of them."""
    centred = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # ascending
    return centred @ directions[:, -AXES:]


def _reordered(table: FrameTable, frames: np.ndarray, energy: float, other: np.ndarray, apart: np.ndarray) -> None:
    """Mark frames with the same sums over pairs and the same energy as an earlier one: its atoms stand in another order."""
    if len(frames) < 2:
        return
    sums = table.sums[frames]
    scale = np.abs(sums).max(axis=0)
    scaled = sums / np.where(scale > 0, scale, 1.0) / SAME_SUMS
    d, near = cKDTree(scaled).query(scaled, k=min(4, len(frames)), distance_upper_bound=2.0)
    for place in np.flatnonzero(np.isfinite(d[:, 1])):
        for neighbour in near[place]:
            if neighbour < place and other[frames[neighbour]] < 0 and _alike(table, frames[neighbour], frames[place], energy):
                other[frames[place]], apart[frames[place]] = frames[neighbour], 0.0
                break


def _alike(table: FrameTable, a: int, b: int, energy: float) -> bool:
    """Whether two frames have the same cell, and energies within `energy` eV/atom where both have one."""
    off = abs(table.energy[a] - table.energy[b]) / table.n_atoms[a]
    return bool(np.allclose(table.distances[a, -6:], table.distances[b, -6:], atol=1e-3) and not off > energy)


def _between(table: FrameTable, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = table.distances[a].astype(np.float64) - table.distances[b]
    used = (table.distances[a] != 0).sum(axis=1)
    return np.sqrt((difference**2).sum(axis=1) / np.maximum(used, 1))
