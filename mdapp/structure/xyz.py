"""XYZ and extended XYZ files, one structure at a time.

The file is cut into structures here and each is handed to ASE's parser as clean text, because that parser alone takes a huge atom count at
its word, ends at the first blank line, and knows neither atom labels nor atomic numbers nor deuterium.
"""
from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from mdapp.errors import StructureError
from mdapp.structure.elements import element_of_symbol

SHORTEST_ATOM_LINE = 8  # bytes: "H 0 0 0" and its end
PROPERTIES = re.compile(r"""(?:^|\s)Properties\s*=\s*["']?([^\s"']+)""", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """One structure of an XYZ file, as text."""

    number: int  # from 1
    first_line: int  # line number of the atom count, from 1
    comment: str
    lines: list[str]  # of the atoms


def blocks(path: Path) -> Iterator[Block]:
    """The structures of a file, one by one; never holds more than one, whatever count the file claims.

    Raises
    ------
    StructureError : a count that is none, is not positive, or does not agree with the lines that follow.
    """
    size = path.stat().st_size
    number = line_number = 0
    with open(path, "rb") as stream:
        while raw := stream.readline(1 << 16):
            line_number += 1
            text = _text(raw).lstrip("\ufeff").strip()
            if not text:
                continue
            first_line, number = line_number, number + 1
            try:
                count = int(text) if len(text) < 20 else -1
            except ValueError:
                if number > 1:
                    raise StructureError(f"{path}: line {line_number} should be the atom count of structure {number}, got {_short(text)!r}; "
                                         f"structure {number - 1} has more atom lines than its count says.") from None
                raise StructureError(f"{path}: line {line_number} should be the number of atoms, got {_short(text)!r}; this is no XYZ file.") from None
            if count < 0:
                raise StructureError(f"{path}: line {line_number} claims {_short(text)} atoms; the count must be a positive whole number.")
            if count == 0:
                raise StructureError(f"{path}: structure {number} has no atoms.")
            if count * SHORTEST_ATOM_LINE > size - stream.tell() + 2:
                raise StructureError(f"{path}: line {line_number} claims {count} atoms, more than a file of {size} bytes can hold.")
            comment = _text(stream.readline()).strip()
            lines = []
            while len(lines) < count and (raw := stream.readline()):
                line = _text(raw).strip()
                if not line:
                    break
                lines.append(line)
            if len(lines) < count:
                raise StructureError(f"{path}: structure {number} claims {count} atoms, but only {len(lines)} atom lines follow.")
            line_number += count + 1
            yield Block(number, first_line, comment, lines)


def parse(block: Block, path: Path) -> Atoms:
    """One structure, through ASE's extended XYZ parser. Keys of the comment that ASE cannot read leave a plain structure."""
    from ase.io.extxyz import read_xyz

    found = PROPERTIES.search(block.comment)
    columns = found.group(1).split(":") if found else ["species", "S", "1", "pos", "R", "3"]
    where = _column_of_species(columns)
    lines, masses, heavy = block.lines, [], False
    if where is not None:
        lines = []
        for k, line in enumerate(block.lines):
            words = line.split()
            element = element_of_symbol(words[where]) if len(words) > where else None
            if element is None:
                raise StructureError(f"{path}: line {block.first_line + 2 + k}: {_short(line)!r} does not begin with a known element." if where == 0 else
                                     f"{path}: line {block.first_line + 2 + k}: no known element in {_short(line)!r}.")
            number, mass = element
            heavy = heavy or (number == 1 and mass > 1.5)
            masses.append(mass)
            words[where] = _symbol(number)
            lines.append(" ".join(words))

    def attempt(comment: str) -> Atoms:
        text = f"{len(lines)}\n{comment}\n" + "\n".join(lines) + "\n"
        return next(read_xyz(io.StringIO(text), 0))

    comment = block.comment.replace("\t", " ")
    try:
        try:
            atoms = attempt(comment)
        except Exception:
            if found or "lattice" in comment.lower():
                raise
            atoms = attempt("")  # free text of another program
    except Exception as error:
        raise StructureError(f"{path}: structure {block.number} (from line {block.first_line}) cannot be read: {_reason(error)}.") from None
    if heavy:
        atoms.set_masses(np.array(masses))
    return atoms


def _column_of_species(columns: list[str]) -> int | None:
    """Index of the column that holds symbols, from the words of `Properties`; None where there is none (atomic numbers in `Z`)."""
    position = 0
    for name, _, width in zip(columns[::3], columns[1::3], columns[2::3]):
        if name.lower() in ("species", "symbols", "symbol", "element"):
            return position
        if not width.isdigit():
            return None
        position += int(width)
    return None


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return chemical_symbols[number]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return _short_reason(text[0]) if text else type(error).__name__


def _short_reason(text: str) -> str:
    return (text if len(text) <= 120 else text[:117] + "...").rstrip(".")
