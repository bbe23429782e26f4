"""Columns to a CSV file."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def write_columns(path: str | Path, columns: Mapping[str, np.ndarray | Sequence[object]]) -> None:
    """Columns of equal length under their names, which carry the units; numbers with eight digits."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows([_shown(value) for value in row] for row in zip(*columns.values(), strict=True))


def _shown(value: object) -> object:
    return f"{value:.8g}" if isinstance(value, (float, np.floating)) else value
