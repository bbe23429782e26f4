"""What is known of the minima of a library, gathered for tables and pictures."""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.distance import pdist, squareform

from mdapp.minima.library import Library
from mdapp.minima.query import Backbone, backbone

MOST_DISTANCES = 4000  # minima whose distance from the lowest is measured, the lowest ones


@dataclass(frozen=True)
class Survey:
    """Minima in the order in which they were found."""

    energies: np.ndarray  # (n_minima,), eV
    above: np.ndarray  # (n_minima,), eV above the lowest
    rmsd: np.ndarray  # (n_minima,), Å from the lowest; NaN where it was not measured
    visits: np.ndarray  # (n_minima,)
    moves: tuple[str, ...]  # by which each was found
    angles: Backbone
    names: tuple[str, ...]  # regions of all residues, such as C7eq/C5; "" for what is no peptide
    evaluations: np.ndarray  # (n_arrivals,), of the potential, rising
    found: np.ndarray  # (n_arrivals,), distinct minima by then

    @property
    def lowest(self) -> int:
        return int(np.argmin(self.energies))

    @property
    def families(self) -> tuple[str, ...]:
        """What a minimum is coloured by: its region; of several residues that of most of them; "" for what is no peptide."""
        if len(self.angles.residues) <= 1:
            return self.names
        return tuple(_kind(name) for name in self.names)

    def lowest_of_each_region(self) -> dict[str, int]:
        """The lowest minimum of each combination of regions, the lowest first."""
        found: dict[str, int] = {}
        for k in np.argsort(self.energies, kind="stable").tolist():
            if self.names[k]:
                found.setdefault(self.names[k], k)
        return found

    def to_csv(self, path: Path) -> None:
        """One row a minimum, the lowest first."""
        a = self.angles
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["minimum", "energy_eV", "above_lowest_eV", "rmsd_from_lowest_A", "visits", "found_by", "region",
                          *(f"{angle}_{residue}_deg" for residue in a.residues for angle in ("phi", "psi"))])
            for k in np.argsort(self.energies, kind="stable").tolist():
                angles = [f"{value:.2f}" for pair in zip(a.phi_deg[k], a.psi_deg[k], strict=True) for value in pair]
                out.writerow([k, f"{self.energies[k]:.6f}", f"{self.above[k]:.6f}", f"{self.rmsd[k]:.4f}", int(self.visits[k]), self.moves[k], self.names[k], *angles])


def survey(library: Library) -> Survey:
    """Look at all minima of a library, which is not empty."""
    energies, positions = library.energies(), library.positions()
    order = np.argsort(energies, kind="stable")
    rmsd = np.full(len(energies), np.nan)
    for k in order[:MOST_DISTANCES].tolist():
        rmsd[k] = library.identity.distance(positions[order[0]], positions[k])
    angles = backbone(library)
    names = tuple("/".join(row) for row in angles.regions) if angles.residues else ("",) * len(energies)
    history = library.history()
    first: set[int] = set()
    found = []
    for index, _, _ in history:
        first.add(index)
        found.append(len(first))
    evaluations = np.maximum.accumulate(np.array([origin.evaluation for _, origin, _ in history], dtype=np.int64))
    return Survey(energies, energies - energies.min(), rmsd, library.visit_counts(), tuple(library.origin(k).move for k in range(len(energies))), angles, names,
                  evaluations, np.array(found))


def flat_map(fingerprints: np.ndarray) -> np.ndarray:
    """(n, 2) places in a plane whose distances are as near as a plane allows to those of the fingerprints (classical scaling).

    W. S. Torgerson, Psychometrika 17, 401 (1952).
    """
    n = len(fingerprints)
    if n < 3:
        return np.column_stack([np.arange(n, dtype=float), np.zeros(n)])
    squares = squareform(pdist(np.asarray(fingerprints, dtype=float))) ** 2
    centred = -0.5 * (squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean())
    values, vectors = np.linalg.eigh(centred)
    return vectors[:, [-1, -2]] * np.sqrt(np.maximum(values[[-1, -2]], 0.0))


def _kind(name: str) -> str:
    """'C7eq/C7eq/C5' becomes 'mostly C7eq'; 'mixed' where no region holds more than half of the residues."""
    parts = name.split("/")
    kind, count = max(((kind, parts.count(kind)) for kind in dict.fromkeys(parts)), key=lambda pair: pair[1])
    return f"mostly {kind}" if 2 * count > len(parts) else "mixed"
