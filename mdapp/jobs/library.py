"""`mdapp library`: which minima a library holds, where they lie, and out of it as extended XYZ or PDB."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import LibraryConfig
from mdapp.errors import EXIT_FINISHED, RunFolderError
from mdapp.screen import Screen, silent

if TYPE_CHECKING:
    from mdapp.minima.library import Library
    from mdapp.minima.query import Backbone

SHOWN = 20  # rows on the screen; --json gives all
KCAL_PER_MOL = 23.060548  # per eV, CODATA 2018


@dataclass(frozen=True)
class LibraryResult:
    """Minima that fit, the lowest first."""

    indices: np.ndarray  # (n,)
    summary: dict[str, Any]
    exit_code: int = EXIT_FINISHED


def library(config: LibraryConfig, screen: Screen | None = None) -> LibraryResult:
    """Answer a question to a library of minima.

    Raises
    ------
    RunFolderError : no library there, or a damaged one.
    UserError : a region that the molecule does not have, nothing to export, a file that exists.
    """
    from mdapp.minima.library import Library
    from mdapp.minima.query import backbone, export, format_of, select

    screen = screen or silent()
    if config.export is not None:
        format_of(config.export)
    with Library(_file(config.library), "r") as minima:
        chosen = select(minima, config.below, config.region, config.lowest)
        angles = backbone(minima)
        written = None if config.export is None else export(minima, config.export, chosen)
        rows = _rows(minima, angles, chosen)
        atoms = minima.reference
        screen.header("mdapp library", [
            ("library", str(minima.path)),
            ("molecule", f"{atoms.get_chemical_formula()}, {len(atoms)} atoms" + (f", residues {' '.join(angles.residues)}" if angles.residues else "")),
            ("minima", f"{len(minima)}, seen {int(minima.visit_counts().sum())} times" + (f"; the lowest at {minima.energies().min():.6f} eV" if len(minima) else "")),
        ])  # fmt: skip
        for line in _table(rows, bool(angles.residues)):
            screen.say(line)
        fitting = _fitting(config, len(chosen), len(minima))
        screen.close("finished", fitting if written is None else f"{fitting}; written to {config.export}", [])
        summary = {"verdict": "finished", "library": str(minima.path), "n_minima": len(minima), "n_visits": int(minima.visit_counts().sum()), "residues": list(angles.residues),
                   "below_eV": config.below, "region": config.region, "n_fitting": len(chosen), "minima": rows, "exported": config.export,
                   "exit_code": EXIT_FINISHED}  # fmt: skip
    return LibraryResult(chosen, summary)


def _file(word: str) -> Path:
    """The library's file; of a folder the minima.h5 in it."""
    from mdapp.minima.library import LIBRARY
    from mdapp.trajectory.strange import refuse_strange

    path = Path(word)
    if not path.is_dir():
        return path
    if not (path / LIBRARY).exists():
        raise RunFolderError(f"{path} holds no {LIBRARY}. Give the folder of a search for minima, or such a file itself.")
    refuse_strange(path)
    return path / LIBRARY


def _rows(minima: Library, angles: Backbone, chosen: np.ndarray) -> list[dict[str, Any]]:
    """Minima in plain data."""
    from mdapp.minima.query import frequencies_of

    energies, regions, frequencies = minima.energies(), angles.regions, frequencies_of(minima)
    rows = []
    for k in chosen.tolist():
        origin, found = minima.origin(k), frequencies.get(k)
        row: dict[str, Any] = {
            "minimum": k, "energy_eV": float(energies[k]), "above_lowest_eV": float(energies[k] - energies.min()), "visits": minima.visits(k), "move": origin.move,
            "parent": origin.parent, "walker": origin.walker, "evaluation": origin.evaluation, "imaginary_modes": None if found is None else int((found < 0).sum()),
        }  # fmt: skip
        if angles.residues:
            row |= {"regions": regions[k].tolist(), "phi_deg": angles.phi_deg[k].round(2).tolist(), "psi_deg": angles.psi_deg[k].round(2).tolist()}
        rows.append(row)
    return rows


def _table(rows: list[dict[str, Any]], is_peptide: bool) -> list[str]:
    if not rows:
        return []
    where = "  phi, psi (degrees) and region of each residue" if is_peptide else ""
    lines = [f"  {'minimum':>7} {'meV':>9} {'kcal/mol':>9} {'visits':>7}  {'found by':<18}{where}"]
    for row in rows[:SHOWN]:
        above = row["above_lowest_eV"]
        line = f"  {row['minimum']:>7} {1000 * above:>9.1f} {KCAL_PER_MOL * above:>9.2f} {row['visits']:>7}  {row['move']:<18}"
        if is_peptide:
            line += "  " + "  ".join(f"{phi:.0f}, {psi:.0f} {name}" for phi, psi, name in zip(row["phi_deg"], row["psi_deg"], row["regions"]))
        lines.append(line.rstrip())
    if len(rows) > SHOWN:
        lines.append(f"  and {len(rows) - SHOWN} more; --lowest shows fewer, --json all")
    return lines


def _fitting(config: LibraryConfig, n: int, total: int) -> str:
    asked = [f"at most {KCAL_PER_MOL * config.below:.3g} kcal/mol above the lowest" if config.below is not None else "", f"in {config.region}" if config.region else ""]
    words = " and ".join(filter(None, asked))
    return f"{n} of {total} minima {words}" if words or n < total else f"{total} minima"
