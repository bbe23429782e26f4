"""Work on other processes and machines, through Dask distributed: a cluster of this machine, a scheduler that is there, or SLURM jobs.

Tasks are functions of plain data. What was on a worker that died is done again on another; a local cluster starts a new worker in its place, and with SLURM
the cluster asks for new jobs. A task on which several workers have died in turn is given back as failed.

Dask and its family are optional: `pip install .[cluster]`.
"""
from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mdapp.errors import UserError

DEATHS = 3  # workers that one task may take with it
CONNECT_S = 30.0
CLOSE_S = 20.0
_QUIET = {"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s", "distributed.scheduler.allowed-failures": DEATHS,
          "distributed.admin.tick.limit": "60s"}


@dataclass(frozen=True)
class Ended:
    """A task that has come to its end."""

    key: Any
    result: Any  # None where it failed
    error: BaseException | None
    died: bool = False  # its workers did: the task itself has said nothing


class Cluster:
    """Workers, and the tasks that are with them.

    Parameters
    ----------
    where : "local", "slurm", or the address of a scheduler, such as "tcp://10.0.0.1:8786".
    workers : processes to start (local: the cores of this machine, slurm: 4 jobs, when not given).
    options : of SLURM's jobs, as `dask_jobqueue.SLURMCluster` takes them: cores, memory, queue, account, walltime, ...

    Raises
    ------
    UserError : Dask is not installed, nothing answers at the address, the cluster cannot be started.
    """

    def __init__(self, where: str = "local", workers: int | None = None, options: Mapping[str, Any] | None = None):
        try:
            import dask
            from distributed import Client
        except ImportError as error:
            raise UserError("--cluster needs Dask, which is not installed here: pip install '.[cluster]'.") from error
        self.where = where
        self._cluster: Any = None
        self._tasks: dict[Any, Any] = {}  # key: future
        self._settings = dask.config.set({**_QUIET, "distributed.worker.daemon": True})
        try:
            if where == "local":
                self._cluster = _local(workers or len(os.sched_getaffinity(0)))
            elif where == "slurm":
                self._cluster = _slurm(workers or 4, dict(options or {}))
            self._client = Client(self._cluster if self._cluster is not None else where, timeout=CONNECT_S, set_as_default=False)
        except UserError:
            self.close()
            raise
        except (OSError, ValueError, TypeError) as error:
            self.close()
            what = "No scheduler answers at" if "://" in where else "No cluster could be started:"
            said = where if "://" in where else f"{where} ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
            raise UserError(f"{what} {said}. Give --cluster local, slurm, or the address that `dask scheduler` prints.") from error

    def __len__(self) -> int:
        """Workers that are there now."""
        return len(self._client.ncores())

    @property
    def under_way(self) -> int:
        """Tasks that have not come to their end."""
        return len(self._tasks)

    def submit(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a function of a module called on a worker; its result comes back by `ended` under this key."""
        self._tasks[key] = self._client.submit(function, *arguments, pure=False)

    def ended(self, timeout_s: float) -> list[Ended]:
        """Wait until a task has come to its end, at most so long, and give back all that have."""
        from distributed import wait

        if not self._tasks:
            return []
        try:
            with self._client.as_current():
                wait(list(self._tasks.values()), timeout=timeout_s, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return []
        over = [(key, future) for key, future in self._tasks.items() if future.done()]
        for key, _ in over:
            del self._tasks[key]
        return [_ended(key, future) for key, future in over]

    def close(self) -> None:
        """Let the workers go that were started here; those of a scheduler that was there stay."""
        client = getattr(self, "_client", None)
        with contextlib.suppress(TimeoutError, OSError):  # workers that do not answer end with their nannies
            if client is not None and self._tasks:
                client.cancel(list(self._tasks.values()))
        self._tasks.clear()
        for one in (client, self._cluster):
            with contextlib.suppress(TimeoutError, OSError):
                if one is not None:
                    one.close(timeout=CLOSE_S)
        self._cluster = None
        self._settings.__exit__(None, None, None)


def _ended(key: Any, future: Any) -> Ended:
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        return Ended(key, future.result(), None)
    except (KilledWorker, CancelledError) as error:
        return Ended(key, None, error, died=True)
    except Exception as error:
        return Ended(key, None, error)


def _local(workers: int) -> Any:
    import logging

    from distributed import LocalCluster

    return LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL)


def _slurm(workers: int, options: dict[str, Any]) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise UserError("--cluster slurm needs dask-jobqueue, which is not installed here: pip install '.[cluster]'.") from error
    if shutil.which("sbatch") is None:
        raise UserError("--cluster slurm submits jobs with sbatch, which is not on this machine. Start the search where sbatch is, or take --cluster local.")
    cluster = SLURMCluster(**{"cores": 1, "processes": 1, "memory": "4GB", **options})
    cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)  # lost jobs are asked for again
    return cluster
