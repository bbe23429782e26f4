"""Processes that label, one structure each at a time; or the workers of a Dask cluster behind the same face.

A process that dies (a fault in a library, no memory) or works beyond its time takes its own structure with it and no other: a new one stands up in its
place. A process whose parent has died ends by itself.
"""
from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

from mdapp.cluster import Cluster
from mdapp.jobs._label_work import Labelled, Recipe, Task, label, set_threads

LOOK_S = 0.2


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    task: Task | None = None
    since: float | None = None  # when the work on it began; None while the process is still waking up
    awake: bool = False


class Processes:
    """Worker processes of this machine.

    Parameters
    ----------
    n : how many.
    time_limit_s : after which a structure is given up.
    """

    def __init__(self, recipe: Recipe, n: int, time_limit_s: float | None = None):
        self.recipe, self.time_limit_s = recipe, time_limit_s
        self._context = multiprocessing.get_context("forkserver")  # a fork of this process, which has threads, may hang; a spawned one imports all anew
        self._context.set_forkserver_preload(["potentials.calculator"])
        self._workers = [self._new() for _ in range(n)]

    def label(self, tasks: Iterable[Task], should_stop: Any) -> Iterator[Labelled]:
        """What comes of the tasks, as it comes; after `should_stop()` no task is begun, and those under way are given up."""
        waiting = deque(tasks)
        while waiting or any(w.task is not None for w in self._workers):
            if should_stop():
                return
            for k, worker in enumerate(self._workers):
                if worker.task is None and waiting:
                    worker.task, worker.since = waiting.popleft(), time.monotonic() if worker.awake else None
                    try:
                        worker.pipe.send(worker.task)
                    except OSError:
                        yield from self._lost(k)
            busy = {w.pipe: k for k, w in enumerate(self._workers) if w.task is not None}
            for pipe in wait(list(busy), LOOK_S):
                worker = self._workers[busy[pipe]]  # type: ignore[index]
                try:
                    found = worker.pipe.recv()
                except (EOFError, OSError):
                    yield from self._lost(busy[pipe])  # type: ignore[index]
                    continue
                if found is None:
                    worker.awake, worker.since = True, time.monotonic()
                    continue
                worker.task = None
                yield found
            yield from self._overdue()

    def _overdue(self) -> Iterator[Labelled]:
        if self.time_limit_s is None:
            return
        for k, worker in enumerate(self._workers):
            if worker.task is not None and worker.since is not None and time.monotonic() - worker.since > self.time_limit_s:
                number = worker.task.number
                self._replace(k)
                yield Labelled(number, problem=f"it took more than {self.time_limit_s:g} s")

    def _lost(self, k: int) -> Iterator[Labelled]:
        worker = self._workers[k]
        worker.process.join(5)
        code = worker.process.exitcode
        assert worker.task is not None
        number = worker.task.number
        self._replace(k)
        yield Labelled(number, problem=f"the process that worked on it died ({f'signal {-code}' if code is not None and code < 0 else f'exit code {code}'})")

    def _replace(self, k: int) -> None:
        _end(self._workers[k])
        self._workers[k] = self._new()

    def _new(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self.recipe, theirs), daemon=True)
        with _no_script():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def close(self) -> None:
        for worker in self._workers:
            _end(worker)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OnCluster:
    """The workers of a Dask cluster; a structure on which several of them die is given back as failed."""

    def __init__(self, recipe: Recipe, cluster: Cluster):
        self.recipe, self.cluster = recipe, cluster

    def label(self, tasks: Iterable[Task], should_stop: Any) -> Iterator[Labelled]:
        """See `Processes.label`."""
        waiting = deque(tasks)
        while waiting or self.cluster.under_way:
            if should_stop():
                return
            while waiting and self.cluster.under_way < 4 * max(1, len(self.cluster)):
                task = waiting.popleft()
                self.cluster.submit(task.number, label, self.recipe, task)
            for end in self.cluster.ended(LOOK_S):
                if end.error is None:
                    yield end.result
                else:
                    yield Labelled(end.key, problem="the workers that worked on it died" if end.died else str(end.error).splitlines()[0])

    def __enter__(self) -> OnCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.close()


@contextmanager
def _no_script() -> Iterator[None]:
    """Processes that start here do not import the program's main module: a script that labels, and does not say `if __name__ == "__main__"`, would begin anew."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()


def _work(recipe: Recipe, pipe: Connection) -> None:
    """A worker process: tasks in, labels out, until the pipe closes or the parent is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which stops cleanly
    set_threads(recipe.threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    import potentials.calculator  # noqa: F401  what every task needs; a time limit is for the task alone

    pipe.send(None)
    while True:
        try:
            task = pipe.recv()
            pipe.send(label(recipe, task))
        except (EOFError, OSError):
            return
