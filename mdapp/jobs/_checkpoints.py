"""Restart states of a run: what is in one, how often one is written, what a resumed run compares."""
from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

from mdapp.config import RunConfig
from mdapp.errors import RunFolderError
from mdapp.jobs._rewind import Rewinder
from mdapp.trajectory import RunFolder, ThermoWriter, TrajectoryWriter, save_checkpoint
from potentials.typed import to_mapping

SHARE = 0.02  # of the time of a run may be spent on its restart states
PHYSICAL = (
    "ensemble", "thermostat", "barostat", "temperature", "pressure", "timestep", "friction", "thermostat_time", "barostat_time", "flexible",
    "ensemble_option", "anneal", "cell_mask", "heavy_hydrogens", "constrain_hydrogens", "freeze", "replicas", "seed", "dtype", "charge",
    "multiplicity", "every", "guard", "on_event", "rewinds", "rewind_by", "long_range_cutoff", "electrostatics", "compile", "radial_table", "cuda_graphs",
)  # fmt: skip


def physical(config: RunConfig) -> dict[str, Any]:
    """The settings that a trajectory hangs on; a resumed run must have the same."""
    settings = to_mapping(config)
    return {name: settings[name] for name in PHYSICAL}


def refuse_changes(stored: dict[str, Any], config: RunConfig, where: object) -> None:
    """Refuse to go on with other settings than those of the restart state; one that was not known yet had its default."""
    defaults = {field.name: field.default for field in fields(config)}
    for name, value in physical(config).items():
        before = stored.get(name, defaults[name])
        if before != value:
            raise RunFolderError(f"{where}: {name} was {before!r} when the run began and is {value!r} now. A resumed run cannot change it; "
                                 "put it back, or start a new run from final.extxyz.")


class Checkpoints:
    """Writes restart states: called as often as frames are written, it writes so seldom that they cost little.

    The last state that was offered can always be written later (`flush`), with the lengths that the files had at that moment.
    """

    def __init__(self, folder: RunFolder, identity: dict[str, Any], trajectory: TrajectoryWriter, thermo: ThermoWriter, rewinder: Rewinder | None = None):
        self.folder, self.identity, self.trajectory, self.thermo, self.rewinder = folder, identity, trajectory, thermo, rewinder
        self._pending: dict[str, Any] | None = None
        self._written_at, self._cost_s = -1e9, 0.0

    def __call__(self, stepper: dict[str, Any], watches: dict[str, dict[str, Any]]) -> None:
        self._pending = self._whole(stepper, watches, self.trajectory.state(), self.thermo.checksum)
        if time.monotonic() - self._written_at >= self._cost_s / SHARE:
            self.flush()

    def _whole(self, stepper: dict[str, Any], watches: dict[str, dict[str, Any]], trajectory: dict[str, int], table: int | None) -> dict[str, Any]:
        rewinds = None if self.rewinder is None else self.rewinder.state()
        return {**self.identity, "stepper": stepper, "watches": watches, "trajectory": trajectory, "table": table, "rewinds": rewinds}

    def take_back(self, stepper: dict[str, Any], mark: dict[str, Any]) -> None:
        """Go back to a mark on the disk too. The restart states know fewer frames before there are fewer, so that a kill in between does no harm."""
        for _ in range(2):  # the one before the last as well
            self._pending = self._whole(stepper, mark["watches"], mark["trajectory"], mark.get("table"))
            self.flush()
        self.trajectory.rewind(mark["trajectory"])
        self.thermo.rewind(int(mark["stepper"]["step"]))

    def flush(self) -> None:
        """Write the last state offered, if it is not written yet. The frames that it knows are on the disk before it."""
        if self._pending is None:
            return
        begin = time.monotonic()
        self.trajectory.sync()
        self.thermo.sync()
        save_checkpoint(self.folder.path, self._pending)
        self._pending = None
        self._written_at = time.monotonic()
        self._cost_s = self._written_at - begin
