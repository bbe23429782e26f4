"""Where and with how many threads a potential is evaluated."""
from __future__ import annotations

import os

from mdapp.errors import UserError

_SMALL = 100  # atoms; below it two threads wait for each other longer than they work
_MOST = 4


def device_for(asked: str) -> str:
    """'auto' becomes the first GPU or the CPU; a GPU that is not there is refused."""
    if asked == "cpu":
        return asked
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.cuda.is_available():
        raise UserError(f"device = '{asked}', but torch {torch.__version__} sees no GPU here. Use --device cpu.")
    number = int(asked[5:] or 0) if asked.startswith("cuda:") else 0
    if number >= torch.cuda.device_count():
        raise UserError(f"device = '{asked}', but there are {torch.cuda.device_count()} GPUs, counted from 0.")
    return asked


def set_threads(asked: int | None, n_atoms: int, compiled: bool = False) -> int:
    """Tell torch how many CPU threads to use: what was asked for, else 1 for small systems and compiled code, else the free cores, 4 at most.

    Compiled code is made of many short loops, and two threads that meet after each of them lose (42 atoms: 5.8 against 3.1 ms a step).
    """
    import torch

    threads = asked or (1 if compiled or n_atoms < _SMALL else max(1, min(free_cores(), _MOST)))
    torch.set_num_threads(threads)
    return threads


def free_cores() -> int:
    """Cores that this process may use, less those that are busy (load average of the last minute)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        busy = os.getloadavg()[0]
    except OSError:
        busy = 0.0
    return max(1, round(cores - busy))
