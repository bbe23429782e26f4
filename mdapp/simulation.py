"""The one loop: step, watch, write.

An ASE dynamics is one thing that can step; the loop knows it only as a `Stepper`. Guards look at frames, sinks receive them; a frame
with a number in it that is none never reaches a sink. What is due depends on the number of the step alone, so that a run that was cut and
resumed does at each step what an uninterrupted one does.
"""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from mdapp.dynamics._stepper import ASEStepper, Exploded
from mdapp.frame import Frame
from mdapp.monitors._base import Verdict, Watch
from mdapp.monitors.finite import non_finite

__all__ = ["ASEStepper", "Event", "Exploded", "Outcome", "Stepper", "simulate"]

RECORDER_BYTES = 64 * 2**20
Sink = Callable[[Frame], None]


class Stepper(Protocol):
    """Something that can step."""

    @property
    def step_number(self) -> int: ...

    @property
    def time_fs(self) -> float: ...

    def step(self) -> None:
        """One step. Raises `Exploded` when the numbers have run away."""
        ...

    def frame(self, *, full: bool = False) -> Frame:
        """The present moment, with copies of the arrays. `full`: with stress and pressure too, where the potential gives them."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything needed to go on to the same bits: arrays, numbers and text in one flat mapping."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` returned."""
        ...


@dataclass(frozen=True)
class Event:
    """A verdict that was reported."""

    step: int
    time_fs: float
    verdict: Verdict


@dataclass(frozen=True)
class Outcome:
    """Why the loop ended, and what is known at that moment."""

    reason: Literal["finished", "stopped", "guard"]
    step: int
    last_sound: Frame | None  # the last frame that every watch let pass
    events: tuple[Event, ...] = ()  # as reported, floods left out
    warnings: dict[str, int] = field(default_factory=dict)  # how often each monitor warned, floods counted
    recorded: tuple[Frame, ...] = ()  # at full rate, up to the event; empty unless a guard stopped the run

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(e.verdict for e in self.events)


def simulate(
    stepper: Stepper,
    steps: int,
    watches: Sequence[Watch] = (),
    sinks: Sequence[Sink] = (),
    every: int = 100,
    check_every: int = 10,
    checkpoint_every: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    on_checkpoint: Callable[[dict[str, Any], dict[str, dict[str, Any]]], None] | None = None,
    on_event: Callable[[Event, Frame], None] | None = None,
    on_check: Callable[[Frame], None] | None = None,
    record: int = 200,
    warn_every: int = 10_000,
    stop_on_guard: bool = True,
    resumed: bool | None = None,
) -> Outcome:
    """Steps until `steps` have been made in all, something stops it, or a guard does.

    Parameters
    ----------
    stepper : stands at its first step (0, or where a restart file put it).
    steps : the total, steps made before a restart included.
    watches : guards that have begun; on a restart their memory is put back before.
    sinks : called with the frames of step 0, of every `every` steps and of the last one. A frame at which a restart begins was written
        before the cut and is not handed out again.
    check_every : steps between two looks of the guards. They also look at each frame that a sink or a checkpoint is to have.
    checkpoint_every : steps between two calls of `on_checkpoint`; None: at the end only.
    should_stop : asked before each step; True ends the loop at once, at a whole step.
    on_checkpoint : receives the stepper's state and, by monitor, the watches' states; after the sinks, and at the end unless a guard
        stopped the run.
    on_event : receives what the guards say and the frame that they say it of; for a warning, once per monitor in `warn_every` steps.
    on_check : receives each frame that was looked at and passed (for a live line).
    record : steps at full rate that the flight recorder holds; fewer for large systems (64 MiB in all), none for 0.
    stop_on_guard : False: a guard's "stop" is reported and the run goes on, unless its numbers have run away.
    resumed : the frame at which the stepper stands was judged and written in an earlier run. None: so it is, unless that is step 0.

    Returns
    -------
    The `Outcome`; its reason is "finished", "stopped" (by `should_stop`) or "guard".

    Raises
    ------
    ValueError : a period below 1, or a total below the step at which the stepper stands.
    """
    for name, period in (("every", every), ("check_every", check_every), ("checkpoint_every", 1 if checkpoint_every is None else checkpoint_every), ("warn_every", warn_every)):
        if period < 1:
            raise ValueError(f"{name} must be at least 1, got {period}.")
    if steps < stepper.step_number:
        raise ValueError(f"steps is the total: {steps} asked for, but {stepper.step_number} are done already.")
    log = _Log(on_event, warn_every, stop_on_guard)
    recorder: deque[Frame] = deque(maxlen=0)
    first = stepper.step_number
    resumed = first > 0 if resumed is None else resumed
    saved = last_sound = None

    def save() -> None:
        nonlocal saved
        if on_checkpoint is not None and saved != stepper.step_number:
            on_checkpoint(stepper.state(), {w.monitor: w.state() for w in watches})
        saved = stepper.step_number

    def outcome(reason: Literal["finished", "stopped", "guard"]) -> Outcome:
        recorded = tuple(recorder) if reason == "guard" else ()
        return Outcome(reason, stepper.step_number, last_sound, tuple(log.events), dict(log.warnings), recorded)

    while True:
        n = stepper.step_number
        fresh = n > first or not resumed
        writes = fresh and (n % every == 0 or n == steps)
        saves = fresh and checkpoint_every is not None and n % checkpoint_every == 0
        looks = fresh and (n % check_every == 0 or writes or saves)
        if looks or record or n == first:
            frame = stepper.frame(full=writes)
            if n == first:
                recorder = deque(maxlen=_recorder_size(record, frame))
            recorder.append(frame)
        if looks:
            if not log.passes(frame, watches):
                return outcome("guard")
            if on_check is not None:
                on_check(frame)
        if looks or n == first:
            last_sound = frame
        if writes:
            for sink in sinks:
                sink(frame)
        if saves:
            save()
        if n == steps:
            save()
            return outcome("finished")
        if should_stop():
            if not log.passes(stepper.frame(), ()):
                return outcome("guard")
            save()
            return outcome("stopped")
        try:
            stepper.step()
        except Exploded as explosion:
            verdict = Verdict("stop", "finite", str(explosion), explosion.atoms, explosion.value, explosion.limit)
            log.report(verdict, last_sound, stepper.step_number, stepper.time_fs)
            return outcome("guard")


def _recorder_size(record: int, frame: Frame) -> int:
    """As many frames as fit."""
    size = frame.positions.nbytes + frame.momenta.nbytes + frame.forces.nbytes
    return min(record, max(1, RECORDER_BYTES // max(size, 1)))


class _Log:
    """What the guards have said, floods left out."""

    def __init__(self, on_event: Callable[[Event, Frame], None] | None, warn_every: int, stop_on_guard: bool):
        self.on_event = on_event
        self.warn_every = warn_every
        self.stop_on_guard = stop_on_guard
        self.events: list[Event] = []
        self.warnings: Counter[str] = Counter()
        self._quiet_until: dict[tuple[str, str], int] = {}

    def passes(self, frame: Frame, watches: Sequence[Watch]) -> bool:
        """Lets all watches look. False when the run must end."""
        verdict = non_finite(frame)
        if verdict.level == "stop":  # the watches are spared such a frame
            self.report(verdict, frame, frame.step, frame.time_fs)
            return False
        stops = False
        for watch in watches:
            verdict = watch.look(frame)
            if verdict.level == "ok":
                continue
            if verdict.level == "warn":
                self.warnings[verdict.monitor] += 1
            elif self.stop_on_guard:
                stops = True
                self.report(verdict, frame, frame.step, frame.time_fs)
                continue
            if frame.step >= self._quiet_until.get((verdict.monitor, verdict.level), 0):
                self._quiet_until[verdict.monitor, verdict.level] = frame.step + self.warn_every
                self.report(verdict, frame, frame.step, frame.time_fs)
        return not stops

    def report(self, verdict: Verdict, frame: Frame, step: int, time_fs: float) -> None:
        event = Event(step, time_fs, verdict)
        self.events.append(event)
        if self.on_event is not None:
            self.on_event(event, frame)
