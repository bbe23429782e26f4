"""What a library of minima knows, and how it is asked; how it is kept is in `library`."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mdapp.errors import StructureError
from mdapp.minima.catalogue import Catalogue
from mdapp.minima.identity import Identity
from mdapp.minima.library_file import Header
from mdapp.minima.records import Origin, Placed, Sameness


class Contents:
    """Distinct minima of one molecule or cluster, counted from 0 in the order in which they were found."""

    def __init__(self, path: Path, sameness: Sameness):
        """
        Parameters
        ----------
        path : where they are kept, for messages.
        sameness : what counts as one minimum.
        """
        self.path, self.sameness = path, sameness
        self._header: Header | None = None
        self._known: Catalogue | None = None

    def __len__(self) -> int:
        return 0 if self._known is None else len(self._known)

    @property
    def identity(self) -> Identity:
        """What makes two of its minima the same."""
        return self._catalogue.identity

    @property
    def reference(self) -> Atoms:
        """A structure with the names and the charge of all minima; its positions are all zero."""
        if self._header is None:
            raise ValueError("An empty library knows no structure yet; give it one with like=.")
        return self._header.reference

    def find(self, positions: np.ndarray, energy_eV: float) -> Placed:
        """Where a structure (n_atoms, 3) in Å would be placed; nothing is written. The index of a new one is -1."""
        index, match, _ = self._catalogue.find(positions, float(energy_eV))
        is_new = match is None or not match.within(self.sameness.rmsd_max)
        return Placed(-1 if is_new else index, is_new, np.inf if match is None else match.rmsd)

    def energies(self) -> np.ndarray:
        """(n_minima,) eV, in the order in which they were found."""
        return np.array(self._known.energies if self._known else [], dtype=float)

    def by_energy(self) -> np.ndarray:
        """(n_minima,) indices, the lowest minimum first."""
        return np.array(self._known.order if self._known else [], dtype=np.int64)

    def positions(self) -> np.ndarray:
        """(n_minima, n_atoms, 3), Å."""
        return self._catalogue.positions.copy()

    def fingerprints(self) -> np.ndarray:
        """(n_minima, n_features), Å, in single precision."""
        return self._catalogue.fingerprints.copy()

    def atoms(self, index: int) -> Atoms:
        """A minimum as Atoms with its energy, names and charge."""
        index = self._checked(index)
        atoms = self.reference.copy()
        atoms.positions = self._catalogue.positions[index]
        atoms.calc = SinglePointCalculator(atoms, energy=self._catalogue.energies[index])
        atoms.info["minimum"] = index
        return atoms

    def visits(self, index: int) -> int:
        """How often a search ended in this minimum, the first time included."""
        return self._catalogue.visits[self._checked(index)]

    def visit_counts(self) -> np.ndarray:
        """(n_minima,) int64."""
        return np.array(self._known.visits if self._known else [], dtype=np.int64)

    def origin(self, index: int) -> Origin:
        """Who found it first."""
        return self._catalogue.origins[self._checked(index)]

    def history(self) -> list[tuple[int, Origin, float]]:
        """Every arrival in order: minimum, how it was reached, energy in eV."""
        return [row[:3] for row in self._known.history] if self._known else []

    def transitions(self) -> dict[tuple[int, int], int]:
        """How often a move from one minimum ended in another (or the same): {(parent, child): count}."""
        return dict(self._known.transitions) if self._known else {}

    def frequencies(self, index: int) -> np.ndarray | None:
        """Frequencies (n_modes,) in 1/cm, imaginary ones negative; None where they are not known."""
        found = self._catalogue.frequencies.get(self._checked(index))
        return None if found is None else found.copy()

    @property
    def _catalogue(self) -> Catalogue:
        if self._known is None:
            raise ValueError("An empty library knows no structure yet; give it one with like=.")
        return self._known

    def _check_atoms(self, atoms: Atoms) -> None:
        numbers = self.reference.numbers
        if not np.array_equal(atoms.numbers, numbers):
            ours, theirs = self.reference.get_chemical_formula(), atoms.get_chemical_formula()
            raise StructureError(f"{self.path} holds minima of {ours}; the structure given has {f'the atoms {theirs}' if theirs != ours else 'these atoms in another order'}.")

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"minimum {index} is not among the {len(self)} of {self.path}; they count from 0.")
        return int(index)
