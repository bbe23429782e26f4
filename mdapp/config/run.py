"""What a trajectory was asked to be: `mdapp run`, `check` and `resume`."""
from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, replace
from typing import Literal

from mdapp.config.words import (
    CHARGE, COMPILE, CUDA_GRAPHS, DEVICE, DTYPE, ELECTROSTATICS, LONG_RANGE, MULTIPLICITY, POTENTIAL, RADIAL_TABLE, THREADS,
    Dtype, check_common, check_guard_word, ensemble_names, pairs,
)  # fmt: skip
from mdapp.quantities import quantity
from mdapp.record import Record, chosen, nearest, option, positive, whole
from mdapp.schedule import Schedule, parse_schedule
from mdapp.selection import parse_mask, selection_items


@dataclass(frozen=True)
class RunConfig(Record):
    """A trajectory: structure, potential, ensemble, length, what is written and what is watched."""

    structure: str = option(help="The start: xyz, extxyz, pdb, or any other format that is listed on refusal.")
    potential: tuple[str, ...] = option(help=POTENTIAL, short="p", metavar="P")
    ensemble: str = option("nvt", "nve, nvt or npt, or the name of an installed ensemble.")
    thermostat: str | None = option(None, "langevin, csvr (also called bussi), nose-hoover (nhc) or andersen; langevin when not given.")
    barostat: str | None = option(None, "langevin, mtk or c-rescale; langevin when not given.")
    temperature: float = option(300.0, "Temperature of the start and of the thermostat.", unit="K")
    pressure: float | None = option(None, "Target pressure with npt; 1 bar when not given.", unit="bar")
    timestep: float = option(0.5, "Time step.", unit="fs")
    steps: int | None = option(None, "Number of steps.")
    time: float | None = option(None, "Length of the run, in place of --steps; 10 ps, or the length of --anneal, when neither is given.", unit="fs")
    anneal: tuple[str, ...] = option(
        (), "A schedule for the thermostat: temperatures and the times to get there, one after the other, such as '500K 20ps, 500K 10ps, 300K 40ps'; it "
        "begins at --temperature.", metavar="SCHEDULE")
    friction: float = option(1.0, "Friction of the Langevin thermostat; collisions of an atom in a picosecond with andersen.", unit="1/ps")
    thermostat_time: float = option(100.0, "Relaxation time of the csvr and nose-hoover thermostats, and of the thermostat in mtk and c-rescale.", unit="fs")
    barostat_time: float = option(1000.0, "Relaxation time of the barostat.", unit="fs")
    flexible: bool = option(False, "With npt, let the shape of the cell move too, not its volume alone (for solids).")
    cell_mask: str | None = option(
        None, "With npt, which of the cell vectors a, b, c may change, each by itself: 1,1,0 freezes c. With --flexible the free ones shear too.",
        metavar="1,1,0")
    heavy_hydrogens: float | None = option(None, "Mass of hydrogens, taken from the atoms that they are bonded to: 3 allows steps of 1 fs.", unit="amu")
    constrain_hydrogens: bool = option(False, "Hold the bonds of hydrogens at their lengths (nve, nvt, and npt with c-rescale); allows steps of 2 fs.")
    freeze: tuple[str, ...] = option((), "Atoms that stay where they are: indices from 0, ranges, elements, heavy; such as 0-9,15,C.", metavar="ATOMS")
    ensemble_option: tuple[str, ...] = option((), "key=value for an installed ensemble with options of its own; may be repeated.", metavar="KEY=VALUE")
    replicas: int = option(1, "Runs of the same system in folders r000, r001, ... of one, with the seeds SEED, SEED + 1, ...")
    parallel: int | None = option(None, "How many replicas run at the same time; one on a GPU, else as many as the free cores carry, when not given.")
    seed: int | None = option(None, "Seed of velocities and thermostat; drawn and written down when not given.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, DTYPE)
    charge: int | None = option(None, CHARGE)
    multiplicity: int | None = option(None, MULTIPLICITY)
    output: str | None = option(None, "The run's folder; runs/STRUCTURE-ENSEMBLE-TEMPERATURE when not given.", short="o", metavar="FOLDER")
    every: int = option(100, "A frame is written every so many steps; with a unit (50fs), every so much time.", metavar="N|TIME", duration=True)
    guard: tuple[str, ...] = option(
        ("on",), "on (all), off, NAME (this one alone), no-NAME, or NAME:key=value,... for its thresholds; may be repeated. Names: finite, temperature, extent, bond-graph, "
        "closest-contact, energy-drift, largest-force, chirality, peptide-bond, ring, uncertainty, extrapolation, centre-of-mass.", metavar="GUARD")
    on_event: Literal["stop", "warn", "rewind"] = option(
        "stop", "What a guard's alarm does: stop the run, warn and go on, or rewind: back to a sound moment, then on in smaller steps.")
    rewinds: int = option(5, "How often --on-event rewind may go back in one run; then the run stops.")
    rewind_by: Literal["both", "steps", "noise"] = option("both", "What is different after a rewind: smaller steps, new noise (new directions of the momenta, where an "
                                                          "ensemble has no noise), or both.")
    relax_start: bool = option(True, "Relax a strained start for a few steps before velocities are drawn.")
    wall_time: float | None = option(None, "Stop cleanly before this much real time has passed: 3600, 2h, 23:50:00.", unit="s")
    threads: int | None = option(None, THREADS)
    long_range_cutoff: float | str | None = option(None, LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, COMPILE)
    radial_table: bool = option(True, RADIAL_TABLE)
    cuda_graphs: bool = option(True, CUDA_GRAPHS)

    def check(self) -> None:
        check_common(self)
        positive(self, "timestep", "temperature", "friction", "thermostat_time", "barostat_time", "wall_time")
        if self.timestep > 20:
            raise ValueError(f"timestep must be at most 20 fs, got {self.timestep:g}; bonds to hydrogen need 0.5 to 1 fs.")
        if self.temperature > 1e5:
            raise ValueError(f"temperature must be at most 100000 K, got {self.temperature:g}.")
        self._check_ensemble()
        self._check_system()
        self._check_length()
        whole(self, "replicas", 1, 1000)
        whole(self, "parallel", 1, 1000)
        whole(self, "seed", 0, 2**63 - 1)
        if self.seed is not None and self.seed + self.replicas > 2**63:
            raise ValueError(f"seed = {self.seed} leaves no seeds for replicas = {self.replicas}: the last would be above {2**63 - 1}. Give a smaller seed.")
        if self.parallel is not None and self.replicas == 1:
            raise ValueError(f"parallel = {self.parallel} is given, but there is one replica only. Leave it out, or give --replicas.")
        if self.on_event not in ("stop", "warn", "rewind"):
            raise ValueError(f"on_event must be stop, warn or rewind, got '{self.on_event}'.")
        whole(self, "rewinds", 1, 10_000)
        if self.rewind_by not in ("both", "steps", "noise"):
            raise ValueError(f"rewind_by must be both, steps or noise, got '{self.rewind_by}'.")
        for word in self.guard:
            check_guard_word(word)
        pairs(self.ensemble_option, "ensemble_option")

    def _check_ensemble(self) -> None:
        ensemble = self.ensemble
        known = ensemble_names()
        if ensemble not in ("nve", "nvt", "npt") and ensemble not in known:
            names = ["nve", "nvt", "npt", *(name for name in known if name != "nve")]
            raise ValueError(f"ensemble '{ensemble}' is unknown{nearest(ensemble, names)}; known: {', '.join(names)}.")
        if ensemble == "nvt":
            thermostat = {"bussi": "csvr", "nhc": "nose-hoover"}.get(self.thermostat or "", self.thermostat or "langevin")
            self._set("thermostat", chosen("thermostat", thermostat, [n[4:] for n in known if n.startswith("nvt-")]))
        elif self.thermostat is not None and ensemble in ("nve", "npt"):
            why = "nve has no thermostat" if ensemble == "nve" else "with npt the barostat brings its own thermostat"
            raise ValueError(f"thermostat = '{self.thermostat}' does not fit ensemble '{ensemble}': {why}. Leave it out, or use ensemble nvt.")
        if ensemble == "npt":
            asked = {"crescale": "c-rescale"}.get(self.barostat or "", self.barostat or "langevin")
            self._set("barostat", chosen("barostat", asked, [n[4:] for n in known if n.startswith("npt-")]))
            self._set("pressure", 1.0 if self.pressure is None else self.pressure)
        elif ensemble in ("nve", "nvt"):
            for name in ("barostat", "pressure", "flexible", "cell_mask"):
                if getattr(self, name):
                    raise ValueError(f"{name} is given, but ensemble '{ensemble}' keeps the cell as it is. Leave it out, or use ensemble npt.")

    def _check_system(self) -> None:
        """Masks, schedules, masses and what is held: what can be said before the structure is known."""
        if self.cell_mask is not None:
            parse_mask(self.cell_mask)
        if self.anneal:
            if self.ensemble == "nve":
                raise ValueError("anneal is given, but ensemble 'nve' has no thermostat that could follow it. Leave it out, or use ensemble nvt.")
            parse_schedule(self.anneal, self.temperature)
        if self.heavy_hydrogens is not None and not 1.1 <= self.heavy_hydrogens <= 5:
            raise ValueError(f"heavy_hydrogens must be between 1.1 and 5 amu, got {self.heavy_hydrogens:g}; 3 is usual.")
        selection_items(self.freeze, "freeze")
        if self.ensemble == "npt":
            if self.freeze:
                raise ValueError("freeze is given, but ensemble 'npt' cannot hold atoms while the cell changes. Leave it out, or use ensemble nvt.")
            if self.constrain_hydrogens and self.barostat in ("langevin", "mtk"):
                raise ValueError(f"constrain_hydrogens is given, but barostat '{self.barostat}' cannot hold bonds while the cell changes. Leave it out, or use "
                                 "barostat c-rescale.")

    @property
    def schedule(self) -> Schedule | None:
        """What the thermostat follows; None where its temperature stays."""
        return parse_schedule(self.anneal, self.temperature) if self.anneal else None

    def _check_length(self) -> None:
        if self.steps is not None and self.time is not None:
            raise ValueError(f"steps = {self.steps} and time = {self.time:g} fs are both given; give one of them.")
        if self.steps is None:
            positive(self, "time")
            usual = 10_000.0 if self.schedule is None else self.schedule.length_fs
            time_fs = usual if self.time is None else self.time
            self._set("steps", max(1, math.ceil(time_fs / self.timestep - 1e-9)))
            self._set("time", None)
        whole(self, "steps", 1, 10**12)
        every = self.every
        if isinstance(every, str):
            every = int(every) if every.strip().isdigit() else max(1, round(quantity(every, "fs", "every") / self.timestep))
            self._set("every", every)
        whole(self, "every", 1, 10**9)

    def with_seed(self) -> RunConfig:
        """The same with a seed: the given one, or one drawn now."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(31))

    @property
    def method(self) -> str:
        """Name of the ensemble's plug-in: 'nve', 'nvt-langevin', 'npt-mtk'..."""
        part = {"nvt": self.thermostat, "npt": self.barostat}.get(self.ensemble)
        return f"{self.ensemble}-{part}" if part else self.ensemble

    @property
    def length_fs(self) -> float:
        """Length of the whole run, fs."""
        return (self.steps or 0) * self.timestep


@dataclass(frozen=True)
class CheckConfig(RunConfig):
    """The start checks of a run and a short probe of its dynamics; takes what a run takes."""

    probe: int = option(20, "Steps of the probe.")

    def check(self) -> None:
        super().check()
        whole(self, "probe", 1, 10_000)


@dataclass(frozen=True)
class ResumeConfig(Record):
    """Going on where a run, or a search for minima, stopped."""

    run: str = option(help="The run's folder.")
    steps: int | None = option(None, "Total number of steps, counted from the run's start; as asked for at first when not given.")
    time: float | None = option(None, "Total length of the run, in place of --steps.", unit="fs")
    wall_time: float | None = option(None, "Stop cleanly before this much real time has passed: 3600, 2h, 23:50:00.", unit="s")
    device: str | None = option(None, DEVICE + " As before when not given.")
    threads: int | None = option(None, THREADS)
    hops: int | None = option(None, "Of a search for minima: end after so many hops, counted from its start; in place of all limits before.")
    minima: int | None = option(None, "Of a search for minima: end when the library holds so many; in place of all limits before.")

    def check(self) -> None:
        positive(self, "time", "wall_time")
        for name in ("steps", "hops", "minima"):
            whole(self, name, 1, 10**12)
        whole(self, "threads", 1, 4096)
        if self.steps is not None and self.time is not None:
            raise ValueError(f"steps = {self.steps} and time = {self.time:g} fs are both given; give one of them.")
