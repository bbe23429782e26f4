"""Several runs on one page: side by side, and pooled where they are of the same atoms at the same temperature.

A run weighs as much as it is long. An error is the larger of two: what the runs' own errors give, and what the spread of their means gives. Where the second is much
larger, the runs have not seen the same ensemble, and a remark says so.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.pooling import PooledMean, length_ps, pooled_mean
from mdapp.analysis.statistics import plus_minus
from mdapp.config import AnalyseConfig
from mdapp.jobs._landscape_page import MADE_BY
from mdapp.jobs._report_folders import distinct, pooled_folder
from mdapp.jobs._whole_folder import whole_folder

if TYPE_CHECKING:
    from mdapp.jobs.analyse import Report

WORST_FIRST = ("broken", "suspect", "too short", "not judged", "sound")
SHOWN = {"T_K": ("T", "K"), "E_pot_eV": ("E_pot", "eV"), "P_bar": ("P", "bar"), "rmsd_A": ("RMSD", "Å"), "radius_of_gyration_A": ("Rg", "Å")}
FAR = 4.0  # standard deviations of a run's mean from the others' beyond which they disagree
RARE = ("basins", "secondary_structure", "hydrogen_bonds")  # what a run does not list it has not seen: 0
OF_ONE_RUN = ("rmsf", "clusters", "comparison", "power_spectrum")  # numbers that are not the same thing in two runs
TORSIONS = ("omega", "chi")
MOST_RARE = 8  # hydrogen bonds that are listed


@dataclass(frozen=True)
class Row:
    """A number of all runs and of each."""

    name: str  # of the observable
    label: str
    unit: str
    pooled: PooledMean
    each: tuple[tuple[float, float], ...]  # value and standard error of each run


@dataclass(frozen=True)
class Pooled:
    """What was found out about several runs together."""

    folder: Path
    word: str
    sentence: str
    rows: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    summary: dict[str, Any]
    names: tuple[str, ...] = ()  # of the runs
    numbers: tuple[Row, ...] = ()  # nothing where the runs are not pooled


def pool(reports: Sequence[Report], config: AnalyseConfig) -> Pooled | None:
    """One page for several runs; None where there is only one.

    Raises
    ------
    OutputError : the folder holds something else.
    """
    if len(reports) < 2:
        return None
    folder = pooled_folder(config, [report.source for report in reports])
    names = distinct([Path(report.source.name).name or report.source.name for report in reports])
    why_not = _why_not(reports)
    numbers = () if why_not else tuple(_numbers(reports))
    remarks = [why_not] if why_not else _disagreements(numbers)
    rows = () if why_not else _rows(reports, numbers)
    worst = min((report.judgement.word for report in reports), key=WORST_FIRST.index)
    counts = {word: sum(report.judgement.word == word for report in reports) for word in WORST_FIRST}
    sentence = f"of {len(reports)} runs, {'; '.join(f'{n} {word}' for word, n in counts.items() if n)}."
    summary = {"made_by": MADE_BY, "runs": [report.source.name for report in reports], "verdict": worst,
               "verdicts": {name: report.judgement.word for name, report in zip(names, reports)}, "remarks": remarks,
               "pooled": {key: _of_row(row) for key in SHOWN for row in numbers if row.name == key},
               "observables": [{"name": row.name, "label": row.label, "unit": row.unit, **_of_row(row)} for row in numbers if row.name not in SHOWN]}
    found = Pooled(folder, worst, sentence, rows, tuple(remarks), summary, tuple(names), numbers)
    from mdapp.jobs._pooled_page import write_pooled

    with whole_folder(folder) as part:
        write_pooled(part, found, reports, plots=config.plots)
    return found


def _why_not(reports: Sequence[Report]) -> str:
    """Why runs are not pooled; nothing where they are."""
    if len({tuple(report.source.start.numbers.tolist()) for report in reports}) > 1:
        return "The runs are of different atoms: they are shown side by side and not pooled."
    targets = {report.source.target_K for report in reports if report.source.target_K is not None}
    if len(targets) > 1:
        return f"The runs are at different temperatures ({', '.join(f'{t:g} K' for t in sorted(targets))}): they are shown side by side and not pooled."
    return ""


def _numbers(reports: Sequence[Report]) -> Iterator[Row]:
    """What is known of every run, the table's means first."""
    lengths = [length_ps(report.measured.time_ps) for report in reports]
    for key, (label, unit) in SHOWN.items():
        found = [one for report in reports if (one := report.summary.get(key)) is not None and one["error"] is not None]
        if len(found) == len(reports):
            yield _row(key, label, unit, [(one["mean"], one["error"]) for one in found], lengths)
    observables = [report.summary["observables"] for report in reports]
    for name in dict.fromkeys(name for one in observables for name in one):
        if name in OF_ONE_RUN or name not in RARE and not all(name in one for one in observables):
            continue
        listed = [{number["label"]: number for number in one.get(name, [])} for one in observables]
        units = {label: number["unit"] for one in listed for label, number in one.items()}
        if name == "hydrogen_bonds":
            listed = [_shares(one, report) for one, report in zip(listed, reports)]
            units = {label: "% of frames" for label in _commonest(listed)} | {"hydrogen bonds": "in a frame"}
            units = dict(sorted(units.items(), key=lambda item: item[1] != "in a frame"))
        for label, unit in units.items():
            each = [one.get(label, {"value": 0.0, "error": 0.0} if name in RARE else {}) for one in listed]
            if all(number.get("value") is not None and number.get("error") is not None for number in each):
                yield _row(name, label, unit, [(number["value"], number["error"]) for number in each], lengths)


def _shares(listed: dict[str, dict[str, Any]], report: Report) -> dict[str, dict[str, Any]]:
    """The number of hydrogen bonds in a frame, and the share of every one of them, not only of those that the run's own page lists."""
    found = report.measured.further.get("hydrogen_bonds")
    bonds: Any = found.result if found else None
    shares = {} if bonds is None else {label: {"value": 100 * float(s), "error": 100 * float(e)} for label, s, e in zip(bonds.labels, bonds.share, bonds.share_error)}
    return {"hydrogen bonds": listed.get("hydrogen bonds", {}), **shares}


def _commonest(listed: Sequence[dict[str, dict[str, Any]]]) -> list[str]:
    total: dict[str, float] = {}
    for one in listed:
        for label, number in one.items():
            if label != "hydrogen bonds":
                total[label] = total.get(label, 0.0) + number["value"]
    return sorted(total, key=lambda label: -total[label])[:MOST_RARE]


def _row(name: str, label: str, unit: str, each: Sequence[tuple[float, float]], lengths: Sequence[float]) -> Row:
    values = np.array([value for value, _ in each])
    if name in TORSIONS:  # on the branch of the longest run, so that 179 and -179 degrees are near
        middle = values[int(np.argmax(lengths))]
        values = middle + (values - middle + 180.0) % 360.0 - 180.0
    pooled = pooled_mean(values, [error for _, error in each], lengths)
    if name in TORSIONS:
        pooled = replace(pooled, value=(pooled.value + 180.0) % 360.0 - 180.0)
    return Row(name, label, unit, pooled, tuple(each))


def _rows(reports: Sequence[Report], numbers: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """The numbers that a person asks for first."""
    frames = sum(report.measured.n_frames for report in reports)
    length = sum(float(np.ptp(report.measured.time_ps)) for report in reports)
    rows = [("frames", f"{frames} over {length:.4g} ps in {len(reports)} runs")]
    rows += [(row.label, f"{plus_minus(float(row.pooled.value), float(row.pooled.error))} {row.unit}") for row in numbers if row.name in SHOWN]
    backbone = [f"{row.label} {plus_minus(float(row.pooled.value), float(row.pooled.error))} %" for row in numbers if row.name == "basins"]
    return (*rows, *([("backbone", ", ".join(backbone))] if backbone else []))


def _disagreements(numbers: Sequence[Row]) -> list[str]:
    """Of energies and shape one by one; of the many other numbers, how many."""
    far = [row for row in numbers if row.pooled.furthest > FAR]
    said = [f"The runs disagree about {row.label}: the mean of one is {row.pooled.furthest:.0f} standard deviations from that of all; "
            "they have not seen the same ensemble, or are too short." for row in far if row.name in SHOWN]
    others = [row.label for row in far if row.name not in SHOWN and row.name != "bond_statistics"]
    if others:
        said.append(f"The runs disagree about {', '.join(others[:4])}{f' and {len(others) - 4} more' if len(others) > 4 else ''} by more than {FAR:g} standard deviations; "
                    "the errors of what is pooled are those of the spread between runs.")
    return said


def _of_row(row: Row) -> dict[str, Any]:
    known = lambda x: float(x) if math.isfinite(x) else None
    return {"mean": known(row.pooled.value), "error": known(row.pooled.error), "within": known(row.pooled.within), "between": known(row.pooled.between),
            "furthest": known(row.pooled.furthest)}
