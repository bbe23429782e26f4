"""What an evaluation leaves in its folder: errors.json, tables, the worst frames, figures."""
from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.errors import FrameTable
from mdapp.errors import OutputError
from mdapp.jobs._evaluate_worst import each_once, write_worst

if TYPE_CHECKING:
    from mdapp.jobs.evaluate import Evaluated


def write_folder(folder: Path, summary: dict[str, Any], found: Mapping[str, Evaluated]) -> None:
    """Everything, in a folder that appears whole or not at all.

    Raises
    ------
    OutputError : the folder cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "errors.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        _write_tables(part, found)
        worst = each_once(bads for one in found.values() for bads in (one.worst.by_forces, one.worst.by_energy))
        if worst:
            write_worst(part / "worst.extxyz", worst)
        for number, (path, one) in enumerate(found.items(), start=1):
            suffix = f"-{number}" if len(found) > 1 else ""
            _draw(part, one, suffix, Path(path).name)
            if one.doubts is not None:
                one.doubts.write(part, suffix, Path(path).name)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_tables(folder: Path, found: Mapping[str, Evaluated]) -> None:
    with (folder / "frames.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "frame", "molecule", "n_atoms", "energy_eV", "predicted_energy_eV", "error_meV_atom", "forces_mae_meV_A",
                         "largest_force_error_meV_A"])
        for path, one in found.items():
            writer.writerows(_frame_rows(path, one.table))
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("molecules", "elements", "force_bins", "conformers", "worst")}
    for path, one in found.items():
        s = one.summary
        tables["molecules"] += [{"data": path, "molecule": name, **row} for name, row in s["molecules"].items()]
        tables["elements"] += [{"data": path, "element": name, **row} for name, row in s["elements"].items()]
        tables["force_bins"] += [{"data": path, **row} for row in s["force_bins"]]
        tables["conformers"] += [{"data": path, "molecule": name, **row} for name, row in s["conformers"]["molecules"].items()]
        tables["worst"] += [{"by": by, **bad.row} for by, bads in (("energy", one.worst.by_energy), ("forces", one.worst.by_forces)) for bad in bads]
    for name, rows in tables.items():
        if rows:
            _write_rows(folder / f"{name}.csv", rows)


def _frame_rows(path: str, table: FrameTable) -> Iterable[list[Any]]:
    def shown(value: float, digits: int, scale: float = 1.0) -> str:
        return f"{scale * value:.{digits}f}" if np.isfinite(value) else ""

    columns = (table.number, table.molecule, table.n_atoms, table.energy, table.predicted_energy, table.forces_mae, table.forces_largest)
    for number, molecule, n, label, predicted, mae, largest in zip(*columns):
        yield [path, number, molecule, n, shown(label, 6), shown(predicted, 6), shown((predicted - label) / n, 4, 1000), shown(mae, 3, 1000),
               shown(largest, 3, 1000)]


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows)


def _draw(folder: Path, one: Evaluated, suffix: str, title: str) -> None:
    """Parity of energies and forces, errors by element and by size of the force, relative energies; each where there is something to see."""
    from mdapp.plots import evaluation as plots
    from mdapp.plots.style import save

    table, errors = one.table, one.tally.all.metrics
    known = np.isfinite(table.energy) & np.isfinite(table.predicted_energy)
    if known.any():
        label, predicted = table.energy[known] / table.n_atoms[known], table.predicted_energy[known] / table.n_atoms[known]
        save(plots.parity(label, predicted, "energy per atom", "eV", "meV", 1000, title=title), folder / f"parity-energy{suffix}")
        save(plots.energy_errors(label, 1000 * (predicted - label), table.molecule[known]), folder / f"errors-energy{suffix}")
        several = _of_several(table, known)
        if several.any():
            groups = np.array([f"{m} {c}" for m, c in zip(table.molecule[several], table.composition[several])])
            figure = plots.relative_energy(table.energy[several], table.predicted_energy[several], groups, "Relative energies")
            save(figure, folder / f"relative-energies{suffix}")
    rows = one.samples.rows
    if len(rows):
        exact = float(errors["forces_mae_meV_A"]), float(errors["forces_rmse_meV_A"])
        figure = plots.parity(rows[:, 1:4], rows[:, 4:7], "force component", "eV/Å", "meV/Å", 1000, exact, 3 * int(errors["atoms_with_forces"]), title)
        save(figure, folder / f"parity-forces{suffix}")
        of_element = {symbol: rows[rows[:, 0] == z] for z, symbol in one.symbols.items()}
        of_element = {symbol: mine for symbol, mine in of_element.items() if len(mine)}
        by_element = one.summary["elements"]
        exact_by = {symbol: (by_element[symbol]["forces_mae_meV_A"], by_element[symbol]["forces_rmse_meV_A"]) for symbol in of_element}
        counts = {symbol: 3 * by_element[symbol]["atoms"] for symbol in of_element}
        pairs = {symbol: (mine[:, 1:4], mine[:, 4:7]) for symbol, mine in of_element.items()}
        save(plots.forces_by_element(pairs, exact_by, counts), folder / f"parity-forces-elements{suffix}")
        bins = one.summary["force_bins"]
        column = lambda name, missing: np.array([b.get(name, missing) for b in bins], dtype=float)
        figure = plots.errors_by_force(column("from_eV_A", 0), column("below_eV_A", np.inf), column("forces_mae_meV_A", np.nan),
                                       column("forces_angle_mean_deg", np.nan), column("atoms", 0))
        save(figure, folder / f"errors-by-force{suffix}")


def _of_several(table: FrameTable, known: np.ndarray) -> np.ndarray:
    """Frames whose molecule has two or more labelled frames, (n_frames,) bool."""
    keys = np.array([f"{m} {c}" for m, c in zip(table.molecule, table.composition)])
    names, which, counts = np.unique(keys[known], return_inverse=True, return_counts=True)
    found = np.zeros(len(table), dtype=bool)
    found[np.flatnonzero(known)[counts[which] > 1]] = True
    return found


def offsets_summary(offsets: Any) -> dict[str, Any]:
    """What other reference energies would take away, as plain data."""
    return {} if offsets is None else asdict(offsets)
