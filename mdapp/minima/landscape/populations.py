"""How much of each minimum there is at a temperature.

With frequencies: the harmonic free energy of each minimum, vibrations quantised. Without: Boltzmann's factor of the energy alone, which leaves out that wide basins hold
more. The two are never mixed in one table: minima without frequencies are then left out where they are so high that they do not matter, else the energies alone are
used, and the table says which. Either way copies are counted: a minimum of rotational symmetry s is found in 1/s as many, one that stands for itself and its
mirror image in twice as many.
"""
from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from mdapp.minima.identity_copies import copies_of

if TYPE_CHECKING:
    from mdapp.minima.contents import Contents

NEGLIGIBLE_KT = 8.0  # above the lowest free energy: exp(-8) is 0.0003
COUNTED_KT = 25.0  # above the lowest energy: no copies are counted of what is never populated
LEAST_CM1 = 10.0  # softer modes count as this soft: a harmonic mode of 0 1/cm would take everything


@dataclass(frozen=True)
class Populations:
    """Shares of minima at a temperature."""

    temperature_K: float
    minima: np.ndarray  # (n,) numbers of the minima
    energies: np.ndarray  # (n,), eV above the lowest
    free_energies: np.ndarray  # (n,), eV above the lowest of them; equal to `energies` where no frequencies are used
    shares: np.ndarray  # (n,), sum 1
    harmonic: bool  # with vibrations
    left_out: int  # minima without frequencies and above all that matters
    symmetry: np.ndarray  # (n,) rotational symmetry numbers; 1 where not counted
    images: np.ndarray  # (n,) 2 where a minimum stands for itself and its mirror image

    @property
    def basis(self) -> str:
        """In words, for a caption."""
        if not self.harmonic:
            return "from energies alone (frequencies are not known for all that matter)"
        return "from harmonic free energies" + (f", {self.left_out} higher minima without frequencies left out" if self.left_out else "")

    def to_csv(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["minimum", "above_lowest_eV", "free_energy_above_lowest_eV", "symmetry", "mirror_images", "share", "temperature_K", "basis"])
            basis = "harmonic" if self.harmonic else "energy"
            for k in np.argsort(-self.shares, kind="stable"):
                out.writerow([int(self.minima[k]), f"{self.energies[k]:.6f}", f"{self.free_energies[k]:.6f}", int(self.symmetry[k]), int(self.images[k]),
                              f"{self.shares[k]:.6f}", f"{self.temperature_K:g}", basis])


def vibrational_free_energy(frequencies_cm1: np.ndarray, temperature_K: float) -> float:
    """Free energy of quantised harmonic modes, zero point included, eV.

    F = sum over modes of h nu / 2 + kT ln(1 - exp(-h nu / kT)); modes below 10 1/cm count as 10 (they are not harmonic).

    Raises
    ------
    ValueError : an imaginary mode (negative frequency below -10 1/cm): no minimum.
    """
    f = np.asarray(frequencies_cm1, dtype=float)
    if np.any(f < -LEAST_CM1):
        raise ValueError(f"A frequency of {f.min():.0f} 1/cm is imaginary: this is no minimum.")
    quantum, kT = np.maximum(f, LEAST_CM1) * units.invcm, units.kB * temperature_K
    return float(np.sum(quantum / 2 + kT * np.log1p(-np.exp(-quantum / kT))))


def degeneracies(library: Contents, temperature_K: float) -> tuple[dict[int, int], dict[int, int]]:
    """Symmetry numbers and numbers of mirror images by minimum, for `populations`; of minima that matter at the temperature."""
    energies = library.energies()
    positions = library.positions() if len(energies) else np.zeros(0)
    low = np.flatnonzero(energies - energies.min(initial=np.inf) <= COUNTED_KT * units.kB * temperature_K).tolist()
    found = {k: copies_of(library.identity, positions[k], library.sameness.rmsd_max) for k in low}
    return {k: c.symmetry for k, c in found.items()}, {k: c.images for k, c in found.items()}


def populations(energies: np.ndarray, temperature_K: float, frequencies: Mapping[int, np.ndarray] | None = None,
                symmetry: Mapping[int, int] | None = None, images: Mapping[int, int] | None = None) -> Populations:
    """Shares of minima at a temperature.

    Parameters
    ----------
    energies : (n_minima,), eV.
    frequencies : 1/cm, by number of the minimum, without the modes of shifts and rotations; a minimum with an imaginary one counts as not known.
    symmetry : rotational symmetry number by number of the minimum; 1 where not given.
    images : 2 for a minimum that stands for itself and its mirror image; 1 where not given.
    """
    if not temperature_K > 0:
        raise ValueError(f"temperature_K must be > 0, got {temperature_K}.")
    if len(energies) == 0:
        raise ValueError("There is no minimum yet, so nothing is populated.")
    kT = units.kB * temperature_K
    e = np.asarray(energies, dtype=float) - np.min(energies)
    turned, mirrored = (np.array([(known or {}).get(k, 1) for k in range(len(e))], dtype=int) for known in (symmetry, images))
    copies = kT * np.log(turned / mirrored)
    vibrations = np.full(len(e), np.nan)
    for k, f in (frequencies or {}).items():
        if 0 <= k < len(e) and not np.any(np.asarray(f) < -LEAST_CM1):
            vibrations[k] = vibrational_free_energy(f, temperature_K)
    known = np.isfinite(vibrations)
    if known.any():
        free = e + vibrations
        floor = np.nanmin(free + copies)
        hoped = e + copies + np.nanmin(vibrations) - floor  # of those not known, were their vibrations as favourable as any
        harmonic = bool(np.all(known | (hoped > NEGLIGIBLE_KT * kT)))
    else:
        free, harmonic = e, False
    chosen = np.flatnonzero(known) if harmonic else np.arange(len(e))
    f = ((free if harmonic else e) + copies)[chosen]
    f = f - f.min()
    weights = np.exp(-f / kT)
    return Populations(temperature_K, chosen, e[chosen], f, weights / weights.sum(), harmonic, len(e) - len(chosen), turned[chosen], mirrored[chosen])
