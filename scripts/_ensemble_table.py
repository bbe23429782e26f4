"""The table of scripts/validate_ensembles.py: a figure against its limit in each row, the latest of each ensemble and system."""
from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _bench
import numpy as np


@dataclass(frozen=True)
class Row:
    """One figure against its limit."""

    ensemble: str
    system: str
    test: str
    figure: float
    unit: str
    limit: float

    @property
    def verdict(self) -> str:
        return "pass" if np.isfinite(self.figure) and abs(self.figure) <= self.limit else "FAIL"


def path_of_table() -> Path:
    return _bench.RESULTS / "validate_ensembles.csv"


def rows_there() -> list[dict[str, str]]:
    """What the table holds."""
    if not path_of_table().exists():
        return []
    with path_of_table().open(newline="") as file:
        return list(csv.DictReader(file))


def judged(length: float) -> set[tuple[str, str]]:
    """Ensembles and systems of which the table holds figures of this length or more, all of them numbers."""
    there, without = set(), set()
    for row in rows_there():
        (there if float(row["length"]) >= float(f"{length:.4g}") and np.isfinite(float(row["figure"])) else without).add((row["ensemble"], row["system"]))
    return there - without


def keep(part: list[Row], length: float, where: Mapping[str, Any]) -> None:
    """Figures of one ensemble and system to the table, in place of those that were there."""
    _bench.RESULTS.mkdir(parents=True, exist_ok=True)
    stamp = {"length": f"{length:.4g}", **{k: where[k] for k in ("date", "commit", "python", "ase", "numpy")}}
    new = [{**{k: getattr(row, k) for k in ("ensemble", "system", "test", "figure", "unit", "limit", "verdict")}, **stamp} for row in part]
    new = [{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in new]
    old = [row for row in rows_there() if (row["ensemble"], row["system"]) != (part[0].ensemble, part[0].system)]
    aside = path_of_table().with_suffix(".part")
    with aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*old, *new])
    aside.replace(path_of_table())
