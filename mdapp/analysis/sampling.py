"""A fair sample of a stream: what is drawn of millions of values that are seen once."""
from __future__ import annotations

import numpy as np


class Reservoir:
    """At most `size` rows of a stream, each row as likely as any other.

    Every row draws a random number, and the rows with the largest ones stay.

    Parameters
    ----------
    size : rows that are kept.
    width : numbers in a row.
    rng : draws.
    """

    def __init__(self, size: int, width: int, rng: np.random.Generator):
        self.size, self.rng = size, rng
        self.seen = 0
        self._rows = np.zeros((0, width))
        self._draws = np.zeros(0)

    def add(self, rows: np.ndarray) -> None:
        """Rows (n, width)."""
        self.seen += len(rows)
        self._rows = np.concatenate([self._rows, rows])
        self._draws = np.concatenate([self._draws, self.rng.random(len(rows))])
        if len(self._rows) > self.size:
            stay = np.sort(np.argpartition(self._draws, -self.size)[-self.size :])
            self._rows, self._draws = self._rows[stay], self._draws[stay]

    @property
    def rows(self) -> np.ndarray:
        """The sample, (at most size, width), in the stream's order."""
        return self._rows

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return self.seen == len(self._rows)
