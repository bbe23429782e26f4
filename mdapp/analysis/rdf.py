r"""Radial distribution functions of any pair of kinds, coordination numbers, and the structure factor that belongs to them.

.. math:: g_{ab}(r) = \frac{\langle V \sum_{i \in a} \sum_{j \in b, j \neq i} \delta(r - r_{ij}) \rangle}{4 \pi r^2 N_a (N_b - \delta_{ab})},
          \qquad n_{ab}(r) = 4 \pi \frac{N_b - \delta_{ab}}{\langle V \rangle} \int_0^r g_{ab} s^2 ds

All images within `r_max` are counted, so that any cell will do; the volume of each shell is the exact one, and an ideal gas gives 1 in every bin (with one
partner less, where a = b). The structure factor is that of Faber and Ziman, with Lorch's window against the cut at `r_max`:

.. math:: S_{ab}(k) = 1 + 4 \pi \rho \int_0^{R} r^2 (g_{ab} - 1) \frac{\sin kr}{kr} \frac{\sin(\pi r / R)}{\pi r / R} dr

Sources: M. P. Allen and D. J. Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), ch. 8; T. E. Faber and J. M. Ziman, Phil. Mag. 11, 153 (1965);
E. Lorch, J. Phys. C 2, 229 (1969).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import BlockMeans
from mdapp.analysis.chunks import Chunk, System, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns

FALL, WIGGLE = 0.3, 0.05  # of a peak: by how much g falls after one, and what rises by less is noise


@dataclass(frozen=True)
class RadialDistribution(Result):
    """g(r) of one pair of kinds."""

    pair: tuple[str, str]
    r_A: np.ndarray  # (n_bins,) centres
    g: np.ndarray  # (n_bins,)
    g_error: np.ndarray  # (n_bins,) standard error
    coordination: np.ndarray  # (n_bins,) mean number of b within the outer edge of the bin around one a
    coordination_error: np.ndarray  # (n_bins,)
    density_per_A3: float  # of b
    n_frames: int

    @property
    def shell(self) -> tuple[float, float, float]:
        """The first shell: where it ends (the minimum after the first peak of g, Å), the coordination number there and its error; NaN where g has no minimum."""
        width = max(1, int(round(0.1 / (self.r_A[1] - self.r_A[0]))))  # the mean over 0.2 Å takes the noise out
        smooth = np.convolve(np.pad(self.g, width, mode="edge"), np.ones(2 * width + 1) / (2 * width + 1), mode="valid")
        climb = smooth[int(np.argmax(smooth > 1)) :]
        fallen = np.flatnonzero(np.maximum.accumulate(climb) - climb > FALL * np.maximum.accumulate(climb))
        if not (smooth > 1).any() or not len(fallen):
            return (np.nan, np.nan, np.nan)
        peak = len(smooth) - len(climb) + int(np.argmax(climb[: fallen[0]]))
        after = smooth[peak:]
        risen = np.flatnonzero(after - np.minimum.accumulate(after) > WIGGLE * after[0])
        if not len(risen):
            return (np.nan, np.nan, np.nan)
        k = peak + int(np.argmin(after[: risen[0]]))
        return float(self.r_A[k]), float(self.coordination[k]), float(self.coordination_error[k])

    def structure_factor(self, k_per_A: np.ndarray, *, window: bool = True) -> np.ndarray:
        """Partial structure factor S(k) of Faber and Ziman (n_k,) at k (n_k,) in 1/Å, from g(r) up to its end; see `mdapp.analysis.structure_factor` for the direct one."""
        r, step = self.r_A, self.r_A[1] - self.r_A[0]
        end = r[-1] + step / 2
        lorch = np.sinc(r / end) if window else 1.0
        waves = np.sinc(np.outer(np.asarray(k_per_A, dtype=float), r) / np.pi)
        return 1 + 4 * np.pi * self.density_per_A3 * step * (waves @ (r**2 * (self.g - 1) * lorch))

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"r_A": self.r_A, "g": self.g, "g_error": self.g_error, "coordination": self.coordination, "coordination_error": self.coordination_error})


def rdf(trajectory: Trajectory, pair: tuple[str, str], r_max_A: float | None = None, n_bins: int = 200, *, intermolecular: bool = False) -> RadialDistribution:
    """g(r) of a pair of kinds, averaged over frames.

    Parameters
    ----------
    trajectory : read once, in chunks; periodic in three directions.
    pair : two symbols such as ("O", "H"), or "all"; g is symmetric, the coordination number is that of the second around the first.
    r_max_A : half of the smallest height of the first cell where not given, and at most 10 Å.
    n_bins : equal bins from 0 to r_max_A.
    intermolecular : leave out pairs within one molecule. In a box smaller than two r_max a molecule's own images count as its own.

    Raises
    ------
    ValueError : no cell; a kind that is not there.
    """
    return tally(RdfTally(pair, r_max_A, n_bins, intermolecular=intermolecular), trajectory)


class RdfTally:
    """Counts pairs of one pair of kinds; see `rdf`."""

    def __init__(self, pair: tuple[str, str], r_max_A: float | None = None, n_bins: int = 200, *, intermolecular: bool = False):
        self.pair, self.r_max_A, self.n_bins, self.intermolecular = pair, r_max_A, n_bins, intermolecular
        self._g, self._volume = BlockMeans(), BlockMeans()
        self._running = BlockMeans()
        self._kinds: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, chunk: Chunk) -> None:
        from mdapp.topology.bonds import close_pairs

        volumes = chunk.volume_A3
        a, b = self._kinds = self._kinds or _kinds(chunk.system, self.pair)
        if self.r_max_A is None:
            self.r_max_A = min(10.0, 0.5 * float(np.min(1 / np.linalg.norm(np.linalg.inv(chunk.cells[0]), axis=0))))
        members = np.flatnonzero(a | b)
        edges = np.linspace(0, self.r_max_A, self.n_bins + 1)
        shells = 4 / 3 * np.pi * np.diff(edges**3)
        counts = np.empty((len(chunk), self.n_bins))
        for k, positions in enumerate(chunk.positions):
            i, j, distances = close_pairs(positions[members], chunk.cells[k], chunk.system.pbc, self.r_max_A)
            i, j = members[i], members[j]
            weight = (a[i] & b[j]).astype(float) + (b[i] & a[j])  # each pair stands for both directions
            if self.intermolecular:
                weight *= chunk.system.molecules[i] != chunk.system.molecules[j]
            counts[k] = np.histogram(distances, edges, weights=weight)[0]
        each = counts / a.sum()
        partners = b.sum() - (1 if np.array_equal(a, b) else 0)
        self._g.add(each * volumes[:, None] / (shells * max(partners, 1)))
        self._running.add(np.cumsum(each, axis=1))
        self._volume.add(volumes)

    def result(self) -> RadialDistribution:
        g, n = self._g.mean, self._running.mean
        assert self.r_max_A is not None and self._kinds is not None
        width = self.r_max_A / self.n_bins
        return RadialDistribution(self.pair, (np.arange(self.n_bins) + 0.5) * width, g, self._g.error, n, self._running.error,
                                  float(self._kinds[1].sum() / self._volume.mean), self._g.n_frames)


def _kinds(system: System, pair: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    symbols = np.array(system.symbols)
    chosen = tuple(np.ones(len(symbols), dtype=bool) if kind == "all" else symbols == kind for kind in pair)
    for kind, mask in zip(pair, chosen, strict=True):
        if not mask.any():
            raise ValueError(f"There is no {kind} in the trajectory; it holds {', '.join(sorted(set(symbols.tolist())))}.")
    return chosen[0], chosen[1]
