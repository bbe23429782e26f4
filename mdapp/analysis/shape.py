r"""Size and shape along a trajectory: RMSD from a reference, radius of gyration, end-to-end distance.

The distance from end to end is that of the outermost backbone atoms of a chain (N, CA, C, or CH3 of a cap), or of any two atoms given. Molecules are made whole first.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.chunks import Chunk, System, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.rmsd import GyrationRadius, Rmsd, radius_of_gyration
from mdapp.analysis.rmsd import rmsd as rmsd_of
from mdapp.analysis.rmsf import shape_atoms
from mdapp.analysis.statistics import Mean, mean_with_error
from mdapp.analysis.table import write_columns


@dataclass(frozen=True)
class EndToEnd(Result):
    """Distance between two ends."""

    time_ps: np.ndarray  # (n_frames,)
    distance_A: np.ndarray  # (n_frames,)
    ends: tuple[str, str]  # labels of the atoms

    @property
    def mean(self) -> Mean:
        return mean_with_error(self.distance_A)

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"time_ps": self.time_ps, "end_to_end_A": self.distance_A})


def rmsd_series(trajectory: Trajectory, atoms: np.ndarray | None = None, reference: np.ndarray | None = None) -> Rmsd:
    """RMSD of every frame after the best superposition.

    Parameters
    ----------
    trajectory : read once, in chunks.
    atoms : which ones; the heavy atoms of the largest molecule where not given.
    reference : (n_atoms, 3) Å, whole; the first frame where not given.
    """
    return tally(RmsdTally(atoms, reference), trajectory)


def gyration_series(trajectory: Trajectory, atoms: np.ndarray | None = None) -> GyrationRadius:
    """Mass-weighted radius of gyration of every frame; `atoms` as in `rmsd_series`."""
    return tally(GyrationTally(atoms), trajectory)


def end_to_end(trajectory: Trajectory, ends: tuple[int, int] | None = None) -> EndToEnd:
    """Distance between two ends in every frame.

    Parameters
    ----------
    ends : two atoms; those of the first peptide chain where not given.

    Raises
    ------
    ValueError : no ends given and no peptide there.
    """
    return tally(EndToEndTally(ends), trajectory)


class RmsdTally:
    """Measures the distance from a reference; see `rmsd_series`."""

    def __init__(self, atoms: np.ndarray | None = None, reference: np.ndarray | None = None):
        self.atoms, self.reference = atoms, reference
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._selection = "given atoms"

    def add(self, chunk: Chunk) -> None:
        if self.atoms is None:
            self.atoms, self._selection = shape_atoms(chunk), "heavy atoms of the largest molecule"
        if self.reference is None:
            self.reference = chunk.whole[0]
        self._rows.append((chunk.time_ps, rmsd_of(chunk.whole[:, self.atoms], np.asarray(self.reference, dtype=float)[self.atoms])))

    def result(self) -> Rmsd:
        return Rmsd(*_joined(self._rows), self._selection, 0 if self.atoms is None else len(self.atoms))


class GyrationTally:
    """Measures the size; see `gyration_series`."""

    def __init__(self, atoms: np.ndarray | None = None):
        self.atoms = atoms
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, chunk: Chunk) -> None:
        if self.atoms is None:
            self.atoms = shape_atoms(chunk)
        self._rows.append((chunk.time_ps, radius_of_gyration(chunk.whole[:, self.atoms], chunk.system.masses[self.atoms])))

    def result(self) -> GyrationRadius:
        return GyrationRadius(*_joined(self._rows))


class EndToEndTally:
    """Measures a distance; see `end_to_end`."""

    def __init__(self, ends: tuple[int, int] | None = None):
        self.ends = ends
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._labels = ("", "")

    def add(self, chunk: Chunk) -> None:
        if not self._rows:
            self.ends = chain_ends(chunk.system) if self.ends is None else self.ends
            self._labels = tuple(str(chunk.system.topology.atom(int(k))) for k in self.ends)
        first, last = self.ends or (0, 0)
        self._rows.append((chunk.time_ps, np.linalg.norm(chunk.whole[:, last] - chunk.whole[:, first], axis=-1)))

    def result(self) -> EndToEnd:
        return EndToEnd(*_joined(self._rows), self._labels)


def chain_ends(system: System) -> tuple[int, int]:
    """The outermost backbone atoms of the first peptide chain, caps included: of N, CA, C and CH3 those that are most bonds apart along the backbone."""
    for chain in system.topology.chains:
        residues = [r for r in chain.residues if r.is_protein or r.name in ("ACE", "NME", "NH2", "FOR")]
        if not any(atom.name == "CA" for r in residues for atom in r.atoms):
            continue
        inner = {"ACE": ("CH3",), "NME": ("C", "CH3"), "NH2": ("N",), "FOR": ("C",)}
        first = next((a.index for name in inner.get(residues[0].name, ("N",)) for a in residues[0].atoms if a.name == name), None)
        last = next((a.index for name in inner.get(residues[-1].name, ("C",)) for a in residues[-1].atoms if a.name == name), None)
        if first is not None and last is not None:
            return int(first), int(last)
    raise ValueError("No peptide was found, and so no ends of a chain; give two atoms.")


def _joined(rows: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    if not rows:
        raise ValueError("The trajectory holds no frames.")
    return np.concatenate([time for time, _ in rows]), np.concatenate([values for _, values in rows])
