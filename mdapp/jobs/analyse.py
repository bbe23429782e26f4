"""`mdapp analyse`: a run folder, any trajectory or a library of minima in, numbers, figures and a verdict out.

The report's folder appears whole: it is built beside and renamed, so that a report is never half of two. Every figure has a CSV with
the numbers that it shows. What a trajectory does not have (a peptide, energies, a second frame) is said in one sentence, and the rest is made.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mdapp.analysis.free_energy import basin_free_energies, basin_populations, free_energy_surface
from mdapp.analysis.midstep import in_the_middle, middle_words
from mdapp.analysis.statistics import Drift, Mean, mean_with_error, plus_minus, sound_mean
from mdapp.analysis.thermo import Thermo
from mdapp.analysis.verdict import Judgement, judge, shows_drift
from mdapp.config import AnalyseConfig
from mdapp.errors import EXIT_FINISHED, StructureError, UserError
from mdapp.jobs._against import against
from mdapp.jobs._analysis_page import Findings, write_findings
from mdapp.jobs._landscape import MinimaReport, analyse_minima, holds_minima, open_minima
from mdapp.jobs._landscape_page import MADE_BY, MinimaSource
from mdapp.jobs._measure import Measured, measure
from mdapp.jobs._numbers import Number, of_mean, percent
from mdapp.jobs._observables import PEPTIDE, Asked, Found, doubts, wanted
from mdapp.jobs._pooled import pool
from mdapp.jobs._reasons import first_sign
from mdapp.jobs._report_folders import report_folders
from mdapp.jobs._sources import Source, open_source, replicas_of
from mdapp.jobs._whole_folder import whole_folder
from mdapp.screen import Screen, silent

HEAT = ("T_K", "E_pot_eV", "E_kin_eV")  # columns that a thermostat's heat moves
MAP_FROM = 500  # frames from which a free-energy surface says more than its basins


@dataclass(frozen=True)
class Report:
    """What was found out about one trajectory."""

    source: Source
    folder: Path  # with report.html, summary.json, *.png and *.csv
    thermo: Thermo | None
    measured: Measured
    judgement: Judgement
    rows: tuple[tuple[str, str], ...]  # the table on the screen: label, value with error and unit
    remarks: tuple[str, ...]
    summary: dict[str, Any]


@dataclass(frozen=True)
class AnalyseResult:
    """All reports of one call."""

    reports: tuple[Report | MinimaReport, ...]
    exit_code: int
    summary: dict[str, Any]


def analyse(config: AnalyseConfig, screen: Screen | None = None) -> AnalyseResult:
    """Analyse run folders, trajectories and libraries of minima, one report each.

    Parameters
    ----------
    config : see `AnalyseConfig`.
    screen : where to show the tables; nowhere when not given.

    Raises
    ------
    UserError : nothing there to read, or a folder for the report that holds something else.
    """
    screen = screen or silent()
    words, twice = _each_once([one for word in config.run for one in replicas_of(word)])
    for word in twice:
        screen.say(f"{word} is named twice, and read once.")
    sources = [open_minima(word) if holds_minima(word) else open_source(word, config.topology, config.elements, config.frame_time) for word in words]
    if (config.saddles or config.frequencies) and not all(isinstance(source, MinimaSource) for source in sources):
        raise UserError("saddles and frequencies are for libraries of minima (a folder with minima.h5), and not all that was named is one.")
    folders = report_folders(config, sources)
    reports: list[Report | MinimaReport] = []
    reference = open_source(config.reference, config.topology, config.elements, config.frame_time) if config.reference else None
    for source, folder in zip(sources, folders, strict=True):
        if isinstance(source, MinimaSource):
            found = analyse_minima(config, source, folder, screen)
            reports.append(found)
            _tell(screen, found)
            continue
        screen.header("mdapp analyse", [("run", source.name), ("atoms", f"{len(source.start)}, {source.start.symbols.formula.format('hill')}")])
        report = _analyse_one(config, source, reference, folder, screen)
        reports.append(report)
        _tell(screen, report)
    pooled = pool([report for report in reports if isinstance(report, Report)], config)
    if pooled is not None:
        for remark in pooled.remarks:
            screen.say(f"  {remark}")
        screen.close(pooled.word, pooled.sentence, [*pooled.rows, ("report", str(pooled.folder / 'report.html'))])
    exit_code = max((r.exit_code for r in reports if isinstance(r, MinimaReport)), default=EXIT_FINISHED)
    return AnalyseResult(tuple(reports), exit_code, {"exit_code": exit_code, "runs": [report.summary for report in reports],
                                                     **({} if pooled is None else {"pooled": pooled.summary})})


def _each_once(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of different runs and files, and those that name one of them again."""
    found: dict[Path, str] = {}
    again = []
    for word in words:
        path = Path(word).resolve()
        place = path.parent if path.name == "trajectory.h5" else path
        if place in found:
            again.append(word)
        found.setdefault(place, word)
    return list(found.values()), again


def _tell(screen: Screen, report: Report | MinimaReport) -> None:
    for remark in report.remarks:
        screen.say(f"  {remark}")
    screen.close(report.judgement.word, report.judgement.sentence, [*report.rows, ("report", str(report.folder / 'report.html'))])


def _analyse_one(config: AnalyseConfig, source: Source, reference: Source | None, folder: Path, screen: Screen) -> Report:
    asked = Asked(_known_temperature(source, config.start), tuple((a, b) for a, b in (pair.split("-") for pair in config.rdf)), reference is not None)
    try:
        measured = measure(source.frames(), source.start, config.start, _teller(screen, source.n_frames), partial(wanted, asked=asked))
        thermo = source.thermo if source.thermo is not None else measured.thermo
    except ValueError as error:
        raise StructureError(f"{source.name}: {error}") from None
    screen.end_live()
    assert thermo is not None  # of the frames, where the source has none
    if len(thermo):
        thermo = thermo.since(config.start)
    beside = against(reference, measured) if reference is not None else None
    remarks = [*source.remarks, *measured.remarks, *doubts(measured.further)]
    if measured.bonds is not None and 2 * measured.bonds.broken_frames > measured.n_frames:
        remarks.append(f"Bonds of the start are broken in {measured.bonds.broken_frames} of {measured.n_frames} frames: what follows about shape, "
                       "torsions and vibrations is of fragments.")
    if measured.n_frames == 1:
        remarks.append("There is one frame only: no series, no errors and no drift.")
    if not thermo.present():
        remarks.append("The trajectory holds no energies and no temperatures: none are judged.")
    elif thermo.conserved_eV is None:
        remarks.append("No conserved energy is known: no drift.")
    temperature_K = asked.temperature_K or (float(thermo.T_K.mean()) if thermo.T_K is not None and len(thermo) and thermo.T_K.mean() > 0 else None)
    measured, basins = _with_basins(measured, temperature_K, remarks)

    drift = thermo.drift_meV()
    means = _means(thermo, source)
    judgement = judge(drift=drift if shows_drift(thermo.time_fs) else None, temperature=in_the_middle(means.get("T_K"), source.midstep_excess_K), target_K=source.target_K,
                      bonds=measured.bonds if measured.n_frames > 1 else None, stopped_by=source.stopped_by, warnings=source.warnings, relaxations=source.relaxations,
                      doubts=source.doubts, length_fs=1000 * float(measured.time_ps[-1]) if source.folder is not None else None)
    rows = _rows(measured, thermo, drift, means, source)
    found = Findings(source, thermo, measured, means, judgement, tuple(rows), tuple(remarks), beside, basins)
    summary = _summary(found, drift)
    with whole_folder(folder) as part:
        write_findings(part, found, summary, plots=config.plots)
    return Report(source, folder, thermo, measured, judgement, tuple(rows), tuple(remarks), summary)


def _means(thermo: Thermo, source: Source) -> dict[str, Mean]:
    """Means of the table's columns, by name; those that a thermostat's heat moves know how often it has come and gone."""
    if not len(thermo):
        return {}
    whole = len(source.thermo) if source.thermo is not None else len(thermo)
    relaxations = None if source.relaxations is None else source.relaxations * len(thermo) / whole
    return {name: sound_mean(getattr(thermo, name), relaxations if name in HEAT else None) for name in thermo.present()}


def _known_temperature(source: Source, since_fs: float) -> float | None:
    """What the thermostat was told, or the mean of the run's table; None where neither is known."""
    if source.target_K is not None:
        return source.target_K
    if source.thermo is None or source.thermo.T_K is None or not len(source.thermo.since(since_fs)):
        return None
    mean = float(source.thermo.since(since_fs).T_K.mean())  # type: ignore[union-attr]
    return mean if mean > 0 else None


def _with_basins(measured: Measured, temperature_K: float | None, remarks: list[str]) -> tuple[Measured, tuple[Number, ...]]:
    """Populations of the Ramachandran map's basins, and free energies where there are frames enough and the temperature is known."""
    angles = measured.ramachandran
    if angles is None or measured.n_frames < 2:
        return measured, ()
    energies: dict[str, tuple[float, float]] = {}
    if temperature_K is None:
        remarks.append("The temperature is not known: populations of basins, and no free energies.")
    else:
        energies = basin_free_energies(angles, temperature_K)
    note = lambda name: f"{plus_minus(*energies[name])} kJ/mol over the most populated" if name in energies and energies[name][0] > 0 else ""
    basins = [of_mean(name, percent(mean), "%", note(name)) for name, mean in basin_populations(angles).items() if mean.value > 0]
    if temperature_K is not None and measured.n_frames >= MAP_FROM:
        surface = Found(PEPTIDE, "Free energy over φ and ψ, with its error", free_energy_surface(angles, temperature_K))
        measured = replace(measured, further={**measured.further, "free_energy": surface})
    return measured, tuple(basins)


def _teller(screen: Screen, n_frames: int | None) -> Callable[[int], None]:
    """Shows how far the reading has come."""
    def tell(read: int) -> None:
        share = min(read / n_frames, 1.0) if n_frames else 0.0
        if screen.due(share):
            screen.live(f"  read {read} frames" + (f" of {n_frames}, {100 * share:.0f} %" if n_frames else ""), share)

    return tell


def _rows(measured: Measured, thermo: Thermo, drift: Drift | None, means: dict[str, Mean], source: Source) -> list[tuple[str, str]]:
    """The numbers that a person asks for first."""
    length = measured.time_ps[-1] - measured.time_ps[0]
    rows = [("frames", f"{measured.n_frames} over {length:.4g} ps")]
    if "T_K" in means:
        target = "" if source.target_K is None else f" (target {source.target_K:g} K)"
        rows.append(("T", f"{_shown(means['T_K'], 'K')}{middle_words(means['T_K'], source.midstep_excess_K)}{target}"))
    if "E_pot_eV" in means:
        rows.append(("E_pot", _shown(means["E_pot_eV"], "eV")))
    if "P_bar" in means:
        rows.append(("P", _shown(means["P_bar"], "bar")))
    if drift is not None:
        rows.append(("drift", f"{plus_minus(drift.slope, drift.error)} meV/atom/ps"))
    if measured.rmsd is not None and measured.n_frames > 1:
        values = measured.rmsd.rmsd_A
        rows.append(("RMSD", f"{_shown(mean_with_error(values), 'Å')} from the first frame, at most {values.max():.2f} ({measured.rmsd.selection})"))
    if measured.gyration is not None:
        rows.append(("Rg", _shown(mean_with_error(measured.gyration.radius_A), "Å")))
    if measured.bonds is not None:
        bonds = measured.bonds
        rows.append(("bonds",
                     f"{bonds.n_bonds}, at most {bonds.worst_A.max():.2f} Å off the start; broken in {bonds.broken_frames} of {measured.n_frames} frames"))
    if measured.ramachandran is not None:
        shares = {name: share for name, share in measured.ramachandran.populations().items() if share >= 0.005}
        rows.append(("backbone", ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())))
    return rows


def _shown(mean: Mean, unit: str) -> str:
    doubt = "" if mean.reliable or mean.n_samples < 2 else f" (few: {mean.n_independent:.0f} independent)"
    return f"{plus_minus(mean.value, mean.error)} {unit}{doubt}"


def _summary(found: Findings, drift: Drift | None) -> dict[str, Any]:
    """The same numbers for a machine; what is not known is null."""
    source, measured, judgement = found.source, found.measured, found.judgement
    number = lambda x: float(x) if np.isfinite(x) else None
    mean = lambda m: {"mean": m.value, "error": number(m.error), "deviation": m.deviation, "n_samples": m.n_samples,
                      "n_independent": m.n_independent, "block_error": number(m.block_error)}
    shape = {}
    if measured.rmsd is not None:
        shape["rmsd_A"] = mean(mean_with_error(measured.rmsd.rmsd_A))
    if measured.gyration is not None:
        shape["radius_of_gyration_A"] = mean(mean_with_error(measured.gyration.radius_A))
    bonds = measured.bonds
    sign = first_sign(measured, source.alarms)
    return {
        "made_by": MADE_BY, "run": source.name, "verdict": judgement.word, "reasons": list(judgement.reasons), "checked": list(judgement.checked),
        "remarks": list(found.remarks), "first_sign": None if sign is None else {"step": sign[0], "time_fs": sign[1]},
        "n_atoms": len(source.start), "n_frames": measured.n_frames, "from_ps": number(measured.time_ps[0]),
        "to_ps": number(measured.time_ps[-1]), "target_temperature_K": source.target_K, "midstep_excess_K": source.midstep_excess_K,
        "drift_meV_per_atom_ps": None if drift is None else {"slope": drift.slope, "error": drift.error},
        **{name: mean(m) for name, m in found.means.items()}, **shape,
        "bonds": None if bonds is None else {"n_bonds": bonds.n_bonds, "broken_frames": bonds.broken_frames, "worst_A": float(bonds.worst_A.max())},
        "backbone": None if measured.ramachandran is None else measured.ramachandran.populations(),
        "observables": {name: [one.summary for one in these] for name, these in found.observables.items()},
        "reference": None if found.against is None else {"run": found.against.name, "bond_distributions": found.against.bonds},
    }
