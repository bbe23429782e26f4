"""ASE's own files: data bases (`.db`, SQLite) and trajectories (`.traj`).

Both are read as plain data: numbers, text and arrays. Constraints, calculators and ASE objects that such a file may describe are
never built, so a row cannot run code, and forces are those of the reference method with no constraint taken off. ASE writes eV
and Å; SchNetPack's data bases keep labels in a row's `data` and say their units in the metadata, where they are newer than 2021.
"""
from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from ase.db.core import bytes_to_object
from ase.io import ulm

from potentials.data.guess_units import guess_energy_unit
from potentials.data.labelled import DataError, LabelKeys, LabelledStructure
from potentials.data.named_labels import RawFrame, keys_of, structures_of
from potentials.data.units import Units

log = logging.getLogger(__name__)

_COLUMNS = ("id", "numbers", "positions", "cell", "pbc", "energy", "free_energy", "forces", "stress", "dipole", "charges", "key_value_pairs", "data")
_HEAD = 50  # rows among which one is looked for that tells the unit of energies
_RESULTS = ("energy", "free_energy", "forces", "stress", "dipole", "charges")


def read_ase_db(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Rows of an ASE data base in SQLite, by their id.

    Parameters
    ----------
    keys : names of labels among a row's results, key-value pairs and `data`; the usual ones when not given.
    units : when not given, what SchNetPack's metadata say; else eV and Å for ASE's own results; else, for labels in `data`,
        the unit that makes the energies all-electron total energies, or eV with a warning.

    Raises
    ------
    DataError : not an ASE data base in SQLite; damaged; a row without labels; see `checked`.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            metadata = _metadata(connection, path)
            rows = (dict(zip(_COLUMNS, values)) for values in connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM systems ORDER BY id"))
            head = list(islice(rows, _HEAD))
            if head and units is None:
                units = _db_units(metadata, head, keys, path)
            frames = (_frame(row, path) for row in chain(head, rows))
            yield from structures_of(frames, keys, units or Units(), path.name)
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be read as an ASE data base (SQLite): {error}.") from error


def read_ase_traj(path: Path, keys: LabelKeys, units: Units | None) -> Iterator[LabelledStructure]:
    """Frames of an ASE trajectory, one at a time.

    Parameters
    ----------
    keys : names of labels among the calculator's results and a frame's `info`; the usual ones when not given.
    units : eV and Å when not given.

    Raises
    ------
    DataError : not a trajectory; cut off; a frame without labels; see `checked`.
    """
    return structures_of(_traj_frames(path), keys, units or Units(), path.name)


def _traj_frames(path: Path) -> Iterator[RawFrame]:
    index = 0
    try:
        with path.open("rb") as file:
            reader = _PlainReader(file, path.stat().st_size)
            if reader.get_tag() != "ASE-Trajectory":
                raise DataError(f"{path} is no ASE trajectory, but a file tagged '{reader.get_tag()}'.")
            first = reader.item(0) if len(reader) else {}
            for index in range(len(reader)):
                item = reader.item(index)
                header = item if "numbers" in item else first
                results = {k: v for k, v in item.get("calculator.", {}).items() if k in _RESULTS}
                labels = _plain({**(item.get("info") or {}), **results})
                yield RawFrame(labels, header["numbers"], item["positions"], item["cell"], header["pbc"], f"frame {index} of {path.name}")
    except (DataError, GeneratorExit):
        raise
    except Exception as error:  # ASE's reader raises whatever a damaged file leads to
        raise DataError(f"{path} cannot be read as an ASE trajectory at frame {index}: {error or type(error).__name__}.") from error


class _PlainReader(ulm.Reader):
    """ASE's reader of .traj files that builds arrays and plain values only, no larger than the file."""

    def __init__(self, file: BinaryIO, size: int):
        self._file_size = size
        super().__init__(file)

    def _read_data(self, index: int) -> dict[str, Any]:
        self._fd.seek(self._offsets[index])
        size = int(ulm.readints(self._fd, 1)[0])
        if not 0 <= size <= self._file_size:
            raise ValueError(f"frame {index} claims {size} bytes, the file has {self._file_size}")
        data = json.loads(self._fd.read(size).decode())
        self._little_endian = data.pop("_little_endian", True)
        return data

    def item(self, index: int) -> dict[str, Any]:
        """What is stored of a frame, arrays included."""
        return self._arrays(self._read_data(index))

    def _arrays(self, data: dict[str, Any]) -> dict[str, Any]:
        """`name.` with a description of an array becomes `name` with the array; `name.` with a table is a table."""
        read = {}
        for name, value in data.items():
            if name.endswith(".") and "ndarray" in value:
                shape, dtype, offset = value["ndarray"]
                array = ulm.NDArrayReader(self._fd, shape, np.dtype(dtype), offset, self._little_endian)
                if min(shape, default=0) < 0 or array.nbytes > self._file_size:
                    raise ValueError(f"'{name}' claims shape {tuple(shape)}, the file has {self._file_size} bytes")
                read[name[:-1]] = array.read()
            elif name.endswith("."):
                read[name] = self._arrays(value)
            else:
                read[name] = value
        return read


def _metadata(connection: sqlite3.Connection, path: Path) -> dict[str, Any]:
    """What the data base says of itself; refused where `systems` is no table of ASE's."""
    kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'systems'").fetchone()
    if kind != ("table",):
        raise DataError(f"{path} is an SQLite file, but no ASE data base: it has no table 'systems'.")
    there = [row[1] for row in connection.execute("PRAGMA table_info(systems)")]
    missing = [column for column in _COLUMNS if column not in there]
    if missing:
        raise DataError(f"{path} is an ASE data base of another version: its table 'systems' lacks {', '.join(missing)}.")
    row = connection.execute("SELECT value FROM information WHERE name = 'metadata'").fetchone()
    try:
        return json.loads(row[0]) if row else {}
    except ValueError:
        return {}


def _frame(row: dict[str, Any], path: Path) -> RawFrame:
    """A row's labels by name: results before key-value pairs, these before `data`."""
    source = f"row {row['id']} of {path.name}"
    try:
        flat = {name: np.frombuffer(row[name]) for name in ("positions", "cell", "forces", "stress", "dipole", "charges") if row[name] is not None}
        array = {name: values.reshape(-1, 3) if name in ("positions", "cell", "forces") else values for name, values in flat.items()}
        positions, cell = array.pop("positions"), array.pop("cell", np.zeros((3, 3)))
        numbers = np.frombuffer(row["numbers"], np.int32)
        pbc = (int(row["pbc"] or 0) & np.array([1, 2, 4])).astype(bool)
        data = row["data"]
        data = bytes_to_object(data) if isinstance(data, bytes) and data else json.loads(data or "{}")
        pairs = json.loads(row["key_value_pairs"] or "{}")
    except Exception as error:  # what another program or a damaged page left there
        raise DataError(f"{source} cannot be read: {error or type(error).__name__}.") from error
    energies = {name: row[name] for name in ("energy", "free_energy") if row[name] is not None}
    return RawFrame({**_plain(data or {}), **_plain(pairs), **energies, **array}, numbers, positions, cell, pbc, source)


def _db_units(metadata: dict[str, Any], rows: Sequence[dict[str, Any]], keys: LabelKeys, path: Path) -> Units:
    """SchNetPack's `_property_unit_dict` and `_distance_unit`; ASE's own for its results; else what the size of energies says."""
    row, frame = rows[0], _frame(rows[0], path)
    found = keys_of(frame.labels, keys, frame.source)
    said, length = metadata.get("_property_unit_dict"), metadata.get("_distance_unit", "Ang")
    if isinstance(said, dict):
        try:
            energy, forces = said.get(found.get("energy", ""), "eV"), said.get(found.get("forces", ""))
            return Units(energy, length, forces=forces, stress=said.get(found["stress"]) if "stress" in found else None)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path.name}: {error} The metadata of the data base can be overruled with units.") from error
    if row["energy"] is not None or row["forces"] is not None:
        return Units()
    guess = None
    for frame in (_frame(row, path) for row in rows) if "energy" in found else ():
        energy = np.ravel(frame.labels.get(found["energy"], np.nan))
        if energy.size and energy.dtype.kind in "fiu" and np.isfinite(energy[0]):
            guess = guess_energy_unit(frame.numbers, float(energy[0]))
            break
    if guess is None:
        log.warning("%s: labels lie in the rows' data, and nothing says their units; eV and Å are taken. If they are others, say so with units.", path.name)
        return Units()
    log.info("%s: nothing says the units of the rows' data; its total energies have the size of %s, which is taken, with Å.", path.name, guess)
    return Units(guess)


def _plain(labels: dict[str, Any]) -> dict[str, Any]:
    """Arrays that ASE wrote as text, as arrays."""
    plain = {}
    for name, value in labels.items():
        if isinstance(value, dict) and "__ndarray__" in value:
            shape, dtype, flat = value["__ndarray__"]
            if np.dtype(dtype).kind not in "fiub" or not isinstance(flat, list):
                continue
            value = np.array(flat, dtype=dtype).reshape(shape)
        plain[name] = value
    return plain
