"""What an observable says in a few numbers: each with its error and unit, for the page's tables and for summary.json."""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from mdapp.analysis.bond_statistics import BondStatistics
from mdapp.analysis.clusters import Clusters
from mdapp.analysis.contacts import ContactMap
from mdapp.analysis.density import Density
from mdapp.analysis.diffusion import Diffusion, finite_size_correction_cm2_s
from mdapp.analysis.hydrogen_bonds import HydrogenBonds
from mdapp.analysis.infrared import Infrared
from mdapp.analysis.power_spectrum import PowerSpectrum
from mdapp.analysis.rdf import RadialDistribution
from mdapp.analysis.result import Result
from mdapp.analysis.rmsf import Fluctuations
from mdapp.analysis.secondary_structure import NAMES, SecondaryStructure
from mdapp.analysis.shape import EndToEnd
from mdapp.analysis.statistics import Mean, plus_minus
from mdapp.analysis.structure_factor import StructureFactor
from mdapp.analysis.torsions import TorsionSeries

MOST = 12  # of one observable


@dataclass(frozen=True)
class Number:
    """A value with its standard error (NaN where there is none)."""

    label: str
    value: float
    error: float
    unit: str
    note: str = ""

    @property
    def shown(self) -> str:
        """'1.98 ± 0.04 Å (note)'."""
        text = "not known" if not math.isfinite(self.value) else plus_minus(self.value, self.error)
        return f"{text} {self.unit}".rstrip() + (f" ({self.note})" if self.note else "")

    @property
    def summary(self) -> dict[str, Any]:
        """For a machine; what is not known is null."""
        known = lambda x: float(x) if math.isfinite(x) else None
        return {"label": self.label, "value": known(self.value), "error": known(self.error), "unit": self.unit, **({"note": self.note} if self.note else {})}


@singledispatch
def numbers(found: Result) -> Iterable[Number]:
    """The numbers of a result that a person asks for first; none where the figure says it all."""
    return ()


def of_mean(label: str, mean: Mean, unit: str, note: str = "") -> Number:
    few = "" if mean.reliable or mean.n_samples < 2 else f"few: {mean.n_independent:.0f} independent"
    return Number(label, mean.value, mean.error, unit, ", ".join(word for word in (note, few) if word))


@numbers.register
def _(found: BondStatistics) -> Iterable[Number]:
    for group in (found.bonds, found.angles):
        for one in sorted(group.values(), key=lambda d: -d.count)[: MOST // 2]:
            unit = one.unit if one.unit == "Å" else "degrees"
            digits = ".3f" if unit == "Å" else ".1f"
            yield Number(f"{'bond' if unit == 'Å' else 'angle'} {one.kind}", one.mean, one.mean_error, unit, f"{one.start:{digits}} at the start, spread {one.deviation:{digits}}")


@numbers.register
def _(found: Fluctuations) -> Iterable[Number]:
    k = int(found.rmsf_A.argmax())
    yield Number("largest RMSF", float(found.rmsf_A[k]), float(found.error_A[k]), "Å", found.labels[k])


@numbers.register
def _(found: EndToEnd) -> Iterable[Number]:
    yield of_mean("end to end", found.mean, "Å")


@numbers.register
def _(found: Clusters) -> Iterable[Number]:
    shares = found.populations()
    yield Number("conformers", len(shares), math.nan, "", f"RMSD below {found.cutoff_A:g} Å; {found.transitions} changes between {len(found.frames)} frames")
    for k, mean in enumerate(shares[:4]):
        yield of_mean(f"conformer {k + 1}", percent(mean), "%", f"frame {found.centres[k]} in its middle")


@numbers.register
def _(found: TorsionSeries) -> Iterable[Number]:
    for name, mean, cis in list(zip(found.names, found.means(), found.cis_share()))[:MOST]:
        note = f"cis in {100 * cis:.0f} % of frames" if name.startswith("omega") else f"order {mean.order:.2f}"
        yield Number(name, mean.value_deg, mean.error_deg, "degrees", note)


@numbers.register
def _(found: HydrogenBonds) -> Iterable[Number]:
    yield of_mean("hydrogen bonds", found.mean_count, "in a frame", found.criterion)
    for label, share, error in list(zip(found.labels, found.share, found.share_error))[:4]:
        yield Number(label, 100 * float(share), 100 * float(error), "% of frames")


@numbers.register
def _(found: SecondaryStructure) -> Iterable[Number]:
    for kind, mean in found.content().items():
        yield of_mean(NAMES[kind], percent(mean), "% of residues")


@numbers.register
def _(found: ContactMap) -> Iterable[Number]:
    i, j = np.nonzero(np.triu(np.nan_to_num(found.share) > 0, 1))
    for k in np.argsort(-found.share[i, j], kind="stable")[:4]:
        a, b = i[k], j[k]
        yield Number(f"{found.residues[a]}-{found.residues[b]}", 100 * float(found.share[a, b]), 100 * float(found.share_error[a, b]), "% of frames in contact",
                     f"mean distance {plus_minus(float(found.distance_A[a, b]), float(found.distance_error_A[a, b]))} Å")


@numbers.register
def _(found: RadialDistribution) -> Iterable[Number]:
    name, k = "-".join(found.pair), int(found.g.argmax())
    yield Number(f"g(r) {name}", float(found.g[k]), float(found.g_error[k]), "", f"highest, at {found.r_A[k]:.2f} Å")
    end, count, error = found.shell
    if math.isfinite(end):
        yield Number(f"neighbours {name}", count, error, "", f"first shell, up to {end:.2f} Å")


@numbers.register
def _(found: StructureFactor) -> Iterable[Number]:
    k = int(found.S.argmax())
    yield Number("S(k)", float(found.S[k]), float(found.S_error[k]), "", f"highest, at {found.k_per_A[k]:.2f} per Å")


@numbers.register
def _(found: Density) -> Iterable[Number]:
    yield of_mean("density", found.mean, "g/cm³")


@numbers.register
def _(found: Diffusion) -> Iterable[Number]:
    scale, notes = 1e5, [f"MSD from {found.fit_ps[0]:.3g} to {found.fit_ps[1]:.3g} ps, t to the power {found.exponent:.2f}" + ("" if found.diffusive else ": not diffusive")]
    if found.edge_A is not None and found.diffusive:
        more = scale * finite_size_correction_cm2_s(300.0, 1.0, found.edge_A)
        notes.append(f"in an infinite box {more:.2g} more at 300 K and a viscosity of 1 mPa s, by Yeh and Hummer")
    yield Number(f"D of {found.what}", scale * found.D_cm2_s, scale * found.D_error_cm2_s, "10⁻⁵ cm²/s", "; ".join(notes))


@numbers.register
def _(found: PowerSpectrum) -> Iterable[Number]:
    segments = f"{found.n_segments} segment{'s' if found.n_segments != 1 else ''}"
    yield Number("T of the spectrum", found.temperature_K, math.nan, "K", f"{segments} of frames {found.frame_fs:.3g} fs apart")


@numbers.register
def _(found: Infrared) -> Iterable[Number]:
    k = int(found.absorption_km_mol_cm.argmax())
    yield Number("strongest absorption", float(found.absorption_km_mol_cm[k]), float(found.error_km_mol_cm[k]), "km/mol cm",
                 f"at {found.wavenumber_cm1[k]:.0f} cm⁻¹, from the {found.source}")


def percent(mean: Mean) -> Mean:
    """A share as a percentage."""
    return Mean(100 * mean.value, 100 * mean.error, 100 * mean.deviation, mean.n_samples, mean.n_independent, 100 * mean.block_error)
