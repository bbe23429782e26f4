"""Runs as processes of their own: the command of a configuration, its start, its stop, what it said."""
from __future__ import annotations

import ctypes
import dataclasses
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from mdapp.errors import EXIT_INTERNAL, EXIT_STOPPED
from mdapp.record import Record

TAIL = 4096  # bytes of a table in which its last row is found


class Child:
    """One `mdapp` command in a process of its own; it stops cleanly when its parent asks it to, and when its parent dies (Linux)."""

    def __init__(self, name: str, words: list[str]):
        self.name, self.words = name, words
        self.exit_code: int | None = None
        self.why = "it ended with an error"
        self._asked = False
        self._process: subprocess.Popen | None = None
        self._said: IO[bytes] | None = None

    def start(self) -> None:
        self._said = tempfile.TemporaryFile()
        # a session of its own: of a Ctrl-C in the terminal the parent alone hears, and passes one signal on
        self._process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said, start_new_session=True,
                                         preexec_fn=_die_with_parent)  # fmt: skip

    def ended(self) -> bool:
        """Has it? Its exit code is known then, and in `why` what became of one that left no summary."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return False
        if code == EXIT_STOPPED or self._asked and code == -signal.SIGTERM:  # also while it was still reading its libraries, and could not answer
            code, self.why = EXIT_STOPPED, "interrupted before the first step"
        elif code < 0:
            code, self.why = EXIT_INTERNAL, f"it was killed by {signal.Signals(-code).name}"
        self.exit_code = code
        return True

    def stop(self) -> None:
        """Ask it to stop at the next whole step."""
        if self._process is not None and self._process.poll() is None:
            self._asked = True
            self._process.terminate()

    def last_words(self) -> str:
        """The last line that it wrote to stderr."""
        assert self._said is not None
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", errors="replace").strip().splitlines()
        self._said.close()
        return lines[-1].removeprefix("warning: ") if lines else ""


def _die_with_parent() -> None:
    """In the child: SIGTERM when the parent has died, whatever it died of."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def command_of(verb: str, config: Record) -> list[str]:
    """The words that ask for what `config` says: `python -m mdapp VERB ...`, quiet."""
    words: list[str] = []
    for f in dataclasses.fields(config):  # type: ignore[arg-type]
        value: Any = getattr(config, f.name)
        option = f"--{f.name.replace('_', '-')}"
        if f.default is dataclasses.MISSING and f.name != "potential":
            words.insert(0, value)
        elif f.default is not dataclasses.MISSING and value == f.default:
            continue
        elif isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, tuple):
            words += [word for one in value for word in (option, str(one))]
        elif value is not None:
            words += [option, repr(value) if isinstance(value, float) else str(value)]
    return [sys.executable, "-m", "mdapp", verb, *words, "--quiet"]


def finished(folder: Path) -> int:
    """Steps that a run's table of energies has come to; 0 where there is none yet."""
    try:
        with open(folder / "thermo.csv", "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            rows = file.read().decode("ascii", errors="replace").splitlines()
        return int(rows[-1].split(",")[0]) if len(rows) > 1 else 0
    except (OSError, ValueError):
        return 0
