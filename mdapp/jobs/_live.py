"""The live line of a run: where it stands, how fast it goes, what the conserved energy does."""
from __future__ import annotations

import time

from mdapp.frame import Frame
from mdapp.screen import Progress, Screen


class Live:
    """Receives each frame that the guards have passed; shows a line when one is due. The drift is a straight line through all of them."""

    def __init__(self, screen: Screen, steps: int, first_step: int, timestep_fs: float, n_atoms: int):
        self.screen, self.steps, self.first, self.timestep_fs, self.n_atoms = screen, steps, first_step, timestep_fs, n_atoms
        self.begun = time.perf_counter()
        self.alarms: set[str] = set()
        self.redone = 0  # steps that were made and taken back
        self._forget()

    def _forget(self) -> None:
        self._n = 0
        self._t = self._e = self._tt = self._te = 0.0  # sums over times in ps and energies in meV per atom, from the first frame
        self._origin = 0.0, 0.0

    def back(self, from_step: int, to_step: int) -> None:
        """The run goes back: what it has drifted so far is forgotten, what it has worked is not."""
        self.redone += from_step - to_step
        self._forget()

    def __call__(self, frame: Frame) -> None:
        if self._n == 0:
            self._origin = frame.time_fs, frame.conserved_energy
        t = (frame.time_fs - self._origin[0]) / 1000
        e = 1000 * (frame.conserved_energy - self._origin[1]) / self.n_atoms
        self._n += 1
        self._t, self._e, self._tt, self._te = self._t + t, self._e + e, self._tt + t * t, self._te + t * e
        if frame.step - self.first + self.redone > 0 and (frame.step == self.steps or self.screen.due(frame.step / self.steps)):
            self.screen.progress(self._progress(frame))

    def _progress(self, frame: Frame) -> Progress:
        seconds = (time.perf_counter() - self.begun) / (frame.step - self.first + self.redone)
        guards = f"ALARM {', '.join(sorted(self.alarms))}" if self.alarms else "ok"
        return Progress(frame.step, self.steps, frame.time_fs / 1000, frame.temperature_K, self.drift_meV(), guards, 1000 * seconds,
                        self.timestep_fs * 1e-6 * 86400 / seconds, seconds * (self.steps - frame.step))

    def drift_meV(self) -> float | None:
        """Slope of the conserved energy in meV per atom and ps; None before ten frames."""
        spread = self._n * self._tt - self._t**2
        return (self._n * self._te - self._t * self._e) / spread if self._n >= 10 and spread > 0 else None
