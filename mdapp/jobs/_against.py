"""A trajectory held against another one: the published measures of stability, and the distributions of bonds, distances and neighbours side by side.

Each measure stands beside what the reference's own noise makes of it: the same between the two halves of every stretch of the reference.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.bond_statistics import BondStatistics, BondStatisticsTally
from mdapp.analysis.chunks import Chunk, Tally, chunks_of
from mdapp.analysis.rdf import RadialDistribution, RdfTally
from mdapp.analysis.stability import DistanceHistogram, DistanceHistogramTally, histogram_error, rdf_deviation_A
from mdapp.analysis.table import write_columns
from mdapp.analysis.thinned import EvenSample, part
from mdapp.errors import StructureError
from mdapp.jobs._numbers import Number
from mdapp.jobs._observables import SHOWN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdapp.analysis.result import Result
    from mdapp.jobs._measure import Measured
    from mdapp.jobs._sources import Source

MOST = 12  # kinds in the table


@dataclass(frozen=True)
class Against:
    """A trajectory beside its reference."""

    name: str
    pairs: dict[str, tuple[Result, Result]]  # ours and the reference's, by the name of the files
    numbers: tuple[Number, ...]
    bonds: dict[str, float]  # difference of the distributions by kind, 0 to 1

    def write(self, folder: Path) -> None:
        """The reference's numbers, and the measures as comparison.csv."""
        for name, (_, theirs) in self.pairs.items():
            theirs.to_csv(folder / f"reference_{name}.csv")
        values = [*((n.label, float(n.value), n.unit) for n in self.numbers if n.unit), *((f"distributions of {kind}", value, "of 1") for kind, value in self.bonds.items())]
        write_columns(folder / "comparison.csv", {name: [row[k] for row in values] for k, name in enumerate(("measure", "value", "unit"))})

    def figures(self) -> list[tuple[str, str, Figure]]:
        """Name, caption and figure."""
        from mdapp.plots import observables, structure

        draw: dict[type, Callable[..., Figure]] = {BondStatistics: structure.bond_statistics, DistanceHistogram: structure.distance_histogram,
                                                   RadialDistribution: observables.radial_distribution}
        return [(f"against_{name}", f"{name.replace('_', ' ')} beside the reference (reference_{name}.csv)", draw[type(ours)](ours, theirs))
                for name, (ours, theirs) in self.pairs.items()]


class _Halves:
    """Three tallies of one kind: of everything, of the first and of the second half of each stretch."""

    def __init__(self, make: Callable[[], Tally[Any]]):
        self.all, self.halves = EvenSample(make(), 4 * SHOWN), [EvenSample(make(), 2 * SHOWN) for _ in range(2)]

    def add(self, chunk: Chunk) -> None:
        self.all.add(chunk)
        for half, rows in zip(self.halves, np.array_split(np.arange(len(chunk)), 2)):
            if len(rows):
                half.add(part(chunk, rows))

    def noise(self, compare: Callable[[Any, Any], float]) -> float:
        try:
            return compare(*(half.result() for half in self.halves))
        except ValueError:  # a reference of one frame has one half
            return math.nan


def against(source: Source, measured: Measured) -> Against:
    """Compare what was measured with a reference trajectory.

    Raises
    ------
    StructureError : the reference holds other atoms, or nothing that can be compared.
    """
    makers = dict(_makers(measured))
    found = {name: _Halves(make) for name, (make, _) in makers.items()}
    if not found:
        raise StructureError(f"{source.name}: there is nothing to compare with a reference: no bonds, no distances and no radial distributions.")
    try:
        for chunk in chunks_of(source.frames()):
            if not np.array_equal(chunk.system.numbers, measured.numbers):
                raise ValueError(f"the reference holds other atoms than the trajectory ({len(chunk.system)} atoms, {len(measured.numbers)} expected in the same order)")
            for one in found.values():
                one.add(chunk)
        pairs = {name: (measured.further[name].result, one.all.result()) for name, one in found.items()}
    except ValueError as error:
        raise StructureError(f"{source.name}: {error}") from None
    values = []
    for name, (ours, theirs) in pairs.items():
        label, unit, compare = makers[name][1]
        noise = found[name].noise(compare)
        values.append(Number(label, compare(ours, theirs), math.nan, unit, f"{noise:.3g} between halves of the reference" if math.isfinite(noise) else ""))
    bonds: dict[str, float] = {}
    if "bond_statistics" in pairs:
        ours, theirs = pairs["bond_statistics"]
        bonds = ours.differences(theirs)
        for kind in sorted(bonds, key=lambda kind: -bonds[kind])[:MOST]:
            mine, other = ((found.bonds | found.angles)[kind] for found in (ours, theirs))
            unit = mine.unit if mine.unit == "Å" else "degrees"
            digits = ".3f" if unit == "Å" else ".1f"
            values.append(Number(f"distributions of {kind}", bonds[kind], math.nan, "", f"mean {mine.mean:{digits}}, in the reference {other.mean:{digits}} {unit}"))
    return Against(source.name, pairs, tuple(values), bonds)


def _makers(measured: Measured):
    """Name, (maker of a tally on the same bins, (label, unit, measure))."""
    for name, found in measured.further.items():
        one = found.result
        if isinstance(one, BondStatistics):
            yield name, ((lambda: BondStatisticsTally(measured.bond_pairs)), ("largest difference of bond and angle distributions", "of 1", _worst_kind))
        elif isinstance(one, DistanceHistogram):
            yield name, ((lambda: DistanceHistogramTally()), ("distance histogram error", "of 2", histogram_error))
        elif isinstance(one, RadialDistribution):
            end = float(one.r_A[-1] + one.r_A[0])
            make = lambda one=one, end=end: RdfTally(one.pair, end, len(one.r_A), intermolecular=len(measured.bond_pairs) > 0)
            yield name, (make, (f"RDF deviation {'-'.join(one.pair)}", "Å", rdf_deviation_A))


def _worst_kind(ours: BondStatistics, theirs: BondStatistics) -> float:
    return max(ours.differences(theirs).values(), default=math.nan)
