"""What an analysis leaves in its folder: tables, figures, summary.json, and the page that shows them in sections."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.analysis.statistics import Mean
from mdapp.analysis.thermo import Thermo
from mdapp.analysis.verdict import Judgement
from mdapp.jobs._against import Against
from mdapp.jobs._cite import works
from mdapp.jobs._measure import Measured
from mdapp.jobs._numbers import Number, numbers
from mdapp.jobs._observables import BONDS, ENERGY, LIQUID, MOTION, PEPTIDE, REFERENCE, SHAPE
from mdapp.jobs._reasons import dated_reasons
from mdapp.jobs._sources import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdapp.report import Event

WIDE_INCHES = 7.0  # figures of many panels take the whole width of the page
SECTIONS = (ENERGY, BONDS, SHAPE, PEPTIDE, LIQUID, MOTION, REFERENCE)


@dataclass(frozen=True)
class Findings:
    """All that is known of one trajectory when its page is written."""

    source: Source
    thermo: Thermo
    measured: Measured
    means: dict[str, Mean]
    judgement: Judgement
    rows: tuple[tuple[str, str], ...]  # the table at the top: label, value with error and unit
    remarks: tuple[str, ...]
    against: Against | None = None
    basins: tuple[Number, ...] = ()  # populations of the regions of the Ramachandran map

    @property
    def observables(self) -> dict[str, list[Number]]:
        """The numbers of each observable by its name; those without any are left out."""
        found = {name: list(numbers(one.result)) for name, one in self.measured.further.items()}
        found |= {"basins": list(self.basins), "comparison": list(self.against.numbers) if self.against else []}
        return {name: these for name, these in found.items() if these}


def write_findings(folder: Path, found: Findings, summary: dict[str, Any], *, plots: bool) -> None:
    """Tables, figures, summary and page into a folder that is there."""
    from mdapp import version
    from mdapp.report import Page, Picture, Section, html_report

    _tables(folder, found)
    pictures: dict[str, list[Picture]] = {title: [] for title in SECTIONS}
    if plots:
        from mdapp.plots.style import save

        for section, name, caption, figure in _figures(found):
            wide = figure.get_figwidth() > WIDE_INCHES
            pictures[section].append(Picture(save(figure, folder / f"{name}.png", svg=True), caption, wide))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    source, observables = found.source, found.observables
    place = {name: one.section for name, one in found.measured.further.items()} | {"basins": PEPTIDE, "comparison": REFERENCE}
    tables = {title: [(n.label, n.shown) for name, these in observables.items() if place[name] == title for n in these] for title in SECTIONS}
    page = Page(
        Path(source.name).name or source.name, found.judgement.word, found.judgement.sentence, found.rows, remarks=found.remarks,
        reasons=dated_reasons(found.judgement, found.measured, source.alarms, source.stopped_by is not None), scene=found.measured.scene, events=_events(source),
        sections=[Section(title, tuple(pictures[title]), tuple(tables[title])) for title in SECTIONS], settings=source.settings_text,
        cite=works(version(), source.settings, _shown_names(found.measured)), footer=f"Made by mdapp {version()}.")
    (folder / "report.html").write_text(html_report(page), encoding="utf-8")


def _tables(folder: Path, found: Findings) -> None:
    measured = found.measured
    if found.thermo.present():
        found.thermo.to_csv(folder / "thermo.csv")
    for name, series in (("rmsd", measured.rmsd), ("gyration", measured.gyration), ("bonds", measured.bonds), ("ramachandran", measured.ramachandran)):
        if series is not None:
            series.to_csv(folder / f"{name}.csv")
    for name, one in measured.further.items():
        one.result.to_csv(folder / f"{name}.csv")
    if found.basins:
        from mdapp.analysis.table import write_columns

        write_columns(folder / "basins.csv", {"basin": [n.label for n in found.basins], "population_percent": [float(n.value) for n in found.basins],
                                              "error_percent": [float(n.error) for n in found.basins], "note": [n.note for n in found.basins]})
    if found.against is not None:
        found.against.write(folder)


def _figures(found: Findings) -> Iterator[tuple[str, str, str, Figure]]:
    """Section, name, caption and figure of everything that can be drawn; a series needs two samples, and shows the guards' alarms."""
    from mdapp.plots import figures

    thermo, measured, source, means = found.thermo, found.measured, found.source, found.means
    marks = [float(event.get("time_fs", 0.0)) / 1000 for event in source.alarms]
    marked = lambda figure: figures.mark_events(figure, marks) if marks else figure
    if len(thermo) > 1:
        if thermo.T_K is not None:
            yield ENERGY, "temperature", "Kinetic temperature (thermo.csv)", marked(figures.temperature(thermo, means["T_K"], source.target_K))
        if thermo.E_pot_eV is not None:
            yield ENERGY, "energies", "Energies per atom (thermo.csv)", marked(figures.energies(thermo))
        if thermo.conserved_eV is not None:
            yield ENERGY, "conserved", "Conserved energy and its drift (thermo.csv)", marked(figures.conserved_energy(thermo))
        if thermo.P_bar is not None:
            yield ENERGY, "pressure", "Pressure (thermo.csv)", marked(figures.pressure(thermo, means["P_bar"], source.target_bar))
    if measured.n_frames > 1:
        if measured.bonds is not None:
            yield BONDS, "bonds", "Worst bond of each frame (bonds.csv)", marked(figures.bonds(measured.bonds))
        if measured.rmsd is not None:
            yield SHAPE, "rmsd", "RMSD from the first frame (rmsd.csv)", marked(figures.rmsd(measured.rmsd, "the first frame"))
        if measured.gyration is not None:
            yield SHAPE, "gyration", "Radius of gyration (gyration.csv)", marked(figures.gyration(measured.gyration))
    if measured.ramachandran is not None:
        yield PEPTIDE, "ramachandran", "Backbone torsions (ramachandran.csv)", figures.ramachandran(measured.ramachandran)
    if measured.n_frames > 1:
        for name, one in measured.further.items():
            yield one.section, name, f"{one.caption} ({name}.csv)", one.result.plot()
        for name, caption, figure in found.against.figures() if found.against else ():
            yield REFERENCE, name, caption, figure


def _events(source: Source) -> list[Event]:
    """What happened to the run, with the files that hold the frames around it."""
    from mdapp.report import Event

    found = []
    for event in source.events:
        kind, step = str(event.get("monitor") or event.get("kind", "event")), int(event.get("step", 0))
        named = re.compile(rf"event-.*-{step}(-\d+)?\.extxyz")
        beside = tuple(sorted(f.name for f in source.folder.glob("event-*.extxyz") if named.fullmatch(f.name))) if source.folder else ()
        found.append(Event(kind, step, float(event.get("time_fs", 0.0)) / 1000, str(event.get("message", "")), beside))
    return found


def _shown_names(measured: Measured) -> list[str]:
    """What the page shows, in the words of `mdapp.jobs._cite`."""
    names = [name.split("_")[0] if name.startswith(("rdf_", "diffusion_")) else name for name in measured.further]
    names += ["peptide"] if measured.ramachandran is not None else []
    return names + (["rmsd"] if measured.rmsd is not None else []) + (["errors"] if measured.n_frames > 1 else [])
