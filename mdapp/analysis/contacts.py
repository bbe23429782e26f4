"""Contact maps: how far residues are from each other, and how often they touch.

The distance of two residues is that of their closest heavy atoms, or of their alpha carbons, as MDTraj measures it; neighbours in sequence up to two places apart are left
out, caps are residues like others.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdapp.analysis.blocks import BlockMeans
from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.result import Result
from mdapp.analysis.table import write_columns

SCHEMES = {"heavy": ("closest-heavy", 4.5), "ca": ("ca", 8.0)}  # name in MDTraj, contact below Å


@dataclass(frozen=True)
class ContactMap(Result):
    """Contacts between residues; matrices are symmetric, NaN where a pair was left out."""

    residues: tuple[str, ...]  # (n_residues,)
    distance_A: np.ndarray  # (n_residues, n_residues) mean
    distance_error_A: np.ndarray  # (n_residues, n_residues) standard error
    share: np.ndarray  # (n_residues, n_residues) of frames in contact
    share_error: np.ndarray  # (n_residues, n_residues)
    cutoff_A: float
    scheme: str
    n_frames: int

    def to_csv(self, path: Path) -> None:
        """One line for each pair."""
        i, j = np.nonzero(np.triu(np.isfinite(self.distance_A), 1))
        write_columns(path, {"residue_1": [self.residues[k] for k in i], "residue_2": [self.residues[k] for k in j], "distance_A": self.distance_A[i, j],
                             "distance_error_A": self.distance_error_A[i, j], "share": self.share[i, j], "share_error": self.share_error[i, j]})


def contact_map(trajectory: Trajectory, scheme: str = "heavy", cutoff_A: float | None = None) -> ContactMap:
    """Contacts between the residues of all peptides.

    Parameters
    ----------
    scheme : "heavy" for the closest heavy atoms, "ca" for the alpha carbons.
    cutoff_A : below it two residues touch; 4.5 Å for heavy atoms, 8 Å for alpha carbons where not given.

    Raises
    ------
    ValueError : another scheme; fewer than two residues that are three places apart.
    """
    return tally(ContactTally(scheme, cutoff_A), trajectory)


class ContactTally:
    """Measures pairs of residues; see `contact_map`."""

    def __init__(self, scheme: str = "heavy", cutoff_A: float | None = None):
        if scheme not in SCHEMES:
            raise ValueError(f"No scheme '{scheme}'; known: {', '.join(SCHEMES)}.")
        self.scheme = scheme
        self.cutoff_A = SCHEMES[scheme][1] if cutoff_A is None else cutoff_A
        self._distances, self._touches = BlockMeans(), BlockMeans()
        self._pairs: np.ndarray | None = None

    def add(self, chunk: Chunk) -> None:
        import mdtraj

        if self._pairs is None:
            self._choose(chunk)
        distances = 10 * mdtraj.compute_contacts(chunk.mdtraj, contacts=self._pairs, scheme=SCHEMES[self.scheme][0], periodic=bool(chunk.system.pbc.all()))[0]
        self._distances.add(distances)
        self._touches.add(distances < self.cutoff_A)

    def result(self) -> ContactMap:
        return ContactMap(tuple(self._names), *(self._matrix(v) for v in (self._distances.mean, self._distances.error, self._touches.mean, self._touches.error)),
                          self.cutoff_A, self.scheme, self._distances.n_frames)

    def _choose(self, chunk: Chunk) -> None:
        needs = (lambda r: any(a.name == "CA" for a in r.atoms)) if self.scheme == "ca" else (lambda r: r.is_protein or r.name in ("ACE", "NME", "NH2", "FOR", "UNK"))
        chosen = [r for r in chunk.system.ordered[0].residues if needs(r)]
        self._names = [str(r) for r in chosen]
        self._places = np.array([(a, b) for a in range(len(chosen)) for b in range(a + 1, len(chosen))
                                 if chosen[a].chain.index != chosen[b].chain.index or chosen[b].index - chosen[a].index > 2], dtype=int).reshape(-1, 2)
        if not len(self._places):
            raise ValueError("No two residues are three places apart in sequence: there are no contacts to look for.")
        self._pairs = np.array([[chosen[a].index, chosen[b].index] for a, b in self._places])

    def _matrix(self, values: np.ndarray) -> np.ndarray:
        full = np.full((len(self._names), len(self._names)), np.nan)
        a, b = self._places.T
        full[a, b] = full[b, a] = values
        return full
