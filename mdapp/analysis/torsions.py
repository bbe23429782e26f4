r"""All torsions of a peptide along a trajectory: phi, psi, omega and chi1 to chi5, with circular means and their errors.

Angles live on a circle: the mean of -179° and 179° is 180°. With the mean vector :math:`R e^{i \mu} = \langle e^{i \theta} \rangle` the error of µ is that of the component of
:math:`e^{i \theta}` across it, over R.

N. I. Fisher, Statistical Analysis of Circular Data (1993), ch. 2 and 4.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdapp.analysis.chunks import Chunk, Trajectory, tally
from mdapp.analysis.dihedrals import torsion_deg
from mdapp.analysis.result import Result
from mdapp.analysis.statistics import mean_with_error
from mdapp.analysis.table import write_columns

if TYPE_CHECKING:
    import mdtraj

KINDS = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")


@dataclass(frozen=True)
class CircularMean:
    """Mean of an angle."""

    value_deg: float
    error_deg: float  # standard error, correlations counted; infinite where the angle points nowhere
    order: float  # R, 1 where the angle stands still, 0 where it turns freely


@dataclass(frozen=True)
class TorsionSeries(Result):
    """Torsions of every frame."""

    time_ps: np.ndarray  # (n_frames,)
    names: tuple[str, ...]  # (n_torsions,) such as "phi ALA2", "omega ALA2-ALA3", "chi1 TYR3"
    atoms: np.ndarray  # (n_torsions, 4)
    angles_deg: np.ndarray  # (n_frames, n_torsions), -180 to 180, trans is 180

    def of(self, kind: str) -> TorsionSeries:
        """Those of one kind, such as "omega" or "chi1"."""
        if kind not in KINDS:
            raise ValueError(f"No torsion '{kind}'; known: {', '.join(KINDS)}.")
        chosen = [k for k, name in enumerate(self.names) if name.split()[0] == kind]
        return TorsionSeries(self.time_ps, tuple(self.names[k] for k in chosen), self.atoms[chosen], self.angles_deg[:, chosen])

    def means(self) -> tuple[CircularMean, ...]:
        return tuple(circular_mean(column) for column in self.angles_deg.T)

    def cis_share(self) -> np.ndarray:
        """(n_torsions,) share of the frames in which an angle is nearer to 0° than to 180°: for omega, cis."""
        return (np.abs(self.angles_deg) < 90).mean(axis=0)

    def to_csv(self, path: Path) -> None:
        write_columns(path, {"time_ps": self.time_ps, **{f"{name.replace(' ', '_')}_deg": column for name, column in zip(self.names, self.angles_deg.T, strict=True)}})


def circular_mean(angles_deg: np.ndarray) -> CircularMean:
    """Mean of a series of angles (n_samples,) in degrees, with its error."""
    theta = np.radians(angles_deg)
    c, s = float(np.cos(theta).mean()), float(np.sin(theta).mean())
    order, mu = float(np.hypot(c, s)), float(np.arctan2(s, c))
    across = np.sin(theta - mu)
    error = np.inf if order < 1e-12 else mean_with_error(across).error / order if np.ptp(across) > 1e-12 else 0.0
    return CircularMean(float(np.degrees(mu)), float(np.degrees(error)) if np.isfinite(error) else np.inf, order)


def all_torsions(topology: mdtraj.Topology, kinds: tuple[str, ...] = KINDS) -> tuple[tuple[str, ...], np.ndarray]:
    """Names (n_torsions,) and atoms (n_torsions, 4) of the torsions of a peptide by the names of its atoms; empty where there is none.

    As MDTraj finds them; omega also to and from the caps ACE and NME, which MDTraj leaves out.
    """
    from mdtraj.geometry import dihedral

    names: list[str] = []
    rows: list[np.ndarray] = []
    residue = lambda atom: str(topology.atom(int(atom)).residue)
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"No torsion '{kind}'; known: {', '.join(KINDS)}.")
        found = _omegas(topology) if kind == "omega" else getattr(dihedral, f"indices_{kind}")(topology)
        for atoms in np.asarray(found, dtype=int).reshape(-1, 4):
            middle = f"{residue(atoms[1])}-{residue(atoms[2])}" if kind == "omega" else residue(atoms[2] if kind == "phi" else atoms[1])
            names.append(f"{kind} {middle}")
            rows.append(atoms)
    return tuple(names), np.array(rows, dtype=int).reshape(-1, 4)


def _omegas(topology: mdtraj.Topology) -> list[tuple[int, int, int, int]]:
    """CA C N CA of every peptide bond; of the caps their methyl carbons."""
    bonded = {frozenset((a.index, b.index)) for a, b in topology.bonds}
    found = []
    for chain in topology.chains:
        residues = [(r.name, {atom.name: atom.index for atom in r.atoms}) for r in chain.residues]
        for (left, before), (right, after) in zip(residues, residues[1:]):
            first = before.get("CH3" if left == "ACE" else "CA")
            last = after.get("CH3", after.get("C")) if right == "NME" else after.get("CA")
            middle = before.get("C"), after.get("N")
            if first is None or last is None or None in middle or (bonded and frozenset(middle) not in bonded):
                continue
            found.append((first, *middle, last))
    return found


def torsion_series(trajectory: Trajectory, kinds: tuple[str, ...] = KINDS) -> TorsionSeries:
    """Torsions along a trajectory.

    Parameters
    ----------
    trajectory : read once, in chunks; molecules are made whole.
    kinds : some of `KINDS`.

    Raises
    ------
    ValueError : no such torsion: no peptide, or no side chain long enough.
    """
    return tally(TorsionTally(kinds), trajectory)


class TorsionTally:
    """Measures torsions; see `torsion_series`."""

    def __init__(self, kinds: tuple[str, ...] = KINDS):
        self.kinds = kinds
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, chunk: Chunk) -> None:
        if not self._rows:
            self._names, self._atoms = all_torsions(chunk.system.topology, self.kinds)
            if not self._names:
                raise ValueError(f"No peptide with torsions {', '.join(self.kinds)} was found.")
        self._rows.append((chunk.time_ps, torsion_deg(chunk.whole, self._atoms)))

    def result(self) -> TorsionSeries:
        if not self._rows:
            raise ValueError("The trajectory holds no frames.")
        return TorsionSeries(np.concatenate([t for t, _ in self._rows]), self._names, self._atoms, np.concatenate([a for _, a in self._rows]))
