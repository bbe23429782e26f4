"""Frames of a trajectory as long as they are sound, and what is worth remembering of each when it has gone."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.analysis.thermo import ThermoRows
from mdapp.errors import UserError
from mdapp.frame import Frame

if TYPE_CHECKING:
    from ase import Atoms


class Reading:
    """One pass over frames from a time on. It ends at the first frame that cannot be read or that holds other atoms; `trouble` then says why."""

    def __init__(self, start: Atoms, since_fs: float = 0.0):
        self.start, self.since_fs = start, since_fs
        self.rows = ThermoRows()  # what is remembered of each frame
        self.trouble: str | None = None
        self._sound: Iterator[Frame] = iter(())

    def begin(self, frames: Iterable[Frame]) -> bool:
        """Is there a frame at all?

        Raises
        ------
        ValueError, UserError : the first frame is not sound.
        """
        self._sound = self._while_sound(frames)
        first = next(self._sound, None)
        if first is None:
            if self.trouble:
                raise ValueError(self.trouble)
            return False
        self._sound = chain([first], self._sound)
        return True

    def frames(self, _: Any = None) -> Iterator[Frame]:
        return self._sound

    def _while_sound(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        count = 0
        try:
            for frame in frames:
                if not np.array_equal(frame.numbers, self.start.numbers):
                    self.trouble = f"frame {count} holds other atoms than the start ({len(frame.numbers)} atoms; {len(self.start)} at the start, {self.start.symbols.formula})"
                    return
                count += 1
                if frame.time_fs < self.since_fs:
                    continue
                self.rows.add(frame)
                yield frame
        except UserError as error:
            self.trouble = str(error).rstrip(".")
