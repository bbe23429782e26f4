"""All checks over a table of frames: what is suspected, what is beyond doubt, and the list of it."""
from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from potentials.data.cleaning.checks.contacts import contacts
from potentials.data.cleaning.checks.duplicates import copies
from potentials.data.cleaning.checks.energies import energies, levels
from potentials.data.cleaning.checks.forces import largest_forces, net_forces
from potentials.data.cleaning.checks.labels import labels, strangers
from potentials.data.cleaning.checks.units import force_scale, lengths, total_energies
from potentials.data.cleaning.checks.work import forces_and_energies
from potentials.data.cleaning.finding import Finding
from potentials.data.cleaning.settings import CleaningSettings
from potentials.data.cleaning.table import FrameTable

Check = Callable[[FrameTable, CleaningSettings], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (
    labels, lengths, total_energies, force_scale, forces_and_energies, levels, energies, contacts, largest_forces, net_forces, copies)  # fmt: skip
COLUMNS = ("file", "frame", "molecule", "reason", "value", "threshold", "unit", "other_file", "other_frame", "beyond_doubt")


@dataclass(frozen=True)
class Inspection:
    """A table and what the checks say about it."""

    table: FrameTable
    findings: tuple[Finding, ...]

    @property
    def suspicions(self) -> tuple[Finding, ...]:
        """Findings without the notes."""
        return tuple(f for f in self.findings if not f.note)

    def flagged(self) -> np.ndarray:
        """(n_frames,) bool, frames that any suspicion names."""
        return self._any(f.frames for f in self.suspicions)

    def beyond_doubt(self) -> np.ndarray:
        """(n_frames,) bool, frames that are wrong whatever the data are for."""
        return self._any(f.frames[f.beyond_doubt] for f in self.suspicions)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row of COLUMNS for each frame and reason; a suspicion about a whole file has no frame number."""
        t = self.table
        for f in self.suspicions:
            for file in f.files:
                yield {"file": t.files[file], "reason": f.check, "threshold": _number(f.threshold), "beyond_doubt": False}
            for place, (k, value, sure) in enumerate(zip(f.frames, f.values, f.beyond_doubt)):
                other = {} if f.others is None else {"other_file": t.files[t.file[f.others[place]]], "other_frame": int(t.index[f.others[place]])}
                yield {"file": t.files[t.file[k]], "frame": int(t.index[k]), "molecule": t.molecules[t.molecule[k]], "reason": f.check, "value": _number(value),
                       "threshold": _number(f.threshold), "unit": f.unit, "beyond_doubt": bool(sure), **other}  # fmt: skip

    def _any(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        found = np.zeros(len(self.table), dtype=bool)
        for k in frames:
            found[k] = True
        return found


def inspect(table: FrameTable, settings: CleaningSettings = CleaningSettings(), elements: tuple[int, ...] = ()) -> Inspection:
    """Every check over a table.

    Parameters
    ----------
    elements : atomic numbers that were asked for; frames with others are suspected. Empty: all are welcome.
    """
    found = [f for check in CHECKS for f in check(table, settings)]
    if elements:
        found += list(strangers(table, elements))
    return Inspection(table, tuple(found))


def write_rejected(path: Path, inspection: Inspection, more: Iterable[Mapping[str, Any]] = ()) -> Path:
    """The list of suspected frames as CSV, in the order of COLUMNS, with `more` rows at its end; it appears whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(inspection.rows())
        writer.writerows(more)
    os.replace(scratch, path)
    return path


def _number(value: float) -> float | str:
    return float(f"{value:.6g}") if np.isfinite(value) else ""
