"""Text files that grow by whole lines: each line is one write, a partial one at the end is what a killed process left."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mdapp.trajectory.files import sync_open, told


class Lines:
    """A text file opened for appending lines."""

    def __init__(self, path: Path, keep: Callable[[str], bool] | None = None):
        """
        Parameters
        ----------
        keep : called with each line that is there, from the first on; the file is cut at the first line for which it says no. A partial last
            line is cut in any case.
        """
        self.path = path
        with told(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            self._end = _whole_lines(path, keep)
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)

    def write(self, line: str) -> None:
        """One line, whole in the file or not there at all."""
        data = (line + "\n").encode()
        with told(self.path):
            try:
                written = os.write(self._file, data)
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except OSError:
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
                raise
        self._end += len(data)

    def sync(self) -> None:
        """All lines are on the disk when this returns."""
        sync_open(self._file, self.path)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _whole_lines(path: Path, keep: Callable[[str], bool] | None) -> int:
    """Bytes up to the end of the last line to keep."""
    end = 0
    with open(path, "rb") as stream:
        for raw in stream:
            if not raw.endswith(b"\n") or (keep is not None and not keep(raw.decode("utf-8", errors="replace").rstrip("\r\n"))):
                break
            end += len(raw)
    return end
