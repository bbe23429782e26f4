"""Which observables a report has beyond energies and shape, by what the system is; each may fail alone."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.chunks import Chunk, System
from mdapp.analysis.dihedrals import Torsions
from mdapp.analysis.spectrum import CM_PER_FS

if TYPE_CHECKING:
    from mdapp.analysis.chunks import Tally
    from mdapp.analysis.result import Result

MOST_ATOMS_IN_SPECTRUM = 3000
MOST_PAIRS = 3
LIQUID_FROM = 10  # molecules of one kind
FASTEST_FS = 4.0  # between frames: 4000 cm⁻¹ and more are resolved
SLOWEST_FS = 20.0  # beyond it there is no spectrum: 800 cm⁻¹ is the end
NEARLY = 1.001  # times in files are rounded
COARSEST_CM1 = 300.0  # what a record must tell apart: 110 fs; of a shorter one no band is seen
MOVES_PS = 0.1  # frames that are nearer in time add nothing to a diffusion coefficient
SHOWN, MB = 500, 1 << 20  # frames for what is costly in each, and fewer of large systems, by the size of the sample
ENERGY, BONDS, SHAPE, PEPTIDE, LIQUID, MOTION, REFERENCE = (
    "Energy and temperature", "Bonds and angles", "Shape", "Peptide", "Structure and diffusion", "Vibrations", "Against the reference")


@dataclass(frozen=True)
class Asked:
    """What the user wants, and what is known of the run before its frames are read."""

    temperature_K: float | None = None  # of the thermostat, or the mean of the run's table
    pairs: tuple[tuple[str, str], ...] = ()  # of radial distributions, in place of the commonest
    reference: bool = False  # is there a trajectory to compare with?


@dataclass(frozen=True)
class Found:
    """An observable of the report: result, where it stands on the page, and what is written below its figure."""

    section: str
    caption: str
    result: Result


class Observable:
    """A tally that says in a sentence why it gave up, and leaves the others alone.

    Parameters
    ----------
    name : of its files.
    """

    def __init__(self, name: str, section: str, caption: str, tally: Tally[Any]):
        self.name, self.section, self.caption, self.why = name, section, caption, ""
        self._tally = tally

    def add(self, chunk: Chunk) -> None:
        if self.why:
            return
        try:
            self._tally.add(chunk)
        except ValueError as error:
            self.why = str(error)

    def result(self) -> Found | None:
        """None where it gave up."""
        if self.why:
            return None
        try:
            return Found(self.section, self.caption, self._tally.result())
        except ValueError as error:
            self.why = str(error)
            return None


class Refusal:
    """In place of an observable that would mean nothing: says why."""

    def __init__(self, why: str):
        self.why = why

    def add(self, chunk: Chunk) -> None:
        raise ValueError(self.why)

    def result(self) -> None:
        raise ValueError(self.why)


class OfLongRecords:
    """Passes on to the tally of a spectrum, and refuses a record that is too short to tell bands apart."""

    def __init__(self, tally: Tally[Any]):
        self._tally, self._begin_ps, self._end_ps = tally, math.inf, -math.inf

    def add(self, chunk: Chunk) -> None:
        self._begin_ps, self._end_ps = min(self._begin_ps, float(chunk.time_ps[0])), max(self._end_ps, float(chunk.time_ps[-1]))
        self._tally.add(chunk)

    def result(self) -> Any:
        length_fs = 1000 * (self._end_ps - self._begin_ps)
        if length_fs > 0 and (told_apart := 1 / (CM_PER_FS * length_fs)) > COARSEST_CM1:
            raise ValueError(f"A record of {length_fs:.4g} fs tells no wavenumbers apart that are nearer than {told_apart:.0f} cm⁻¹: it is too short for a spectrum.")
        return self._tally.result()


def wanted(first: Chunk, torsions: Torsions, asked: Asked = Asked()) -> list[Observable]:
    """The further observables of a system, in the order of the page.

    Parameters
    ----------
    first : the first frames, which show what the trajectory holds.
    torsions : of the peptide's backbone; without residues where there is no peptide.
    """
    makers = (_of_bonds, _of_peptides, _of_liquids, _of_motion)
    return [Observable(*one) for make in makers for one in make(first, torsions, asked)]


Wanted = tuple[str, str, str, "Tally[Any]"]


def _of_bonds(first: Chunk, torsions: Torsions, asked: Asked) -> Iterator[Wanted]:
    from mdapp.analysis.bond_statistics import BondStatisticsTally
    from mdapp.analysis.stability import DistanceHistogramTally
    from mdapp.analysis.thinned import EvenSample

    if len(first.system.bonds):
        yield "bond_statistics", BONDS, "Distributions of bond lengths and angles", EvenSample(BondStatisticsTally(), 4 * SHOWN)
    if asked.reference and 1 < len(first.system) <= MOST_ATOMS_IN_SPECTRUM:
        yield "distances", REFERENCE, "Distribution of all distances", EvenSample(DistanceHistogramTally(), 4 * SHOWN)


def _of_peptides(first: Chunk, torsions: Torsions, asked: Asked) -> Iterator[Wanted]:
    from mdapp.analysis.clusters import ClusterTally
    from mdapp.analysis.contacts import ContactTally
    from mdapp.analysis.hydrogen_bonds import HydrogenBondTally
    from mdapp.analysis.rmsf import RmsfTally, shape_atoms
    from mdapp.analysis.secondary_structure import SecondaryStructureTally
    from mdapp.analysis.shape import EndToEndTally
    from mdapp.analysis.torsions import KINDS, TorsionTally, all_torsions

    if not torsions.residues:
        return
    n_heavy = len(shape_atoms(first))
    yield "rmsf", SHAPE, "Fluctuations of the shape", RmsfTally()
    yield "end_to_end", SHAPE, "Distance from end to end", EndToEndTally()
    yield "clusters", SHAPE, "Conformers: frames of one shape", ClusterTally(0.6 if n_heavy <= 15 else 1.0 if n_heavy <= 60 else 2.0)
    yield "omega", PEPTIDE, "Peptide bonds: trans is 180°, cis 0°", TorsionTally(("omega",))
    chis = tuple(kind for kind in KINDS if kind.startswith("chi"))
    if all_torsions(first.system.topology, chis)[0]:
        yield "chi", PEPTIDE, "Torsions of the side chains", TorsionTally(chis)
    yield "hydrogen_bonds", PEPTIDE, "Hydrogen bonds by their share of frames", HydrogenBondTally()
    if len(torsions.residues) >= 3:
        yield "secondary_structure", PEPTIDE, "Secondary structure by DSSP", SecondaryStructureTally()
    if len(torsions.residues) >= 2:
        yield "contacts", PEPTIDE, "Contacts between residues", ContactTally()


def _of_liquids(first: Chunk, torsions: Torsions, asked: Asked) -> Iterator[Wanted]:
    from mdapp.analysis.density import DensityTally
    from mdapp.analysis.diffusion import DiffusionTally
    from mdapp.analysis.rdf import RdfTally
    from mdapp.analysis.structure_factor import StructureFactorTally
    from mdapp.analysis.thinned import EvenSample, EveryNth

    system = first.system
    if asked.pairs or system.pbc.all():
        between = bool(len(system.bonds))
        for a, b in asked.pairs or _pairs(system):
            yield f"rdf_{a}_{b}", LIQUID, f"Radial distribution {a}-{b}{' of different molecules' if between else ''}", EvenSample(
                RdfTally((a, b), intermolecular=between), SHOWN, 3 * MB)
    if not system.pbc.all():
        return
    yield "structure_factor", LIQUID, "Structure factor", EvenSample(StructureFactorTally(), SHOWN, 2 * MB)
    yield "density", LIQUID, "Density", DensityTally()
    frame_fs = _frame_fs(first)
    stride = max(1, round(1000 * MOVES_PS / frame_fs)) if frame_fs > 0 else 1
    for what, count in Counter(system.formulas).most_common(MOST_PAIRS):
        if count >= LIQUID_FROM:
            yield f"diffusion_{what}", LIQUID, f"Mean square displacement of {what}", EveryNth(DiffusionTally(what), stride)


def _of_motion(first: Chunk, torsions: Torsions, asked: Asked) -> Iterator[Wanted]:
    from mdapp.analysis.infrared import InfraredTally
    from mdapp.analysis.power_spectrum import PowerSpectrumTally
    from mdapp.analysis.velocity_autocorrelation import VelocityAutocorrelationTally

    if len(first.system) > MOST_ATOMS_IN_SPECTRUM:
        return
    if _frame_fs(first) > SLOWEST_FS * NEARLY:
        yield "power_spectrum", MOTION, "", Refusal(f"Frames are {_frame_fs(first):.4g} fs apart, and vibrations need {SLOWEST_FS:g} fs or less between them.")
        return
    yield "power_spectrum", MOTION, "Spectrum of the velocities", OfLongRecords(PowerSpectrumTally())
    if first.velocities is not None and first.velocities.any():
        yield "velocity_autocorrelation", MOTION, "Memory of the velocities", VelocityAutocorrelationTally()
    if first.dipole is not None or first.charges is not None:
        yield "infrared", MOTION, "Infrared spectrum", OfLongRecords(InfraredTally(asked.temperature_K))


def doubts(further: dict[str, Found]) -> list[str]:
    """What must be said beside a result; a spectrum that ends below the stretching of light bonds carries them folded in."""
    found = further.get("power_spectrum")
    spectrum: Any = found.result if found else None
    if spectrum is None or spectrum.frame_fs <= FASTEST_FS * NEARLY:
        return []
    return [f"Frames are {spectrum.frame_fs:.4g} fs apart: the spectrum ends at {spectrum.wavenumber_cm1[-1]:.0f} cm⁻¹, and faster vibrations are folded into it; "
            f"store a frame every {FASTEST_FS:g} fs or less."]


def _frame_fs(first: Chunk) -> float:
    """Time between frames; 0 where there is one frame."""
    return 1000 * float(np.median(np.diff(first.time_ps))) if len(first) > 1 else 0.0


def _pairs(system: System) -> list[tuple[str, str]]:
    """Of the two commonest elements but hydrogen; with hydrogen where there is one other element alone."""
    counts = Counter(np.array(system.symbols)[system.numbers > 1].tolist())
    names = [name for name, count in counts.most_common(2) if count > 1]
    if len(names) < 2 and (system.numbers == 1).sum() > 1:
        names.append("H")
    return [(a, b) for k, a in enumerate(names) for b in names[k:]][:MOST_PAIRS]
