"""The table of a training run, a row at every validation; and the same for TensorBoard."""
from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potentials.training.state import TrainingError


class LogTable:
    """log.csv, appended to. Rows after `step` (written by a run that went on and died) are dropped on opening."""

    def __init__(self, path: Path, step: int):
        self.path = path
        self._columns: list[str] = []
        if path.exists():
            before = read_log(path)
            rows = [row for row in before if int(row["step"]) <= step]
            self._columns = list(before[0]) if before else []
            self._rewrite(rows)

    def append(self, row: Mapping[str, Any]) -> None:
        new = [name for name in row if name not in self._columns]
        if new:  # of the first row, or of a run that goes on with more to tell
            rows = read_log(self.path) if self.path.exists() else []
            self._columns += new
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow({name: _shown(value) for name, value in row.items()})

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            with part.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)


def read_log(path: Path) -> list[dict[str, str]]:
    """Rows of a log.csv as text, whole ones only: a run that was killed may have left half a line."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["step"].isdigit() and None not in row and None not in row.values()]


class TensorBoard:
    """Writes the rows of the log as event files too, where asked.

    Raises
    ------
    TrainingError : `wanted`, but the package is not installed.
    """

    def __init__(self, folder: Path, wanted: bool, step: int):
        self._writer = None
        if wanted:
            require_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def append(self, row: Mapping[str, Any]) -> None:
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._writer.add_scalar(name.replace("validation_", "validation/", 1).replace("train_", "train/", 1), value, row["step"])
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def require_tensorboard() -> None:
    """TrainingError where TensorBoard's writer is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise TrainingError("tensorboard = true, but the package tensorboard is not installed: pip install '.[tensorboard]', or leave it out.") from None


def _shown(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
