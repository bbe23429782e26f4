"""Extended xyz with labels, plain or gzipped, streamed: one frame is in memory at a time.

A frame is cut out by its count of lines and handed to ASE's reader. ASE moves `energy`, `forces` and `stress` from a frame's
own keys into an attached calculator; both places are looked at.
"""
from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import ase.io
import numpy as np
from ase import Atoms

from potentials.data.labelled import DataError, LabelKeys, LabelledStructure
from potentials.data.named_labels import RawFrame, structures_of
from potentials.data.units import Units


def read_extxyz(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of an extended xyz file, one at a time.

    Parameters
    ----------
    keys : names of labels; where None, the first of `named_labels.USUAL_KEYS` that a frame has, energy and forces of one kind before all others. A
        frame may lack an energy or forces, not both.
    units : eV and Å when not given. Cells and positions are in `units.length` too.

    Raises
    ------
    DataError : unreadable; cut off; no label under any of the names (the message lists the keys that are there); see `checked`.
    """
    return structures_of(_frames(path), keys, units or Units(), path.name)


def _frames(path: Path) -> Iterator[RawFrame]:
    with _opened(path) as file:
        index = -1
        try:
            for index, text in enumerate(_texts(file, path)):
                atoms = cast(Atoms, ase.io.read(io.StringIO(text), index=0, format="extxyz"))
                results = atoms.calc.results if atoms.calc is not None else {}
                labels = {**results, **atoms.info, **atoms.arrays}
                yield RawFrame(labels, atoms.numbers, atoms.positions, np.asarray(atoms.cell), atoms.pbc, f"frame {index} of {path.name}")
        except (DataError, GeneratorExit):
            raise
        except Exception as error:  # ASE's reader raises whatever its parsing meets: KeyError, ValueError, XYZError, IndexError, ...
            raise DataError(f"{path} cannot be read as extended xyz at frame {max(index, 0)}: {error}") from error


def _texts(file: TextIO, path: Path) -> Iterator[str]:
    """The text of one frame after the other; the count of atoms is believed only as far as there are lines."""
    index = 0
    try:
        while line := file.readline():
            if not line.strip():
                continue  # blank lines between frames and at the end
            try:
                n_atoms = int(line)
            except ValueError:
                n_atoms = -1
            if n_atoms < 0:
                raise DataError(f"{path} cannot be read as extended xyz: frame {index} should begin with its number of atoms, got {line.strip()[:60]!r}.")
            lines = [line]
            for _ in range(n_atoms + 1):
                lines.append(file.readline())
                if not lines[-1]:
                    raise DataError(f"{path} cannot be read as extended xyz: it ends within frame {index}, which announces {n_atoms} atoms.")
            yield "".join(lines)
            index += 1
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as extended xyz after {index} whole frames: {error}") from error


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")  # type: ignore[return-value]
