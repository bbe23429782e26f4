r"""Root mean square fluctuation: how far each atom moves about its mean place.

.. math:: \mathrm{RMSF}_i = \sqrt{\langle |\mathbf r_i - \langle \mathbf r_i \rangle|^2 \rangle}

after superposition of every frame on a reference, in one pass.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import BlockMeans, series_errors
from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.rmsd import superpose
from mdapp.analysis.table import write_columns


@dataclass(frozen=True)
class Fluctuations(Result):
    """RMSF of atoms."""

    atoms: np.ndarray  # (n_selected,) which ones
    labels: tuple[str, ...]  # (n_selected,) such as ALA2-CA
    rmsf_A: np.ndarray  # (n_selected,)
    error_A: np.ndarray  # (n_selected,) standard error
    mean_positions: np.ndarray  # (n_selected, 3) Å, on the reference
    n_frames: int

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"atom": self.atoms, "label": self.labels, "rmsf_A": self.rmsf_A, "error_A": self.error_A})


def rmsf(trajectory: Trajectory, atoms: np.ndarray | None = None, reference: np.ndarray | None = None) -> Fluctuations:
    """Fluctuation of atoms about their mean places.

    Parameters
    ----------
    trajectory : read once, in chunks.
    atoms : which ones, and those that are superposed; the heavy atoms of the largest molecule where not given.
    reference : (n_atoms, 3) Å, what frames are turned onto; the first frame where not given.

    Raises
    ------
    ValueError : no frames, or fewer than three atoms.
    """
    return tally(RmsfTally(atoms, reference), trajectory)


class RmsfTally:
    """Sums superposed positions; see `rmsf`."""

    def __init__(self, atoms: np.ndarray | None = None, reference: np.ndarray | None = None):
        self.atoms, self.reference = atoms, reference
        self._moments = BlockMeans()  # x, y, z and r² of each atom
        self._labels: tuple[str, ...] = ()

    def add(self, chunk: Chunk) -> None:
        if not self._labels:
            self.atoms = shape_atoms(chunk) if self.atoms is None else np.asarray(self.atoms, dtype=int)
            if len(self.atoms) < 3:
                raise ValueError(f"A superposition needs three atoms at least, got {len(self.atoms)}.")
            self.reference = chunk.whole[0] if self.reference is None else np.asarray(self.reference, dtype=float)
            self._origin = self.reference[self.atoms]
            self._labels = tuple(str(chunk.system.topology.atom(int(k))) for k in self.atoms)
        moved = superpose(chunk.whole[:, self.atoms], self._origin) - self._origin
        self._moments.add(np.concatenate([moved, np.einsum("fix,fix->fi", moved, moved)[..., None]], axis=2))

    def result(self) -> Fluctuations:
        mean = self._moments.mean
        place, square = mean[:, :3], mean[:, 3]
        variance = np.maximum(square - np.einsum("ix,ix->i", place, place), 0.0)
        blocks = self._moments.series
        each = blocks[..., 3] - 2 * np.einsum("bix,ix->bi", blocks[..., :3], place) + np.einsum("ix,ix->i", place, place)
        value = np.sqrt(variance)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(value > 0, series_errors(each) / (2 * value), 0.0)
        assert self.atoms is not None
        return Fluctuations(self.atoms, self._labels, value, error, self._origin + place, self._moments.n_frames)


def shape_atoms(chunk: Chunk) -> np.ndarray:
    """Heavy atoms of the largest molecule, all of its atoms where there are fewer than three heavy ones."""
    labels = chunk.system.molecules
    largest = labels == np.bincount(labels).argmax()
    heavy = np.flatnonzero(largest & (chunk.system.numbers > 1))
    return heavy if len(heavy) > 2 else np.flatnonzero(largest)
