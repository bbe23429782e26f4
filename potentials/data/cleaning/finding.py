"""What a check says: which frames it suspects, why, and whether there is any doubt."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Finding:
    """Frames of one suspicion. A suspicion about a whole file (its units, say) may name no frames, but the file."""

    check: str  # the name of the suspicion: "too close", "near copy", ...
    sentence: str  # what was found, with numbers, and what it may mean
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # (n,) rows of the table, ascending
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (n,) what was measured, in `unit`
    threshold: float = float("nan")  # what it was held against, in `unit`
    unit: str = ""
    doubtless: np.ndarray | None = None  # (n,) bool: wrong whatever the data are for; None: nowhere
    others: np.ndarray | None = None  # (n,) the frame that each is compared with, such as the original of a copy
    files: tuple[int, ...] = ()  # files that the suspicion is about as a whole
    note: bool = False  # worth knowing, and nothing wrong: never a reason to leave a frame out

    @property
    def beyond_doubt(self) -> np.ndarray:
        """(n,) bool."""
        return np.zeros(len(self.frames), dtype=bool) if self.doubtless is None else self.doubtless


def finding(check: str, sentence: str, suspected: np.ndarray, values: np.ndarray, threshold: float, unit: str = "", **more) -> list[Finding]:
    """A finding about the frames where `suspected` is True, or none at all.

    Parameters
    ----------
    sentence : `{n}` in it becomes the number of frames, as "1 frame" or "7 frames".
    suspected, values : (n_frames,), over the whole table; so are `doubtless` and `others` where given.
    """
    frames = np.flatnonzero(suspected)
    if not len(frames):
        return []
    more = {name: value[frames] if isinstance(value, np.ndarray) else value for name, value in more.items()}
    return [Finding(check, sentence.format(n=counted(len(frames), "frame")), frames, np.asarray(values, float)[frames], threshold, unit, **more)]


def counted(n: int, noun: str) -> str:
    """'1 frame', '7 frames'."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
