"""When to stop before the end: a signal, a clock limit, a file `STOP` in the run's folder.

The loop asks before each step, so the answer costs next to nothing; the file is looked for once a second. The first signal asks for a clean stop, a
second one ends the process at once, as it would have without us (what is on disk is whole at any moment).
"""
from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
_LOOK_S = 1.0


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

    def __call__(self) -> bool:
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

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.reason is not None and self.reason.startswith("signal"):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.reason = f"signal {signal.Signals(number).name}"
