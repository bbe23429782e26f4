"""Tallies that see only some frames of a trajectory: evenly spread over all of it, or every so many-th.

For what is costly in every frame and needs no time between frames (`EvenSample`), and for what is slow beside the frames' distance (`EveryNth`).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from mdapp.analysis.chunks import FRAMES, Chunk, Tally

Result = TypeVar("Result")
PER_FRAME = ("time_ps", "positions", "cells", "velocities", "charges", "dipole", "pressure")


class EveryNth(Generic[Result]):
    """Shows another tally every `stride`-th frame."""

    def __init__(self, tally: Tally[Result], stride: int):
        if stride < 1:
            raise ValueError(f"The stride must be at least 1, got {stride}.")
        self._tally, self.stride, self._seen = tally, stride, 0

    def add(self, chunk: Chunk) -> None:
        rows = np.arange(-self._seen % self.stride, len(chunk), self.stride)
        self._seen += len(chunk)
        if len(rows):
            self._tally.add(part(chunk, rows))

    def result(self) -> Result:
        return self._tally.result()


class EvenSample(Generic[Result]):
    """Keeps frames of a stream of unknown length, evenly spread, and shows them to another tally at the end; in constant memory.

    When there are more than `most`, every second one goes, and from then on half as many are taken.

    Parameters
    ----------
    most : frames that are shown at most; large systems keep fewer (`most_bytes` of them, and ten frames at least).
    """

    def __init__(self, tally: Tally[Result], most: int = 500, most_bytes: int = 24 << 20):
        self._tally, self.most, self.most_bytes = tally, most, most_bytes
        self.stride, self.seen = 1, 0
        self._kept: list[tuple[int, Chunk]] = []  # number of the frame, and the frame as a chunk of one

    def add(self, chunk: Chunk) -> None:
        if not self.seen:
            per_frame = sum(values.nbytes for name in PER_FRAME if (values := getattr(chunk, name)) is not None) / max(len(chunk), 1)
            self.most = int(np.clip(self.most_bytes // max(per_frame, 1), 10, max(self.most, 10)))
        for k in range(-self.seen % self.stride, len(chunk), self.stride):
            if (self.seen + k) % self.stride:
                continue  # the stride has grown within this chunk
            self._kept.append((self.seen + k, part(chunk, np.array([k]))))
            if len(self._kept) > self.most:
                self.stride *= 2
                self._kept = [row for row in self._kept if row[0] % self.stride == 0]
        self.seen += len(chunk)

    def result(self) -> Result:
        for begin in range(0, len(self._kept), FRAMES):
            self._tally.add(joined([one for _, one in self._kept[begin : begin + FRAMES]]))
        self._kept = []
        return self._tally.result()


def part(chunk: Chunk, rows: np.ndarray) -> Chunk:
    """Some frames of a chunk, by their numbers in it; copied."""
    return replace(chunk, **{name: None if getattr(chunk, name) is None else getattr(chunk, name)[rows] for name in PER_FRAME})


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one system as one; what one of them does not hold, the whole does not."""
    columns = {name: [getattr(chunk, name) for chunk in chunks] for name in PER_FRAME}
    return replace(chunks[0], **{name: None if any(one is None for one in found) else np.concatenate(found) for name, found in columns.items()})
