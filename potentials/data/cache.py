"""Prepared data that are made once and used again: by the next training, and by all processes of one.

What was read is remembered with the data: the files (name, size, time, SHA-256), the cutoffs, and the recipe (keys, units,
filters). Where all of it is as it was, the folder is used as it stands; else it is made anew, and the reason is said.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from potentials.data.dataset import Dataset
from potentials.data.labelled import LabelledStructure
from potentials.data.sources import LeftOut
from potentials.data.storage import PairChoice, PreparedDataError, open_dataset, read_manifest, write_dataset


def cached_dataset(
    folder: str | Path,
    read: Callable[[], Iterable[LabelledStructure]],
    sources: Sequence[str | Path],
    recipe: dict[str, Any],
    cutoff: float,
    long_range_cutoff: float | None = None,
    *,
    pairs: PairChoice = "stored",
    aside: list[LabelledStructure] | None = None,
    left_out: list[LeftOut] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """The prepared data of `folder` where they fit, else made from what `read` gives; other processes wait meanwhile.

    Parameters
    ----------
    read : gives the structures, one at a time; called when they are needed.
    sources : the files that `read` reads.
    recipe : plain data that decides, beside the files, what `read` gives.
    cutoff, long_range_cutoff : Å, of the pairs.
    aside : what `read` sets aside, isolated atoms; it is kept with the data, and filled when they are used again.
    left_out : frames that `read` leaves out, kept and filled likewise.
    tell : what was done and why, in one line.

    Raises
    ------
    FileNotFoundError : a source is not there.
    DataError : `folder` holds something else than prepared data; what `read` raises.
    """
    folder = Path(folder)
    recipe = json.loads(json.dumps(recipe))  # as it will come back
    asked = {"cutoff": cutoff, "long_range_cutoff": long_range_cutoff, "pairs": pairs}
    with _one_at_a_time(folder):
        reason = ""
        if folder.exists():
            reason = _misfit(folder, asked, recipe, sources)
            if not reason:
                try:
                    dataset = open_dataset(folder, verify=True)
                    origin_then = read_manifest(folder)["origin"]
                    if aside is not None:
                        aside += _atoms(origin_then.get("isolated_atoms", []))
                    if left_out is not None:
                        left_out += [LeftOut(*row) for row in origin_then.get("left_out", [])]
                    tell(f"{folder}: {len(dataset)} prepared frames, as they are.")
                    return dataset
                except PreparedDataError as error:
                    reason = str(error)
        files = [_described(Path(path)) for path in sources]
        tell(f"{folder}: {'made anew, since ' + reason if reason else 'made'} from {', '.join(Path(path).name for path in sources)}.")
        hashed = [{**f, "sha256": _sha256(Path(path))} for f, path in zip(files, sources)]
        before, before_left_out = len(aside or ()), len(left_out or ())

        def origin() -> dict[str, Any]:
            found = [(int(s.numbers[0]), s.energy, s.charge, s.multiplicity, s.source) for s in (aside or ())[before:]]
            rows = [astuple(row) for row in (left_out or ())[before_left_out:]]
            return {"files": hashed, "recipe": recipe, "isolated_atoms": found, "left_out": rows}

        return write_dataset(folder, read(), cutoff, long_range_cutoff, pairs=pairs, origin=origin)


def _misfit(folder: Path, asked: dict[str, Any], recipe: dict[str, Any], sources: Sequence[str | Path]) -> str:
    """Why these prepared data are not what is asked for; nothing where they are."""
    try:
        manifest = read_manifest(folder)
    except PreparedDataError as error:
        return str(error).rstrip(".")
    for name, value in asked.items():
        if manifest.get(name) != value:
            return f"{name} is now {value} and was {manifest.get(name)}"
    origin = manifest.get("origin", {})
    if origin.get("recipe") != recipe:
        before = origin.get("recipe") or {}
        changed = [key for key in {**before, **recipe} if before.get(key) != recipe.get(key)]
        return f"{', '.join(changed)} changed"
    before, now = origin.get("files", []), [_described(Path(path)) for path in sources]
    if [f.get("name") for f in before] != [f["name"] for f in now]:
        return f"the files were {', '.join(str(f.get('name')) for f in before) or 'none'}"
    for old, new, path in zip(before, now, sources):
        same = old.get("bytes") == new["bytes"] and (old.get("modified_ns") == new["modified_ns"] or old.get("sha256") == _sha256(Path(path)))
        if not same:
            return f"{path} changed"
    return ""


def _atoms(kept: list[list[Any]]) -> list[LabelledStructure]:
    """Isolated atoms as they were set aside."""
    at, nothing = np.zeros((1, 3)), np.zeros((3, 3))
    return [LabelledStructure(np.array([z]), at, energy, None, None, nothing, np.zeros(3, bool), charge, "isolated atom", source, multiplicity)
            for z, energy, charge, multiplicity, source in kept]  # fmt: skip


def _described(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"No file {path}.")
    status = path.stat()
    return {"name": path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _sha256(path: Path) -> str:
    if not path.is_file():  # a folder: its reader says what is wrong with it
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Within the block no other process prepares this folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
