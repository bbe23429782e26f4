"""The library of minima: every distinct one once, with who found it, from where and by which move, and how often it was seen.

A structure is placed in a few milliseconds among ten thousand (`catalogue`). What `place` returned for is in a file before it returns: at first the journal beside
`minima.h5`, into which it is folded now and then (`library_file` has the layout). A process may be killed at any time; another may read at any
time, with `Library(path, "r")` all of it, with plain h5py what was folded.
"""
from __future__ import annotations

import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from ase import Atoms

from mdapp.errors import OutputError, RunFolderError, StructureError
from mdapp.minima import library_file
from mdapp.minima.catalogue import Catalogue
from mdapp.minima.contents import Contents
from mdapp.minima.identity import Identity
from mdapp.minima.library_file import FREQUENCIES, INFO_KEPT, NAMES, NEW, VISIT, Header, event_layout
from mdapp.minima.records import Origin, Placed, Sameness, columns_of, origins_of, stored_move
from mdapp.trajectory.journal import Journal, read_journal
from mdapp.trajectory.lock import RunLock

__all__ = ["LIBRARY", "Library", "Origin", "Placed", "Sameness"]

LIBRARY = "minima.h5"
SHORTEST_INTERVAL_S = 2.0
COST_FACTOR = 50.0  # time between folds over the time of one
BYTES_PER_S = 2e6


class Library(Contents):
    """Distinct minima of one molecule or cluster, kept in a file; what may be asked of it is in `Contents`."""

    def __init__(self, path: str | Path, mode: Literal["a", "r"] = "a", like: Atoms | None = None, sameness: Sameness | None = None):
        """
        Parameters
        ----------
        path : of the file, or of the folder that holds `minima.h5`.
        mode : "r" reads what is there now; "a" adds, and makes the file where it is missing. One process at a time adds.
        like : a sound structure of the molecule: its bonds say which atoms are equivalent. The first one placed when not given.
        sameness : what counts as one minimum; that of the file when not given.

        Raises
        ------
        RunFolderError : missing (mode "r") or damaged; made with another sameness.
        StructureError : `like` has other atoms, or is periodic.
        OutputError : another process adds to it, or it cannot be written.
        """
        if mode not in ("a", "r"):
            raise ValueError(f"mode must be 'a' or 'r', got '{mode}'.")
        path = Path(path)
        super().__init__(path / LIBRARY if path.is_dir() else path, sameness or Sameness())
        self.mode = mode
        self._journal: Journal | None = None
        self._lock = RunLock(self.path.parent, self.path.stem + ".lock") if mode == "a" else None
        self._n_events, self._folded = 0, (0, 0)  # minima and visits that are in the file
        self._unfolded: set[int] = set()  # minima whose frequencies are not
        self._failed = False
        self._fold_cost, self._last_fold = 0.0, time.monotonic()
        try:
            if mode == "r" or self.path.exists():
                self._load(sameness)
                if like is not None:
                    self._check_atoms(like)
            elif like is not None:
                self._create(like)
        except BaseException:
            self._release()
            raise

    # adding

    def place(self, atoms: Atoms, energy_eV: float, origin: Origin) -> Placed:
        """Finds the minimum that a relaxed structure is, or adds it; safe from kill -9 when this returns.

        Raises
        ------
        StructureError : other atoms than the library's, in another order, or numbers that are not finite.
        OutputError : the disk is full; what was placed before is safe, and this one is where it was written in time.
        """
        self._writable()
        energy = float(energy_eV)
        if not (np.isfinite(energy) and np.isfinite(atoms.positions).all()):
            raise StructureError("A minimum whose energy or positions are not finite numbers cannot be kept.")
        if origin.parent is not None:
            self._checked(origin.parent)
        if self._header is None:
            self._create(atoms)
        self._check_atoms(atoms)
        index, match, fingerprint = self._catalogue.find(atoms.positions, energy)
        is_new = match is None or not match.within(self.sameness.rmsd_max)
        distance = np.inf if match is None else match.rmsd
        record = self._event(NEW if is_new else VISIT, len(self) if is_new else index, atoms.positions)
        record["parent"] = -1 if origin.parent is None else origin.parent
        record["walker"], record["evaluation"], record["move"] = origin.walker, origin.evaluation, stored_move(origin.move)
        record["energy"], record["distance"] = energy, 0.0 if is_new else distance
        self._write(record, fingerprint)
        return Placed(int(record["minimum"]), is_new, float(distance))

    def set_frequencies(self, index: int, frequencies_cm1: np.ndarray) -> None:
        """Frequencies of a minimum, at most 3 n_atoms of them, imaginary ones negative; they replace earlier ones."""
        self._writable()
        index = self._checked(index)
        values = np.full(3 * len(self.reference), np.nan)
        given = np.asarray(frequencies_cm1, dtype=float).ravel()
        if len(given) > len(values) or not np.isfinite(given).all():
            raise ValueError(f"frequencies must be at most {len(values)} finite numbers in 1/cm, got {len(given)}.")
        values[: len(given)] = given
        self._write(self._event(FREQUENCIES, index, values.reshape(-1, 3)))

    # the file

    def sync(self) -> None:
        """All that was placed is on the disk itself when this returns, not only with the system: call it before a checkpoint that knows it."""
        if self._journal is not None:
            self._journal.sync()

    def fold(self) -> None:
        """Brings minima.h5 up to date with the journal."""
        if self._journal is None or self._journal.is_empty:
            return
        self._journal.sync()
        self._store()
        self._journal.clear()

    def close(self) -> None:
        """Folds what is left and lets others add. After a failure to write, the journal keeps it for the next opening."""
        try:
            if not self._failed:
                self.fold()
        finally:
            self._release()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # within

    @property
    def _journal_path(self) -> Path:
        return self.path.with_suffix(".journal")

    def _create(self, like: Atoms) -> None:
        left = read_journal(self._journal_path)
        if left is not None and len(left[2]):
            raise RunFolderError(f"{self.path} is missing, but {self._journal_path.name} beside it holds minima of it. Bring the file back, or move the journal away.")
        s = self.sameness
        identity = Identity.of(like, s.mirror)
        reference = Atoms(numbers=like.numbers, positions=np.zeros((len(like), 3)))
        for name in (name for name in NAMES if name in like.arrays):
            reference.set_array(name, like.arrays[name].copy())
        reference.info.update({key: like.info[key] for key in INFO_KEPT if key in like.info})
        self._header = Header(reference, identity.bonds, s.mirror, s.rmsd_max, s.energy_window_eV, uuid.uuid4().hex, identity.is_chiral)
        library_file.create(self.path, self._header, identity.n_features)
        self._known = Catalogue(identity, s)
        self._begin_journal()

    def _load(self, asked: Sameness | None) -> None:
        journal = read_journal(self._journal_path)  # first: what is folded meanwhile is then in the file
        self._header, contents = library_file.read(self.path)
        header = self._header
        stored = Sameness(header.rmsd_max, header.energy_window_eV, header.mirror)  # type: ignore[arg-type]
        if asked is not None and asked != stored:
            raise RunFolderError(f"{self.path} was made with {stored}, and now {asked} is asked for. Keep to it, or begin a new library.")
        self.sameness = stored
        self._known = Catalogue(Identity(header.reference.numbers, header.bonds, stored.mirror, header.is_chiral), stored)
        self._known.fill(contents.minima, contents.visits)
        self._n_events, self._folded = contents.n_events, (len(self._known), len(self._known.history))
        for record in self._unread(journal, header):
            self._apply(record)
        if self.mode == "a":
            if self._n_events > contents.n_events:
                self._store()
            self._begin_journal()

    def _unread(self, journal: tuple | None, header: Header) -> np.ndarray:
        """Events of a journal that the file does not know yet."""
        record = event_layout(len(header.reference)).record
        if journal is None:
            return np.zeros(0, record)
        layout, library_id, records = journal
        if library_id != header.library_id or layout.record != record:
            raise RunFolderError(f"{self._journal_path} belongs to another library than {self.path.name}; move it away to go on without what is in it.")
        return records[records["serial"] >= self._n_events]

    def _begin_journal(self) -> None:
        assert self._header is not None
        self._journal = Journal(self._journal_path, event_layout(len(self._header.reference)), self._header.library_id)

    def _event(self, kind: int, minimum: int, values: np.ndarray) -> np.ndarray:
        record = np.zeros((), event_layout(len(self.reference)).record)
        record["serial"], record["kind"], record["minimum"], record["values"] = self._n_events, kind, minimum, values
        return record

    def _write(self, record: np.ndarray, fingerprint: np.ndarray | None = None) -> None:
        """An event into the journal, then into memory; into the file when that is due."""
        assert self._journal is not None
        self._journal.append(record)
        self._apply(record, fingerprint)
        since = time.monotonic() - self._last_fold
        if since > SHORTEST_INTERVAL_S and since > COST_FACTOR * self._fold_cost and since > self.path.stat().st_size / BYTES_PER_S:
            self.fold()

    def _apply(self, record: np.ndarray, fingerprint: np.ndarray | None = None) -> None:
        """An event into memory."""
        known, index = self._catalogue, int(record["minimum"])
        if index > len(known) or (index == len(known)) != (record["kind"] == NEW):
            raise RunFolderError(f"{self._journal_path} does not follow {self.path.name}; move it away to go on without what is in it.")
        self._n_events = int(record["serial"]) + 1
        if record["kind"] == FREQUENCIES:
            values = np.array(record["values"]).ravel()
            known.frequencies[index] = values[np.isfinite(values)]
            self._unfolded.add(index)
            return
        origin = origins_of({name: np.atleast_1d(record[name]) for name in ("parent", "walker", "evaluation", "move")})[0]
        energy = float(record["energy"])
        if record["kind"] == NEW:
            positions = np.array(record["values"])
            known.add(positions, known.identity.fingerprint(positions) if fingerprint is None else fingerprint, energy, origin)
        known.arrive(index, origin, energy, float(record["distance"]))

    def _store(self) -> None:
        """What the file does not have yet, into it."""
        begin = time.monotonic()
        known, (n, v) = self._catalogue, self._folded
        minima = {"positions": known.positions[n:], "energy": np.array(known.energies[n:]), "fingerprint": known.fingerprints[n:], **columns_of(known.origins[n:])}
        history = known.history[v:]
        visits = {"minimum": np.array([row[0] for row in history], dtype=np.int64), **columns_of([row[1] for row in history]),
                  "energy": np.array([row[2] for row in history]), "distance": np.array([row[3] for row in history])}  # fmt: skip
        room = 3 * len(self.reference)
        frequencies = {k: np.concatenate([known.frequencies[k], np.full(room - len(known.frequencies[k]), np.nan)]) for k in self._unfolded}
        try:
            library_file.append(self.path, self._n_events, minima, visits, np.array(known.visits, dtype=np.int64), frequencies)
        except OutputError:
            self._failed = True  # the journal keeps everything
            raise
        self._failed = False
        self._folded, self._unfolded = (len(known), len(known.history)), set()
        self._last_fold = time.monotonic()
        self._fold_cost = self._last_fold - begin

    def _writable(self) -> None:
        if self._lock is None:
            raise ValueError(f"{self.path} was opened for reading, or is closed; open it with mode 'a' to add to it.")

    def _release(self) -> None:
        if self._journal is not None:
            self._journal.close(remove=self._journal.is_empty)
            self._journal = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
