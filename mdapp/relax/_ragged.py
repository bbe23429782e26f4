"""Structures of different sizes in one array, atom after atom: sums and largest values by structure, without a loop."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Which atoms belong to which structure."""

    counts: np.ndarray  # (n_structures,) atoms of each, at least 1

    @cached_property
    def starts(self) -> np.ndarray:
        """(n_structures,) first atom of each."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def owner(self) -> np.ndarray:
        """(n_atoms,) structure of each atom."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """(n_structures,) sums of an array over atoms (n_atoms,) or components (n_atoms, 3)."""
        return np.add.reduceat(values if values.ndim == 1 else values.sum(axis=1), self.starts)

    def dot(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(n_structures,) scalar products of two (n_atoms, 3) arrays."""
        return np.add.reduceat(np.einsum("ia,ia->i", a, b), self.starts)

    def longest(self, vectors: np.ndarray) -> np.ndarray:
        """(n_structures,) length of the longest of the vectors (n_atoms, 3) of each."""
        return np.sqrt(np.maximum.reduceat(np.einsum("ia,ia->i", vectors, vectors), self.starts))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(n_atoms, 1): the value of its structure for each atom."""
        return np.repeat(values, self.counts)[:, None]

    def atoms_of(self, chosen: np.ndarray) -> np.ndarray:
        """(n_atoms,) bool: the atoms of chosen structures (n_structures,) bool."""
        return np.repeat(chosen, self.counts)
