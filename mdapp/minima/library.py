"""The library of minima: every distinct one once, with who found it, from where and by which move, and how often it was seen.

A new structure is placed in a few milliseconds among ten thousand: energies are kept sorted, so that only those within the energy window are looked at; of
these the fingerprints, which rule out for certain; what is left is superposed (`mdapp.minima.identity`).

What `place` returned for is on disk (in the journal) before it returns; see `library_file` for the layout of `minima.h5`. A process may be killed at
any time; another may read at any time, with `Library(path, "r")` (all of it) or plain h5py (up to the last fold).
"""
from __future__ import annotations

import time
import uuid
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mdapp.errors import OutputError, RunFolderError, StructureError
from mdapp.minima import library_file
from mdapp.minima.identity import RMSD_MAX, Identity, Match, Mirror
from mdapp.minima.library_file import FREQUENCIES, NEW, VISIT, Header, event_layout
from mdapp.trajectory.journal import Journal, read_journal
from mdapp.trajectory.lock import RunLock

LIBRARY = "minima.h5"
SHORTEST_INTERVAL_S = 2.0
COST_FACTOR = 50.0  # time between folds over the time of one
BYTES_PER_S = 2e6
ROUNDING = 1e-4  # Å; fingerprints are kept in single precision


@dataclass(frozen=True)
class Origin:
    """How a minimum was reached."""

    move: str  # the move's name, "start" for what was given
    parent: int | None = None  # minimum that the move began at
    walker: int = 0
    evaluation: int = 0  # of the potential, counted over the search


@dataclass(frozen=True)
class Placed:
    """Where a structure belongs."""

    index: int  # of the minimum, old or new
    is_new: bool
    distance: float  # Å: from the stored minimum; for a new one from the nearest that was compared, inf where none was


@dataclass(frozen=True)
class Sameness:
    """When two structures are one minimum."""

    rmsd_max: float = RMSD_MAX  # Å
    energy_window_eV: float = 0.005  # either side; wider than the energy error of a relaxation, narrower than levels are apart
    mirror: Mirror = "auto"

    def __post_init__(self):
        if not self.rmsd_max > 0:
            raise ValueError(f"rmsd_max must be > 0 Å, got {self.rmsd_max:g}.")
        if not self.energy_window_eV > 0:
            raise ValueError(f"energy_window_eV must be > 0, got {self.energy_window_eV:g}.")


class Library:
    """Distinct minima of one molecule or cluster, counted from 0 in the order in which they were found."""

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
        RunFolderError : missing (mode "r") or damaged; other atoms or another sameness than asked for.
        OutputError : another process adds to it, or it cannot be written.
        """
        if mode not in ("a", "r"):
            raise ValueError(f"mode must be 'a' or 'r', got '{mode}'.")
        path = Path(path)
        self.path = path / LIBRARY if path.is_dir() else path
        self.mode = mode
        self.sameness = sameness or Sameness()
        self._lock: RunLock | None = None
        self._journal: Journal | None = None
        self._failed = False
        self._fold_cost, self._last_fold = 0.0, time.monotonic()
        self._begin_empty()
        if mode == "a":
            self._lock = RunLock(self.path.parent, self.path.stem + ".lock")
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

    # ------------------------------------------------------------------ adding

    def place(self, atoms: Atoms, energy_eV: float, origin: Origin) -> Placed:
        """Finds the minimum that a relaxed structure is, or adds it; on disk when this returns.

        Raises
        ------
        StructureError : other atoms than the library's, in another order, or numbers that are not finite.
        OutputError : the disk is full; the library stays as it was.
        """
        self._writable()
        energy = float(energy_eV)
        if not (np.isfinite(energy) and np.isfinite(atoms.positions).all()):
            raise StructureError("A minimum with an energy or positions that are not finite numbers cannot be kept.")
        if origin.parent is not None and not 0 <= origin.parent < len(self):
            raise ValueError(f"parent must be one of the {len(self)} minima or None, got {origin.parent}.")
        if self._header is None:
            self._create(atoms)
        self._check_atoms(atoms)
        index, match, fingerprint = self.find(atoms.positions, energy)
        is_new = match is None or not match.within(self.sameness.rmsd_max)
        distance = np.inf if match is None else match.rmsd
        record = self._event(NEW if is_new else VISIT, len(self) if is_new else index, atoms.positions)
        record["parent"] = -1 if origin.parent is None else origin.parent
        record["walker"], record["evaluation"], record["move"] = origin.walker, origin.evaluation, origin.move.encode()
        record["energy"], record["distance"] = energy, 0.0 if is_new else distance
        self._write(record)
        self._apply(record, fingerprint)
        self._fold_when_due()
        return Placed(int(record["minimum"]), is_new, float(distance))

    def set_frequencies(self, index: int, frequencies_cm1: np.ndarray) -> None:
        """Frequencies of a minimum, at most 3 n_atoms of them, imaginary ones negative; they replace earlier ones."""
        self._writable()
        values = np.full(3 * len(self.reference), np.nan)
        given = np.asarray(frequencies_cm1, dtype=float).ravel()
        if len(given) > len(values) or not np.isfinite(given).all():
            raise ValueError(f"frequencies must be at most {len(values)} finite numbers in 1/cm, got {len(given)}.")
        values[: len(given)] = given
        record = self._event(FREQUENCIES, self._checked(index), values.reshape(-1, 3))
        self._write(record)
        self._apply(record)
        self._fold_when_due()

    def find(self, positions: np.ndarray, energy_eV: float) -> tuple[int, Match | None, np.ndarray]:
        """The stored minimum nearest to a structure, of those that energy and fingerprint do not rule out.

        Returns
        -------
        Its index (-1: none), its superposition (None: none) and the structure's fingerprint (n_features,).
        """
        s = self.sameness
        fingerprint = self.identity.fingerprint(positions)
        near = self._order[bisect_left(self._sorted, energy_eV - s.energy_window_eV) : bisect_right(self._sorted, energy_eV + s.energy_window_eV)]
        best, best_match = -1, None
        if near:
            gaps = np.linalg.norm(self._fingerprints.rows[near] - fingerprint.astype(np.float32), axis=1)
            for k in np.argsort(gaps, kind="stable"):
                if gaps[k] > s.rmsd_max + ROUNDING:
                    break
                match = self.identity.match(self._positions.rows[near[k]], positions, s.rmsd_max)
                if best_match is None or match.rmsd < best_match.rmsd:
                    best, best_match = near[k], match
                if match.within(s.rmsd_max):
                    return near[k], match, fingerprint
        return best, best_match, fingerprint

    # ------------------------------------------------------------------ asking

    def __len__(self) -> int:
        return len(self._energies)

    @property
    def identity(self) -> Identity:
        """What makes two of its minima the same."""
        if self._identity is None:
            raise ValueError("An empty library knows no structure yet; give it one with like=.")
        return self._identity

    @property
    def reference(self) -> Atoms:
        """A structure with the names and the charge of all minima; its positions mean nothing."""
        if self._header is None:
            raise ValueError("An empty library knows no structure yet; give it one with like=.")
        return self._header.reference

    def energies(self) -> np.ndarray:
        """(n_minima,) eV, in the order in which they were found."""
        return np.array(self._energies)

    def by_energy(self) -> np.ndarray:
        """(n_minima,) indices, the lowest minimum first."""
        return np.array(self._order, dtype=np.int64)

    def positions(self) -> np.ndarray:
        """(n_minima, n_atoms, 3), Å."""
        return self._positions.rows.copy()

    def fingerprints(self) -> np.ndarray:
        """(n_minima, n_features), Å, in single precision."""
        return self._fingerprints.rows.copy()

    def atoms(self, index: int) -> Atoms:
        """A minimum as Atoms with its energy, names and charge."""
        index = self._checked(index)
        atoms = self.reference.copy()
        atoms.positions = self._positions.rows[index]
        atoms.calc = SinglePointCalculator(atoms, energy=self._energies[index])
        atoms.info["minimum"] = index
        return atoms

    def visits(self, index: int) -> int:
        """How often a search ended in this minimum, the first time included."""
        return self._counts[self._checked(index)]

    def visit_counts(self) -> np.ndarray:
        """(n_minima,) int64."""
        return np.array(self._counts, dtype=np.int64)

    def origin(self, index: int) -> Origin:
        """Who found it first."""
        return self._origins[self._checked(index)]

    def history(self) -> list[tuple[int, Origin, float]]:
        """Every arrival in order: minimum, how it was reached, energy in eV."""
        return list(self._history)

    def transitions(self) -> dict[tuple[int, int], int]:
        """How often a move from one minimum ended in another (or the same): {(parent, child): count}."""
        return dict(self._transitions)

    def frequencies(self, index: int) -> np.ndarray | None:
        """Frequencies (n_modes,) in 1/cm, imaginary ones negative; None where they are not known."""
        found = self._frequencies.get(self._checked(index))
        return None if found is None else found.copy()

    # ------------------------------------------------------------------ the file

    def sync(self) -> None:
        """All that was placed is on the disk itself when this returns, not only with the system: call it before a checkpoint that knows it."""
        if self._journal is not None:
            self._journal.sync()

    def fold(self) -> None:
        """Brings minima.h5 up to date with the journal."""
        if self._journal is None or self._journal.is_empty:
            return
        begin = time.monotonic()
        n, v = self._folded
        new = range(n, len(self))
        origins = [self._origins[k] for k in new]
        rows = {
            "positions": self._positions.rows[n:], "energy": np.array(self._energies[n:]), "fingerprint": self._fingerprints.rows[n:].astype(float),
            **_columns(origins),
        }  # fmt: skip
        history = self._history[v:]
        visits = {"minimum": np.array([index for index, _, _ in history], dtype=np.int64), **_columns([origin for _, origin, _ in history]),
                  "energy": np.array([energy for _, _, energy in history]), "distance": np.array(self._distances[v:])}  # fmt: skip
        frequencies = {k: np.concatenate([f, np.full(3 * len(self.reference) - len(f), np.nan)]) for k, f in self._frequencies.items() if k in self._unfolded}
        try:
            self._journal.sync()
            library_file.append(self.path, self._n_events, rows, visits, self.visit_counts(), frequencies)
        except OutputError:
            self._failed = True  # the journal keeps everything
            raise
        self._journal.clear()
        self._folded, self._unfolded = (len(self), len(self._history)), set()
        self._last_fold = time.monotonic()
        self._fold_cost = self._last_fold - begin

    def close(self) -> None:
        """Folds what is left and lets others add. After a failure to write, the journal keeps it for the next opening."""
        try:
            if self._journal is not None and not self._failed:
                self.fold()
        finally:
            self._release()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------ within

    def _begin_empty(self) -> None:
        self._header: Header | None = None
        self._identity: Identity | None = None
        self._n_events = 0
        self._energies: list[float] = []
        self._sorted: list[float] = []  # energies, rising
        self._order: list[int] = []  # their minima
        self._counts: list[int] = []
        self._origins: list[Origin] = []
        self._history: list[tuple[int, Origin, float]] = []
        self._distances: list[float] = []
        self._transitions: dict[tuple[int, int], int] = {}
        self._frequencies: dict[int, np.ndarray] = {}
        self._folded = (0, 0)  # minima and visits that are in the file
        self._unfolded: set[int] = set()  # minima whose frequencies are not

    def _create(self, like: Atoms) -> None:
        identity = Identity.of(like, self.sameness.mirror)
        reference = Atoms(numbers=like.numbers, positions=np.zeros((len(like), 3)))
        for name in (name for name in library_file.NAMES if name in like.arrays):
            reference.set_array(name, like.arrays[name].copy())
        reference.info.update({key: like.info[key] for key in ("charge", "spin", "multiplicity") if key in like.info})
        s = self.sameness
        header = Header(reference, identity.bonds, s.mirror, s.rmsd_max, s.energy_window_eV, uuid.uuid4().hex)
        library_file.create(self.path, header, identity.n_features)
        self._take(header, identity)

    def _take(self, header: Header, identity: Identity) -> None:
        self._header, self._identity = header, identity
        n = len(header.reference)
        self._positions, self._fingerprints = _Rows((n, 3), np.float64), _Rows((identity.n_features,), np.float32)
        if self.mode == "a":
            self._journal = Journal(self.path.with_suffix(".journal"), event_layout(n), header.library_id)

    def _load(self, asked: Sameness | None) -> None:
        journal = read_journal(self.path.with_suffix(".journal"))  # first: what is folded meanwhile is then in the file
        header, contents = library_file.read(self.path)
        stored = Sameness(header.rmsd_max, header.energy_window_eV, header.mirror)  # type: ignore[arg-type]
        if asked is not None and asked != stored:
            raise RunFolderError(f"{self.path} was made with {_words(stored)}, and now {_words(asked)} is asked for. Keep to it, or begin a new library.")
        self.sameness = stored
        events = np.zeros(0, event_layout(len(header.reference)).record)
        if journal is not None:
            layout, library_id, records = journal
            if library_id != header.library_id or layout.record != events.dtype:
                raise RunFolderError(f"{self.path.with_suffix('.journal')} belongs to another library than {self.path.name}; move it away to go on without what is in it.")
            events = records[records["serial"] >= contents.n_events]
        mode, self.mode = self.mode, "r"  # no journal is begun before the old one is folded
        self._take(header, Identity(header.reference.numbers, header.bonds, stored.mirror))
        self.mode = mode
        self._fill(contents)
        for record in events:
            self._apply(record)
        if mode == "a":
            if len(events):
                self._journal = _Full()  # type: ignore[assignment]
                self.fold()
            self._journal = Journal(self.path.with_suffix(".journal"), event_layout(len(header.reference)), header.library_id)

    def _fill(self, contents: library_file.Contents) -> None:
        m, v = contents.minima, contents.visits
        self._n_events = contents.n_events
        self._energies = m["energy"].tolist()
        order = np.argsort(m["energy"], kind="stable")
        self._order, self._sorted = order.tolist(), m["energy"][order].tolist()
        self._counts = m["visits"].tolist()
        self._origins = _origins(m)
        self._positions.extend(m["positions"])
        self._fingerprints.extend(m["fingerprint"])
        self._history = list(zip(v["minimum"].tolist(), _origins(v), v["energy"].tolist()))
        self._distances = v["distance"].tolist()
        for child, origin, _ in self._history:
            self._count_transition(origin, child)
        for k in np.flatnonzero(np.isfinite(m["frequencies_cm1"]).any(axis=1)).tolist():
            self._frequencies[k] = m["frequencies_cm1"][k][np.isfinite(m["frequencies_cm1"][k])]
        self._folded = (len(self._energies), len(self._history))

    def _event(self, kind: int, minimum: int, values: np.ndarray) -> np.ndarray:
        record = np.zeros((), event_layout(len(self.reference)).record)
        record["serial"], record["kind"], record["minimum"], record["values"] = self._n_events, kind, minimum, values
        return record

    def _write(self, record: np.ndarray) -> None:
        assert self._journal is not None
        self._journal.append(record)

    def _apply(self, record: np.ndarray, fingerprint: np.ndarray | None = None) -> None:
        """An event into the arrays in memory."""
        self._n_events = int(record["serial"]) + 1
        index = int(record["minimum"])
        if record["kind"] == FREQUENCIES:
            values = np.array(record["values"]).ravel()
            self._frequencies[index] = values[np.isfinite(values)]
            self._unfolded.add(index)
            return
        origin = _origins({name: np.atleast_1d(record[name]) for name in ("parent", "walker", "evaluation", "move")})[0]
        energy = float(record["energy"])
        if record["kind"] == NEW:
            positions = np.array(record["values"])
            self._positions.add(positions)
            self._fingerprints.add(self.identity.fingerprint(positions) if fingerprint is None else fingerprint)
            place = bisect_right(self._sorted, energy)
            insort(self._sorted, energy)
            self._order.insert(place, index)
            self._energies.append(energy)
            self._counts.append(0)
            self._origins.append(origin)
        self._counts[index] += 1
        self._history.append((index, origin, energy))
        self._distances.append(float(record["distance"]))
        self._count_transition(origin, index)

    def _count_transition(self, origin: Origin, child: int) -> None:
        if origin.parent is not None:
            key = (origin.parent, child)
            self._transitions[key] = self._transitions.get(key, 0) + 1

    def _fold_when_due(self) -> None:
        since = time.monotonic() - self._last_fold
        if since > SHORTEST_INTERVAL_S and since > COST_FACTOR * self._fold_cost and since > self.path.stat().st_size / BYTES_PER_S:
            self.fold()

    def _check_atoms(self, atoms: Atoms) -> None:
        numbers = self.reference.numbers
        if not np.array_equal(atoms.numbers, numbers):
            ours = self.reference.get_chemical_formula()
            theirs = atoms.get_chemical_formula()
            what = f"of {theirs}" if theirs != ours else "in another order"
            raise StructureError(f"{self.path} holds minima of {ours}; the structure given has atoms {what}.")

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"minimum {index} is not among the {len(self)} of {self.path} (0 to {len(self) - 1}).")
        return int(index)

    def _writable(self) -> None:
        if self.mode != "a" or self._lock is None:
            raise ValueError(f"{self.path} was opened for reading, or is closed; open it with mode 'a' to add to it.")

    def _release(self) -> None:
        if self._journal is not None:
            self._journal.close(remove=self._journal.is_empty)
            self._journal = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class _Full:
    """Stands for the journal of a dead process while it is folded; it is removed when a new one begins."""

    is_empty = False

    def sync(self) -> None: ...

    def clear(self) -> None: ...

    def close(self, remove: bool) -> None: ...


class _Rows:
    """Rows of one shape that grow in place, twice the room at a time."""

    def __init__(self, shape: tuple[int, ...], dtype: type):
        self._room = np.zeros((64, *shape), dtype)
        self._n = 0

    @property
    def rows(self) -> np.ndarray:
        return self._room[: self._n]

    def add(self, row: np.ndarray) -> None:
        self.extend(row[None])

    def extend(self, rows: np.ndarray) -> None:
        needed = self._n + len(rows)
        if needed > len(self._room):
            room = np.zeros((max(needed, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            room[: self._n] = self.rows
            self._room = room
        self._room[self._n : needed] = rows
        self._n = needed


def _columns(origins: list[Origin]) -> dict[str, np.ndarray]:
    return {
        "parent": np.array([-1 if o.parent is None else o.parent for o in origins], dtype=np.int64),
        "walker": np.array([o.walker for o in origins], dtype=np.int64),
        "evaluation": np.array([o.evaluation for o in origins], dtype=np.int64),
        "move": np.array([o.move.encode() for o in origins], dtype=library_file.MOVE),
    }


def _origins(columns: dict[str, np.ndarray]) -> list[Origin]:
    return [Origin(move.decode(), None if parent < 0 else parent, walker, evaluation)
            for move, parent, walker, evaluation in zip(*(columns[name].tolist() for name in ("move", "parent", "walker", "evaluation")))]


def _words(s: Sameness) -> str:
    return f"rmsd_max {s.rmsd_max:g} Å, energy window {s.energy_window_eV:g} eV, mirror images {s.mirror}"
