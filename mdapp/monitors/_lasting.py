"""Things that are wrong for a while: each has a time since which it has been so without a break."""
from __future__ import annotations

import numpy as np

NEVER = np.inf


class Lasting:
    """Counts for n things how long they have been wrong."""

    def __init__(self, n: int):
        self.since_fs = np.full(n, NEVER)  # (n,); infinite where all is well

    def longer_than(self, wrong: np.ndarray, now_fs: float, persist_fs: float) -> np.ndarray:
        """Indices of those that are wrong now (n,) and have been for so long."""
        if not wrong.any():
            self.since_fs.fill(NEVER)
            return np.zeros(0, np.int64)
        self.since_fs = np.where(wrong, np.minimum(self.since_fs, now_fs), NEVER)
        return np.flatnonzero(now_fs - self.since_fs >= persist_fs)

    def state(self) -> np.ndarray:
        return self.since_fs.copy()

    def restore(self, state: np.ndarray) -> None:
        if np.shape(state) != self.since_fs.shape:
            raise ValueError(f"A guard's memory holds {np.size(state)} things to watch, the topology {len(self.since_fs)}: they belong to different runs.")
        self.since_fs = np.array(state, float)
