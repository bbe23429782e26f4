"""What a training run shows: a bar with errors on a terminal, plain lines elsewhere."""
from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingScreen:
    """Shows progress and prints lines; a context manager.

    Parameters
    ----------
    stream : standard output when not given.
    quiet : show nothing.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False):
        stream = stream or sys.stdout
        self._quiet = quiet
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        if stream.isatty() and not quiet:
            columns = TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.percentage:.1f} %"), TimeElapsedColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("training", total=1.0)

    def __enter__(self) -> TrainingScreen:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def line(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(text, markup=False)
            self._console.file.flush()

    def update(self, text: str, progress: float) -> None:
        """The state of things: in the bar, or as a line where there is no terminal."""
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=progress)
        else:
            self.line(text)
