r"""The static structure factor, straight from the wave vectors that fit into the cell.

.. math:: S(k) = \frac{\langle |\sum_i b_i e^{i \mathbf k \cdot \mathbf r_i}|^2 \rangle}{\sum_i b_i^2}

averaged over the wave vectors of nearly one length. It is exact for the periodic system, Bragg peaks included, where the way over g(r) is cut at half of
the box. An ideal gas gives 1 at all k.
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import BlockMeans
from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns

MOST_VECTORS = 4000


@dataclass(frozen=True)
class StructureFactor(Result):
    """S(k) on shells of wave vectors."""

    k_per_A: np.ndarray  # (n_shells,) mean length of the wave vectors of a shell
    S: np.ndarray  # (n_shells,)
    S_error: np.ndarray  # (n_shells,) standard error
    n_vectors: np.ndarray  # (n_shells,) of k and -k one

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"k_per_A": self.k_per_A, "S": self.S, "S_error": self.S_error, "n_vectors": self.n_vectors})


def structure_factor(trajectory: Trajectory, k_max_per_A: float = 8.0, width_per_A: float = 0.1, weights: np.ndarray | None = None) -> StructureFactor:
    """S(k) of all atoms.

    Parameters
    ----------
    trajectory : read once; periodic in three directions. Under constant pressure the wave vectors follow the cell.
    k_max_per_A : largest wave number; lowered where more than `MOST_VECTORS` vectors would be below it.
    width_per_A : of a shell.
    weights : (n_atoms,) scattering lengths b; 1 for every atom where not given.

    Raises
    ------
    ValueError : no cell.
    """
    return tally(StructureFactorTally(k_max_per_A, width_per_A, weights), trajectory)


class StructureFactorTally:
    """Sums waves; see `structure_factor`."""

    def __init__(self, k_max_per_A: float = 8.0, width_per_A: float = 0.1, weights: np.ndarray | None = None):
        self.k_max, self.width, self.weights = k_max_per_A, width_per_A, weights
        self._S = BlockMeans()
        self._indices: np.ndarray | None = None  # (n_vectors, 3) whole numbers

    def add(self, chunk: Chunk) -> None:
        chunk.volume_A3  # refuses where there is no cell
        if self._indices is None:
            self._choose(chunk.cells[0])
        b = np.ones(len(chunk.system)) if self.weights is None else np.asarray(self.weights, dtype=float)
        values = np.empty((len(chunk), len(self._shell_sizes)))
        for k, positions in enumerate(chunk.positions):
            scaled = np.linalg.solve(chunk.cells[k].T, positions.T)  # (3, n_atoms)
            waves = np.exp(2j * np.pi * (self._indices @ scaled)) @ b
            values[k] = np.bincount(self._shell, np.abs(waves) ** 2, len(self._shell_sizes)) / self._shell_sizes / np.sum(b * b)
        self._S.add(values)

    def result(self) -> StructureFactor:
        return StructureFactor(self._k, self._S.mean, self._S.error, self._shell_sizes)

    def _choose(self, cell: np.ndarray) -> None:
        """Wave vectors of the first cell up to k_max, of k and -k one, in shells."""
        reciprocal = 2 * np.pi * np.linalg.inv(cell).T
        most = MOST_VECTORS * 2 * abs(np.linalg.det(reciprocal)) / (4 / 3 * np.pi)
        k_max = min(self.k_max, most ** (1 / 3))
        reach = np.ceil(k_max * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
        grid = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
        half = (grid[:, 0] > 0) | ((grid[:, 0] == 0) & ((grid[:, 1] > 0) | ((grid[:, 1] == 0) & (grid[:, 2] > 0))))
        grid = grid[half]
        lengths = np.linalg.norm(grid @ reciprocal, axis=1)
        grid, lengths = grid[lengths <= k_max], lengths[lengths <= k_max]
        if not len(grid):
            raise ValueError(f"No wave vector of the cell is below {self.k_max:g} per Å; the smallest is {2 * np.pi / np.linalg.norm(cell, axis=1).max():.3g}.")
        _, self._shell = np.unique((lengths / self.width + 1e-9).astype(int), return_inverse=True)
        self._shell_sizes = np.bincount(self._shell)
        self._k = np.bincount(self._shell, lengths) / self._shell_sizes
        self._indices = grid
