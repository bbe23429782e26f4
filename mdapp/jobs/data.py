"""`mdapp data report`: what labelled data hold, and which frames of them are suspected of what.

The folder holds report.json, rejected.csv (a row a frame and reason) and report.png, .svg (one page). Nothing is removed: the
data are read, once, and left as they are.
"""
from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import DataReportConfig, pairs
from mdapp.errors import EXIT_FINISHED, OutputError, UserError
from mdapp.jobs._evaluate_data import LabelledDataError, label_keys, label_units, listening
from mdapp.record import nearest
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from potentials.data.cleaning import CleaningSettings, FrameTable, Inspection
    from potentials.data.cleaning.finding import Finding

SHOWN = 8  # frames of a finding that are named on the screen


@dataclass(frozen=True)
class DataReport:
    """What was found, and where it is written down."""

    inspection: Inspection
    folder: Path
    summary: dict[str, Any]
    exit_code: int = EXIT_FINISHED


def report(config: DataReportConfig, screen: Screen | None = None) -> DataReport:
    """Read labelled data once and say what is in them.

    Raises
    ------
    UserError : an output folder that exists, a threshold or a label that there is none of.
    LabelledDataError : data that cannot be read.
    """
    from potentials.data.cleaning import inspect, write_rejected

    screen = screen or silent()
    settings, elements = _settings(config), _elements(config)
    folder = _folder(config)
    screen.header("mdapp data report", [("data", ", ".join(config.data)), *([("validation", ", ".join(config.validation))] if config.validation else [])])
    table = _read(config, screen)
    if not len(table):
        raise LabelledDataError(f"No frames in {', '.join((*config.data, *config.validation))}.")
    inspection = inspect(table, settings, elements)
    rows = table_rows(table)
    summary = _summary(config, inspection, folder)
    part = folder.with_name(f".{folder.name}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        write_rejected(part / "rejected.csv", inspection)
        (part / "report.json").write_text(json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False), encoding="utf-8")
        if config.plots:
            _draw(part, inspection, settings, rows)
        os.replace(part, folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OutputError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    _show(inspection, rows, summary, folder, screen)
    return DataReport(inspection, folder, summary)


def table_rows(table: FrameTable) -> list[tuple[str, str]]:
    """Label and text of what is there: frames, elements, sizes, energies, forces."""
    from ase.data import chemical_symbols

    from potentials.data.cleaning.checks.energies import element_energies

    n = table.n_atoms
    rows = [("frames", f"{len(table)} of {_of(len(table.molecules), 'molecule')}, {_of(len(table.compositions), 'composition')}"
             + (f"; {int(table.held_out.sum())} of them for validation" if table.held_out.any() else "")),
            ("elements", " ".join(chemical_symbols[z] for z in table.elements)),
            ("atoms", f"{n.min()} in each frame" if n.min() == n.max() else f"{n.min()} to {n.max()} in a frame, {n.mean():.1f} on average")]  # fmt: skip
    if table.periodic.any():
        rows.append(("cells", f"{int(table.periodic.sum())} periodic frames"))
    E = table.energy[table.labelled] / n[table.labelled]
    if len(E):
        residual = element_energies(table)[1]
        residual = residual[np.isfinite(residual)]
        spread = f", {1000 * residual.std():.3g} meV/atom about the fit by element" if len(residual) else ""
        rows.append(("energies", f"{E.min():.6g} to {E.max():.6g} eV/atom{spread}" + _missing(len(table) - len(E))))
    else:
        rows.append(("energies", "none"))
    with_forces = np.isfinite(table.rms_force)
    if with_forces.any():
        weight = n[with_forces]
        rms = np.sqrt((table.rms_force[with_forces] ** 2 * weight).sum() / weight.sum())
        rows.append(("forces", f"{rms:.3g} eV/Å rms by component, largest {table.largest_force[with_forces].max():.3g} eV/Å" + _missing(int((~with_forces).sum()))))
    else:
        rows.append(("forces", "none"))
    if np.isfinite(table.shortest_A).any():
        rows.append(("distances", f"shortest {np.nanmin(table.shortest_A):.3g} Å, {np.nanmin(table.shortest):.2f} of the covalent radii"))
    if table.charge.any():
        charges, counts = np.unique(table.charge, return_counts=True)
        rows.append(("charges", ", ".join(f"{q:+g} e in {_of(int(c), 'frame')}" for q, c in zip(charges, counts))))
    if table.levels != ("",):
        rows.append(("theory", ", ".join(level or "not stated" for level in table.levels)))
    return rows


def _read(config: DataReportConfig, screen: Screen) -> FrameTable:
    from potentials.data.cleaning import Collector
    from potentials.data.labelled import DataError
    from potentials.data.read import read_labelled

    keys, units = label_keys(config), label_units(config)
    levels = _levels(config)
    collector, done = Collector(), 0
    held_out = set(config.validation)
    try:
        with listening(screen.detail) as heard:
            for path in (*config.data, *config.validation):
                frames = read_labelled(path, config.format, keys, units, nonfinite="keep")
                for s in collector.reading(path, frames, level=levels.get(path, levels.get("", "")), held_out=path in held_out):
                    collector.add(s)
                    done += 1
                    if done % 100 == 0:
                        screen.live(f"{path}  {done} frames")
                heard.pass_on()
    except (DataError, OSError) as error:
        raise LabelledDataError(str(error)) from error
    finally:
        screen.end_live()
    return collector.table()


def _settings(config: DataReportConfig) -> CleaningSettings:
    from potentials.data.cleaning import CleaningSettings
    from potentials.typed import ConfigError, from_mapping

    try:
        return from_mapping(CleaningSettings, pairs(config.threshold, "threshold"), "threshold")
    except (ConfigError, ValueError) as error:
        raise UserError(str(error)) from error


def _elements(config: DataReportConfig) -> tuple[int, ...]:
    from ase.data import atomic_numbers

    symbols = [word for words in config.elements for word in words.replace(",", " ").split()]
    for symbol in symbols:
        if symbol not in atomic_numbers or symbol == "X":
            raise UserError(f"elements: '{symbol}' is no element{nearest(symbol, atomic_numbers)}; use symbols such as C,H,N,O.")
    return tuple(atomic_numbers[symbol] for symbol in symbols)


def _levels(config: DataReportConfig) -> dict[str, str]:
    """Level of theory by file; '' stands for all files without their own."""
    found: dict[str, str] = {}
    files = (*config.data, *config.validation)
    for word in config.level_of_theory:
        file, equals, level = word.partition("=")
        if equals and file in files:
            found[file] = level
        elif equals and ("." in file or "/" in file) and "/" not in level:
            raise UserError(f"level_of_theory: '{file}' is none of the files; they are {', '.join(files)}.")
        elif "" in found:
            raise UserError(f"level_of_theory is given twice for all files ('{found['']}' and '{word}'); write FILE=TEXT for each file.")
        else:
            found[""] = word
    return found


def _folder(config: DataReportConfig) -> Path:
    """The folder to write, which is not there yet."""
    if config.output is not None:
        folder = Path(config.output)
        if folder.exists():
            raise OutputError(f"{folder} exists already and is not overwritten. Choose another --output or move it away.")
        return folder
    first = Path(config.data[0]).name.split(".")[0]
    folder, number = Path(f"{first}-data-report"), 1
    while folder.exists():
        number += 1
        folder = Path(f"{first}-data-report-{number}")
    return folder


def _summary(config: DataReportConfig, inspection: Inspection, folder: Path) -> dict[str, Any]:
    from ase.data import chemical_symbols

    from potentials.data.cleaning.checks.energies import element_energies
    from potentials.data.cleaning.checks.work import ratio_of_file

    t = inspection.table
    E, residual, telling = element_energies(t)
    flagged, sure = inspection.flagged(), inspection.beyond_doubt()
    files = []
    for k, name in enumerate(t.files):
        here = t.file == k
        ratio, left, n_pairs = ratio_of_file(t, k)
        files.append({"file": name, "frames": int(here.sum()), "suspected": int(flagged[here].sum()), "validation": bool(t.held_out[here].any()),
                      "level_of_theory": t.levels[t.level[here][0]] if here.any() else "",
                      "nearest_over_covalent_radii": _plain(np.nanmedian(t.nearest[here]) if np.isfinite(t.nearest[here]).any() else np.nan),
                      "energy_over_work": _plain(ratio if n_pairs else np.nan), "energy_over_work_unexplained": _plain(left), "pairs_of_near_frames": n_pairs})
    finite = np.isfinite(t.rms_force)
    return {
        "verdict": "suspicious" if inspection.suspicions else "sound",
        "frames": len(t), "molecules": len(t.molecules), "compositions": len(t.compositions),
        "elements": {chemical_symbols[z]: int(c) for z, c in zip(t.elements, (t.compositions * np.bincount(t.composition, minlength=len(t.compositions))[:, None]).sum(axis=0))},
        "atoms_per_frame": {"least": int(t.n_atoms.min()), "mean": float(t.n_atoms.mean()), "most": int(t.n_atoms.max())},
        "energy_by_element_eV": {chemical_symbols[z]: _plain(e) for z, e in zip(t.elements, E)}, "compositions_outnumber_elements": bool(telling),
        "energy_residual_meV_atom": _plain(1000 * np.nanstd(residual) if np.isfinite(residual).any() else np.nan),
        "force_rms_eV_A": _plain(np.sqrt(np.average(t.rms_force[finite] ** 2, weights=t.n_atoms[finite])) if finite.any() else np.nan),
        "largest_force_eV_A": _plain(np.nanmax(t.largest_force) if finite.any() else np.nan),
        "shortest_distance_A": _plain(np.nanmin(t.shortest_A) if np.isfinite(t.shortest_A).any() else np.nan),
        "suspected_frames": int(flagged.sum()), "beyond_doubt_frames": int(sure.sum()),
        "files": files, "findings": [_finding(f, t) for f in inspection.findings],
        "thresholds": dict(pairs(config.threshold, "threshold")), "folder": str(folder), "exit_code": EXIT_FINISHED,
    }  # fmt: skip


def _finding(f: Finding, t: FrameTable) -> dict[str, Any]:
    by_file = {t.files[k]: t.index[f.frames[t.file[f.frames] == k]].tolist() for k in np.unique(t.file[f.frames])}
    return {"check": f.check, "what": f.sentence, "note": f.note, "frames": len(f.frames), "beyond_doubt": int(f.beyond_doubt.sum()),
            "threshold": _plain(f.threshold), "unit": f.unit, "files": [t.files[k] for k in f.files], "frame_numbers": by_file}


def _draw(folder: Path, inspection: Inspection, settings: CleaningSettings, rows: list[tuple[str, str]]) -> None:
    from ase.data import chemical_symbols

    from mdapp.plots.data_report import DataPage, data_page
    from mdapp.plots.style import save
    from potentials.data.cleaning.checks.energies import element_energies
    from potentials.data.cleaning.table import FORCE_EDGES

    t = inspection.table
    _, residual, _ = element_energies(t)
    energy_checks = {"energy off", "composition off", "mixed levels", "energy against work"}
    suspected = np.zeros(len(t), dtype=bool)
    for f in inspection.suspicions:
        if f.check in energy_checks:
            suspected[f.frames] = True
    counts = (t.compositions * np.bincount(t.composition, minlength=len(t.compositions))[:, None]).sum(axis=0)
    names = short_names(t.files)
    title = ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more files"
    page = DataPage(
        title=_wrapped(title, 70), table=[(label, _wrapped(text, 42)) for label, text in rows],
        problems=_problems(inspection), residual_meV=1000 * residual,
        fit_note="fit by element" if len(t.compositions) > 1 else "median", suspected=suspected, force_edges=FORCE_EDGES,
        force_counts=t.force_counts, n_atoms=t.n_atoms, elements=[(chemical_symbols[z], int(c)) for z, c in zip(t.elements, counts)], shortest=t.shortest,
        too_close=settings.too_close, overlap=settings.overlap, largest_force=settings.largest_force,
    )  # fmt: skip
    save(data_page(page), folder / "report", svg=True)


def _problems(inspection: Inspection) -> list[tuple[str, int, bool]]:
    """Suspicions by name: frames of each, and whether any is beyond doubt; the most frequent first."""
    found: dict[str, list[int]] = {}
    for f in inspection.suspicions:
        n, sure = found.get(f.check, [0, 0])
        found[f.check] = [n + len(f.frames), sure + int(f.beyond_doubt.sum())]
    return sorted(((name, n, sure > 0) for name, (n, sure) in found.items()), key=lambda p: (p[1] > 0, -p[1]))


def _show(inspection: Inspection, rows: list[tuple[str, str]], summary: dict[str, Any], folder: Path, screen: Screen) -> None:
    t = inspection.table
    for f in inspection.findings:
        names = _named(f, t)
        (screen.say if f.note else screen.warn)(f"{f.check}: {f.sentence}{f' ({names})' if names else ''}")
    flagged, sure = summary["suspected_frames"], summary["beyond_doubt_frames"]
    if not inspection.suspicions:
        verdict, why = "sound", "no check found anything to suspect"
    else:
        whole = sorted({t.files[k] for f in inspection.suspicions for k in f.files})
        frames = f"{flagged} of {len(t)} frames suspected, {sure} beyond doubt" if flagged else "no single frame suspected"
        verdict, why = "suspect", frames + (f"; {', '.join(whole)} as a whole" if whole else "")
    screen.close(verdict, why, [*rows, ("report", f"{folder}: {'report.png, ' if (folder / 'report.png').exists() else ''}rejected.csv, report.json")])


def _named(f: Finding, t: FrameTable) -> str:
    """'train.xyz: 3, 17, 21 and 4 more; test.xyz: 5'."""
    parts, names = [], short_names(t.files)
    for file in np.unique(t.file[f.frames]):
        numbers = t.index[f.frames[t.file[f.frames] == file]]
        more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
        parts.append(f"{names[file]}: {', '.join(map(str, numbers[:SHOWN]))}{more}")
    return "; ".join(parts)


def short_names(files: tuple[str, ...]) -> list[str]:
    """File names, with their folder where two are the same."""
    names = [Path(f).name for f in files]
    return [name if names.count(name) == 1 else str(Path(Path(f).parent.name) / name) for f, name in zip(files, names)]


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)) or text


def _missing(n: int) -> str:
    return f"; {_of(n, 'frame')} without" if n else ""


def _of(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
