"""Where the time of a step goes: neighbour list, potential, integrator, guards and flight recorder."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ase import Atoms

from mdapp.dynamics._stepper import ASEStepper
from mdapp.trajectory.recorder import Recorder

RECORDED = 300  # steps, as in a run


class Parts:
    """The steps of one system with a clock on each part.

    Parameters
    ----------
    watches : guards that have begun; they look every `check_every` steps, as in a run.
    wait : called at the end of each part of the calculator: on a GPU it waits until the work is done.
    """

    def __init__(self, stepper: ASEStepper, watches: Sequence[Any], atoms: Atoms, check_every: int, wait: Callable[[], Any] | None = None):
        self.stepper, self.watches, self.check_every = stepper, watches, check_every
        self.recorder = Recorder(RECORDED, stepper.frame())
        self._wait = wait
        calculator = atoms.calc
        evaluator = getattr(calculator, "evaluator", None)
        self._undo: list[tuple[Any, str, bool, Any]] = []
        self._whole = self._put(calculator, "calculate")
        self._pairs = self._put(evaluator, "graph") if evaluator is not None else None
        self._model = self._put(evaluator, "derive") if evaluator is not None else None

    def _put(self, owner: Any, name: str) -> _Clock:
        clock = _Clock(getattr(owner, name), self._wait)
        self._undo.append((owner, name, name in vars(owner), clock.function))
        setattr(owner, name, clock)
        return clock

    def release(self) -> None:
        """Take the clocks off again."""
        for owner, name, own, function in self._undo:
            setattr(owner, name, function) if own else delattr(owner, name)
        self._undo = []

    def block(self, steps: int) -> dict[str, float]:
        """Make `steps` steps; milliseconds of each part in one step. They add up to the whole.

        Raises
        ------
        Exploded : the dynamics ran away.
        """
        clocks = {"neighbours": self._pairs, "potential": self._model, "calculator": self._whole}
        spent = dict.fromkeys(clocks, 0.0)
        stepping = watching = 0.0
        for _ in range(steps):
            before = {name: clock.seconds for name, clock in clocks.items() if clock is not None}
            begin = time.perf_counter()
            self.stepper.step()
            stepped = time.perf_counter()
            for name, seconds in before.items():
                spent[name] += clocks[name].seconds - seconds  # type: ignore[union-attr]
            self.recorder.record(self.stepper.step_number, self.stepper.time_fs, *self.stepper.glance())
            if self.stepper.step_number % self.check_every == 0:
                frame = self.stepper.frame()
                for watch in self.watches:
                    watch.look(frame)
            stepping += stepped - begin
            watching += time.perf_counter() - stepped
        own = stepping - spent["calculator"]
        if self._model is None:  # a calculator of others: one part
            parts = {"potential": spent["calculator"]}
        else:
            parts = {name: spent[name] for name in ("neighbours", "potential")} | {"conversion": spent["calculator"] - spent["neighbours"] - spent["potential"]}
        return {name: 1000 * seconds / steps for name, seconds in (parts | {"integrator": own, "guards_and_recorder": watching}).items()}


class _Clock:
    """A function that adds up its own time."""

    def __init__(self, function: Callable[..., Any], wait: Callable[[], Any] | None):
        self.function, self.wait, self.seconds = function, wait, 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        try:
            return self.function(*args, **options)
        finally:
            if self.wait is not None:
                self.wait()
            self.seconds += time.perf_counter() - begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)
