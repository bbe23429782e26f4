"""What a job shows: a header, a live line, a closing block.

On a terminal the live line is redrawn in place; elsewhere (a file, a pipe, a batch system) it becomes plain lines without control characters, one
every ten seconds or every tenth of the way, whichever is rarer to come. A reader who goes away (`mdapp run | head`) does not stop a job.
"""
from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from mdapp.errors import harmless

_REDRAW_S = 0.25
_PLAIN_LINE_S = 10.0
_TENTH_S = 1.0  # a short job's tenths do not follow each other faster
_STYLES = {
    "sound": "bold green", "finished": "bold green", "ready": "bold green", "suspect": "bold yellow", "too short": "bold yellow", "interrupted": "bold yellow",
    "stopped": "bold red", "broken": "bold red", "not converged": "bold red",
}  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    steps: int
    time_ps: float
    temperature_K: float
    drift_meV: float | None  # of the conserved energy, per atom and ps; None before there is one
    guards: str  # "ok", or the names that have warned
    ms_per_step: float
    ns_per_day: float
    eta_s: float


class Screen:
    """A place to show a job on.

    Parameters
    ----------
    quiet : show nothing but warnings.
    verbose : show details too.
    to_stderr : leave stdout to a machine-readable summary.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, to_stderr: bool = False, stream: IO[str] | None = None):
        self.quiet, self.verbose = quiet, verbose
        self._stream = stream or (sys.stderr if to_stderr else sys.stdout)
        self._terminal = bool(getattr(self._stream, "isatty", lambda: False)())
        self._console: Any = None
        self._live: Any = None
        self._shown_at = 0.0
        self._shown_tenth = 0

    def header(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Who acts on what: a title and rows of (label, sentence)."""
        if self.quiet:
            return
        self._print(title, "bold")
        for label, text in rows:
            self._print(f"  {label:<10} {text}")

    def say(self, sentence: str) -> None:
        """One line of news."""
        if not self.quiet:
            self._print(sentence)

    def detail(self, sentence: str) -> None:
        """One line for those who asked for more (-v)."""
        if self.verbose and not self.quiet:
            self._print(sentence, "dim")

    def warn(self, sentence: str) -> None:
        """One line that must not be missed; shown even when quiet."""
        self._print(f"warning: {sentence}", "yellow", sys.stderr if self.quiet else None)

    def due(self, fraction: float = 0.0) -> bool:
        """Whether a live line would be shown now: ask before working one out. `fraction` of the way done, 0 to 1."""
        if self.quiet:
            return False
        waited = time.monotonic() - self._shown_at
        if self._terminal:
            return waited >= _REDRAW_S
        return waited >= _PLAIN_LINE_S or (waited >= _TENTH_S and int(10 * fraction) != self._shown_tenth)

    def live(self, line: str, fraction: float = 0.0, *, last: bool = False) -> None:
        """The live line, redrawn or, without a terminal, printed now and then; the `last` one is always shown."""
        if self.quiet or not (last or self.due(fraction)):
            return
        if self._terminal:
            self._redraw(line)
        else:
            self._print(line)
        self._shown_at, self._shown_tenth = time.monotonic(), int(10 * fraction)

    def progress(self, p: Progress) -> None:
        """Where a run stands, as the live line."""
        if self.quiet:
            return
        self.live(progress_line(p, self._rich().width if self._terminal else None), p.step / max(p.steps, 1), last=p.step >= p.steps)

    def close(self, verdict: str, why: str, rows: Sequence[tuple[str, str]], next_command: str | None = None) -> None:
        """The end: the verdict and its reason, numbers, and what to type next."""
        self.end_live()
        if self.quiet:
            return
        self._print(f"{verdict}: {why}", _STYLES.get(verdict, "bold"))
        for label, text in rows:
            self._print(f"  {label:<10} {text}")
        if next_command:
            self._print(f"  {'next':<10} {next_command}", "cyan")

    def end_live(self) -> None:
        """Leave the live line where it is and go on below it."""
        live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            except OSError:
                self.quiet = True

    def _redraw(self, line: str) -> None:
        from rich.live import Live
        from rich.text import Text

        try:
            text = Text(line, overflow="ellipsis", no_wrap=True)
            if self._live is None:
                self._live = Live(text, console=self._rich(), auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
                self._live.start()
            self._live.update(text, refresh=True)
        except OSError:
            self.quiet, self._live = True, None

    def _print(self, text: str, style: str | None = None, stream: IO[str] | None = None) -> None:
        text = harmless(text)
        try:
            if stream is None and self._terminal:
                self._rich().print(text, style=style, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=stream or self._stream, flush=True)
        except (OSError, ValueError):  # the reader has gone away, or the stream is closed
            self.quiet = True

    def _rich(self) -> Any:
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self._stream)
        return self._console


def silent() -> Screen:
    """A screen that shows nothing but warnings: what Python callers get."""
    return Screen(quiet=True)


def progress_line(p: Progress, width: int | None = None) -> str:
    """'12000/20000  6.000 ps  T 301 K  drift +0.020 meV/atom/ps  guards ok  8.1 ms/step  5.33 ns/day  1:05 left'

    In a narrow terminal the parts that matter least are left out: first ms/step, then the unit of the drift, then the drift.
    """
    number = "-" if p.drift_meV is None else f"{p.drift_meV:+.{3 if abs(p.drift_meV) < 10 else 0}f}"
    drifts = (f"drift {number}" + (" meV/atom/ps" if p.drift_meV is not None else ""), f"drift {number}", "")
    speeds = (f"{p.ms_per_step:.3g} ms/step", "")
    for speed, drift in ((speeds[0], drifts[0]), (speeds[1], drifts[0]), (speeds[1], drifts[1]), (speeds[1], drifts[2])):
        parts = (f"{p.step:>{len(str(p.steps))}}/{p.steps}", f"{p.time_ps:.3f} ps", f"T {p.temperature_K:.0f} K", drift, f"guards {p.guards}", speed,
                 f"{p.ns_per_day:.3g} ns/day", f"{shown_duration(p.eta_s)} left")
        line = "  ".join(part for part in parts if part)
        if width is None or len(line) < width:
            break
    return line


def shown_duration(seconds: float) -> str:
    """Real time as a clock shows it: '0:07', '1:05:00', '2 d 03:00:00'."""
    whole = int(seconds + 0.5)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}:{secs:02d}"
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
