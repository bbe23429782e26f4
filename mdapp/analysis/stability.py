r"""The published measures of whether a simulation by a learned potential is to be believed.

================================  =====================================================================================
distance histogram error           :math:`\int |h(r) - h_{ref}(r)| dr` with h(r) the distribution of all interatomic distances, dimensionless
RDF deviation                      :math:`\int |g(r) - g_{ref}(r)| dr`, Å
bond deviation                     :math:`\max_{ij} | r_{ij} - r_{ij}^{start} |` in every frame, Å; stable while below 0.5 Å
================================  =====================================================================================

The first two compare means over trajectories. Two halves of the reference tell what deviation its own noise makes.

X. Fu, Z. Wu, W. Wang, T. Xie, S. Keten, R. Gomez-Bombarelli and T. Jaakkola, "Forces are not Enough", Trans. Mach. Learn. Res. (2023), sec. 3.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import BlockMeans
from mdapp.analysis.bonds import BROKEN_A, BondSeries, bond_lengths, bond_series
from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.rdf import RadialDistribution
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns


@dataclass(frozen=True)
class DistanceHistogram(Result):
    """Distribution of the distances between all pairs of atoms."""

    r_A: np.ndarray  # (n_bins,) centres
    h_per_A: np.ndarray  # (n_bins,) its integral 1 less what is beyond the last bin
    error_per_A: np.ndarray  # (n_bins,) standard error
    n_frames: int

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"r_A": self.r_A, "h_per_A": self.h_per_A, "error_per_A": self.error_per_A})


def distance_histogram(trajectory: Trajectory, r_max_A: float = 10.0, n_bins: int = 500) -> DistanceHistogram:
    """h(r) of a trajectory; molecules are made whole, and distances are those within the whole system, not to images.

    Parameters
    ----------
    r_max_A : end of the last bin; take the same for all that are to be compared.
    """
    return tally(DistanceHistogramTally(r_max_A, n_bins), trajectory)


class DistanceHistogramTally:
    """Counts distances; see `distance_histogram`."""

    def __init__(self, r_max_A: float = 10.0, n_bins: int = 500):
        if not r_max_A > 0 or n_bins < 1:
            raise ValueError(f"A histogram needs r_max_A > 0 and one bin at least, got {r_max_A} and {n_bins}.")
        self.edges = np.linspace(0.0, r_max_A, n_bins + 1)
        self._h = BlockMeans()

    def add(self, chunk: Chunk) -> None:
        from scipy.spatial.distance import pdist

        if len(chunk.system) < 2:
            raise ValueError("One atom has no distances.")
        width, n_bins = self.edges[1], len(self.edges) - 1
        rows = []
        for positions in chunk.whole:
            place = (pdist(positions) / width).astype(int)
            rows.append(np.bincount(place[place < n_bins], minlength=n_bins) / (len(place) * width))
        self._h.add(np.array(rows))

    def result(self) -> DistanceHistogram:
        return DistanceHistogram(0.5 * (self.edges[1:] + self.edges[:-1]), self._h.mean, self._h.error, self._h.n_frames)


def histogram_error(found: DistanceHistogram, reference: DistanceHistogram) -> float:
    """Integral of |h - h_ref|: 0 to 2, dimensionless.

    Raises
    ------
    ValueError : other bins.
    """
    _same_bins(found.r_A, reference.r_A)
    return float(np.sum(np.abs(found.h_per_A - reference.h_per_A)) * _width(found.r_A))


def rdf_deviation_A(found: RadialDistribution, reference: RadialDistribution) -> float:
    """Integral of |g - g_ref|, Å.

    Raises
    ------
    ValueError : other bins, another pair of kinds.
    """
    if found.pair != reference.pair:
        raise ValueError(f"g(r) of {'-'.join(found.pair)} and of {'-'.join(reference.pair)} cannot be compared.")
    _same_bins(found.r_A, reference.r_A)
    return float(np.sum(np.abs(found.g - reference.g)) * _width(found.r_A))


def bond_deviation(trajectory: Trajectory, start: np.ndarray | None = None, bonds: np.ndarray | None = None) -> BondSeries:
    """The worst bond of every frame against the start.

    Parameters
    ----------
    trajectory : read once, in chunks.
    start : (n_bonds,) lengths at the start, Å; those of the first frame where not given. A mean over a reference trajectory gives the published measure.
    bonds : (n_bonds, 2); those of the topology or of the first frame where not given.

    Raises
    ------
    ValueError : no bonds.
    """
    return tally(BondDeviationTally(start, bonds), trajectory)


def stable_until_ps(series: BondSeries, limit_A: float = BROKEN_A) -> float | None:
    """The time of the first frame whose worst bond is off by more than a limit; None where there is none."""
    off = series.worst_A > limit_A
    return float(series.time_ps[off.argmax()]) if off.any() else None


class BondDeviationTally:
    """Measures bonds; see `bond_deviation`."""

    def __init__(self, start: np.ndarray | None = None, bonds: np.ndarray | None = None):
        self.start, self.bonds = start, bonds
        self._rows: list[BondSeries] = []

    def add(self, chunk: Chunk) -> None:
        if self.bonds is None:
            self.bonds = chunk.system.bonds
        if not len(self.bonds):
            raise ValueError("There are no covalent bonds to watch.")
        lengths = bond_lengths(chunk.positions, self.bonds, chunk.cells, chunk.system.pbc)
        if self.start is None:
            self.start = lengths[0]
        self._rows.append(bond_series(chunk.time_ps, lengths, self.start, self.bonds))

    def result(self) -> BondSeries:
        if not self._rows:
            raise ValueError("The trajectory holds no frames.")
        joined = {name: np.concatenate([getattr(row, name) for row in self._rows]) for name in ("time_ps", "worst_A", "worst_bond", "n_broken")}
        return BondSeries(**joined, n_bonds=self._rows[0].n_bonds)


def _same_bins(mine: np.ndarray, theirs: np.ndarray) -> None:
    if len(mine) != len(theirs) or not np.allclose(mine, theirs, rtol=1e-9):
        raise ValueError(f"The bins differ ({len(mine)} up to {mine[-1]:.4g} Å, {len(theirs)} up to {theirs[-1]:.4g} Å); take the same r_max_A and n_bins for both.")


def _width(centres: np.ndarray) -> float:
    return float(2 * centres[0])
