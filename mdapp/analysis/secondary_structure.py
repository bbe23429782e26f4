"""Secondary structure of peptides by DSSP, as MDTraj assigns it: helix (H), strand (E) or coil (C) of every residue in every frame.

W. Kabsch and C. Sander, Biopolymers 22, 2577 (1983).
"""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import series_errors
from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.statistics import Mean, mean_with_error

KINDS = ("H", "E", "C")
NAMES = {"H": "helix", "E": "strand", "C": "coil"}


@dataclass(frozen=True)
class SecondaryStructure(Result):
    """What DSSP says, caps left out."""

    time_ps: np.ndarray  # (n_frames,)
    residues: tuple[str, ...]  # (n_residues,) such as ALA2
    codes: np.ndarray  # (n_frames, n_residues) of 'H', 'E', 'C'

    def shares(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each kind the share of frames (n_residues,) in which a residue has it, and its standard error (n_residues,)."""
        found = {kind: (self.codes == kind).astype(float) for kind in KINDS}
        return {kind: (there.mean(axis=0), series_errors(there)) for kind, there in found.items()}

    def content(self) -> dict[str, Mean]:
        """For each kind the mean share of residues that have it."""
        return {kind: mean_with_error((self.codes == kind).mean(axis=1)) for kind in KINDS}

    def to_csv(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["time_ps", *self.residues])
            out.writerows([f"{t:.8g}", *row] for t, row in zip(self.time_ps, self.codes, strict=True))


def secondary_structure(trajectory: Trajectory) -> SecondaryStructure:
    """DSSP along a trajectory.

    Raises
    ------
    ValueError : no peptide.
    """
    return tally(SecondaryStructureTally(), trajectory)


class SecondaryStructureTally:
    """Asks DSSP; see `secondary_structure`."""

    def __init__(self) -> None:
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._residues: list[tuple[int, str]] = []

    def add(self, chunk: Chunk) -> None:
        import mdtraj

        if not self._residues:
            self._residues = [(r.index, str(r)) for r in chunk.system.ordered[0].residues if {"N", "CA", "C", "O"} <= {a.name for a in r.atoms}]
            if not self._residues:
                raise ValueError("No peptide was found, and so no secondary structure.")
        codes = mdtraj.compute_dssp(chunk.mdtraj, simplified=True)[:, [index for index, _ in self._residues]]
        self._rows.append((chunk.time_ps, np.where(np.isin(codes, KINDS), codes, "C").astype("U1")))

    def result(self) -> SecondaryStructure:
        if not self._rows:
            raise ValueError("The trajectory holds no frames.")
        return SecondaryStructure(np.concatenate([t for t, _ in self._rows]), tuple(name for _, name in self._residues), np.concatenate([c for _, c in self._rows]))
