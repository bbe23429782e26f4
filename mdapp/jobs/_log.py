"""run.log: what was shown and what went wrong, with times; never a reason to stop a run."""
from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mdapp.errors import harmless
from mdapp.screen import Screen


class Teller:
    """Says things on the screen and writes them to a run's log. The log is appended to; a log that cannot be written is given up."""

    def __init__(self, screen: Screen, path: Path):
        self.screen, self.path = screen, path

    def say(self, sentence: str) -> None:
        """News, on the screen and in the log."""
        self.screen.say(sentence)
        self.note(sentence)

    def warn(self, sentence: str) -> None:
        """A warning, on the screen and in the log."""
        self.screen.warn(sentence)
        self.note(f"warning: {sentence}")

    def rows(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """A header or a closing block, for the log alone."""
        self.note("\n".join([title, *(f"  {label:<10} {text}" for label, text in rows)]))

    def error(self, error: BaseException) -> None:
        """The whole traceback, for the log alone."""
        self.note("".join(traceback.format_exception(error)).rstrip())

    def note(self, text: str) -> None:
        """For the log alone."""
        try:
            with open(self.path, "a", encoding="utf-8", errors="replace") as file:
                file.write(f"{datetime.now().isoformat(sep=' ', timespec='seconds')}  {harmless(text)}\n")
        except OSError:
            pass
