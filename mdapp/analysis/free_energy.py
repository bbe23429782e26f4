r"""Free energy over phi and psi, with an error for every bin and for every basin.

.. math:: F(\phi, \psi) = -k_B T \ln \frac{p(\phi, \psi)}{p_{max}}, \qquad \sigma_F = k_B T \, \frac{\sigma_p}{p}

The error of a population is that of the mean of the series "is it there?", correlations counted. A bin that was seen in one frame says little: `error_kJ_mol` shows it.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import constants

from mdapp.analysis.blocks import BlockMeans, series_errors
from mdapp.analysis.dihedrals import REGIONS, Ramachandran
from mdapp.analysis.result import Result
from mdapp.analysis.statistics import Mean, mean_with_error
from mdapp.analysis.table import write_columns

KJ_PER_MOL_K = constants.R / 1000


@dataclass(frozen=True)
class FreeEnergySurface(Result):
    """F over the plane of two torsions."""

    edges_deg: np.ndarray  # (n_bins + 1,) of both axes
    F_kJ_mol: np.ndarray  # (n_bins, n_bins) phi first, the least value 0, NaN where nothing was seen
    error_kJ_mol: np.ndarray  # (n_bins, n_bins) standard error of -kT ln p
    temperature_K: float
    n_frames: int

    @property
    def minimum_deg(self) -> tuple[float, float]:
        """phi and psi of the lowest bin's centre."""
        a, b = np.unravel_index(np.nanargmin(self.F_kJ_mol), self.F_kJ_mol.shape)
        centres = 0.5 * (self.edges_deg[1:] + self.edges_deg[:-1])
        return float(centres[a]), float(centres[b])

    def to_csv(self, path: Path) -> None:
        """One line for each bin that was seen."""
        centres = 0.5 * (self.edges_deg[1:] + self.edges_deg[:-1])
        a, b = np.nonzero(np.isfinite(self.F_kJ_mol))
        write_columns(path, {"phi_deg": centres[a], "psi_deg": centres[b], "F_kJ_mol": self.F_kJ_mol[a, b], "error_kJ_mol": self.error_kJ_mol[a, b]})


def free_energy_surface(angles: Ramachandran, temperature_K: float, residue: str | None = None, n_bins: int = 36) -> FreeEnergySurface:
    """Free energy of one residue's phi and psi, or of all residues together.

    Parameters
    ----------
    angles : of `mdapp.analysis.dihedrals.ramachandran`.
    temperature_K : of the run.
    residue : one of `angles.residues`; all where not given.
    n_bins : along each axis.

    Raises
    ------
    ValueError : no such residue, no frames.
    """
    return surface_of(*bin_shares(angles, residue, n_bins), temperature_K, len(angles.time_ps))


def bin_shares(angles: Ramachandran, residue: str | None = None, n_bins: int = 36) -> tuple[np.ndarray, np.ndarray]:
    """Share of each bin (n_bins²,), phi first, and its standard error (n_bins²,); 0 where nothing was seen."""
    phi, psi = _of_residue(angles, residue)
    blocks, frame = BlockMeans(), np.arange(len(phi))
    cell = _bins(phi, n_bins) * n_bins + _bins(psi, n_bins)  # (n_frames, n_residues)
    for begin in range(0, len(phi), 512):
        here = cell[begin : begin + 512]
        one_hot = np.zeros((len(here), n_bins * n_bins))
        np.add.at(one_hot, (np.repeat(frame[: len(here)], here.shape[1]), here.ravel()), 1.0 / here.shape[1])
        blocks.add(one_hot)
    p, error = blocks.mean, np.zeros(n_bins * n_bins)
    seen = p > 0
    error[seen] = series_errors(blocks.series[:, seen])
    return p, error


def surface_of(p: np.ndarray, error: np.ndarray, temperature_K: float, n_frames: int) -> FreeEnergySurface:
    """The surface that shares of bins (n_bins²,) and their errors mean at a temperature.

    Raises
    ------
    ValueError : a temperature that is not above zero.
    """
    if not temperature_K > 0:
        raise ValueError(f"The temperature must be > 0 K, got {temperature_K}.")
    n_bins, seen, kT = round(len(p) ** 0.5), p > 0, KJ_PER_MOL_K * temperature_K
    with np.errstate(divide="ignore", invalid="ignore"):
        F = np.where(seen, -kT * np.log(p / p.max()), np.nan)
        sigma = np.where(seen, kT * error / p, np.nan)
    return FreeEnergySurface(np.linspace(-180.0, 180.0, n_bins + 1), F.reshape(n_bins, n_bins), sigma.reshape(n_bins, n_bins), temperature_K, n_frames)


def basin_populations(angles: Ramachandran, residue: str | None = None) -> dict[str, Mean]:
    """Population of each basin of `REGIONS` and of the rest ("other"), with its error."""
    phi, psi = _of_residue(angles, residue)
    found, rest = {}, np.ones(len(phi))
    for name, (phi_from, phi_to, psi_from, psi_to) in REGIONS.items():
        inside = (((phi - phi_from) % 360 < phi_to - phi_from) & ((psi - psi_from) % 360 < psi_to - psi_from)).mean(axis=1)
        found[name] = mean_with_error(inside)
        rest = rest - inside
    return {**found, "other": mean_with_error(np.clip(rest, 0.0, 1.0))}


def basin_free_energies(angles: Ramachandran, temperature_K: float, residue: str | None = None) -> dict[str, tuple[float, float]]:
    """Free energy of each basin that was seen over the most populated one, kJ/mol, and the standard error of -kT ln p."""
    kT = KJ_PER_MOL_K * temperature_K
    seen = {name: mean for name, mean in basin_populations(angles, residue).items() if mean.value > 0}
    most = max(mean.value for mean in seen.values())
    return {name: (-kT * float(np.log(mean.value / most)), kT * mean.error / mean.value) for name, mean in seen.items()}


def _of_residue(angles: Ramachandran, residue: str | None) -> tuple[np.ndarray, np.ndarray]:
    if not len(angles.time_ps):
        raise ValueError("The trajectory holds no frames.")
    if residue is None:
        return angles.phi_deg, angles.psi_deg
    if residue not in angles.residues:
        raise ValueError(f"No residue '{residue}' with phi and psi; there are {', '.join(angles.residues)}.")
    k = angles.residues.index(residue)
    return angles.phi_deg[:, k : k + 1], angles.psi_deg[:, k : k + 1]


def _bins(angle_deg: np.ndarray, n_bins: int) -> np.ndarray:
    return ((np.asarray(angle_deg) + 180.0) % 360.0 * n_bins / 360.0).astype(int) % n_bins
