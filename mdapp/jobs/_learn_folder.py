"""The folder of a learning loop: every step of every round on the disk, whole or absent, so that a loop that was killed goes on where it was.

====================  ==================================================================================
learn.toml            what was asked; a loop goes on only where it is the same
held-out.xyz          labelled configurations on which errors are measured, where no files were given
round-000/ ...        chosen.extxyz, labelled.xyz, member-0/ ... (trainings), round.json when the round is complete
rounds.csv            one line a round
learning.png          error, spread and stability against labels
summary.json          how it ended
====================  ==================================================================================
"""
from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.errors import OutputError, RunFolderError
from mdapp.toml import toml_value
from mdapp.trajectory.files import replacing, told, write_text

if TYPE_CHECKING:
    from ase import Atoms

ASKED, ROUNDS, SUMMARY, HELD_OUT, LOCK = "learn.toml", "rounds.csv", "summary.json", "held-out.xyz", "learn.lock"
FREE = ("rounds", "patience", "flat", "workers", "threads", "device", "output")  # what a loop that goes on may have changed


class LearnFolder:
    """The folder, made or opened.

    Raises
    ------
    OutputError : it holds a loop and `resume` is False, or something else.
    RunFolderError : it was begun with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool):
        self.path = path
        begun = (path / ASKED).exists()
        if begun and not resume:
            raise OutputError(f"{path} holds a learning loop already and is not overwritten. Choose another output, or go on in it with --resume.")
        if resume and not begun:
            raise RunFolderError(f"{path} holds no learning loop that could go on.")
        if not begun and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"{path} is there already and holds something else. Choose another output.")
        with told(path):
            path.mkdir(parents=True, exist_ok=True)
        if begun:
            self._compare(settings)
        write_text(path / ASKED, "\n".join(_toml("learn", settings)) + "\n")

    def _compare(self, settings: dict[str, Any]) -> None:
        import tomllib

        try:
            before = tomllib.loads((self.path / ASKED).read_text(encoding="utf-8"))["learn"]
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(f"{self.path / ASKED} cannot be read ({error}). Take another output.") from None
        now = tomllib.loads("\n".join(_toml("learn", settings)))["learn"]
        other = sorted(key for key in {*before, *now} - set(FREE) if before.get(key) != now.get(key))
        if other:
            raise RunFolderError(f"{self.path} was begun with another {' and '.join(other)}: that loop cannot go on with these settings. Take another output.")

    def round(self, number: int) -> Path:
        return self.path / f"round-{number:03d}"

    def complete_rounds(self) -> list[dict[str, Any]]:
        """The rounds that have come to their end, in order."""
        found: list[dict[str, Any]] = []
        while (file := self.round(len(found)) / "round.json").exists():
            try:
                found.append(json.loads(file.read_text(encoding="utf-8")))
            except ValueError as error:
                raise RunFolderError(f"{file} is damaged ({error}). Remove it, and its round is done again.") from None
        return found

    def finish_round(self, number: int, row: dict[str, Any]) -> None:
        write_text(self.round(number) / "round.json", json.dumps(row, indent=1, allow_nan=False) + "\n")

    def write_rounds(self, rows: Sequence[dict[str, Any]]) -> None:
        """The table and the figure."""
        from mdapp.plots.style import save
        from mdapp.plots.uncertainty import learning_rounds

        text = io.StringIO()
        names = [name for name in rows[0] if name != "reasons"]
        table = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        table.writerows({k: "" if v is None else f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        write_text(self.path / ROUNDS, text.getvalue())
        curves = {"held-out force error (RMSE)": [row["forces_rmse_eV_A"] for row in rows], "spread on held-out": [row["held_out_spread_eV_A"] for row in rows],
                  "largest spread while exploring": [row["explored_spread_eV_A"] for row in rows]}  # fmt: skip
        save(learning_rounds([row["labels"] for row in rows], curves, [row["held_ps"] for row in rows], rows[-1]["held_most_ps"]), self.path / "learning")


def write_structures(path: Path, structures: Sequence[Atoms]) -> None:
    """Extended XYZ, whole or absent."""
    from ase.io import write

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        write(part, list(structures), format="extxyz")


def _toml(table: str, values: dict[str, Any]) -> list[str]:
    """A nested mapping of plain values as TOML; what is None is left out."""
    lines = [f"[{table}]", *(f"{_key(k)} = {_value(v)}" for k, v in values.items() if v is not None and not isinstance(v, dict))]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", *_toml(f"{table}.{_key(key)}", value)]
    return lines


def _key(word: str) -> str:
    return word if word.replace("_", "").replace("-", "").isalnum() and word.isascii() else toml_value(word)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    return toml_value(value)
