"""The search for minima: many walkers, one library.

Each walker hops: a move leads out of its minimum, a relaxation down into another, the library says whether that one was known, and the walker goes
there or stays. What all walkers want evaluated goes into one batch; a walker that has arrived begins its next hop while the others are under way.

Every hop is written down when it ends (`journal`), after its minimum is in the library. A search that was killed goes on with the same library; hops that were
under way begin anew with the same random numbers. With one walker the search that goes on is the one that was never interrupted, hop by hop (to the same bits
where the evaluator gives the same bits); with several, the walkers' random numbers are the same, but who arrives first, and so who finds what is new, may differ.
No minimum that the library has taken is lost, and none is counted twice, in either case.

Settings come as `SearchOptions` and moves as records: a search from Python names no files. `mdapp.jobs.minima` makes them from a `MinimaConfig`.
"""
from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from mdapp.errors import StructureError
from mdapp.minima.completeness import completeness
from mdapp.minima.engine import Done, Engine, Evaluate, Hopper, Job
from mdapp.minima.integrity import Integrity
from mdapp.minima.journal import Journal
from mdapp.minima.library import Origin
from mdapp.minima.mixture import Mixture
from mdapp.minima.molecule import Molecule
from mdapp.minima.moves import moves as registry
from mdapp.minima.moves._base import Fate, Move
from mdapp.minima.search_records import Progress, SearchOptions, SearchResult, Setup
from mdapp.minima.walker import SAME, SCATTER, START, Hop, Walker, stream
from mdapp.relax.pool import RelaxationPool

START_TRIES = 20  # of a random start
RECENT = 300  # hops over which the rate of new minima is told
ENOUGH_VISITS = 50  # before completeness may end a search


class Minima(Protocol):
    """What a search wants of a library (`mdapp.minima.library.Library`)."""

    def place(self, atoms: Atoms, energy_eV: float, origin: Origin) -> Any: ...

    def atoms(self, index: int) -> Atoms: ...

    def __len__(self) -> int: ...


def search(
    start: Atoms | Sequence[Atoms], evaluate: Evaluate, library: Minima, options: SearchOptions = SearchOptions(), setup: Setup = Setup(), *,
    should_stop: Callable[[], bool] = lambda: False, on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search for the minima of a molecule or cluster.

    Parameters
    ----------
    start : one structure, or several of the same atoms in the same order; walkers share them out.
    evaluate : energies and forces of many structures (`potentials.calculator.batch_evaluator`).
    library : takes what is found.
    should_stop : asked before each batch; true ends the search at once, with nothing lost but the hops under way.

    Raises
    ------
    StructureError : no move fits; a start that does not relax, or becomes another molecule.
    """
    starts = [start] if isinstance(start, Atoms) else list(start)
    molecule = Molecule.of(starts[0])
    fitting = fitting_moves(molecule, setup.moves)
    pool = RelaxationPool("internal") if setup.pool is None else setup.pool
    engine = Engine(molecule, with_scatter(fitting, options), evaluate, Integrity(molecule, setup.kept), pool)
    return Search(molecule, [a.positions for a in starts], fitting, engine, library, options, setup.journal).run(should_stop, on_progress)


def fitting_moves(molecule: Molecule, moves: Mapping[str, Move] | Sequence[str]) -> dict[str, Move]:
    """The moves that mean something to a molecule.

    Raises
    ------
    StructureError : none does; the message says why each does not.
    """
    made = dict(moves) if isinstance(moves, Mapping) else {name: registry.get(name)() for name in moves}
    misfits = {name: why for name, move in made.items() if (why := move.fits(molecule)) is not None}
    if len(misfits) == len(made):
        raise StructureError("No move fits this structure: " + "; ".join(f"{name}, because {why}" for name, why in misfits.items()) + ".")
    return {name: move for name, move in made.items() if name not in misfits}


def with_scatter(moves: Mapping[str, Move], options: SearchOptions) -> dict[str, Move]:
    """The moves that an engine must know: those of the mixture, and the one that makes random starts."""
    extra = {SCATTER: registry.get(SCATTER)()} if options.random_start and SCATTER not in moves else {}
    return {**extra, **moves}


class Search:
    """One search at work; see `search`.

    Parameters
    ----------
    hopper : makes the hops: an `Engine`, or the workers of a cluster.
    """

    def __init__(
        self, molecule: Molecule, starts: Sequence[np.ndarray], moves: Mapping[str, Move], hopper: Hopper, library: Minima, options: SearchOptions,
        journal: Path | None = None,
    ):
        self.molecule, self.starts, self.moves, self.hopper, self.library, self.options = molecule, list(starts), dict(moves), hopper, library, options
        self._all_moves = with_scatter(moves, options)
        if options.random_start and (why := self._all_moves[SCATTER].fits(molecule)) is not None:
            raise StructureError(f"Random starts are for clusters, and this structure cannot be scattered: {why}.")
        self.mixture = Mixture(list(moves), {name: guess for name, move in moves.items() if (guess := getattr(move, "guess", None)) is not None})
        self.walkers = [Walker(k, options.threshold_eV) for k in range(options.walkers)]
        self.arrivals: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.hops, self.evaluations, self.lowest, self.lowest_at = 0, 0, np.inf, 0
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._waits: dict[tuple[int, int], Job] = {}
        self._why = ""
        self.journal = Journal(journal, len(library))
        for hop in self.journal.past:
            if hop.walker < len(self.walkers):
                self._absorb(hop)
        known = {index for hop in self.journal.past for index in (hop.found, hop.parent) if index is not None}
        self._orphans = set(range(len(library))) - known if self.journal.past or journal is not None else set()  # placed, but their hop was not written down
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of all sessions."""
        return self.journal.seconds + time.monotonic() - self._began

    def run(self, should_stop: Callable[[], bool] = lambda: False, on_progress: Callable[[Progress], None] | None = None) -> SearchResult:
        """Hop until a limit is reached or `should_stop` says so."""
        synced = time.monotonic()
        try:
            reason = self._limit()
            while reason is None:
                if should_stop():
                    reason = "stopped"
                    break
                self._send_off()
                if not self._waits:
                    reason = "hops"
                    break
                for done in self.hopper.step():
                    self._settle(done)
                    if on_progress is not None:
                        on_progress(self.progress())
                reason = self._limit()
                if time.monotonic() - synced > 1.0:
                    self.journal.sync()
                    synced = time.monotonic()
            self.journal.sync()
        finally:
            self.hopper.close()
            self.journal.close()
        return SearchResult(self.progress(), reason, self.mixture)

    def progress(self) -> Progress:
        recent = 100.0 * sum(self._recent) / len(self._recent) if self._recent else 0.0
        return Progress(self.hops, len(self.library), recent, float(self.lowest), completeness(self.arrivals.values()), self.evaluations, dict(self.refused),
                        self.seconds, self._left(recent), self.lowest_at)

    def _limit(self) -> str | None:
        """The limit that is reached; hops under way count for nothing."""
        o = self.options
        if o.hops is not None and self.hops >= o.hops:
            return "hops"
        if o.minima is not None and len(self.library) >= o.minima:
            return "minima"
        if o.seconds is not None and self.seconds >= o.seconds:
            return "time"
        if o.complete is not None and (c := completeness(self.arrivals.values())).visits >= ENOUGH_VISITS and min(c.coverage, c.share) >= o.complete:
            return "complete"
        return None

    def _left(self, recent: float) -> float | None:
        o, spent, hops = self.options, self.seconds, max(self.hops, 1)
        guesses = []
        if o.hops is not None:
            guesses.append(spent * (o.hops - self.hops) / hops)
        if o.minima is not None and recent > 0:
            guesses.append(spent / hops * 100.0 * (o.minima - len(self.library)) / recent)
        if o.seconds is not None:
            guesses.append(o.seconds - spent)
        return max(0.0, min(guesses)) if guesses and self.hops else None

    def _send_off(self) -> None:
        """A hop for every walker that stands still, as far as the number of hops allows."""
        walking = {walker for walker, _ in self._waits}
        for walker in self.walkers:
            if self.options.hops is not None and self.hops + len(self._waits) >= self.options.hops:
                return
            if walker.index in walking or not self._has_ground(walker):
                continue
            job = self._job(walker)
            self._waits[job.key] = job
            self.hopper.add(job)

    def _has_ground(self, walker: Walker) -> bool:
        """Whether the walker stands at a minimum, or can go to one; those without a start of their own wait for another's."""
        if walker.at is None and not self.options.random_start and walker.index >= len(self.starts):
            first = self.walkers[walker.index % len(self.starts)]
            if first.origin is None:
                return False
            walker.at, walker.energy = first.origin
        return True

    def _job(self, walker: Walker) -> Job:
        if walker.at is None:
            begin = SCATTER if self.options.random_start else START
            if walker.hops >= (START_TRIES if self.options.random_start else 1):
                raise StructureError(f"No start could be relaxed: {self._why}.")
            strength = self._all_moves[SCATTER].begin() if begin == SCATTER else 0.0
            return Job(walker.index, walker.hops, begin, strength, self.starts[walker.index % len(self.starts)], 0.0, self.options.seed)
        if self._is_caught(walker):
            return Job(walker.index, walker.hops, SCATTER, self._all_moves[SCATTER].begin(), np.array(self.library.atoms(walker.at).positions), walker.energy,
                       self.options.seed)
        name = self.mixture.choose(stream(self.options.seed, walker.index, walker.hops, "choose")) if len(self.moves) > 1 else next(iter(self.moves))
        return Job(walker.index, walker.hops, name, walker.strength(name, self.moves[name]), np.array(self.library.atoms(walker.at).positions), walker.energy,
                   self.options.seed)

    def _settle(self, done: Done) -> None:
        """Look a hop's end up in the library, decide, write it down."""
        job, walker = done.job, self.walkers[done.job.walker]
        del self._waits[job.key]
        move = self._all_moves.get(job.move)
        if done.fate is not None:
            self._why = done.why
            hop = Hop(walker.index, job.number, job.move, walker.at, None, None, done.fate, False, done.evaluations, job.strength, done.why)
        else:
            assert done.positions is not None
            origin = Origin(move=job.move, parent=walker.at, walker=walker.index, evaluation=self.evaluations + done.evaluations)
            placed = self.library.place(self.molecule.atoms(done.positions), done.energy, origin)
            index, is_new = int(placed.index), bool(placed.is_new) or placed.index in self._orphans
            self._orphans.discard(index)
            fate: Fate = "new" if is_new else "same" if index == walker.at else "known"
            accepted = fate != "same" and self._in_window(done.energy)
            accepted = accepted and walker.takes(move, done.energy, stream(self.options.seed, walker.index, job.number, "accept"))
            accepted = accepted or (job.move == SCATTER and self._is_caught(walker))
            hop = Hop(walker.index, job.number, job.move, walker.at, index, done.energy, fate, accepted or walker.at is None, done.evaluations, job.strength)
        self.journal.write(hop, self.seconds)
        self._absorb(hop)

    def _is_caught(self, walker: Walker) -> bool:
        """Whether a walk has gone on long enough without finding anything lower."""
        return self.options.random_start and self.options.restart_after is not None and walker.idle >= self.options.restart_after

    def _in_window(self, energy: float) -> bool:
        return self.options.window_eV is None or energy <= self.lowest + self.options.window_eV

    def _absorb(self, hop: Hop) -> None:
        """What a hop changes, now or when it is read from the journal."""
        walker = self.walkers[hop.walker]
        self.hops, self.evaluations = self.hops + 1, self.evaluations + hop.evaluations
        praised = hop.fate == "new" and hop.energy is not None and self._in_window(hop.energy)
        self.mixture.learn(hop.move, praised, hop.evaluations)
        self._recent.append(hop.fate == "new")
        if hop.fate in ("new", "known") and hop.found is not None:
            self.arrivals[hop.found] += 1
        elif hop.fate != "same":
            self.refused[hop.fate] += 1
        if hop.energy is not None and hop.energy < self.lowest - SAME:
            self.lowest, self.lowest_at = hop.energy, self.hops
        walker.absorb(hop, self.moves.get(hop.move))
