"""The next batches, made by a thread while a step is computed."""
from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Work = TypeVar("Work")
Made = TypeVar("Made")


def made_ahead(work: Iterable[Work], make: Callable[[Work], Made], ahead: int) -> Iterator[tuple[Work, Made]]:
    """Each piece of work with what `make` makes of it, in order; up to `ahead` of them are made before they are asked for.

    Parameters
    ----------
    ahead : 0 makes each when it is asked for, without a thread.

    Raises
    ------
    What `work` or `make` raises, in the place where its result was due.
    """
    if ahead == 0:
        for piece in work:
            yield piece, make(piece)
        return
    ready: queue.Queue = queue.Queue(ahead)
    over = threading.Event()

    def put(item: tuple) -> bool:
        while not over.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for piece in work:
                if not put((piece, make(piece), None)):
                    return
            put((None, None, StopIteration()))
        except BaseException as error:  # handed over to the one who waits
            put((None, None, error))

    thread = threading.Thread(target=run, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            piece, made, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield piece, made
    finally:
        over.set()
        thread.join()
