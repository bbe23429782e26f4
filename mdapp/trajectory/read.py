"""Frames and series back from disk, one at a time: from our run folders and from other programs' files.

A running or killed run is read whole: frames that are only in the journal are taken from there, and no file is changed.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdapp.errors import RunFolderError
from mdapp.frame import Frame
from mdapp.observables import PER_BAR
from mdapp.trajectory import foreign, store
from mdapp.trajectory.hdf5 import open_plain
from mdapp.trajectory.journal import read_journal
from mdapp.trajectory.layout import Constants, Layout, frame_of
from mdapp.trajectory.strange import refuse_strange
from mdapp.trajectory.thermo import COLUMNS, THERMO, read_thermo
from mdapp.trajectory.write import JOURNAL, TRAJECTORY

if TYPE_CHECKING:
    import mdtraj

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Series:
    """Scalars along a run, by the names of thermo.csv; NaN where something is not known."""

    columns: dict[str, np.ndarray]  # each (n_samples,)
    n_atoms: int | None  # None where only a thermo table was read

    @property
    def step(self) -> np.ndarray:
        return self.columns["step"].astype(np.int64)

    @property
    def time_fs(self) -> np.ndarray:
        return self.columns["time_fs"]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]


def read_frames(path: str | Path, stride: int = 1, topology: str | Path | None = None, elements: Sequence[str] = ()) -> Iterator[Frame]:
    """The frames of a run or of a file, read one at a time.

    Parameters
    ----------
    path : a run folder, its trajectory.h5, or a file of another program: xyz, extxyz, traj, pdb, h5, LAMMPS dumps, and with a topology dcd, xtc, trr, nc.
    stride : every how many frames.
    topology : a file with the same atoms (PDB or another structure), for formats that know no elements; of a LAMMPS dump also a data file with masses.
    elements : of a LAMMPS dump, symbols of types 1, 2, ...

    Yields
    ------
    Frames in ASE units and in the atom order of the run's input. What a foreign file does not hold is NaN; its steps count frames.

    Raises
    ------
    RunFolderError, StructureError : missing, damaged, another format, no topology where one is needed.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}.")
    path = Path(path)
    ours = _our_trajectory(path)
    if ours is None:
        yield from foreign.read(path, stride, topology, elements)
        return
    for k, (record, constants) in enumerate(_records(ours)):
        if k % stride == 0:
            yield frame_of(record, constants)


def sample_frames(folder: Path, most: int) -> Iterator[Frame]:
    """At most `most` frames of a run, spread over all of it, read by themselves: quick however long the run is.

    Raises
    ------
    RunFolderError : missing or damaged.
    """
    path = _our_trajectory(folder)
    assert path is not None  # of a folder
    with open_plain(path) as file:
        layout, constants, _, steps = store.layout_in(file, path)
        for k in np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).astype(int)):
            yield frame_of(_block(file, layout, k, k + 1)[0], constants)
    if not len(steps):  # all is in the journal yet
        yield from islice(read_frames(folder), most)


def load_series(path: str | Path) -> Series:
    """Temperature, energies, pressure, largest force and spread along a run, from thermo.csv or the trajectory.

    Parameters
    ----------
    path : a run folder, its trajectory.h5, a thermo.csv, or any file that `read_frames` takes.
    """
    path = Path(path)
    if path.suffix == ".csv":
        return Series(_complete(read_thermo(path)), None)
    ours = _our_trajectory(path)
    if path.is_dir() and (path / THERMO).exists():
        n_atoms = store.read_layout(ours)[0].n_atoms if ours is not None and ours.exists() else None
        return Series(_complete(read_thermo(path / THERMO)), n_atoms)
    rows, n_atoms = [], 0
    for frame in read_frames(path):
        n_atoms = len(frame.numbers)
        largest = float(np.sqrt((frame.forces**2).sum(axis=1).max()))
        pressure = np.nan if frame.pressure is None else frame.pressure / PER_BAR
        spread = np.nan if frame.spread is None else frame.spread
        rows.append((frame.step, frame.time_fs, frame.temperature_K, frame.potential_energy, frame.kinetic_energy, frame.conserved_energy, pressure, largest, spread))
    values = np.array(rows, dtype=float).reshape(len(rows), len(COLUMNS))
    return Series(dict(zip(COLUMNS, values.T)), n_atoms)


def load_mdtraj(path: str | Path, stride: int = 1, topology: str | Path | None = None) -> mdtraj.Trajectory:
    """A whole trajectory as MDTraj knows it, with topology; for a run in the residue order of trajectory.h5 and topology.pdb.

    A run that is going on or was killed is read with the frames of its journal, which a plain `mdtraj.load` does not see.
    """
    import mdtraj

    path = Path(path)
    ours = _our_trajectory(path)
    if ours is None:
        return foreign.load_mdtraj(path, stride, topology)
    with open_plain(ours):
        pass
    names = ("coordinates", "time", "cell_lengths", "cell_angles")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for k, (record, _) in enumerate(_records(ours)):
        if k % stride == 0:
            for name in names:
                if name in (record.dtype.names or ()):
                    found[name].append(np.array(record[name]))
    trajectory = mdtraj.Trajectory(
        xyz=np.array(found["coordinates"]).reshape(len(found["time"]), -1, 3),
        topology=_file_topology(ours),
        time=np.array(found["time"]),
        unitcell_lengths=np.array(found["cell_lengths"]) if found["cell_lengths"] else None,
        unitcell_angles=np.array(found["cell_angles"]) if found["cell_angles"] else None,
    )
    return trajectory


def read_topology(path: str | Path) -> mdtraj.Topology:
    """Topology of a run in the atom order of its input, as its frames have it (see `mdapp.topology.order` before slicing it)."""
    from mdapp.topology.order import reordered

    ours = _our_trajectory(Path(path))
    if ours is None:
        raise RunFolderError(f"{path} is no run of this program.")
    constants = store.read_layout(ours)[1]
    return reordered(_file_topology(ours), np.argsort(constants.order))


def _our_trajectory(path: Path) -> Path | None:
    """trajectory.h5 of a run folder or given itself; None for a file of another program."""
    if path.is_dir():
        if not (path / TRAJECTORY).exists():
            raise RunFolderError(f"{path} holds no {TRAJECTORY}; give the folder of a run.")
        refuse_strange(path)
        return path / TRAJECTORY
    if path.suffix not in (".h5", ".hdf5"):
        return None
    with open_plain(path) as file:
        return path if "mdapp" in file else None


def _records(path: Path) -> Iterator[tuple[np.ndarray, Constants]]:
    """All frames as records: those of the file in blocks, then those of the journal beside it."""
    journal = read_journal(path.with_name(JOURNAL)) if path.name == TRAJECTORY else None  # before the file: a fold in between loses nothing
    with open_plain(path) as file:
        layout, constants, run_id, steps = store.layout_in(file, path)
        rows = max(1, BLOCK_BYTES // layout.record.itemsize)
        for begin in range(0, len(steps), rows):
            try:
                block = _block(file, layout, begin, min(begin + rows, len(steps)))
            except OSError as error:
                raise RunFolderError(f"{path} is damaged near frame {begin} ({str(error)[:80]}).") from None
            for record in block:
                yield record, constants
    if journal is not None and journal[1] == run_id:
        last = steps[-1] if len(steps) else -1
        for record in journal[2]:
            if record["step"] > last:
                yield record, constants


def _block(file, layout: Layout, begin: int, end: int) -> np.ndarray:
    block = np.empty(end - begin, dtype=layout.record)
    for field in layout.fields:
        block[field.name] = file[field.path][begin:end]
    return block


def _file_topology(path: Path) -> mdtraj.Topology:
    from mdtraj.formats import HDF5TrajectoryFile

    with HDF5TrajectoryFile(str(path)) as file:
        return file.topology


def _complete(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    n = len(columns["step"])
    return {name: columns.get(name, np.full(n, np.nan)) for name in COLUMNS}
