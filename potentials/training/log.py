"""The table of a training run, a row at every validation."""
from __future__ import annotations

import csv
from pathlib import Path


class LogTable:
    """log.csv, appended to. Rows after `step` (written by a run that went on and died) are dropped on opening."""

    def __init__(self, path: Path, step: int):
        self.path = path
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
            path.unlink()
            for row in rows:
                self.append(row)

    def append(self, row: dict) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})
