"""The text of a LAMMPS dump, frame by frame: what stands in it, before anybody says what it means.

LAMMPS manual, pages `dump` and `Howto_triclinic`.
"""
from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from potentials.data.labelled import DataError


@dataclass(frozen=True)
class Dumped:
    """One frame as it stands in the file, in the order of ids."""

    step: int
    style: str | None
    cell: np.ndarray  # (3, 3)
    pbc: np.ndarray  # (3,)
    columns: dict[str, np.ndarray]  # (n_atoms,) each; text for `element`, else numbers
    origin: np.ndarray  # (3,)
    time: float | None = None  # in the style's unit


def frames_of(path: Path) -> Iterator[Dumped]:
    """Frames of a dump, plain or gzipped, one in memory at a time.

    Raises
    ------
    DataError : no dump, or one that is cut off.
    """
    count = 0
    try:
        with opened(path) as file:
            while (d := _frame(file, path, count)) is not None:
                yield d
                count += 1
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a LAMMPS dump after {count} whole frames: {error}") from error


def _frame(file: TextIO, path: Path, count: int) -> Dumped | None:
    """The next frame; None at the end."""
    step, style, n_atoms, box, begun = 0, None, None, None, False
    time: float | None = None

    def line() -> str:
        text = file.readline()
        if not text:
            raise DataError(f"{path} cannot be read as a LAMMPS dump: it ends within frame {count}.")
        return text.strip()

    def number(text: str, what: str) -> int:
        if not re.fullmatch(r"\d+", text):
            raise DataError(f"{path} cannot be read as a LAMMPS dump: {what} of frame {count} is {text[:40]!r}, not a whole number.")
        return int(text)

    while True:
        head = file.readline()
        if not head and not begun:
            return None
        if not head:
            raise DataError(f"{path} cannot be read as a LAMMPS dump: it ends within frame {count}.")
        head = head.strip()
        if not head and not begun:
            continue
        if not head.startswith("ITEM:"):
            raise DataError(f"{path} cannot be read as a LAMMPS dump: expected a line 'ITEM: ...' in frame {count}, got {head[:60]!r}.")
        begun = True
        item = head.removeprefix("ITEM:").strip()
        if item == "TIMESTEP":
            step = number(line(), "the time step")
        elif item == "UNITS":
            style = line()
        elif item == "TIME":
            time = _real(line())
        elif item == "NUMBER OF ATOMS":
            n_atoms = number(line(), "the number of atoms")
        elif item.startswith("BOX BOUNDS"):
            box = item.split()[2:], [line() for _ in range(3)]
        elif item.startswith("ATOMS"):
            break
        else:
            raise DataError(f"{path} cannot be read as a LAMMPS dump: unknown 'ITEM: {item[:40]}' in frame {count}.")
    if n_atoms is None or box is None:
        raise DataError(f"{path}: frame {count} has atoms before their number and the box bounds.")
    where = f"frame {count} of {path.name}"
    cell, origin, pbc = _box(*box, where)
    columns = _table(item.split()[1:], list(islice(file, n_atoms)), n_atoms, path, where)
    return Dumped(step, style, cell, pbc, columns, origin, time)


def _real(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _table(names: list[str], lines: list[str], n_atoms: int, path: Path, where: str) -> dict[str, np.ndarray]:
    """Columns by name, in the order of the ids."""
    if len(lines) < n_atoms:
        raise DataError(f"{path} cannot be read as a LAMMPS dump: it ends within {where}, after {len(lines)} of {n_atoms} atoms.")
    if not n_atoms:
        raise DataError(f"{where} has no atoms.")
    words = "".join(lines).split()
    if len(words) != n_atoms * len(names):
        raise DataError(f"{where} has {len(words)} words for {n_atoms} atoms with columns {' '.join(names)}; a line is cut or too long.")
    table = np.array(words, dtype=object).reshape(n_atoms, len(names))
    texts = [k for k, name in enumerate(names) if name in ("element", "typelabel")]
    try:
        columns = {name: table[:, k].astype(str if k in texts else np.float64) for k, name in enumerate(names)}
    except ValueError as error:
        raise DataError(f"{where} holds something that is no number: {error}.") from error
    if "id" not in columns:
        return columns
    order = np.argsort(columns["id"], kind="stable")
    ids = columns["id"][order]
    if np.any(np.diff(ids) == 0):
        raise DataError(f"{where} has two atoms with id {int(ids[:-1][np.diff(ids) == 0][0])}.")
    return {name: values[order] for name, values in columns.items()}


def _box(flags: list[str], lines: list[str], where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell (3, 3) with vectors as rows, its corner (3,), and where it is periodic (3,)."""
    try:
        bounds = np.array([line.split() for line in lines], dtype=np.float64)
    except ValueError:
        raise DataError(f"{where}: the box bounds are not numbers: {' / '.join(lines)[:80]!r}.") from None
    general, triclinic = flags[:2] == ["abc", "origin"], flags[:3] == ["xy", "xz", "yz"]
    walls = flags[2 if general else 3 if triclinic else 0 :] or ["pp"] * 3
    if bounds.shape != (3, 4 if general else 3 if triclinic else 2) or len(walls) != 3:
        raise DataError(f"{where}: box bounds of shape {bounds.shape} do not fit 'BOX BOUNDS {' '.join(flags)}'.")
    pbc = np.array([wall == "pp" for wall in walls])
    if general:
        return bounds[:, :3], bounds[:, 3], pbc
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    xy, xz, yz = bounds[:, 2] if triclinic else (0.0, 0.0, 0.0)
    low -= [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]  # a dump gives the bounding box of a tilted cell
    high -= [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    lx, ly, lz = high - low
    return np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]), low, pbc


def opened(path: Path) -> TextIO:
    """A text, plain or .gz."""
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")  # type: ignore[return-value]
