"""Labelled structures on disk, in the form in which batches are cut out of them: a folder of mapped arrays.

A folder holds manifest.json (format, cutoffs, counts, checksums, where the frames come from), names.json (molecules) and
one .npy file for each array of a `Dataset`. It is written frame after frame in constant memory, and read by mapping: what
a batch needs comes from the system's page cache, so that data may be much larger than memory.

The folder is written beside its place and renamed into it: there is either a whole one or none.
"""
from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from potentials.data.columns import Column, ColumnError, open_column
from potentials.data.dataset import Dataset
from potentials.data.labelled import DataError, LabelledStructure
from potentials.data.names import Names
from potentials.data.pairlists import FoundPairs, Lists, PairLists, find_pairs

FORMAT = "mdapp prepared data 1"
MANIFEST, NAMES = "manifest.json", "names.json"

PairChoice = Literal["stored", "found"]

_OF_FRAMES = {  # name: (dtype, shape of a row, value that need not be stored)
    "energy": ("float64", (), np.nan), "stress": ("float64", (3, 3), np.nan), "dipole": ("float64", (3,), np.nan),
    "cell": ("float64", (3, 3), 0.0), "charge": ("float64", (), 0.0), "unpaired": ("float64", (), 0.0), "molecule": ("int32", (), None),
}  # fmt: skip
_OF_ATOMS = {
    "numbers": ("uint8", (), None), "positions": ("float64", (3,), None), "forces": ("float32", (3,), np.nan), "charges": ("float32", (), np.nan),
}  # fmt: skip
_TOGETHER = 512  # frames that are written at a time


class PreparedDataError(DataError):
    """A folder of prepared data that cannot be used."""


def write_dataset(
    folder: str | Path,
    structures: Iterable[LabelledStructure],
    cutoff: float,
    long_range_cutoff: float | None = None,
    *,
    pairs: PairChoice = "stored",
    origin: Callable[[], dict[str, Any]] = dict,
) -> Dataset:
    """Write structures with their pairs as a folder of prepared data, in constant memory, and open it.

    Parameters
    ----------
    folder : must not be there yet, or be a folder of prepared data, which is replaced.
    cutoff, long_range_cutoff : Å, of the pairs.
    pairs : "stored": written, two bytes a pair for molecules below 256 atoms. "found": searched anew for each batch; for large
        or dense structures, of which pairs take much more room than atoms.
    origin : gives plain data for the manifest, about where the frames came from; asked when all are written.

    Raises
    ------
    DataError : no structures; `folder` is something else; what `structures` raises.
    OSError : it cannot be written.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        manifest = _write(scratch, structures, cutoff, long_range_cutoff, pairs)
        manifest["origin"] = origin()
        (scratch / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
            os.replace(folder, old)
            os.replace(scratch, folder)
            shutil.rmtree(old)
        else:
            os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_dataset(folder)


def open_dataset(folder: str | Path, *, verify: bool = False) -> Dataset:
    """Prepared data as a data set over mapped files.

    Parameters
    ----------
    verify : compare checksums, which reads everything once.

    Raises
    ------
    PreparedDataError : not a folder of prepared data, one of another format, or a damaged one.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)

    def column(name: str) -> np.ndarray:
        return open_column(folder / f"{name}.npy", manifest["columns"][name], verify)

    def lists(prefix: str, cutoff: float) -> Lists:
        start = np.array(column(f"{prefix}_start"))
        if manifest["pairs"] == "found":
            return FoundPairs(start, cutoff, arrays["start"], arrays["positions"], arrays["cell"])
        shifts = column(f"{prefix}_shifts") if manifest["periodic"] else None
        return PairLists(start, column(f"{prefix}_i"), column(f"{prefix}_j"), shifts, cutoff)

    try:
        arrays = {name: column(name) for name in (*_OF_FRAMES, *_OF_ATOMS)}
        arrays["start"] = np.array(column("start"))
        codes = np.array(arrays.pop("molecule"))
        names = Names(codes, json.loads((folder / NAMES).read_text(encoding="utf-8")))
        if len(codes) and int(codes.max()) >= len(names.table):
            raise ColumnError(f"{NAMES} has {len(names.table)} names, fewer than the frames point to")
        far = manifest["long_range_cutoff"]
        return Dataset(
            **arrays, molecules=names, pairs=lists("pairs", float(manifest["cutoff"])),
            long_range=None if far is None else lists("long_range", float(far)),
        )  # fmt: skip
    except (ColumnError, OSError, KeyError, TypeError, ValueError) as error:
        raise PreparedDataError(f"{folder} is damaged: {error}. Delete it; it is made anew from the labelled files.") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a folder of prepared data says of itself.

    Raises
    ------
    PreparedDataError : see `open_dataset`.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
    except OSError as error:
        raise PreparedDataError(f"{folder} is not a folder of prepared data: no {MANIFEST} can be read there.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PreparedDataError(f"{folder / MANIFEST} is damaged or not of prepared data.") from error
    if found != FORMAT:
        raise PreparedDataError(f"{folder} says '{found}', and this program reads '{FORMAT}'.")
    return manifest


def _write(folder: Path, structures: Iterable[LabelledStructure], cutoff: float, far: float | None, pairs: PairChoice) -> dict[str, Any]:
    columns = {name: Column(folder / f"{name}.npy", *kind) for name, kind in {**_OF_FRAMES, **_OF_ATOMS}.items()}
    begins = {"start": 0}
    reaches = {"pairs": cutoff} if far is None else {"pairs": cutoff, "long_range": far}
    for prefix in reaches:
        begins[f"{prefix}_start"] = 0
        if pairs == "stored":
            for name, dtype in (("i", "uint8"), ("j", "uint8")):
                columns[f"{prefix}_{name}"] = Column(folder / f"{prefix}_{name}.npy", dtype)
            columns[f"{prefix}_shifts"] = Column(folder / f"{prefix}_shifts.npy", "int8", (3,), 0.0)
    for name in begins:
        columns[name] = Column(folder / f"{name}.npy", "int64")
        columns[name].append(np.zeros(1, np.int64))
    places: dict[str, int] = {}
    periodic = False

    def append_starts(name: str, counts: list[int]) -> None:
        ends = begins[name] + np.cumsum(counts)
        columns[name].append(ends)
        begins[name] = int(ends[-1])

    try:
        for some in _chunks(structures):
            periodic = periodic or any(s.pbc.any() for s in some)
            append_starts("start", [len(s.numbers) for s in some])
            for name, rows in _rows(some, places).items():
                columns[name].append(rows)
            for prefix, reach in reaches.items():
                found = [find_pairs(s.positions, s.cell, s.pbc, reach) for s in some]
                append_starts(f"{prefix}_start", [len(i) for i, _, _ in found])
                if pairs == "stored":
                    for place, name in enumerate(("i", "j", "shifts")):
                        columns[f"{prefix}_{name}"].append(np.concatenate([f[place] for f in found]))
        if not begins["start"]:
            raise DataError("No labelled structures: nothing to train on or to evaluate.")
        (folder / NAMES).write_text(json.dumps(list(places)), encoding="utf-8")
        known = {name: column.close() for name, column in columns.items()}
    finally:
        for column in columns.values():
            column.abandon()
    counts = {"frames": known["energy"]["shape"][0], "atoms": begins["start"], "pairs": begins["pairs_start"], "molecules": len(places)}
    return {"format": FORMAT, **counts, "cutoff": cutoff, "long_range_cutoff": far, "pairs": pairs, "periodic": periodic, "columns": known}  # fmt: skip


def _rows(some: list[LabelledStructure], places: dict[str, int]) -> dict[str, np.ndarray]:
    """The columns of these frames but for their pairs."""
    atoms = [len(s.numbers) for s in some]
    absent, atom_absent = np.full((3, 3), np.nan), [np.full((n, 3), np.nan, np.float32) for n in atoms]
    return {
        "numbers": np.concatenate([s.numbers for s in some]),
        "positions": np.concatenate([s.positions for s in some]),
        "forces": np.concatenate([gap if s.forces is None else s.forces for s, gap in zip(some, atom_absent)]),
        "charges": np.concatenate([gap[:, 0] if s.charges is None else s.charges for s, gap in zip(some, atom_absent)]),
        "energy": np.array([np.nan if s.energy is None else s.energy for s in some]),
        "stress": np.stack([absent if s.stress is None else s.stress for s in some]),
        "dipole": np.stack([absent[0] if s.dipole is None else s.dipole for s in some]),
        "cell": np.stack([np.where(s.pbc[:, None], s.cell, 0.0) for s in some]),
        "charge": np.array([s.charge for s in some], dtype=np.float64),
        "unpaired": np.array([s.multiplicity - 1 for s in some], dtype=np.float64),
        "molecule": np.array([places.setdefault(s.molecule, len(places)) for s in some]),
    }


def _chunks(structures: Iterable[LabelledStructure]) -> Iterator[list[LabelledStructure]]:
    frames = iter(structures)
    while some := list(islice(frames, _TOGETHER)):
        yield some


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))):
        raise PreparedDataError(f"{folder} is there and holds something else than prepared data; name another folder.")
