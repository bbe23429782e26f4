"""Frames of a run to disk: a journal at once, trajectory.h5 soon after.

A frame costs one small write to the journal. At intervals the journal is folded into trajectory.h5 (`store`), not more often than every fifty times of what a fold
costs and with no more than 2 MB written per second, so that small files are seconds behind and large ones do not wear the disk. A journal that a dead process left is folded
when its run is opened again (`recover`); readers of ours look into it in any case.
"""
from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from mdapp.errors import OutputError, RunFolderError
from mdapp.frame import Frame
from mdapp.topology.order import in_residue_order
from mdapp.trajectory import store
from mdapp.trajectory.journal import Journal, read_journal
from mdapp.trajectory.layout import Constants, Layout, layout_of, record_of

if TYPE_CHECKING:
    import mdtraj

TRAJECTORY, JOURNAL = "trajectory.h5", "trajectory.journal"
SHORTEST_INTERVAL_S = 1.0
COST_FACTOR = 50.0  # time between folds over the time of one
BYTES_PER_S = 2e6


def recover(folder: Path) -> int:
    """Folds a journal that a dead process left in a run folder, and clears what else it left.

    Returns
    -------
    Number of frames that were folded. Doing it twice changes nothing.

    Raises
    ------
    RunFolderError : trajectory or journal are damaged, or belong to different runs.
    """
    path, journal = folder / TRAJECTORY, folder / JOURNAL
    path.with_name(path.name + ".tmp").unlink(missing_ok=True)
    if not path.exists():
        return 0
    layout, _, run_id, steps = store.read_layout(path)
    found = read_journal(journal)
    if found is None:
        journal.unlink(missing_ok=True)
        return 0
    journal_layout, journal_run, records = found
    if journal_run != run_id or journal_layout.record != _in_order_of(layout, journal_layout):
        raise RunFolderError(f"{journal} belongs to another run than {path.name}; move it away to go on without the frames in it.")
    new = records[records["step"] > (steps[-1] if len(steps) else -1)]
    if len(new):
        store.append(path, journal_layout, new)
    journal.unlink(missing_ok=True)
    return len(new)


class TrajectoryWriter:
    """Writes the frames of one run folder, in the order of rising steps.

    Call it with a frame, or use `write`. `sync` before a checkpoint; `state` into the checkpoint; `close` at the end.
    """

    def __init__(self, folder: Path, topology: mdtraj.Topology, run_id: str = "", resume: dict | None = None):
        """
        Parameters
        ----------
        folder : of the run; holds no trajectory unless `resume` is given.
        topology : its atom k is atom k of the frames.
        run_id : any text that tells this run from others; a trajectory of another one is refused.
        resume : what `state` gave when the checkpoint was taken. Later frames are cut off, so that none is stored twice.

        Raises
        ------
        RunFolderError : resuming finds a damaged file, one of another run, or fewer frames than the checkpoint knew.
        OutputError : there is a trajectory already, or the folder cannot be written.
        """
        self.folder, self.run_id = Path(folder), run_id
        self.path = self.folder / TRAJECTORY
        ordered, self._order = in_residue_order(topology)
        self._topology = ordered
        self._layout: Layout | None = None
        self._journal: Journal | None = None
        self._n_frames, self._last_step = 0, -1
        self._fold_cost, self._last_fold = 0.0, time.monotonic()
        self._failed = False
        if resume is not None:
            self._take_up(int(resume["n_frames"]), int(resume["last_step"]))
        elif self.path.exists() or read_journal(self.folder / JOURNAL) is not None:
            raise OutputError(f"{self.path} exists already; a trajectory is never overwritten.")

    def _take_up(self, n_frames: int, last_step: int) -> None:
        recover(self.folder)
        if not self.path.exists():
            if n_frames:
                raise RunFolderError(f"{self.path} is missing, but the checkpoint knows {n_frames} frames. Bring it back, or start anew.")
            return
        layout, constants, run_id, steps = store.read_layout(self.path)
        if run_id != self.run_id or not np.array_equal(constants.order, self._order):
            raise RunFolderError(f"{self.path} belongs to another run. Bring the right one back, or start anew.")
        kept = int(np.searchsorted(steps, last_step, side="right"))
        if kept != n_frames or (kept and steps[kept - 1] != last_step):
            raise RunFolderError(f"{self.path} holds {kept} frames up to step {last_step}, but the checkpoint knows {n_frames}. Bring the right file back, or start anew.")
        store.refuse_unreadable(self.path, layout)
        if kept < len(steps):
            store.cut(self.path, kept)
        self._layout, self._n_frames, self._last_step = layout, kept, last_step
        self._journal = Journal(self.folder / JOURNAL, layout, self.run_id)

    @property
    def n_frames(self) -> int:
        return self._n_frames

    @property
    def last_step(self) -> int:
        """Step of the last frame, -1 before the first."""
        return self._last_step

    def state(self) -> dict[str, int]:
        """What a checkpoint must know to resume this trajectory."""
        return {"n_frames": self._n_frames, "last_step": self._last_step}

    def write(self, frame: Frame) -> None:
        """Stores a frame; a step that is stored already is passed over.

        Raises
        ------
        OutputError : the disk is full or the folder gone; earlier frames are whole.
        ValueError : the frame holds numbers that are not finite, or another number of atoms.
        """
        if frame.step <= self._last_step:
            return
        if self._layout is None:
            self._begin(frame)
        else:
            assert self._journal is not None
            self._journal.append(record_of(frame, self._layout, self._order))
        self._n_frames, self._last_step = self._n_frames + 1, frame.step
        since = time.monotonic() - self._last_fold
        if since > SHORTEST_INTERVAL_S and since > COST_FACTOR * self._fold_cost and since > self.path.stat().st_size / BYTES_PER_S:
            self.fold()

    __call__ = write

    def _begin(self, frame: Frame) -> None:
        from mdtraj.formats import HDF5TrajectoryFile

        layout = layout_of(frame)
        record = record_of(frame, layout, self._order)
        constants = Constants(frame.numbers, frame.masses, np.asarray(frame.pbc), self._order)
        topology = HDF5TrajectoryFile.convert_topology_to_dict(self._topology)
        store.create(self.path, layout, constants, topology, self.run_id, record.reshape(1))
        self._layout, self._journal = layout, Journal(self.folder / JOURNAL, layout, self.run_id)
        self._last_fold = time.monotonic()

    def fold(self) -> None:
        """Brings trajectory.h5 up to date."""
        if self._journal is None or self._journal.is_empty:
            return
        begin = time.monotonic()
        try:
            self._journal.sync()
            found = read_journal(self._journal.path)
            assert found is not None and self._layout is not None
            layout, _, records = found
            store.append(self.path, layout, records)
        except OutputError:
            self._failed = True  # the frames stay in the journal
            raise
        self._journal.clear()
        self._last_fold = time.monotonic()
        self._fold_cost = self._last_fold - begin

    def rewind(self, state: dict[str, int]) -> None:
        """Takes back all frames after the moment at which `state` gave this.

        A process that is killed meanwhile leaves all of them or none, so a checkpoint of that moment has to be on the disk before.
        """
        n_frames, last_step = int(state["n_frames"]), int(state["last_step"])
        if n_frames == self._n_frames:
            return
        self.fold()
        store.cut(self.path, n_frames)
        self._n_frames, self._last_step = n_frames, last_step

    def sync(self) -> None:
        """All frames so far are on the disk when this returns: call it before the checkpoint that knows them."""
        if self._journal is not None:
            self._journal.sync()

    def close(self) -> None:
        """Folds what is left. After a failure to write, the journal keeps it for the next opening."""
        if self._journal is None:
            return
        try:
            if not self._failed:
                self.fold()
        finally:
            self._journal.close(remove=self._journal.is_empty)
            self._journal = None

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _in_order_of(layout: Layout, other: Layout) -> np.dtype | None:
    """The record of `layout` with its fields in the order of `other`; None where they are not the same fields."""
    by_name = {field.name: field for field in layout.fields}
    if set(by_name) != {field.name for field in other.fields}:
        return None
    return Layout(layout.n_atoms, tuple(by_name[field.name] for field in other.fields)).record
