"""Hops made elsewhere: jobs go to the workers of a cluster in small batches, and what they came to comes back to the one search and its library.

A worker holds no state that matters: a job carries all that its hop needs, so one whose worker died is sent again and gives the same.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from mdapp.cluster import Cluster
from mdapp.errors import UserError
from mdapp.minima.engine import Done, Engine, Job

WAIT_S = 0.5
MOST_TRIES = 4  # of a job, each of which a number of workers may have died on

_engines: dict[Any, Engine] = {}  # of this worker process, by what they were made from: a potential is loaded once


class Workers:
    """Makes hops on a cluster; the face of an `Engine`.

    Parameters
    ----------
    cluster : closed with this.
    make : a function of a module that makes an engine on a worker.
    recipe : a name for that engine, unlike that of any other search, and the data that `make` is called with.
    batch : jobs that one worker takes at a time.
    told : called with a sentence when workers were lost.
    """

    def __init__(self, cluster: Cluster, make: Callable[[Any], Engine], recipe: tuple[str, Any], batch: int, told: Callable[[str], None] = lambda sentence: None):
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}.")
        self.cluster, self.make, self.recipe, self.batch, self.told = cluster, make, recipe, batch, told
        self._waiting: list[Job] = []
        self._sent: dict[int, list[Job]] = {}
        self._tries: Counter[tuple[int, int]] = Counter()
        self._count = 0

    def add(self, job: Job) -> None:
        """Put a job in line."""
        self._waiting.append(job)

    def step(self) -> list[Done]:
        """Send what is in line, wait a little, give back what has come to its end.

        Raises
        ------
        UserError : a job on which workers die again and again.
        """
        while len(self._waiting) >= self.batch or (self._waiting and not self._sent):
            self._send()
        done: list[Done] = []
        for end in self.cluster.ended(WAIT_S):
            jobs = self._sent.pop(end.key)
            if end.error is None:
                done += end.result
            elif end.died:
                self._again(jobs)
            else:
                raise end.error
        if not done and self._waiting and len(self._sent) < max(len(self.cluster), 1):
            self._send()  # better a small batch than an idle worker
        return done

    def close(self) -> None:
        self.cluster.close()

    def _send(self) -> None:
        jobs, self._waiting = self._waiting[: self.batch], self._waiting[self.batch :]
        self._count += 1
        self._sent[self._count] = jobs
        self.cluster.submit(self._count, make_hops, self.make, self.recipe, jobs)

    def _again(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._tries[job.key] += 1
            if self._tries[job.key] >= MOST_TRIES:
                raise UserError(f"Workers die on one hop again and again (walker {job.walker}, hop {job.number}): too little memory, or a potential that ends its process. "
                                "What was found is kept; go on with `mdapp resume` without --cluster to see more.")
        self.told(f"A worker was lost with {len(jobs)} hops under way; they are made again.")
        self._waiting = jobs + self._waiting


def make_hops(make: Callable[[Any], Engine], recipe: tuple[str, Any], jobs: list[Job]) -> list[Done]:
    """On a worker: the hops of one batch, from beginning to end."""
    key, data = recipe
    engine = _engines.get(key)
    if engine is None:
        _engines.clear()  # of a search before, where workers outlive one
        engine = _engines[key] = make(data)
    for job in jobs:
        engine.add(job)
    done: list[Done] = []
    try:
        while len(done) < len(jobs):
            done += engine.step()
    except BaseException:
        _engines.pop(key, None)  # half-done hops are in it
        raise
    return done
