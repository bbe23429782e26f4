"""The one loop: step, watch, write.

An ASE dynamics is one thing that can step; the loop knows it only as a `Stepper`. Guards look at frames, sinks receive them; a frame
with a number in it that is none never reaches a sink. What is due depends on the number of the step alone, so that a run that was cut and
resumed does at each step what an uninterrupted one does.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from mdapp.dynamics._stepper import ASEStepper, Exploded
from mdapp.frame import Frame
from mdapp.monitors._base import Verdict, Watch
from mdapp.monitors.finite import non_finite
from mdapp.trajectory.recorder import Recorder

__all__ = ["ASEStepper", "Alarms", "Event", "Exploded", "Outcome", "Stepper", "simulate"]

AFTERMATH = 50  # steps that the flight recorder goes on after an event that ends nothing
Saved = Callable[[dict[str, Any], dict[str, dict[str, Any]]], None]
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

    def glance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Positions, momenta, cell and potential energy of the present moment, not copied."""
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
    recorded: tuple[Frame, ...] = ()  # the last steps at full rate, the event included; empty unless a guard stopped the run
    cause: Event | None = None  # the guard that stopped the run; where several did at one look, the first that names atoms. None where none did

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
    on_checkpoint: Saved | None = None,
    mark_every: int | None = None,
    on_mark: Saved | None = None,
    on_event: Callable[[Event, Frame], None] | None = None,
    on_recording: Callable[[Event, tuple[Frame, ...]], None] | None = None,
    on_check: Callable[[Frame], None] | None = None,
    alarms: Alarms | None = None,
    record: int = 300,
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
    check_every : steps between two looks of the guards. They also look at each frame that a sink, a mark or a checkpoint is to have.
    checkpoint_every : steps between two calls of `on_checkpoint`; None: at the end only.
    should_stop : asked before each step; True ends the loop at once, at a whole step.
    on_checkpoint : receives the stepper's state and, by monitor, the watches' states; after the sinks, and at the end unless a guard
        stopped the run.
    mark_every, on_mark : the same every so many steps and never elsewhere, before a checkpoint; it may refine the stepper.
    on_event : receives what the guards say and the frame that they say it of; a warning as often as `alarms` lets it through.
    on_recording : receives what was recorded around an event that did not end the run, `AFTERMATH` steps later or at the end.
    on_check : receives each frame that was looked at and passed (for a live line).
    alarms : the memory of what was said; its state is handed out beside the watches'.
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
    for name, period in (("every", every), ("check_every", check_every), ("checkpoint_every", checkpoint_every), ("mark_every", mark_every)):
        if period is not None and period < 1:
            raise ValueError(f"{name} must be at least 1, got {period}.")
    if steps < stepper.step_number:
        raise ValueError(f"steps is the total: {steps} asked for, but {stepper.step_number} are done already.")
    alarms = Alarms() if alarms is None else alarms
    log = _Log(alarms, on_event, stop_on_guard)
    first = stepper.step_number
    resumed = first > 0 if resumed is None else resumed
    box = _Box(stepper, record, on_recording)
    saved = last_sound = None

    def states() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        return stepper.state(), {w.monitor: w.state() for w in (*watches, alarms)}

    def save() -> None:
        nonlocal saved
        if on_checkpoint is not None and saved != stepper.step_number:
            on_checkpoint(*states())
        saved = stepper.step_number

    def outcome(reason: Literal["finished", "stopped", "guard"]) -> Outcome:
        recorded = box.close(ended=reason == "guard")
        return Outcome(reason, stepper.step_number, last_sound, tuple(log.events), dict(log.warnings), recorded, log.cause)

    while True:
        n = stepper.step_number
        fresh = n > first or not resumed
        writes = fresh and (n % every == 0 or n == steps)
        marks = fresh and mark_every is not None and n % mark_every == 0
        saves = fresh and checkpoint_every is not None and n % checkpoint_every == 0
        looks = fresh and (n % check_every == 0 or writes or marks or saves)
        box.record(n)
        if looks or n == first:
            frame = stepper.frame(full=writes)
        if looks:
            passed = log.passes(frame, watches)
            box.heard(log.events)
            if not passed:
                return outcome("guard")
            if on_check is not None:
                on_check(frame)
        if looks or n == first:
            last_sound = frame
        if writes:
            for sink in sinks:
                sink(frame)
        if marks and on_mark is not None:
            on_mark(*states())
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
            log.ends(verdict, last_sound, stepper.step_number, stepper.time_fs)
            return outcome("guard")


class Alarms:
    """What has been said of late: the same thing is told once in `every` steps. Its memory is kept with that of the watches."""

    monitor = "alarms"

    def __init__(self, every: int = 10_000):
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        self.every = every
        self._quiet_until: dict[str, int] = {}

    def lets_through(self, verdict: Verdict, step: int) -> bool:
        """Is it time to say so (again)?"""
        key = f"{verdict.monitor}/{verdict.level}" + (f"/{verdict.topic}" if verdict.topic else "")
        if step < self._quiet_until.get(key, 0):
            return False
        self._quiet_until[key] = step + self.every
        return True

    def state(self) -> dict[str, Any]:
        return {"quiet_until": dict(self._quiet_until)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._quiet_until = {str(key): int(step) for key, step in state["quiet_until"].items()}


class _Box:
    """The flight recorder at work: it hands out what it holds a few steps after an event."""

    def __init__(self, stepper: Stepper, size: int, hand_out: Callable[[Event, tuple[Frame, ...]], None] | None):
        self.stepper, self.hand_out = stepper, hand_out
        self.recorder = Recorder(size, stepper.frame()) if size else None
        self._heard = 0
        self._event: Event | None = None

    def record(self, step: int) -> None:
        if self.recorder is None:
            return
        self.recorder.record(step, self.stepper.time_fs, *self.stepper.glance())
        if self._event is not None and step >= self._event.step + AFTERMATH:
            self._give()

    def heard(self, events: Sequence[Event]) -> None:
        """What the guards have said so far."""
        if len(events) > self._heard and self._event is None:
            self._event = events[self._heard]
        self._heard = len(events)

    def close(self, ended: bool) -> tuple[Frame, ...]:
        """The run has ended; the frames up to its end where a guard ended it."""
        if ended:
            return () if self.recorder is None else self.recorder.frames()
        self._give()
        return ()

    def _give(self) -> None:
        if self._event is not None and self.hand_out is not None and self.recorder is not None:
            self.hand_out(self._event, self.recorder.frames())
        self._event = None


class _Log:
    """Lets the watches look and reports what they say, floods left out."""

    def __init__(self, alarms: Alarms, on_event: Callable[[Event, Frame], None] | None, stop_on_guard: bool):
        self.alarms = alarms
        self.on_event = on_event
        self.stop_on_guard = stop_on_guard
        self.events: list[Event] = []
        self.cause: Event | None = None
        self.warnings: Counter[str] = Counter()

    def passes(self, frame: Frame, watches: Sequence[Watch]) -> bool:
        """Lets all watches look. False when the run must end."""
        verdict = non_finite(frame)
        if verdict.level == "stop":  # the watches are spared such a frame
            self.ends(verdict, frame, frame.step, frame.time_fs)
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
                self.ends(verdict, frame, frame.step, frame.time_fs)
                continue
            if self.alarms.lets_through(verdict, frame.step):
                self.report(verdict, frame, frame.step, frame.time_fs)
        return not stops

    def ends(self, verdict: Verdict, frame: Frame, step: int, time_fs: float) -> None:
        """Reports what ends the run. Its cause is the first such thing that names atoms, or the first where none does."""
        self.report(verdict, frame, step, time_fs)
        if self.cause is None or (verdict.atoms and not self.cause.verdict.atoms):
            self.cause = self.events[-1]

    def report(self, verdict: Verdict, frame: Frame, step: int, time_fs: float) -> None:
        event = Event(step, time_fs, verdict)
        self.events.append(event)
        if self.on_event is not None:
            self.on_event(event, frame)
