"""What was asked: one frozen dataclass a verb, filled from the command line, a TOML file or Python.

A field's name is the option's name with underscores; its metadata hold the help text and the unit that a bare number carries (see
`mdapp.quantities`). A value may be given with its unit as text and is a plain number in that unit from then on. Every record checks itself.
Nothing here imports torch, ase or numpy: help and refusals must be quick.
"""
from __future__ import annotations

import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from mdapp.quantities import quantity
from mdapp.record import Record, chosen, nearest, option, positive, whole
from mdapp.schedule import Schedule, parse_schedule
from mdapp.selection import parse_mask, selection_items

Dtype = Literal["float32", "float64"]


_POTENTIAL = ("A file, a registered name (so3krates, lj, emt), the file name of a shipped potential (so3krates.pt), or "
              "ase:package.module:Class. Repeat it for a committee.")
DEVICE = "cpu, cuda, cuda:N, or auto: the GPU when there is one."
_DTYPE = "Precision of the potential: float32 or float64; its own when not given."
_CHARGE = "Total charge of the structure in e, where the file does not say it or says it wrongly."
_THREADS = "CPU threads of the potential; chosen by the size of the system and the free cores when not given."
_RADIAL_TABLE = "With --compile or on a GPU, in single precision: read the filters of a distance from a table, whose error is below rounding and stated."
_CUDA_GRAPHS = "On a GPU: capture a step once and replay it; without, every kernel is launched by itself."
_COMPILE = "Evaluate the potential by compiled code (CPU), two to three times as fast: a minute the first time, then kept for later runs with the same potential."
_LONG_RANGE = ("Cutoff of the long-range terms of a potential that has them, or none for all pairs; all pairs of an isolated molecule and "
               "12 Å in a cell when not given.")
_ELECTROSTATICS = ("How the charges of a potential that has them act: pairs within the long-range cutoff, or ewald, all images of a cell. "
                   "pairs when not given.")
_MULTIPLICITY = "Spin multiplicity of the structure (2S + 1), where the file does not say it or says it wrongly."


@dataclass(frozen=True)
class RunConfig(Record):
    """A trajectory: structure, potential, ensemble, length, what is written and what is watched."""

    structure: str = option(help="The start: xyz, extxyz, pdb, or any other format that is listed on refusal.")
    potential: tuple[str, ...] = option(help=_POTENTIAL, short="p", metavar="P")
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
    replicas: int = option(1, "Copies of the system, each with its own velocities.")
    seed: int | None = option(None, "Seed of velocities and thermostat; drawn and written down when not given.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, _DTYPE)
    charge: int | None = option(None, _CHARGE)
    multiplicity: int | None = option(None, _MULTIPLICITY)
    output: str | None = option(None, "The run's folder; runs/STRUCTURE-ENSEMBLE-TEMPERATURE when not given.", short="o", metavar="FOLDER")
    every: int = option(100, "A frame is written every so many steps; with a unit (50fs), every so much time.", metavar="N|TIME", duration=True)
    guard: tuple[str, ...] = option(
        ("on",), "on (all), off, NAME (this one alone), no-NAME, or NAME:key=value,... for its thresholds; may be repeated.", metavar="GUARD")
    on_event: Literal["stop", "warn", "rewind"] = option(
        "stop", "What a guard's alarm does: stop the run, warn and go on, or rewind: back to a sound moment, then on in smaller steps.")
    rewinds: int = option(5, "How often --on-event rewind may go back in one run; then the run stops.")
    relax_start: bool = option(True, "Relax a strained start for a few steps before velocities are drawn.")
    wall_time: float | None = option(None, "Stop cleanly before this much real time has passed: 3600, 2h, 23:50:00.", unit="s")
    threads: int | None = option(None, _THREADS)
    long_range_cutoff: float | str | None = option(None, _LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, _ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, _COMPILE)
    radial_table: bool = option(True, _RADIAL_TABLE)
    cuda_graphs: bool = option(True, _CUDA_GRAPHS)

    def check(self) -> None:
        _common(self)
        positive(self, "timestep", "temperature", "friction", "thermostat_time", "barostat_time", "wall_time")
        if self.timestep > 20:
            raise ValueError(f"timestep must be at most 20 fs, got {self.timestep:g}; bonds to hydrogen need 0.5 to 1 fs.")
        if self.temperature > 1e5:
            raise ValueError(f"temperature must be at most 100000 K, got {self.temperature:g}.")
        self._check_ensemble()
        self._check_system()
        self._check_length()
        whole(self, "replicas", 1)
        whole(self, "seed", 0, 2**63 - 1)
        if self.replicas > 1:
            raise ValueError(f"replicas = {self.replicas}: several replicas in one run are not available yet. "
                             f"Start {self.replicas} runs with different --seed and --output.")
        if self.on_event not in ("stop", "warn", "rewind"):
            raise ValueError(f"on_event must be stop, warn or rewind, got '{self.on_event}'.")
        whole(self, "rewinds", 1, 10_000)
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
    threads: int | None = option(None, _THREADS)
    hops: int | None = option(None, "Of a search for minima: total number of hops, counted from its start.")
    minima: int | None = option(None, "Of a search for minima: end when the library holds so many.")

    def check(self) -> None:
        positive(self, "time", "wall_time")
        for name in ("steps", "hops", "minima"):
            whole(self, name, 1, 10**12)
        whole(self, "threads", 1, 4096)
        if self.steps is not None and self.time is not None:
            raise ValueError(f"steps = {self.steps} and time = {self.time:g} fs are both given; give one of them.")


@dataclass(frozen=True)
class RelaxConfig(Record):
    """Structures brought to their nearest minimum."""

    structure: tuple[str, ...] = option(help="Structures: files, patterns such as 'confs/*.xyz', files with many frames.")
    potential: tuple[str, ...] = option(help=_POTENTIAL, short="p", metavar="P")
    optimiser: str = option("lbfgs", "lbfgs or fire (many structures together); bfgs, bfgslinesearch, fire2 or preconditioned (one after another).")
    fmax: float = option(0.01, "Converged when the largest force is below this.", unit="eV/Å")
    steps: int = option(1000, "Most steps for one structure.")
    frequencies: bool = option(
        False, "Vibrational frequencies at the end (in double precision); imaginary modes are followed downhill, so that a minimum is known to be one.")
    temperature: float = option(298.15, "Temperature of the harmonic free energy, with --frequencies.", unit="K")
    cell: bool = option(False, "Relax the cell too (needs a periodic structure; one after another).")
    pressure: float = option(0.0, "Pressure on the cell when it is relaxed.", unit="bar")
    mask: str | None = option(None, "Strains that the cell may make, such as xx,yy or xx,yy,zz; all between periodic directions when not given.",
                              metavar="xx,yy,zz,yz,xz,xy")
    hydrostatic: bool = option(False, "The cell keeps its shape: one scale factor for the three directions.")
    constant_volume: bool = option(False, "The cell keeps its volume.")
    in_flight: int = option(256, "Most structures that relax at the same time.")
    resume: bool = option(False, "Go on in the --output folder of an earlier `mdapp relax` of the same structures: what is there is not done again.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, _DTYPE)
    charge: int | None = option(None, _CHARGE)
    multiplicity: int | None = option(None, _MULTIPLICITY)
    output: str | None = option(
        None, "One structure: FILE.extxyz or a folder; STRUCTURE-relaxed.extxyz when not given. Many: a folder; STRUCTURE-relaxed when not given.",
        short="o", metavar="FILE|FOLDER")
    threads: int | None = option(None, _THREADS)
    long_range_cutoff: float | str | None = option(None, _LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, _ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, _COMPILE)
    radial_table: bool = option(True, _RADIAL_TABLE)
    cuda_graphs: bool = option(True, _CUDA_GRAPHS)

    def check(self) -> None:
        _common(self)
        if not self.structure:
            raise ValueError("structure: name at least one file.")
        positive(self, "fmax")
        whole(self, "steps", 0, 10**9)
        whole(self, "in_flight", 1, 10**6)
        if not 0 <= self.temperature < 1e5:
            raise ValueError(f"temperature must be 0 to 100000 K, got {self.temperature:g}.")
        chosen("optimiser", self.optimiser, ["lbfgs", "fire", "bfgs", "bfgslinesearch", "fire2", "preconditioned"])
        for name, given in (("pressure", f"{self.pressure:g} bar"), ("mask", self.mask), ("hydrostatic", self.hydrostatic), ("constant_volume", True)):
            if getattr(self, name) and not self.cell:
                raise ValueError(f"{name} = {given} is given, but the cell stays as it is. Leave it out, or add --cell.")
        if self.cell and self.optimiser == "preconditioned":
            raise ValueError("optimiser preconditioned keeps the cell as it is. Take lbfgs, bfgs or fire with --cell.")
        if self.resume and self.output is None:
            raise ValueError("resume: name the folder to go on in with --output.")
        for word in self.strains:
            chosen("mask", word, ["xx", "yy", "zz", "yz", "xz", "xy"])

    @property
    def strains(self) -> list[str]:
        """The words of the mask."""
        return [word.strip().lower() for word in self.mask.split(",")] if self.mask else []


@dataclass(frozen=True)
class LibraryConfig(Record):
    """A question to a library of minima."""

    library: str = option(help="A file minima.h5, or the folder that holds it.")
    below: float | None = option(None, "Minima at most so far above the lowest one; such as 5kcal/mol, 0.2eV, 20kJ/mol.", unit="eV")
    region: str | None = option(
        None, "Minima with a residue in this region of the Ramachandran map: C7eq, PII, alphaR, C5, beta2, alphaP, C7ax, alphaL, epsilonD, or a box of phi and "
        "psi such as -100:-60,50:90. Residue by residue with slashes: C7eq/any/C5.", metavar="REGION")
    lowest: int | None = option(None, "At most so many minima, the lowest ones.")
    export: str | None = option(None, "Write the minima that fit to this file: .xyz and .extxyz with energies, .pdb one model each.", metavar="FILE")

    def check(self) -> None:
        if self.below is not None and self.below < 0:
            raise ValueError(f"below must be >= 0 eV, got {self.below:g}; it is counted from the lowest minimum.")
        whole(self, "lowest", 1)


@dataclass(frozen=True)
class MinimaConfig(Record):
    """A search for minima: structure, potential, moves, what must stay as it was, and when it is enough."""

    structure: str = option(help="The start: a molecule or a cluster.")
    potential: tuple[str, ...] = option(help=_POTENTIAL, short="p", metavar="P")
    move: tuple[str, ...] = option(
        ("mixture",), "mixture (all that fit, those that pay most often), NAME, or NAME:key=value,... for its options; may be repeated: then a mixture of these.",
        metavar="MOVE")
    walkers: int | None = option(None, "Walks that go on at the same time and are evaluated in one batch; 16 on a CPU, 128 on a GPU when not given.")
    hops: int | None = option(None, "End after so many hops: moves with the relaxation that follows; 1000 when no other end is given.")
    minima: int | None = option(None, "End when the library holds so many minima.")
    time: float | None = option(None, "End after so much real time: 3600, 2h, 23:50:00.", unit="s")
    complete: float | None = option(None, "End when so large a share of what can be reached seems to be found, 0 to 1 (Good-Turing and Chao).")
    threshold: float = option(0.2, "Rise in energy that a walker takes, at first; it adapts so that half of the hops are taken.", unit="eV")
    window: float | None = option(None, "Minima this far above the lowest are kept, but no walker goes on from there.", unit="eV")
    random_start: bool = option(False, "Throw the atoms (or molecules) of a cluster anew for every walker.")
    keep_bonds: bool = option(True, "Refuse structures whose bonds are not those of the start.")
    keep_chirality: bool = option(True, "Refuse structures with a stereocentre turned over.")
    keep_peptide_bonds: bool = option(True, "Refuse structures with a peptide or double bond gone from cis to trans or back.")
    optimiser: str = option("lbfgs", "Of the relaxations: lbfgs or fire.")
    fmax: float = option(0.01, "A relaxation has converged when the largest force is below this.", unit="eV/Å")
    relax_steps: int = option(1000, "Most steps of one relaxation; what has not converged is refused.")
    rmsd: float = option(0.1, "Two minima are one when they superpose this well, equivalent atoms exchanged.", unit="Å")
    same_energy: float = option(0.01, "Two minima that differ by more than this are two.", unit="eV")
    seed: int | None = option(None, "Seed of all moves; drawn and written down when not given.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, _DTYPE)
    charge: int | None = option(None, _CHARGE)
    multiplicity: int | None = option(None, _MULTIPLICITY)
    output: str | None = option(None, "The search's folder; runs/STRUCTURE-minima when not given.", short="o", metavar="FOLDER")
    wall_time: float | None = option(None, "Stop cleanly before this much real time has passed, to be resumed: 3600, 2h, 23:50:00.", unit="s")
    threads: int | None = option(None, _THREADS)
    cluster: str | None = option(
        None, "Hop on Dask workers: local, the address of a scheduler (tcp://HOST:PORT), or slurm (needs dask, distributed, dask-jobqueue).",
        metavar="local|ADDRESS|slurm")
    workers: int | None = option(None, "With --cluster local or slurm: how many worker processes; the free cores, or 4 jobs, when not given.")
    cluster_option: tuple[str, ...] = option((), "key=value for the jobs of --cluster slurm (cores, memory, queue, account, walltime, ...); may be repeated.",
                                             metavar="KEY=VALUE")
    long_range_cutoff: float | str | None = option(None, _LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, _ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, _COMPILE)
    radial_table: bool = option(True, _RADIAL_TABLE)
    cuda_graphs: bool = option(True, _CUDA_GRAPHS)

    def check(self) -> None:
        _common(self)
        positive(self, "time", "wall_time", "threshold", "window", "fmax", "rmsd", "same_energy")
        for name, most in (("walkers", 100_000), ("hops", 10**12), ("minima", 10**9), ("relax_steps", 10**9), ("workers", 10_000)):
            whole(self, name, 1, most)
        whole(self, "seed", 0, 2**63 - 1)
        if self.complete is not None and not 0 < self.complete <= 1:
            raise ValueError(f"complete must be above 0 and at most 1, got {self.complete:g}.")
        chosen("optimiser", self.optimiser, ["lbfgs", "fire"])
        if not self.move:
            raise ValueError("move: name at least one, or leave it out for the mixture.")
        for word in self.move:
            check_move_word(word)
        self._check_cluster()
        if self.hops is None and self.minima is None and self.time is None and self.complete is None:
            self._set("hops", 1000)

    def _check_cluster(self) -> None:
        if self.cluster is None or "://" in self.cluster:
            for name in ("workers", "cluster_option"):
                if getattr(self, name):
                    raise ValueError(f"{name} is given, but there is no cluster that this search would start. Leave it out, or use --cluster local or slurm.")
        else:
            chosen("cluster", self.cluster, ["local", "slurm"])
            if self.cluster == "local" and self.cluster_option:
                raise ValueError("cluster_option is for --cluster slurm; a local cluster takes --workers alone.")
        pairs(self.cluster_option, "cluster_option")

    def with_seed(self) -> MinimaConfig:
        """The same with a seed: the given one, or one drawn now."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(31))


@dataclass(frozen=True)
class AnalyseConfig(Record):
    """Numbers and plots from trajectories and from libraries of minima."""

    run: tuple[str, ...] = option(help="Run folders, trajectory files of any program, folders of searches for minima.")
    output: str | None = option(None, "Folder of numbers and plots; RUN/report when not given.", short="o", metavar="FOLDER")
    start: float = option(0.0, "Leave out what lies before this time.", unit="fs")
    topology: str | None = option(None, "PDB file with the same atoms, for formats that know no elements (dcd, xtc, trr, nc).", metavar="FILE.pdb")
    plots: bool = option(True, "Draw PNG files beside the numbers.")
    saddles: int = option(0, "Of a library of minima: look for saddles between so many pairs of neighbouring minima in all; kept beside the library, and gone on with.")
    frequencies: int = option(0, "Of a library of minima: harmonic frequencies of so many of the lowest, for populations.")
    temperature: float = option(300.0, "Of the populations of minima.", unit="K")
    potential: str | None = option(None, "Potential for saddles and frequencies; that of the search when not given.", short="p", metavar="P")

    def check(self) -> None:
        if not self.run:
            raise ValueError("run: give at least one run folder.")
        whole(self, "saddles", 0, 10**6)
        whole(self, "frequencies", 0, 10**6)
        positive(self, "temperature")
        if self.start < 0:
            raise ValueError(f"start must be >= 0 fs, got {self.start:g}.")


@dataclass(frozen=True)
class EvaluateConfig(Record):
    """Errors of a potential on labelled data."""

    data: tuple[str, ...] = option(help="Labelled structures, in any format that training reads.")
    potential: tuple[str, ...] = option(help=_POTENTIAL, short="p", metavar="P")
    output: str | None = option(None, "Folder of errors.json, tables, figures and the worst frames; nothing is written when not given.", short="o",
                                metavar="FOLDER")
    limit: int | None = option(None, "Use at most so many structures, drawn evenly over each file.")
    calibration: bool = option(False, "Compare what the potential says of its own uncertainty (a committee's spread, the distance from its training set) with its errors.")
    worst: int = option(20, "How many of the worst frames are kept, by energy and by forces.")
    format: str | None = option(None, "Format of the data, where the file's name does not say it.", metavar="FORMAT")
    energy_key: str | None = option(None, "Name of the energy in the data; the usual names are tried when not given.", metavar="KEY")
    forces_key: str | None = option(None, "Name of the forces in the data; the usual names are tried when not given.", metavar="KEY")
    key: tuple[str, ...] = option((), "LABEL=KEY for the name of another label (stress, molecule, charges, dipole, ...); may be repeated.",
                                  metavar="LABEL=KEY")
    unit: tuple[str, ...] = option(
        (), "energy=UNIT, length=UNIT, forces=UNIT or stress=UNIT of the data; may be repeated. Those of the format when none is given; eV and Å for what "
        "is not named beside one that is.", metavar="QUANTITY=UNIT")
    charge: int | None = option(None, "Total charge of every structure in e, in place of what the data say.")
    multiplicity: int | None = option(None, "Spin multiplicity of every structure (2S + 1), in place of what the data say.")
    charged: Literal["refuse", "keep", "drop"] = option(
        "refuse", "What is done with frames that have a total charge, for a potential that knows none: refuse, keep or drop.", metavar="refuse|keep|drop")
    long_range_cutoff: float | str | None = option(None, _LONG_RANGE, metavar="Å|none")
    electrostatics: Literal["pairs", "ewald"] | None = option(None, _ELECTROSTATICS, metavar="pairs|ewald")
    compile: bool = option(False, "Change over to compiled code (CPU) after a minute of evaluation, which is when it begins to pay.")
    batch_edges: int | None = option(None, "Pairs of neighbours, counted both ways, that are evaluated together; chosen for the device when not given.")
    device: str = option("auto", DEVICE)
    dtype: Dtype | None = option(None, _DTYPE)
    threads: int | None = option(None, _THREADS)

    def check(self) -> None:
        _common(self)
        if not self.data:
            raise ValueError("data: name at least one file with labelled structures.")
        whole(self, "limit", 1, 10**12)
        whole(self, "worst", 0, 100_000)
        whole(self, "batch_edges", 1, 10**9)
        chosen("charged", self.charged, ["refuse", "keep", "drop"])


@dataclass(frozen=True)
class DataReportConfig(Record):
    """What labelled data hold, and what is suspected."""

    data: tuple[str, ...] = option(help="Labelled structures, in any format that training reads.")
    validation: tuple[str, ...] = option((), "Files that are held out: copies across the split are looked for. May be repeated.", metavar="FILE")
    format: str | None = option(None, "Format of the data, where the file's name does not say it.", metavar="FORMAT")
    energy_key: str | None = option(None, "Name of the energy in the data; the usual names are tried when not given.", metavar="KEY")
    forces_key: str | None = option(None, "Name of the forces in the data; the usual names are tried when not given.", metavar="KEY")
    key: tuple[str, ...] = option((), "LABEL=KEY for the name of another label (stress, molecule, charges, dipole, ...); may be repeated.",
                                  metavar="LABEL=KEY")
    unit: tuple[str, ...] = option(
        (), "energy=UNIT, length=UNIT, forces=UNIT or stress=UNIT of the data; may be repeated. Those of the format when none is given.",
        metavar="QUANTITY=UNIT")
    level_of_theory: tuple[str, ...] = option(
        (), "Of the labels: TEXT for all files, or FILE=TEXT for one; energies are compared within one level. May be repeated.", metavar="[FILE=]TEXT")
    elements: tuple[str, ...] = option((), "Elements that are wanted, such as C,H,N,O; frames with others are counted.", metavar="SYMBOLS")
    threshold: tuple[str, ...] = option((), "NAME=VALUE for a threshold of the checks, such as too_close=0.5; a wrong name lists them. May be repeated.",
                                        metavar="NAME=VALUE")
    output: str | None = option(None, "Folder of the report; FILE-data-report when not given.", short="o", metavar="FOLDER")
    plots: bool = option(True, "Draw the page of plots.")

    def check(self) -> None:
        if not self.data:
            raise ValueError("data: name at least one file with labelled structures.")
        files = [*self.data, *self.validation]
        if len(set(files)) < len(files):
            twice = next(f for f in files if files.count(f) > 1)
            raise ValueError(f"data: {twice} is named twice.")
        for name in ("key", "unit", "threshold"):
            pairs(getattr(self, name), name)


def ensemble_names() -> list[str]:
    """Names of the house's ensembles (its files) and of installed ones, none of them imported."""
    return plugin_names("mdapp.dynamics", "mdapp.ensembles")


def plugin_names(package: str, group: str) -> list[str]:
    """Names of a family's plug-ins: files of the house that register their own name, and entry points. Nothing is imported."""
    from importlib.metadata import entry_points
    from pathlib import Path

    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    names = {f.stem.replace("_", "-"): f for f in folder.glob("*.py")}
    house = {name for name, f in names.items() if f'register("{name}")' in f.read_text(encoding="utf-8")}
    return sorted({*house, *(e.name for e in entry_points(group=group))})


def check_guard_word(word: str) -> None:
    """Refuse a guard that is not `on`, `off`, `NAME`, `no-NAME` or `NAME:key=value,...`."""
    if word in ("on", "off"):
        return
    name, _, settings = word.partition(":")
    known = plugin_names("mdapp.monitors", "mdapp.monitors")
    if name not in known and not (name.startswith("no-") and name[3:] in known and not settings):
        raise ValueError(f"guard '{word}' is unknown{nearest(name, ['on', 'off', *known])}; known: on, off, {', '.join(known)}, each also as no-NAME.")
    pairs(settings.split(",") if settings else (), f"guard '{word}'")


def check_move_word(word: str) -> None:
    """Refuse a move that is not `mixture`, `NAME`, or `NAME:key=value,...`."""
    if word == "mixture":
        return
    name, _, settings = word.partition(":")
    known = plugin_names("mdapp.minima.moves", "mdapp.moves")
    if name not in known:
        raise ValueError(f"move '{word}' is unknown{nearest(name, ['mixture', *known])}; known: mixture, {', '.join(known)}.")
    pairs(settings.split(",") if settings else (), f"move '{word}'")


def pairs(words: Iterable[str], where: str) -> dict[str, Any]:
    """`key=value` words as a mapping; values are numbers, true or false where they look so, else text."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (key and equals and value):
            raise ValueError(f"{where}: expected key=value, got '{word}'.")
        if key in found:
            raise ValueError(f"{where}: '{key}' is given twice.")
        found[key] = _plain(value)
    return found


def _plain(word: str) -> Any:
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def far_cutoff(value: float | str | None) -> float | str | None:
    """The cutoff of long-range terms in Å; "none" for all pairs, None where the potential may choose."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (None, "auto"):
        return None
    if word == "none":
        return "none"
    if isinstance(word, str) and word.isalpha():
        raise ValueError(f"long_range_cutoff must be a length in Å, none (all pairs) or auto, got '{value}'.")
    length = quantity(value, "Å", "long_range_cutoff")
    if not length > 0:
        raise ValueError(f"long_range_cutoff must be > 0 Å, got {length:g}; none stands for all pairs.")
    return length


def _common(config: Any) -> None:
    """What every verb that evaluates a potential asks for."""
    if not config.potential or not all(isinstance(p, str) and p for p in config.potential):
        raise ValueError("potential: name a file or an installed potential, for example --potential so3krates.pt.")
    whole(config, "threads", 1, 4096)
    if hasattr(config, "long_range_cutoff"):
        config._set("long_range_cutoff", far_cutoff(config.long_range_cutoff))
        if config.electrostatics is not None:
            chosen("electrostatics", config.electrostatics, ["pairs", "ewald"])
    if hasattr(config, "charge"):
        whole(config, "charge", -1000, 1000)
        whole(config, "multiplicity", 1, 1000)
    device = config.device
    if not (device in ("auto", "cpu", "cuda") or (device.startswith("cuda:") and device[5:].isdigit())):
        raise ValueError(f"device must be cpu, cuda, cuda:N or auto, got '{device}'.")
    if config.dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got '{config.dtype}'.")
