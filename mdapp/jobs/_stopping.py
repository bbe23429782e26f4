"""When to stop before the end: a signal, a clock limit, a file `STOP` in the run's folder.

The loop asks before each step, so the answer costs next to nothing; the file is looked for once a second. The first signal asks for a clean stop, a
second one ends the process at once, as it would have without us (what is on disk is whole at any moment). Before the first step nobody asks, and a potential
may be compiled for a minute: there `at_once` breaks off whatever is being done, as nothing of it is kept.
"""
from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from mdapp.errors import Interrupted

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
_LOOK_S = 1.0
_POKE_S = 0.2  # between two looks, and two tries to break off what swallows exceptions


class _BreakOff(BaseException):
    """Raised out of a signal's handler; no `except Exception` on the way keeps it."""


class Stopping:
    """Asked "should I stop?", answers yes or no and remembers why; while it is entered it catches signals.

    Parameters
    ----------
    stop_file : its presence asks for a stop; may be set later, when its folder is known.
    deadline : `time.monotonic()` at which to stop, None for never.
    """

    def __init__(self, stop_file: Path | None, deadline: float | None):
        self.reason: str | None = None
        self.stop_file, self._deadline = stop_file, deadline
        self._looked = time.monotonic()
        self._before: dict[int, Any] = {}
        self._breaks_off = self._poked = False

    def __call__(self) -> bool:
        return self._asked()

    def _asked(self) -> bool:
        if self.reason is None:
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self.reason = "the wall-time limit"
            elif now - self._looked >= _LOOK_S:
                self._looked = now
                if self.stop_file is not None and self.stop_file.exists():
                    self.reason = f"a file {self.stop_file.name} in the folder"
        return self.reason is not None

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def at_once(self, what_is_left: str = "nothing was written") -> Iterator[None]:
        """A stretch before the first step, of which nothing is kept: a reason to stop breaks it off wherever it is.

        A thread looks at the clock and for the file, and sends the main thread a signal; outside the main thread nothing is broken off, and the stop
        comes at the end of the stretch.

        Raises
        ------
        Interrupted : there was a reason to stop.
        """
        over, watcher, told = threading.Event(), None, sys.unraisablehook
        try:
            sys.unraisablehook = lambda lost: None if issubclass(lost.exc_type, _BreakOff) else told(lost)  # a destructor has kept it: the next one will come through
            if self._before:
                self._breaks_off = True
                watcher = threading.Thread(target=self._poke, args=(over,), daemon=True)
                watcher.start()
            yield
        except BaseException as error:
            self._breaks_off = False
            if self.reason is None or not isinstance(error, (_BreakOff, Exception)):
                raise
        finally:
            self._breaks_off = False
            sys.unraisablehook = told
            over.set()
            if watcher is not None:
                watcher.join()
        if self._asked():
            raise Interrupted(f"Interrupted by {self.reason} before the first step; {what_is_left}.")

    def _poke(self, over: threading.Event) -> None:
        while not over.wait(_POKE_S):
            if self._asked() and self._breaks_off:
                self._poked = True
                signal.pthread_kill(threading.main_thread().ident, _SIGNALS[-1])  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._poked:
            self._poked = False
        else:
            if self.reason is not None and self.reason.startswith("signal"):
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self.reason = f"signal {signal.Signals(number).name}"
        if self._breaks_off:
            raise _BreakOff
