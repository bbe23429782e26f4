"""Hops at work: escapes and relaxations of many walkers, evaluated together in one batch.

An engine takes jobs and gives back what they came to; it knows nothing of libraries and acceptance. The same engine works in the process of the search
and on the workers of a cluster.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mdapp.minima.integrity import Integrity
from mdapp.minima.molecule import Molecule
from mdapp.minima.moves._base import Escape, Fate, Here, Move
from mdapp.minima.walker import START, stream
from mdapp.relax.pool import Finished, RelaxationPool
from potentials.runtime.batch_evaluator import Item

Evaluate = Callable[[list[Item]], tuple[np.ndarray, list[np.ndarray]]]


@dataclass(frozen=True)
class Job:
    """A hop to be made."""

    walker: int
    number: int
    move: str  # a name, or `START`
    strength: float
    positions: np.ndarray  # (n_atoms, 3), Å, of the minimum that it leaves
    energy: float  # eV
    seed: int  # of the search

    @property
    def key(self) -> tuple[int, int]:
        return self.walker, self.number


@dataclass(frozen=True)
class Done:
    """What a hop came to."""

    job: Job
    positions: np.ndarray | None  # (n_atoms, 3), Å, of the relaxed structure; None where there is none
    energy: float  # eV
    fmax: float  # eV/Å
    evaluations: int
    fate: Fate | None  # None: a minimum of the same molecule, to be looked up
    why: str = ""


class Hopper(Protocol):
    """Whatever makes hops: an `Engine` here, or workers elsewhere."""

    def add(self, job: Job) -> None: ...

    def step(self) -> list[Done]:
        """Work for a while; give back what has come to its end."""
        ...

    def close(self) -> None: ...


class Engine:
    """Makes hops with one evaluator.

    Parameters
    ----------
    molecule : what hops.
    moves : by name.
    evaluate : energies and forces of many structures, as `potentials.runtime.BatchEvaluator`.
    integrity : what must stay as it was.
    pool : relaxes.
    """

    def __init__(self, molecule: Molecule, moves: Mapping[str, Move], evaluate: Evaluate, integrity: Integrity, pool: RelaxationPool):
        self.molecule, self.moves, self.evaluate, self.integrity, self.pool = molecule, moves, evaluate, integrity, pool
        self._escapes: dict[tuple[int, int], tuple[Job, Escape, np.ndarray]] = {}  # with the positions that are asked for
        self._used: dict[tuple[int, int], int] = {}  # evaluations of escapes
        self._relaxing: dict[tuple[int, int], Job] = {}
        self._ended: list[Done] = []

    def add(self, job: Job) -> None:
        """Begin a hop."""
        self._used[job.key] = 0
        if job.move == START:
            self._relax(job, job.positions)
            return
        escape = self.moves[job.move].escape(Here(self.molecule, job.positions, job.energy), job.strength, stream(job.seed, job.walker, job.number, "move"))
        self._go_on(job, escape, None)

    def step(self) -> list[Done]:
        """One evaluation of all that is under way."""
        waiting = list(self._escapes.values())
        system, cell = self.molecule.system, self.molecule.cell if self.molecule.pbc.any() else None
        items = [Item((*job.key, "escape"), system, positions, cell) for job, _, positions in waiting]
        requests = self.pool.requests()
        if items or requests:
            energies, forces = self.evaluate([*items, *requests])
            for (job, escape, _), e, f in zip(waiting, energies, forces):
                self._used[job.key] += 1
                self._go_on(job, escape, (float(e), f))
            for finished in self.pool.accept(energies[len(items) :], forces[len(items) :]) if requests else []:
                self._arrived(finished)
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        for _, escape, _ in self._escapes.values():
            escape.close()
        self._escapes.clear()

    def _go_on(self, job: Job, escape: Escape, answer: Any) -> None:
        """Send an answer to an escape; it asks again, or has come to its end."""
        try:
            asked = next(escape) if answer is None else escape.send(answer)
        except StopIteration as end:
            self._escapes.pop(job.key, None)
            self._forget(job, "escape")
            self._relax(job, end.value)
            return
        self._escapes[job.key] = (job, escape, asked.positions)

    def _relax(self, job: Job, positions: np.ndarray | None) -> None:
        if positions is None:
            self._end(job, Done(job, None, np.nan, np.nan, self._used[job.key], "nowhere", "the move found no way out"))
        else:
            self._relaxing[job.key] = job
            self.pool.add((*job.key, "relax"), self.molecule.atoms(positions), self.molecule.bonds if self.integrity.kept.bonds else None)

    def _arrived(self, finished: Finished) -> None:
        job = self._relaxing.pop(finished.key[:2])  # type: ignore[index]
        self._forget(job, "relax")
        relaxed, used = finished.relaxed, self._used[job.key] + finished.evaluations
        positions = np.array(relaxed.atoms.positions)
        fate, why = None, ""
        if not relaxed.converged:
            fate, why = "unconverged", relaxed.reason
        elif (changed := self.integrity.broken(positions)) is not None:
            fate, why = "broken", changed
        self._end(job, Done(job, positions, float(relaxed.energy), float(relaxed.fmax), used, fate, why))  # type: ignore[arg-type]

    def _end(self, job: Job, done: Done) -> None:
        del self._used[job.key]
        self._ended.append(done)

    def _forget(self, job: Job, stage: str) -> None:
        forget = getattr(self.evaluate, "forget", None)
        if forget is not None:
            forget((*job.key, stage))
