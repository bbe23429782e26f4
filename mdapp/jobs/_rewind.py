"""Going back: after an alarm the run returns to a sound moment and takes the stretch again, in smaller steps and with new noise.

A mark (the whole restart state) is taken every 200 steps, and the last few are kept. An alarm leads back to the last mark at least 100 steps
before it, and one mark further each time that it comes again. From there each step is made in twice as many parts: the numbers of steps, their times and the
frames to be written stay what they are, and so does the bookkeeping of heat. 1000 steps after the alarm the parts are doubled again. The noise of a thermostat is
another one; where an ensemble has none, the momenta get new directions and keep their kinetic energy, so that the conserved energy is kept too. What was written
after the mark is taken back. Everything here is counted in steps and is part of the restart state, so that an interrupted run meets the same alarms and goes back
to the same marks.
"""
from __future__ import annotations

from collections import deque
from typing import Any, Literal

import numpy as np

from mdapp.dynamics._stepper import ASEStepper
from mdapp.simulation import Alarms, Event

MARK_EVERY = 200  # steps
MARGIN = 100  # steps between an alarm and the moment that is still trusted
SETTLED = 1000  # steps after an alarm until the step is made longer again
MARKS = 6
MOST_SUBSTEPS = 16


class Rewinder:
    """Keeps the marks of one run and leads back to them.

    Parameters
    ----------
    limit : how often it may go back in the whole run.
    seed : of the run; the noise after a return follows from it and from the number of the return.
    by : what is different after a return.
    """

    def __init__(self, stepper: ASEStepper, watches: list[Any], alarms: Alarms, limit: int, seed: int, by: Literal["both", "steps", "noise"] = "both"):
        self.stepper, self.watches, self.alarms, self.limit, self.seed, self.by = stepper, watches, alarms, limit, seed, by
        self.history: list[dict[str, Any]] = []
        self._marks: deque[dict[str, Any]] = deque(maxlen=MARKS)
        self._coarser_at = 0  # step from which the step may be made longer
        self._again = 0  # returns in a row for one alarm, or for others on the way to it
        self._last_alarm = -1

    def mark(self, state: dict[str, Any], watches: dict[str, dict[str, Any]], trajectory: dict[str, int], table: int | None = None) -> None:
        """A sound moment, with the lengths of the trajectory and the checksum of the table. Where the last alarm is far behind, steps become longer again from here on."""
        if self.stepper.substeps > 1 and self.stepper.step_number >= self._coarser_at:
            self.stepper.refine(self.stepper.substeps // 2)
            self._coarser_at = self.stepper.step_number + SETTLED
            state = self.stepper.state()
        self._marks.append({"stepper": state, "watches": watches, "trajectory": trajectory, "table": table})

    @property
    def is_exhausted(self) -> bool:
        """No return is left, or the last one led by the same steps from the same mark to the same alarm as the one before: so will the next."""
        ways = [(e["to_step"], e["substeps"], e["step"]) for e in self.history[-2:]]
        repeats = self.by == "steps" and len(ways) == 2 and ways[0] == ways[1]
        return repeats or len(self.history) >= self.limit or not self._marks

    def back(self, event: Event) -> dict[str, Any]:
        """Puts stepper, watches and alarms back to a mark, with smaller steps and new noise; returns the mark."""
        step = event.step
        again = step <= self._last_alarm + SETTLED and bool(self.history)
        self._again = self._again + 1 if again else 0
        self._last_alarm = max(step, self._last_alarm) if again else step
        while len(self._marks) > 1 and self._marks[-1]["stepper"]["step"] > step - MARGIN:
            self._marks.pop()
        for _ in range(min(self._again, len(self._marks) - 1)):
            self._marks.pop()
        mark = self._marks[-1]
        before = self.stepper.substeps
        self.stepper.restore(mark["stepper"])
        for watch in (*self.watches, self.alarms):
            watch.restore(mark["watches"][watch.monitor])
        substeps = self.stepper.substeps if self.by == "noise" else min(MOST_SUBSTEPS, 2 * max(before, self.stepper.substeps))
        self.stepper.refine(substeps)
        if self.by != "steps":
            noise = np.random.default_rng(np.random.SeedSequence([self.seed, len(self.history) + 1]))
            self.stepper.rng.bit_generator.state = noise.bit_generator.state
            if getattr(self.stepper.ensemble, "deterministic", False):
                self.stepper.turn_momenta()
        self._coarser_at = self._last_alarm + SETTLED
        v = event.verdict
        self.history.append({"step": step, "time_fs": event.time_fs, "to_step": self.stepper.step_number, "substeps": substeps, "monitor": v.monitor,
                             "reason": v.reason, "atoms": [int(a) for a in v.atoms[:20]]})
        return mark

    def state(self) -> dict[str, Any]:
        """For the restart state."""
        return {"marks": list(self._marks), "history": list(self.history), "coarser_at": self._coarser_at, "again": self._again, "last_alarm": self._last_alarm}

    def restore(self, state: dict[str, Any]) -> None:
        self._marks = deque(state["marks"], maxlen=MARKS)
        self.history = [dict(entry) for entry in state["history"]]
        self._coarser_at, self._again, self._last_alarm = (int(state[name]) for name in ("coarser_at", "again", "last_alarm"))
