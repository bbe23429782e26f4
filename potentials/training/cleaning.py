"""Before a training: suspected frames are counted, listed in rejected.csv, and left out where that is beyond doubt or asked for."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from potentials.data.cleaning import CleaningSettings, Collector, Inspection, inspect, write_rejected
from potentials.data.cleaning.checks.labels import NOT_FINITE
from potentials.data.cleaning.finding import counted
from potentials.data.dataset import Dataset
from potentials.data.labelled import DataError, LabelledStructure
from potentials.data.sources import LeftOut

Cleaning = Literal["report", "remove", "off"]
SHOWN = 8  # frames that are named on the screen
SPOKEN_OF = 20_000  # frames from which on the checks take long enough to be announced


def clean(
    parts: Sequence[tuple[str, Dataset, np.ndarray]],
    how: Cleaning,
    folder: Path,
    tell: Callable[[str], None],
    left_out: Sequence[LeftOut] = (),
    settings: CleaningSettings = CleaningSettings(),
) -> list[np.ndarray]:
    """Indices that are left of each part, the training part first and the validation part second, ascending.

    Parameters
    ----------
    parts : (name, data set, indices) of training and validation; of each row of rejected.csv `file` is the name and `frame` the index.
    how : "report" leaves out what is beyond doubt (overlapping atoms, labels that are no numbers, training frames that are copies of validation
        frames); "remove" everything that is suspected; "off" looks at nothing.
    left_out : frames that are in no part, since a label of theirs is not a finite number; told and listed under their own files and numbers.
    folder : where rejected.csv is written if there is something to write; made when it is not there.

    Raises
    ------
    DataError : nothing would be left of a part.
    """
    if how == "off":
        return [indices for _, _, indices in parts]
    n_frames = sum(len(indices) for _, _, indices in parts)
    if n_frames >= SPOKEN_OF:
        tell(f"Checking {n_frames} frames (about {max(1, round(n_frames * 5e-4 / 60))} min; [train.data] cleaning = 'off' leaves it out).")
    collector = Collector()
    for number, (name, dataset, indices) in enumerate(parts):
        for s in collector.reading(name, structures(dataset, indices), held_out=number > 0):
            collector.add(s)
    inspection = inspect(collector.table(), settings)
    out = inspection.flagged() if how == "remove" else inspection.beyond_doubt()
    ends = np.cumsum([len(indices) for _, _, indices in parts])
    inspection.table.index[:] = np.concatenate([indices for _, _, indices in parts])
    _tell(inspection, out, left_out, folder, tell)
    kept = [indices[~gone] for (_, _, indices), gone in zip(parts, np.split(out, ends[:-1]))]
    for (name, _, indices), left in zip(parts, kept):
        if not len(left) and len(indices):
            raise DataError(f"Every one of the {len(indices)} frames of {name} is suspected, so none is left with cleaning = '{how}'. "
                            f"See {folder / 'rejected.csv'}; `mdapp data report` shows more.")  # fmt: skip
    return kept


def structures(dataset: Dataset, indices: np.ndarray) -> Iterator[LabelledStructure]:
    """Frames of a data set as they were before they became arrays, one at a time."""
    for k in indices:
        atoms = slice(int(dataset.start[k]), int(dataset.start[k + 1]))
        forces, energy, cell = np.asarray(dataset.forces[atoms], dtype=np.float64), float(dataset.energy[k]), np.asarray(dataset.cell[k])
        stress = np.asarray(dataset.stress[k])
        yield LabelledStructure(
            numbers=np.asarray(dataset.numbers[atoms], dtype=np.int64), positions=np.asarray(dataset.positions[atoms]),
            energy=None if np.isnan(energy) else energy, forces=None if np.isnan(forces).all() else forces,
            stress=None if np.isnan(stress).any() else stress, cell=cell, pbc=np.abs(cell).sum(axis=1) > 0, charge=float(dataset.charge[k]),
            molecule=str(dataset.molecules[k]), source=f"frame {k}",
        )  # fmt: skip


def _tell(inspection: Inspection, out: np.ndarray, left_out: Sequence[LeftOut], folder: Path, tell: Callable[[str], None]) -> None:
    suspicions = inspection.suspicions
    if not suspicions and not left_out:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"file": f.file, "frame": f.frame, "molecule": f.molecule, "reason": NOT_FINITE, "beyond_doubt": True} for f in left_out]
    path = write_rejected(folder / "rejected.csv", inspection, rows)
    if left_out:
        shown = ", ".join(f"frame {f.frame} of {Path(f.file).name} ({f.what})" for f in left_out[:SHOWN])
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        tell(f"warning: {counted(len(left_out), 'frame')} left out, with numbers that are not finite: {shown}{more}; listed in {path}.")
    counts: Counter[str] = Counter()
    for f in suspicions:
        counts[f.check] += len(f.frames)
        if f.files:  # about a file as a whole: say what
            tell(f"warning: {f.check}: {f.sentence}")
    found = ", ".join(f"{check} {n}" for check, n in counts.items() if n)
    n_flagged, n_out = int(inspection.flagged().sum()), int(out.sum())
    if n_flagged:
        tell(f"warning: {n_flagged} of {len(out)} frames are suspected ({found}) and listed in {path}; {n_out or 'none'} of them left out.")
