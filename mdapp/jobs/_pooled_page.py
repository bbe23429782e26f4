"""The page of several runs: the numbers of all and of each, and figures of all together."""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.analysis.pooling import joined_ramachandran, joined_secondary_structure, pooled_hydrogen_bonds, pooled_surface
from mdapp.analysis.statistics import plus_minus
from mdapp.analysis.table import write_columns
from mdapp.jobs._analysis_page import WIDE_INCHES
from mdapp.jobs._cite import works
from mdapp.jobs._observables import ENERGY, PEPTIDE, SHAPE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdapp.analysis.result import Result
    from mdapp.jobs._pooled import Pooled
    from mdapp.jobs.analyse import Report
    from mdapp.report import Table

MOST_COLUMNS = 12  # runs that have a column of their own
LONG = ("bond_statistics",)  # numbers that would fill the page
MAP_FROM = 500  # frames in all from which a free-energy surface says more than its basins


def write_pooled(folder: Path, found: Pooled, reports: Sequence[Report], *, plots: bool) -> None:
    """Figures, tables, summary and page into a folder that is there."""
    from mdapp import version
    from mdapp.report import Page, Picture, Section, html_report

    together = dict(_together(reports)) if found.numbers else {}
    for name, (_, result) in together.items():
        result.to_csv(folder / f"{name}.csv")
    if found.numbers:
        _write_numbers(folder / "pooled.csv", found)
    pictures: dict[str, list[Picture]] = {title: [] for title in (ENERGY, SHAPE, PEPTIDE)}
    if plots:
        from mdapp.plots.style import save

        drawn = [*_series(reports, found.names), *_basins(found), *((PEPTIDE, name, f"{caption} ({name}.csv)", one.plot()) for name, (caption, one) in together.items())]
        for section, name, caption, figure in drawn:
            pictures[section].append(Picture(save(figure, folder / f"{name}.png", svg=True), caption, figure.get_figwidth() > WIDE_INCHES))
    (folder / "summary.json").write_text(json.dumps(found.summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    names, sentence = found.names, found.sentence
    page = Page(
        f"{len(reports)} runs: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}", found.word, sentence, found.rows, remarks=found.remarks,
        tables=[_side_by_side(reports, names), *([_numbers_table(found)] if found.numbers else [])],
        sections=[Section(title, tuple(these)) for title, these in pictures.items()],
        cite=works(version(), reports[0].source.settings, ["errors", *(["peptide"] if together else []), *together]), footer=f"Made by mdapp {version()}.",
        reasons=[sentence[0].upper() + sentence[1:], *(f"{name}: {reason}." for name, r in zip(names, reports) for reason in r.judgement.reasons)])
    (folder / "report.html").write_text(html_report(page), encoding="utf-8")


def _side_by_side(reports: Sequence[Report], names: Sequence[str]) -> Table:
    from mdapp.report import Table

    labels = list(dict.fromkeys(label for report in reports for label, _ in report.rows))
    body = [("verdict", *(report.judgement.word for report in reports)), ("why", *(report.judgement.sentence for report in reports)),
            *((label, *(dict(report.rows).get(label, "") for report in reports)) for label in labels)]
    return Table("Side by side", ("", *names), tuple(body), "Each run has a report of its own.")


def _numbers_table(found: Pooled) -> Table:
    from mdapp.report import Table

    shown = found.names if len(found.names) <= MOST_COLUMNS else ()
    body = []
    for row in found.numbers:
        one = row.pooled
        if row.name not in LONG:
            cells = (f"{plus_minus(float(one.value), float(one.error))} {row.unit}".rstrip(), f"{float(one.within):.2g}", f"{float(one.between):.2g}",
                     *(plus_minus(*each) for each in row.each[: len(shown)]))
            body.append((row.label, *(cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in cells)))
    note = ("The error of what is pooled is the larger of two: by the runs' own errors, and by the spread of their means. With few runs the second is itself uncertain, by "
            f"{100 / (2 * max(len(found.names) - 1, 1)) ** 0.5:.0f} % here. Bond lengths and angles are in pooled.csv.")
    return Table("Pooled", ("", "all runs", "error by their own", "by their spread", *shown), tuple(body), note)


def _write_numbers(path: Path, found: Pooled) -> None:
    rows = found.numbers
    write_columns(path, {
        "observable": [row.name for row in rows], "label": [row.label for row in rows], "unit": [row.unit for row in rows], "mean": [float(row.pooled.value) for row in rows],
        "error": [float(row.pooled.error) for row in rows], "within": [float(row.pooled.within) for row in rows], "between": [float(row.pooled.between) for row in rows],
        **{f"{what}_{name}": [row.each[k][j] for row in rows] for k, name in enumerate(found.names) for j, what in enumerate(("mean", "error"))}})


def _together(reports: Sequence[Report]) -> Iterator[tuple[str, tuple[str, Result]]]:
    """Name, caption and result of what all runs have seen of a peptide."""
    maps: list[Any] = [report.measured.ramachandran for report in reports]
    if all(one is not None for one in maps):
        yield "ramachandran", ("Backbone torsions of all runs together", joined_ramachandran(maps))
        temperature_K = _temperature_K(reports)
        if temperature_K is not None and sum(len(one.time_ps) for one in maps) >= MAP_FROM:
            yield "free_energy", ("Free energy over φ and ψ of all runs, with the error of runs that differ", pooled_surface(maps, temperature_K))
    for name, caption, join in (("hydrogen_bonds", "Hydrogen bonds by their share of all frames", pooled_hydrogen_bonds),
                                ("secondary_structure", "Secondary structure by DSSP, run after run", joined_secondary_structure)):
        found: list[Any] = [report.measured.further[name].result for report in reports if name in report.measured.further]
        if len(found) == len(reports):
            yield name, (caption, join(found))


def _temperature_K(reports: Sequence[Report]) -> float | None:
    """Of the thermostat, or the mean of the runs'; None where it is not known of all."""
    targets = {report.source.target_K for report in reports}
    if len(targets) == 1 and None not in targets:
        return targets.pop()
    means = [report.summary.get("T_K") for report in reports]
    known = [one["mean"] for one in means if one is not None and one["mean"] > 0]
    return sum(known) / len(known) if len(known) == len(reports) else None


def _series(reports: Sequence[Report], names: Sequence[str]) -> Iterator[tuple[str, str, str, Figure]]:
    """Section, name, caption and figure of what is drawn against time, all runs in one frame."""
    from mdapp.plots import compare

    thermos = {name: report.thermo for name, report in zip(names, reports) if report.thermo is not None}
    shapes = {name: report.measured for name, report in zip(names, reports)}
    series: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        (ENERGY, "temperature", "temperature / K", {n: (t.time_ps, t.T_K) for n, t in thermos.items() if t.T_K is not None}),
        (ENERGY, "potential_energy", "potential energy / eV", {n: (t.time_ps, t.E_pot_eV) for n, t in thermos.items() if t.E_pot_eV is not None}),
        (SHAPE, "rmsd", "RMSD from the first frame / Å", {n: (m.rmsd.time_ps, m.rmsd.rmsd_A) for n, m in shapes.items() if m.rmsd is not None}),
        (SHAPE, "gyration", "radius of gyration / Å", {n: (m.gyration.time_ps, m.gyration.radius_A) for n, m in shapes.items() if m.gyration is not None}))
    for section, name, label, curves in series:
        curves = {run: (t, v) for run, (t, v) in curves.items() if len(t) > 1}
        if len(curves) > 1:
            what = label.split(" / ")[0]
            yield section, name, f"{what[0].upper()}{what[1:]} of all runs", compare.overlay(curves, label)


def _basins(found: Pooled) -> Iterator[tuple[str, str, str, Figure]]:
    """Populations of the basins in each run and in all."""
    from mdapp.plots import compare

    rows = [row for row in found.numbers if row.name == "basins"]
    if rows and len(found.names) <= MOST_COLUMNS:
        groups = {row.label: (*row.each, (float(row.pooled.value), float(row.pooled.error))) for row in rows}
        yield PEPTIDE, "basins", "Populations of the basins in each run and in all (pooled.csv)", compare.groups(groups, (*found.names, "all"), "population / %")
