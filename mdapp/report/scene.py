"""What the 3D view of a report shows: a trajectory thinned to a size that a page can carry.

Coordinates are whole numbers of 0.01 Å (coarser where a system is larger than 600 Å) in two bytes each, which is a tenth of what they are as text.
"""
from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_FRAMES = 200
MOST_VALUES = 900_000  # coordinates of a page: about 2.4 MB
STEP_A = 0.01


@dataclass(frozen=True)
class Scene:
    """Atoms, bonds and some frames."""

    symbols: tuple[str, ...]  # (n_atoms,)
    bonds: np.ndarray  # (n_bonds, 2)
    time_ps: np.ndarray  # (n_frames,)
    positions: np.ndarray  # (n_frames, n_atoms, 3) Å, molecules whole
    cell: np.ndarray | None = None  # (3, 3) rows, Å, of the first frame
    n_all: int = 0  # frames of the trajectory
    labels: tuple[str, ...] = ()  # (n_frames,) of structures that are no moments in time

    def nearest(self, time_ps: float) -> int:
        """Which of the frames is nearest to a time."""
        return int(np.abs(self.time_ps - time_ps).argmin())

    def to_json(self) -> str:
        """For the page's viewer; holds no character that could end a script."""
        centre = self.positions[0].mean(axis=0)
        x = np.nan_to_num(self.positions - centre)
        step = max(STEP_A, float(np.abs(x).max(initial=0.0)) / 32_000)
        packed = base64.b64encode(np.rint(x / step).astype("<i2").tobytes()).decode("ascii")
        data: dict[str, Any] = {
            "symbols": list(self.symbols), "bonds": np.asarray(self.bonds, dtype=int).reshape(-1, 2).tolist(), "step_A": step, "positions": packed,
            "time_ps": [round(float(t), 6) for t in self.time_ps], "n_all": self.n_all or len(self.time_ps),
            "labels": list(self.labels), "cell": None if self.cell is None else np.round(self.cell, 4).tolist(), "origin": np.round(-centre, 4).tolist()}
        return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


class Thinned:
    """Keeps some frames of a stream of unknown length, evenly spread, and always the first and the last; in constant memory.

    When it is full, every second frame goes, and from then on half as many are taken.

    Parameters
    ----------
    n_atoms : of a frame; large systems keep fewer frames.
    """

    def __init__(self, n_atoms: int, most_frames: int = MOST_FRAMES, most_values: int = MOST_VALUES):
        self.most = int(np.clip(most_values // (3 * max(n_atoms, 1)), 2, most_frames))
        self.stride, self.seen = 1, 0
        self._kept: list[tuple[float, np.ndarray]] = []
        self._last: tuple[float, np.ndarray] | None = None

    def add(self, time_ps: Sequence[float] | np.ndarray, positions: np.ndarray) -> None:
        """Successive frames: times (n_frames,) in ps and positions (n_frames, n_atoms, 3) in Å."""
        for k in range(len(time_ps)):
            if self.seen % self.stride == 0:
                self._kept.append((float(time_ps[k]), np.array(positions[k], dtype=np.float32)))
                if len(self._kept) > self.most:
                    self._kept = self._kept[::2]
                    self.stride *= 2
            self.seen += 1
        if len(time_ps):
            self._last = float(time_ps[-1]), np.array(positions[-1], dtype=np.float32)

    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (n_kept,) in ps and positions (n_kept, n_atoms, 3) in Å."""
        kept = list(self._kept)
        if self._last is not None and (self.seen - 1) % self.stride != 0:
            kept.append(self._last)
        return np.array([t for t, _ in kept]), np.stack([x for _, x in kept]) if kept else np.zeros((0, 0, 3))
