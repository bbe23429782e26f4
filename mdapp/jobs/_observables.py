"""Which observables a report has beyond energies and shape, by what the system is; each may fail alone."""
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.chunks import Chunk, System
from mdapp.analysis.dihedrals import Torsions

if TYPE_CHECKING:
    from mdapp.analysis.chunks import Tally

MOST_ATOMS_IN_SPECTRUM = 3000
MOST_PAIRS = 3
FASTEST_FS = 4.0  # between frames: 4000 cm⁻¹ and more are resolved


class Guarded:
    """An observable that says in a sentence why it gave up, and leaves the others alone."""

    def __init__(self, name: str, tally: Tally[Any]):
        self.name, self.why = name, ""
        self._tally = tally

    def add(self, chunk: Chunk) -> None:
        if self.why:
            return
        try:
            self._tally.add(chunk)
        except ValueError as error:
            self.why = str(error)

    def result(self) -> Any:
        """None where it gave up."""
        if self.why:
            return None
        try:
            return self._tally.result()
        except ValueError as error:
            self.why = str(error)
            return None


def wanted(system: System, torsions: Torsions) -> dict[str, Tally[Any]]:
    """The further observables of a system, by the name of their files: hydrogen bonds, fluctuations and secondary structure of a peptide, radial
    distributions and density of what fills a cell, and the spectrum of the velocities of anything that is not too large."""
    from mdapp.analysis.density import DensityTally
    from mdapp.analysis.hydrogen_bonds import HydrogenBondTally
    from mdapp.analysis.power_spectrum import PowerSpectrumTally
    from mdapp.analysis.rdf import RdfTally
    from mdapp.analysis.rmsf import RmsfTally
    from mdapp.analysis.secondary_structure import SecondaryStructureTally

    found: dict[str, Tally[Any]] = {}
    if torsions.residues:
        found |= {"hydrogen_bonds": HydrogenBondTally(), "rmsf": RmsfTally()}
    if len(torsions.residues) >= 3:
        found["secondary_structure"] = SecondaryStructureTally()
    if system.pbc.all():
        found["density"] = DensityTally()
        found |= {f"rdf_{a}_{b}": RdfTally((a, b)) for a, b in _pairs(system)}
    if len(system) <= MOST_ATOMS_IN_SPECTRUM:
        found["power_spectrum"] = PowerSpectrumTally()
    return found


def doubts(further: dict[str, Any]) -> list[str]:
    """What must be said beside a result; a spectrum that ends below the stretching of light bonds carries them folded in."""
    spectrum = further.get("power_spectrum")
    if spectrum is None or spectrum.frame_fs <= FASTEST_FS:
        return []
    end = float(spectrum.wavenumber_cm1[-1])
    return [f"Frames are {spectrum.frame_fs:.4g} fs apart: the spectrum ends at {end:.0f} cm⁻¹, and faster vibrations are folded into it; store a frame every "
            f"{FASTEST_FS:g} fs or less."]


def _pairs(system: System) -> list[tuple[str, str]]:
    """Of the commonest elements that are not hydrogen, and of hydrogen where there is little else."""
    counts = Counter(np.array(system.symbols)[system.numbers > 1].tolist())
    names = [name for name, count in counts.most_common(2) if count > 1] or (["H"] if (system.numbers == 1).sum() > 1 else [])
    return [(a, b) for k, a in enumerate(names) for b in names[k:]][:MOST_PAIRS]
