"""hops.jsonl: every hop of a search, one JSON object a line, in the order in which they ended.

The journal is what a search is put together from again: walkers, thresholds, what the moves have taught and how often each minimum was seen all follow from it.
A hop's minimum is in the library before its line is written; a line that speaks of a minimum which the library does not hold (it lost its last write) is cut
off with all that follow, and those hops are made again.
"""
from __future__ import annotations

import json
from pathlib import Path

from mdapp.minima.walker import Hop
from mdapp.trajectory.lines import Lines

HOPS = "hops.jsonl"


class Journal:
    """Appends hops, and knows those that were there.

    Parameters
    ----------
    path : the file; None keeps nothing.
    n_minima : how many minima the library holds now.
    """

    def __init__(self, path: Path | None, n_minima: int):
        self.past: list[Hop] = []  # of earlier sessions
        self.seconds = 0.0  # that they took
        self.dropped = 0  # lines cut off
        self._lines: Lines | None = None
        if path is None:
            return
        before = len(Path(path).read_bytes().splitlines()) if Path(path).exists() else 0
        done: dict[int, int] = {}

        def keep(line: str) -> bool:
            try:
                content = json.loads(line)
                hop, seconds = Hop.of(content), float(content["seconds"])
            except (KeyError, TypeError, ValueError):
                return False
            if hop.number != done.get(hop.walker, 0) or max(hop.found or 0, hop.parent or 0) >= max(n_minima, 1):
                return False
            done[hop.walker] = hop.number + 1
            self.past.append(hop)
            self.seconds = seconds
            return True

        self._lines = Lines(Path(path), keep)
        self.dropped = before - len(self.past)

    def write(self, hop: Hop, seconds: float) -> None:
        """One hop; `seconds` is the time of all sessions so far."""
        if self._lines is not None:
            self._lines.write(json.dumps({**hop.plain(), "seconds": round(seconds, 3)}, allow_nan=False))

    def sync(self) -> None:
        """All lines are on the disk when this returns."""
        if self._lines is not None:
            self._lines.sync()

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None


def read_hops(path: Path) -> list[Hop]:
    """The hops of a journal that may still grow; a partial or damaged line ends it."""
    hops = []
    for line in Path(path).read_bytes().splitlines(keepends=True):
        try:
            if not line.endswith(b"\n"):
                break
            hops.append(Hop.of(json.loads(line)))
        except (KeyError, TypeError, ValueError):
            break
    return hops
