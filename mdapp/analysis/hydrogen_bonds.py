"""Hydrogen bonds: which there are, how often, how many in each frame.

Donors are N, O and S that carry a hydrogen, acceptors N and O. Two criteria:

- "baker-hubbard": H...A below 2.5 Å and the angle D-H...A above 120°. E. N. Baker and R. E. Hubbard, Prog. Biophys. Mol. Biol. 44, 97 (1984);
- "wernet-nilsson": D...A below 3.3 Å - 0.00044 δ² with the angle δ = H-D...A in degrees, below 45°. P. Wernet et al., Science 304, 995 (2004).

In a small system all pairs of hydrogens and acceptors are measured, many frames at once; in a large one neighbours are searched frame by frame, so that a box
of water takes no longer than its bonds are many. Periodic walls are seen through.
"""
from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.chunks import Chunk, System, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.statistics import Mean, mean_with_error
from mdapp.analysis.table import write_columns

CRITERIA = {"baker-hubbard": 2.5, "wernet-nilsson": 3.3}  # Å, largest H...A and D...A
DENSE = 10_000  # pairs of hydrogens and acceptors that are all measured


@dataclass(frozen=True)
class HydrogenBonds(Result):
    """Hydrogen bonds along a trajectory, the most frequent first."""

    time_ps: np.ndarray  # (n_frames,)
    count: np.ndarray  # (n_frames,) bonds in each frame
    bonds: np.ndarray  # (n_bonds, 3) donor, hydrogen, acceptor
    labels: tuple[str, ...]  # (n_bonds,) such as ALA2-N-H...ACE1-O
    share: np.ndarray  # (n_bonds,) of the frames
    share_error: np.ndarray  # (n_bonds,) standard error
    criterion: str
    events: tuple[np.ndarray, ...]  # for each bond, the frames in which it is there

    @property
    def mean_count(self) -> Mean:
        return mean_with_error(self.count.astype(float))

    def to_csv(self, path: Path) -> None:
        """One line for each bond."""
        write_columns(path, {"donor": self.bonds[:, 0], "hydrogen": self.bonds[:, 1], "acceptor": self.bonds[:, 2], "label": self.labels,
                             "share": self.share, "share_error": self.share_error})


def hydrogen_bonds(trajectory: Trajectory, criterion: str = "baker-hubbard", *, water: bool = False, least_share: float = 0.0) -> HydrogenBonds:
    """Hydrogen bonds of a trajectory.

    Parameters
    ----------
    trajectory : read once, in chunks.
    criterion : one of `CRITERIA`.
    water : count bonds of water molecules too.
    least_share : bonds that are rarer are not listed; they still count in `count`.

    Raises
    ------
    ValueError : another criterion.
    """
    return tally(HydrogenBondTally(criterion, water=water, least_share=least_share), trajectory)


class HydrogenBondTally:
    """Finds hydrogen bonds frame by frame; see `hydrogen_bonds`."""

    def __init__(self, criterion: str = "baker-hubbard", *, water: bool = False, least_share: float = 0.0):
        if criterion not in CRITERIA:
            raise ValueError(f"No criterion '{criterion}'; known: {', '.join(CRITERIA)}.")
        self.criterion, self.water, self.least_share = criterion, water, least_share
        self._times: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._n_frames = 0
        self._found: dict[tuple[int, int, int], array[int]] = {}  # frames of each bond
        self._system: System | None = None

    def add(self, chunk: Chunk) -> None:
        if self._system is None:
            self._system = chunk.system
            self._donors, self._hydrogens, self._acceptors = _parts(chunk.system, water=self.water)
        self._times.append(chunk.time_ps)
        counts = np.zeros(len(chunk), dtype=int)
        for frame, triples in self._candidates(chunk.positions, chunk.cells, chunk.system.pbc):
            holds = self._holds(chunk.positions[frame[:, None], triples], chunk.cells[frame], chunk.system.pbc)
            frame, triples = frame[holds], triples[holds]
            counts += np.bincount(frame, minlength=len(chunk))
            for k, bond in zip(frame.tolist(), map(tuple, triples.tolist())):
                self._found.setdefault(bond, array("q")).append(self._n_frames + k)
        self._counts.append(counts)
        self._n_frames += len(chunk)

    def result(self) -> HydrogenBonds:
        if self._system is None:
            raise ValueError("The trajectory holds no frames.")
        n = self._n_frames
        chosen = sorted((bond for bond, frames in self._found.items() if len(frames) >= self.least_share * n), key=lambda b: (-len(self._found[b]), b))
        events = tuple(np.array(self._found[bond]) for bond in chosen)
        errors = [_share_error(frames, n) for frames in events]
        name = lambda atom: str(self._system.topology.atom(atom))
        labels = tuple(f"{name(d)}-{self._system.topology.atom(h).name}...{name(a)}" for d, h, a in chosen)
        return HydrogenBonds(np.concatenate(self._times), np.concatenate(self._counts), np.array(chosen, dtype=np.int64).reshape(-1, 3), labels,
                             np.array([len(frames) / n for frames in events]), np.array(errors), self.criterion, events)

    def _candidates(self, positions: np.ndarray, cells: np.ndarray, pbc: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Frames (n,) and triples (n, 3) that are close enough, some frames at a time."""
        if not len(self._hydrogens) or not len(self._acceptors):
            return
        reach, starts = CRITERIA[self.criterion], self._hydrogens if self.criterion == "baker-hubbard" else self._donors
        n_pairs = len(starts) * len(self._acceptors)
        if n_pairs > DENSE:
            for k, frame in enumerate(positions):
                triples = self._searched(frame, cells[k], pbc, reach, starts)
                yield np.full(len(triples), k), triples
            return
        others = (self._acceptors != self._donors[:, None]) & (self._acceptors != self._hydrogens[:, None])
        for begin in range(0, len(positions), max(1, 1_000_000 // n_pairs)):
            here = slice(begin, begin + max(1, 1_000_000 // n_pairs))
            apart = positions[here][:, None, self._acceptors] - positions[here][:, starts][:, :, None]
            apart = _nearest(apart, cells[here][:, None], pbc)
            frame, h, a = np.nonzero((np.einsum("fhax,fhax->fha", apart, apart) < reach**2) & others)
            yield begin + frame, np.stack([self._donors[h], self._hydrogens[h], self._acceptors[a]], axis=1)

    def _searched(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float, starts: np.ndarray) -> np.ndarray:
        """(n, 3) of one frame, by a search for neighbours."""
        from mdapp.topology.bonds import close_pairs

        members = np.unique(np.concatenate([starts, self._acceptors]))
        i, j, _ = close_pairs(positions[members], cell, pbc, reach)
        i, j = np.concatenate([members[i], members[j]]), np.concatenate([members[j], members[i]])
        i, j = i[np.isin(j, self._acceptors)], j[np.isin(j, self._acceptors)]
        order = np.argsort(i, kind="stable")
        first, last = (np.searchsorted(i[order], starts, side) for side in ("left", "right"))
        h = np.repeat(np.arange(len(starts)), last - first)
        before = np.concatenate([[0], np.cumsum(last - first)[:-1]])
        acceptor = j[order][np.arange(len(h)) + np.repeat(first - before, last - first)]
        donor, hydrogen = self._donors[h], self._hydrogens[h]
        other = (acceptor != donor) & (acceptor != hydrogen)
        return np.unique(np.stack([donor, hydrogen, acceptor], axis=1)[other], axis=0).reshape(-1, 3)

    def _holds(self, positions: np.ndarray, cells: np.ndarray, pbc: np.ndarray) -> np.ndarray:
        """Which triples are bonds; positions (n, 3, 3) of donor, hydrogen and acceptor, cells (n, 3, 3)."""
        d, h, a = positions[:, 0], positions[:, 1], positions[:, 2]
        hd, ha, da = (_nearest(x[:, None], cells, pbc)[:, 0] for x in (d - h, a - h, a - d))
        if self.criterion == "baker-hubbard":
            return (np.linalg.norm(ha, axis=1) < CRITERIA[self.criterion]) & (_angle_deg(hd, ha) > 120.0)
        bent = _angle_deg(-hd, da)
        return (np.linalg.norm(da, axis=1) < CRITERIA[self.criterion] - 0.00044 * bent**2) & (bent < 45.0)


def _parts(system: System, *, water: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Donors (n_hydrogens,), their hydrogens (n_hydrogens,), and the acceptors."""
    in_water = np.zeros(len(system), dtype=bool)
    if not water:
        in_water[[atom.index for atom in system.topology._atoms if atom.residue.is_water]] = True
    donor_of = {}
    for a, b in system.bonds.tolist():
        for hydrogen, donor in ((a, b), (b, a)):
            if system.numbers[hydrogen] == 1 and system.numbers[donor] in (7, 8, 16) and not in_water[donor]:
                donor_of[hydrogen] = donor
    hydrogens = np.array(sorted(donor_of), dtype=np.int64)
    donors = np.array([donor_of[h] for h in hydrogens.tolist()], dtype=np.int64)
    return donors, hydrogens, np.flatnonzero(np.isin(system.numbers, (7, 8)) & ~in_water)


def _nearest(vectors: np.ndarray, cells: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Short vectors (..., n, 3) at their nearest image in cells (..., 3, 3)."""
    if not pbc.any():
        return vectors
    boxes = cells * pbc[:, None]
    return vectors - np.rint(vectors @ np.linalg.pinv(boxes)) @ boxes


def _angle_deg(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), np.einsum("...x,...x->...", u, v)))


def _share_error(frames: Sequence[int] | np.ndarray, n: int) -> float:
    there = np.zeros(n)
    there[np.asarray(frames)] = 1.0
    return 0.0 if n > 1 and there.all() else mean_with_error(there).error
