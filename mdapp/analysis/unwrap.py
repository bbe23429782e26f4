"""Paths without jumps at the walls of the box.

Each step is taken to the nearest image and added to the path in the cell of its time. That keeps diffusion right in a box that
breathes, where adding whole cell vectors to wrapped coordinates does not.

J. T. Bullerjahn, S. von Bülow, M. Heidari, J. Hénin and G. Hummer, J. Chem. Theory Comput. 19, 3406 (2023).
"""
from __future__ import annotations

import numpy as np


class Unwrapper:
    """Follows points through the walls, chunk after chunk."""

    def __init__(self, pbc: np.ndarray):
        self.pbc = np.asarray(pbc, dtype=bool)
        self._wrapped: np.ndarray | None = None  # (n, 3) the last frame as it came
        self._path: np.ndarray | None = None  # and where it really is

    def follow(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """(n_frames, n, 3) Å without jumps; between two frames nothing moves by half a cell."""
        if not self.pbc.any():
            return positions
        if self._wrapped is None or self._path is None:
            self._wrapped = self._path = positions[0]
        before = np.concatenate([self._wrapped[None], positions[:-1]])
        boxes = cells * self.pbc[:, None]
        steps = positions - before
        images = np.rint(steps @ np.linalg.pinv(boxes))
        path = self._path + np.cumsum(steps - images @ boxes, axis=0)
        self._wrapped, self._path = positions[-1], path[-1]
        return path
