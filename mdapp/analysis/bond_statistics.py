"""Distributions of bond lengths and angles, kind by kind, beside the start or a reference trajectory.

A kind is the pair (or triple) of elements. Two distributions p and q on the same bins are compared by
half of the integral of |p - q|, 0 where they agree and 1 where they share nothing.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import BlockMeans
from mdapp.analysis.chunks import Chunk, System, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns


@dataclass(frozen=True)
class Distribution:
    """Distribution of one internal coordinate over all of a kind and all frames."""

    kind: str  # such as C-H or C-N-H
    unit: str  # Å or deg
    edges: np.ndarray  # (n_bins + 1,)
    density: np.ndarray  # (n_bins,) per unit, its integral 1 less what fell outside
    density_error: np.ndarray  # (n_bins,) standard error
    mean: float
    mean_error: float
    deviation: float  # standard deviation over all of a kind and all frames
    start: float  # mean over those of the kind in the first frame
    count: int  # how many there are in a frame

    @property
    def centres(self) -> np.ndarray:
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def difference(self, other: Distribution) -> float:
        """Half of the integral of |p - q|: 0 for equal distributions, 1 for those without overlap.

        Raises
        ------
        ValueError : of another kind or on other bins.
        """
        if self.kind != other.kind or not np.array_equal(self.edges, other.edges):
            raise ValueError(f"Distributions of {self.kind} ({len(self.density)} bins) and {other.kind} ({len(other.density)} bins) cannot be compared; "
                             "take one kind and the same bins.")
        return float(0.5 * np.sum(np.abs(self.density - other.density) * np.diff(self.edges)))


@dataclass(frozen=True)
class BondStatistics(Result):
    """Distributions of all bonds and angles by kind."""

    bonds: dict[str, Distribution]
    angles: dict[str, Distribution]
    n_frames: int

    def differences(self, reference: BondStatistics) -> dict[str, float]:
        """For each kind that both have the difference of the distributions; see `Distribution.difference`."""
        pairs = ((mine, theirs) for mine, theirs in ((self.bonds, reference.bonds), (self.angles, reference.angles)))
        return {kind: mine[kind].difference(theirs[kind]) for mine, theirs in pairs for kind in mine if kind in theirs}

    def to_csv(self, path: Path) -> None:
        """One line for each bin of each kind."""
        rows = [d for group in (self.bonds, self.angles) for d in group.values()]
        each = lambda values: np.concatenate(values) if values else np.zeros(0)
        write_columns(path, {"kind": [d.kind for d in rows for _ in d.density], "unit": [d.unit for d in rows for _ in d.density],
                             "centre": each([d.centres for d in rows]), "density": each([d.density for d in rows]),
                             "density_error": each([d.density_error for d in rows])})


def bond_statistics(trajectory: Trajectory, bonds: np.ndarray | None = None, n_bins: int = 160) -> BondStatistics:
    """Distributions of bond lengths (0.6 to 3 Å) and angles (0 to 180°).

    Parameters
    ----------
    trajectory : read once, in chunks; molecules are made whole.
    bonds : (n_bonds, 2) atoms; those of the topology or of the first frame where not given.
    n_bins : of each distribution.

    Raises
    ------
    ValueError : no bonds.
    """
    return tally(BondStatisticsTally(bonds, n_bins), trajectory)


class _Kind:
    def __init__(self, name: str, members: np.ndarray, edges: np.ndarray, unit: str):
        self.name, self.members, self.edges, self.unit = name, members, edges, unit
        self.histogram, self.moments = BlockMeans(), BlockMeans()
        self.start: float | None = None

    def add(self, values: np.ndarray) -> None:
        """Values (n_frames, n_members)."""
        if self.start is None:
            self.start = float(values[0].mean())
        n_bins = len(self.edges) - 1
        place = np.floor((values - self.edges[0]) / (self.edges[1] - self.edges[0])).astype(int)
        inside = (place >= 0) & (place < n_bins)
        rows = np.broadcast_to(np.arange(len(values))[:, None], place.shape)
        counts = np.zeros((len(values), n_bins))
        np.add.at(counts, (rows[inside], place[inside]), 1.0)
        self.histogram.add(counts / values.shape[1] / (self.edges[1] - self.edges[0]))
        self.moments.add(np.stack([values.mean(axis=1), (values**2).mean(axis=1)], axis=1))

    def result(self) -> Distribution:
        mean, square = self.moments.mean
        return Distribution(self.name, self.unit, self.edges, self.histogram.mean, self.histogram.error, float(mean), float(self.moments.error[0]),
                            float(np.sqrt(max(square - mean**2, 0.0))), self.start if self.start is not None else np.nan, len(self.members))


class BondStatisticsTally:
    """Counts lengths and angles; see `bond_statistics`."""

    def __init__(self, bonds: np.ndarray | None = None, n_bins: int = 160):
        self.bonds, self.n_bins = bonds, n_bins
        self._n_frames = 0
        self._lengths: list[_Kind] = []
        self._angles: list[_Kind] = []

    def add(self, chunk: Chunk) -> None:
        if not self._n_frames:
            self._begin(chunk.system)
        self._n_frames += len(chunk)
        x = chunk.whole
        for kind in self._lengths:
            kind.add(np.linalg.norm(x[:, kind.members[:, 1]] - x[:, kind.members[:, 0]], axis=-1))
        for kind in self._angles:
            u, v = (x[:, kind.members[:, side]] - x[:, kind.members[:, 1]] for side in (0, 2))
            kind.add(np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), np.einsum("...x,...x->...", u, v))))

    def result(self) -> BondStatistics:
        return BondStatistics({k.name: k.result() for k in self._lengths}, {k.name: k.result() for k in self._angles}, self._n_frames)

    def _begin(self, system: System) -> None:
        bonds = system.bonds if self.bonds is None else np.asarray(self.bonds, dtype=int).reshape(-1, 2)
        if not len(bonds):
            raise ValueError("There are no covalent bonds, and so no lengths and angles of bonds.")
        symbols = system.symbols
        kinds: dict[str, list[tuple[int, ...]]] = {}
        for a, b in bonds.tolist():
            kinds.setdefault("-".join(sorted((symbols[a], symbols[b]))), []).append((a, b))
        self._lengths = _sorted(kinds, np.linspace(0.6, 3.0, self.n_bins + 1), "Å")
        kinds = {}
        for a, b, c in angles_of(len(system), bonds).tolist():
            first, last = sorted((symbols[a], symbols[c]))
            kinds.setdefault(f"{first}-{symbols[b]}-{last}", []).append((a, b, c))
        self._angles = _sorted(kinds, np.linspace(0.0, 180.0, self.n_bins + 1), "deg")


def angles_of(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """(n_angles, 3) atoms a-b-c, a < c, of all pairs of bonds that share an atom b."""
    partners: list[list[int]] = [[] for _ in range(n_atoms)]
    for a, b in np.asarray(bonds).tolist():
        partners[a].append(b)
        partners[b].append(a)
    rows = [(a, b, c) for b, near in enumerate(partners) for k, a in enumerate(sorted(near)) for c in sorted(near)[k + 1 :]]
    return np.array(rows, dtype=int).reshape(-1, 3)


def _sorted(kinds: Mapping[str, list[tuple[int, ...]]], edges: np.ndarray, unit: str) -> list[_Kind]:
    return [_Kind(name, np.array(members), edges, unit) for name, members in sorted(kinds.items())]
