"""Conformers of a trajectory: frames of one shape, by RMSD.

"gromos" takes the frame with most neighbours within the cutoff as the middle of the first cluster, takes them all away and begins again (X. Daura et al., Angew. Chem. Int. Ed.
38, 236 (1999)); "average" is hierarchical clustering with average linkage, cut at the cutoff. Frames are thinned evenly while they come,
so that at most `most` are compared with each other (memory and time go with its square).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.rmsf import shape_atoms
from mdapp.analysis.statistics import Mean, mean_with_error
from mdapp.analysis.table import write_columns

METHODS = ("gromos", "average")


@dataclass(frozen=True)
class Clusters(Result):
    """Conformers, the most populated first."""

    time_ps: np.ndarray  # (n_compared,)
    frames: np.ndarray  # (n_compared,) numbers of the frames that were compared
    labels: np.ndarray  # (n_compared,) cluster of each
    centres: np.ndarray  # (n_clusters,) number of the frame in the middle of each
    shapes: np.ndarray  # (n_clusters, n_selected, 3) Å of these frames
    atoms: np.ndarray  # (n_selected,)
    cutoff_A: float
    method: str

    def populations(self) -> tuple[Mean, ...]:
        """Share of frames of each cluster, with its error."""
        return tuple(mean_with_error((self.labels == k).astype(float)) for k in range(len(self.centres)))

    @property
    def transitions(self) -> int:
        """How often the cluster changes from one compared frame to the next."""
        return int(np.sum(self.labels[1:] != self.labels[:-1]))

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"frame": self.frames, "time_ps": self.time_ps, "cluster": self.labels})


def clusters(trajectory: Trajectory, cutoff_A: float = 1.0, atoms: np.ndarray | None = None, method: str = "gromos", most: int = 1000) -> Clusters:
    """Group the frames of a trajectory by shape.

    Parameters
    ----------
    cutoff_A : RMSD below which two frames are of one shape.
    atoms : which ones; the heavy atoms of the largest molecule where not given.
    method : one of `METHODS`.
    most : frames that are compared.

    Raises
    ------
    ValueError : another method, a cutoff that is not positive, no frames.
    """
    return tally(ClusterTally(cutoff_A, atoms, method, most), trajectory)


class ClusterTally:
    """Keeps thinned frames and groups them; see `clusters`."""

    def __init__(self, cutoff_A: float = 1.0, atoms: np.ndarray | None = None, method: str = "gromos", most: int = 1000):
        if method not in METHODS:
            raise ValueError(f"No method '{method}'; known: {', '.join(METHODS)}.")
        if not cutoff_A > 0 or most < 2:
            raise ValueError(f"The cutoff must be > 0 Å and two frames at least be compared, got {cutoff_A} and {most}.")
        self.cutoff_A, self.atoms, self.method, self.most = cutoff_A, atoms, method, most
        self._stride, self._seen = 1, 0
        self._kept: list[tuple[int, float, np.ndarray]] = []

    def add(self, chunk: Chunk) -> None:
        if self.atoms is None:
            self.atoms = shape_atoms(chunk)
        for k in range(len(chunk)):
            if self._seen % self._stride == 0:
                self._kept.append((self._seen, float(chunk.time_ps[k]), chunk.whole[k][self.atoms].copy()))
                if len(self._kept) > self.most:
                    self._stride *= 2
                    self._kept = [row for row in self._kept if row[0] % self._stride == 0]
            self._seen += 1

    def result(self) -> Clusters:
        if not self._kept or self.atoms is None:
            raise ValueError("The trajectory holds no frames.")
        shapes = np.stack([shape for _, _, shape in self._kept])
        distances = rmsd_matrix(shapes)
        groups = (_gromos if self.method == "gromos" else _average)(distances, self.cutoff_A)
        labels, middles = np.empty(len(shapes), dtype=int), []
        for k, (middle, members) in enumerate(groups):
            labels[members] = k
            middles.append(middle)
        frames = np.array([number for number, _, _ in self._kept])
        return Clusters(np.array([t for _, t, _ in self._kept]), frames, labels, frames[middles], shapes[middles], np.asarray(self.atoms), self.cutoff_A, self.method)


def rmsd_matrix(shapes: np.ndarray) -> np.ndarray:
    """RMSD between all pairs of shapes (n, n_atoms, 3), (n, n), Å, by MDTraj."""
    import mdtraj

    moved = mdtraj.Trajectory(0.1 * (shapes - shapes.mean(axis=1, keepdims=True)), None)
    moved.center_coordinates()
    found = np.stack([10.0 * mdtraj.rmsd(moved, moved, k, precentered=True) for k in range(len(shapes))])
    found = 0.5 * (found + found.T)
    np.fill_diagonal(found, 0.0)
    return found


def _gromos(distances: np.ndarray, cutoff_A: float) -> list[tuple[int, np.ndarray]]:
    """(middle, members) of each cluster."""
    near = distances < cutoff_A
    left, groups = np.ones(len(near), dtype=bool), []
    while left.any():
        count = np.where(left, (near & left).sum(axis=1), -1)
        middle = int(count.argmax())
        members = np.flatnonzero(near[middle] & left)
        left[members] = False
        groups.append((middle, members))
    return groups


def _average(distances: np.ndarray, cutoff_A: float) -> list[tuple[int, np.ndarray]]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(distances) == 1:
        return [(0, np.array([0]))]
    labels = fcluster(linkage(squareform(distances, checks=False), "average"), cutoff_A, "distance")
    groups = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    groups.sort(key=lambda members: (-len(members), int(members[0])))
    return [(int(members[distances[np.ix_(members, members)].sum(axis=1).argmin()]), members) for members in groups]
