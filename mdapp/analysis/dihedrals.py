"""Backbone torsions of a peptide: phi, psi and omega, by MDTraj, and what they say.

Angles are in degrees from -180 to 180 with the IUPAC sign (trans is 180).
"""
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdapp.analysis.result import Result

if TYPE_CHECKING:
    import mdtraj

REGIONS = {  # phi from, to; psi from, to, in degrees; both may pass through 180
    "alpha": (-160.0, -20.0, -120.0, 50.0),
    "beta and PPII": (-200.0, -20.0, 50.0, 240.0),
    "left-handed": (20.0, 120.0, -40.0, 100.0),
}


@dataclass(frozen=True)
class Ramachandran(Result):
    """phi and psi of every residue that has both, in every frame."""

    time_ps: np.ndarray  # (n_frames,)
    residues: tuple[str, ...]  # (n_residues,), such as ALA2
    phi_deg: np.ndarray  # (n_frames, n_residues)
    psi_deg: np.ndarray  # (n_frames, n_residues)

    def populations(self) -> dict[str, float]:
        """Share of all (frame, residue) pairs in each region of `REGIONS`; the rest is 'other'."""
        shares = {name: float(_inside(self.phi_deg, self.psi_deg, box).mean()) for name, box in REGIONS.items()}
        return {**shares, "other": max(0.0, 1.0 - sum(shares.values()))}

    def to_csv(self, path: Path) -> None:
        names = [f"{angle}_{residue}_deg" for residue in self.residues for angle in ("phi", "psi")]
        angles = np.stack([self.phi_deg, self.psi_deg], axis=2).reshape(len(self.time_ps), -1)
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["time_ps", *names])
            out.writerows([f"{t:.8g}", *(f"{a:.3f}" for a in row)] for t, row in zip(self.time_ps, angles, strict=True))


@dataclass(frozen=True)
class Torsions:
    """Atoms of the backbone's torsions; empty where the topology shows no peptide."""

    residues: tuple[str, ...]  # of phi and psi
    phi: np.ndarray  # (n_residues, 4) atoms C- N CA C
    psi: np.ndarray  # (n_residues, 4) atoms N CA C N+
    bonds: tuple[str, ...]  # of omega, such as ALA2-ALA3
    omega: np.ndarray  # (n_bonds, 4) atoms CA C N+ CA+


def backbone_torsions(topology: mdtraj.Topology) -> Torsions:
    """The torsions that a topology's atom names show; caps (ACE, NME) lend their atoms but are no residues of their own."""
    import mdtraj

    nowhere = mdtraj.Trajectory(np.zeros((1, topology.n_atoms, 3), dtype=np.float32), topology)
    phi, psi, omega = (getattr(mdtraj, f"compute_{name}")(nowhere)[0].reshape(-1, 4) for name in ("phi", "psi", "omega"))
    psi_of = {int(atoms[1]): atoms for atoms in psi}  # by the alpha carbon
    both = [(atoms, psi_of[int(atoms[2])]) for atoms in phi if int(atoms[2]) in psi_of]
    residue = lambda atom: str(topology.atom(int(atom)).residue)
    return Torsions(
        residues=tuple(residue(p[2]) for p, _ in both),
        phi=np.array([p for p, _ in both], dtype=int).reshape(-1, 4), psi=np.array([q for _, q in both], dtype=int).reshape(-1, 4),
        bonds=tuple(f"{residue(o[1])}-{residue(o[2])}" for o in omega), omega=omega.astype(int))


def torsion_deg(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Torsion angles (n_frames, n_torsions), degrees, of positions (n_frames, n_atoms, 3) for atoms (n_torsions, 4).

    Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996): the arctangent keeps small and straight angles exact.
    """
    a, b, c, d = (positions[:, atoms[:, k]] for k in range(4))
    axis = c - b
    m, n = np.cross(b - a, axis), np.cross(axis, d - c)
    y = np.linalg.norm(axis, axis=-1) * np.einsum("...x,...x->...", b - a, n)
    return np.degrees(np.arctan2(y, np.einsum("...x,...x->...", m, n)))


def ramachandran(time_ps: np.ndarray, positions: np.ndarray, torsions: Torsions) -> Ramachandran:
    """phi and psi along a trajectory; positions (n_frames, n_atoms, 3) in Å, molecules whole."""
    return Ramachandran(np.asarray(time_ps), torsions.residues, torsion_deg(positions, torsions.phi), torsion_deg(positions, torsions.psi))


def free_energy(phi_deg: np.ndarray, psi_deg: np.ndarray, bins: int = 36) -> tuple[np.ndarray, np.ndarray]:
    """Free energy -ln p over the (phi, psi) plane in kT, its least value 0, NaN where nothing was seen.

    Returns
    -------
    Bin edges (bins + 1,) in degrees for both axes, and the map (bins, bins), phi first.
    """
    edges = np.linspace(-180.0, 180.0, bins + 1)
    counts, _, _ = np.histogram2d(np.ravel(phi_deg), np.ravel(psi_deg), bins=(edges, edges))
    with np.errstate(divide="ignore"):
        energy = np.where(counts > 0, -np.log(counts / max(counts.max(), 1)), np.nan)
    return edges, energy


def _inside(phi: np.ndarray, psi: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    phi_from, phi_to, psi_from, psi_to = box
    return ((phi - phi_from) % 360 < phi_to - phi_from) & ((psi - psi_from) % 360 < psi_to - psi_from)
