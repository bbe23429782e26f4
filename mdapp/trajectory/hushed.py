"""C libraries that print: what they say to standard output and standard error is dropped, so that `--json` stays JSON and a refusal one sentence."""
from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hushed() -> Iterator[None]:
    """Within, file descriptors 1 and 2 lead nowhere; Python's own streams are flushed before. Of the whole process: keep it short."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {fd: os.dup(fd) for fd in (1, 2) if _is_open(fd)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd in kept:
            os.dup2(nowhere, fd)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C keeps in its own buffers
        for fd, copy in kept.items():
            os.dup2(copy, fd)
            os.close(copy)
        os.close(nowhere)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
