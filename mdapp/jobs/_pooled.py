"""Several runs on one page: side by side, and pooled where they are of the same atoms.

A pooled mean weighs each run by its independent samples. Its error is the larger of two: what the runs' own errors give, and what the spread of their
means gives. Where the second is much larger, the runs have not seen the same ensemble, and a remark says so.
"""
from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.dihedrals import Ramachandran
from mdapp.analysis.statistics import plus_minus
from mdapp.config import AnalyseConfig
from mdapp.jobs._landscape import MADE_BY
from mdapp.jobs._report_folders import distinct, pooled_folder
from mdapp.jobs._whole_folder import whole_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdapp.jobs.analyse import Report

WORST_FIRST = ("broken", "suspect", "not judged", "sound")
SHOWN = {"T_K": ("T", "K"), "E_pot_eV": ("E_pot", "eV"), "P_bar": ("P", "bar"), "rmsd_A": ("RMSD", "Å"), "radius_of_gyration_A": ("Rg", "Å")}
FAR = 4.0  # standard deviations of a run's mean from the others' beyond which they disagree


@dataclass(frozen=True)
class PooledMean:
    """A mean over several runs."""

    value: float
    error: float
    furthest: float  # of a run's mean from the pooled one, in standard deviations of their difference


@dataclass(frozen=True)
class Pooled:
    """What was found out about several runs together."""

    folder: Path
    word: str
    sentence: str
    rows: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    summary: dict[str, Any]


def pooled_mean(means: Sequence[float], errors: Sequence[float], n_independent: Sequence[float]) -> PooledMean:
    """Mean over runs, each (n_runs,); see the head of the module."""
    m, e = np.asarray(means, dtype=float), np.asarray(errors, dtype=float)
    w = np.asarray(n_independent, dtype=float) / np.sum(n_independent)
    value = float(w @ m)
    inner = float(np.sqrt(np.sum((w * e) ** 2)))
    free = 1.0 - float(np.sum(w**2))
    between = math.sqrt(float(w @ (m - value) ** 2) / free * float(np.sum(w**2))) if free > 0 else 0.0
    apart = np.sqrt(e**2 * (1 - 2 * w) + inner**2)
    furthest = float(np.max(np.abs(m - value) / np.where(apart > 0, apart, np.inf)))
    return PooledMean(value, max(inner, between), furthest)


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
    alike = len({tuple(report.source.start.numbers.tolist()) for report in reports}) == 1
    remarks = [] if alike else ["The runs are of different atoms: they are shown side by side and not pooled."]
    rows, numbers = _pooled_rows(reports, names, remarks) if alike else ([], {})
    worst = min((report.judgement.word for report in reports), key=WORST_FIRST.index)
    sentence = "; ".join(f"{sum(r.judgement.word == word for r in reports)} {word}" for word in WORST_FIRST if any(r.judgement.word == word for r in reports))
    summary = {"made_by": MADE_BY, "runs": [report.source.name for report in reports], "verdict": worst,
               "verdicts": {name: report.judgement.word for name, report in zip(names, reports)}, "remarks": remarks, "pooled": numbers}
    with whole_folder(folder) as part:
        _write(part, reports, names, alike, worst, f"of {len(reports)} runs, {sentence}.", rows, remarks, summary, plots=config.plots)
    return Pooled(folder, worst, f"of {len(reports)} runs, {sentence}.", tuple(rows), tuple(remarks), summary)


def _pooled_rows(reports: Sequence[Report], names: list[str], remarks: list[str]) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    frames = sum(report.measured.n_frames for report in reports)
    length = sum(float(np.ptp(report.measured.time_ps)) for report in reports)
    rows, numbers = [("frames", f"{frames} over {length:.4g} ps in {len(reports)} runs")], {}
    for key, (label, unit) in SHOWN.items():
        found = [report.summary.get(key) for report in reports]
        if any(one is None or one["error"] is None for one in found):
            continue
        one = pooled_mean([m["mean"] for m in found], [m["error"] for m in found], [m["n_independent"] for m in found])
        rows.append((label, f"{plus_minus(one.value, one.error)} {unit}"))
        numbers[key] = {"mean": one.value, "error": one.error, "furthest": one.furthest}
        if one.furthest > FAR:
            remarks.append(f"The runs disagree about {label}: the mean of one is {one.furthest:.0f} standard deviations from that of all; "
                           "they have not seen the same ensemble, or are too short.")
    return rows, numbers


def _write(folder: Path, reports: Sequence[Report], names: list[str], alike: bool, word: str, sentence: str, rows: list[tuple[str, str]],
           remarks: list[str], summary: dict[str, Any], *, plots: bool) -> None:
    from mdapp import version
    from mdapp.jobs._cite import works
    from mdapp.report import Page, Picture, Section, Table, html_report

    pictures = []
    if plots:
        from mdapp.plots.style import save

        for name, caption, figure in _figures(reports, names, alike):
            pictures.append(Picture(save(figure, folder / f"{name}.png", svg=True), caption))
    labels = list(dict.fromkeys(label for report in reports for label, _ in report.rows))
    body = [("verdict", *(report.judgement.word for report in reports)), ("why", *(report.judgement.sentence for report in reports)),
            *((label, *(dict(report.rows).get(label, "") for report in reports)) for label in labels)]
    table = Table("Side by side", ("", *names), tuple(body), "Each run has a report of its own.")
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    page = Page(
        f"{len(reports)} runs: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}", word, sentence, rows, remarks=remarks, tables=[table],
        sections=[Section("Figures", tuple(pictures))], cite=works(version(), reports[0].source.settings, ["errors"]), footer=f"Made by mdapp {version()}.",
        reasons=[sentence[0].upper() + sentence[1:], *(f"{name}: {reason}." for name, r in zip(names, reports) for reason in r.judgement.reasons)])
    (folder / "report.html").write_text(html_report(page), encoding="utf-8")


def _figures(reports: Sequence[Report], names: list[str], alike: bool) -> list[tuple[str, str, Figure]]:
    from mdapp.plots import compare, figures

    drawn: list[tuple[str, str, Figure]] = []
    series = {
        "temperature": ("temperature / K", {n: (r.thermo.time_ps, r.thermo.T_K) for n, r in zip(names, reports) if r.thermo is not None and r.thermo.T_K is not None}),
        "rmsd": ("RMSD from the first frame / Å", {n: (r.measured.rmsd.time_ps, r.measured.rmsd.rmsd_A) for n, r in zip(names, reports) if r.measured.rmsd is not None}),
        "gyration": ("radius of gyration / Å",
                     {n: (r.measured.gyration.time_ps, r.measured.gyration.radius_A) for n, r in zip(names, reports) if r.measured.gyration is not None}),
    }  # fmt: skip
    for name, (label, curves) in series.items():
        curves = {run: (t, v) for run, (t, v) in curves.items() if len(t) > 1}
        if len(curves) > 1:
            drawn.append((name, f"{label.split(' / ')[0]} of all runs", compare.overlay(curves, label)))
    maps = [r.measured.ramachandran for r in reports if r.measured.ramachandran is not None]
    if alike and len(maps) == len(reports):
        together = Ramachandran(np.concatenate([m.time_ps for m in maps]), maps[0].residues, np.concatenate([m.phi_deg for m in maps]),
                                np.concatenate([m.psi_deg for m in maps]))
        drawn.append(("ramachandran", "Backbone torsions of all runs together", figures.ramachandran(together)))
    return drawn
