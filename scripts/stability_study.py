"""How long do trajectories hold? A potential on many structures at many temperatures, and the survival curve.

    python scripts/stability_study.py POTENTIAL... --structures A.xyz B.pdb --temperatures 300 500 --time 5ps --output FOLDER
    python scripts/stability_study.py so3krates.pt --structures *.xyz --time 1ns --compile --slice 2min --wall-time 3h --output FOLDER --results

Each run is `mdapp run` with all guards, in a folder of its own under FOLDER. Called again, the script leaves finished runs as they are, goes on with interrupted
ones, and lengthens finished ones where more time is asked for. A run has failed when a guard stopped it; one that reached its end, or the end of the time for
the study, is censored. Structures that a potential does not know are left out by name. FOLDER/survival.csv has a line for each run, FOLDER/survival.png the curves
and how far each run came; `--results` puts both into scripts/results too, in place of what stood there of the same runs, and of other weights of the same name.

With `--slice` the runs take turns: each goes on for so long by the clock, then the next one, round after round, so that a study that is cut short at any moment knows
something of every structure. `--wall-time` ends the study at a whole step, table and figure included. `--most 100` lets no run be longer than 100 atoms times
ps: large structures run shorter. A PDB file does not state its charge: `--charge chignolin=-2`.
`--heavy-hydrogens 3 --timestep 2` goes four times as far in a night.

The units of the table are those of X. Fu et al., Trans. Mach. Learn. Res. (2023).
"""
from __future__ import annotations

import argparse
import csv
import json
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from _survival import draw, groups_of, kaplan_meier

from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, EXIT_STOPPED, Interrupted, UserError
from mdapp.jobs._start import prepare
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.quantities import quantity
from mdapp.screen import silent

NAMED_ATOMS = 6  # of a failure, in the table


@dataclass(frozen=True)
class Trial:
    """One run of the study."""

    potential: str
    structure: Path
    temperature_K: float
    seed: int
    charge: int | None = None  # e; None: what the file states

    @property
    def name(self) -> str:
        """Its folder. The suffix tells a PDB file from an xyz file of the same name."""
        return f"{Path(self.potential).stem}/{self.structure.name}-{self.temperature_K:g}K-{self.seed}"


def one(trial: Trial, folder: Path, time_fs: float, wall_time: float | None = None, **options: Any) -> dict[str, Any]:
    """A run, or what is left to do of it; its summary.

    Parameters
    ----------
    wall_time : seconds by the clock after which it ends for this time, start included.
    options : further keys of `RunConfig`, for a run that has not begun.

    Raises
    ------
    UserError : the structure, the potential or the folder cannot be used.
    """
    summary, steps = folder / "summary.json", round(time_fs / options.get("timestep", 0.5))
    if summary.exists():
        found = json.loads(summary.read_text(encoding="utf-8"))
        if found["exit_code"] == EXIT_GUARD or (found["exit_code"] == EXIT_FINISHED and found["steps"] >= steps):
            return found
        return resume(ResumeConfig(str(folder), steps=max(steps, found["steps"]), wall_time=wall_time)).summary
    if (folder / "run.toml").exists():
        return resume(ResumeConfig(str(folder), steps=steps, wall_time=wall_time)).summary
    return run(RunConfig(structure=str(trial.structure), potential=(trial.potential,), temperature=trial.temperature_K, steps=steps, seed=trial.seed,
                         charge=trial.charge, output=str(folder), wall_time=wall_time, **options)).summary  # fmt: skip


def row_of(trial: Trial, folder: Path) -> dict[str, Any]:
    """A line of the table, of the run in a folder: times in ps, the drift in meV/atom/ps, bonds in Å off their length at the start."""
    summary, settings = json.loads((folder / "summary.json").read_text(encoding="utf-8")), tomllib.loads((folder / "run.toml").read_text(encoding="utf-8"))["run"]
    failure, deviation = summary["failure"] or {}, summary.get("bond_deviation") or {}
    atoms = " ".join(a.get("name", f"{a['element']}{a['index']}") for a in failure.get("atoms", [])[:NAMED_ATOMS])
    return {"potential": Path(trial.potential).stem, "structure": trial.structure.name, "atoms": summary["n_atoms"], "charge": summary["charge"],
            "temperature_K": trial.temperature_K, "seed": trial.seed, "timestep_fs": settings["timestep"], "hydrogens_amu": settings.get("heavy_hydrogens", ""),
            "time_ps": failure.get("time_ps", summary["time_ps"]), "failed": int(bool(failure)),
            "cause": failure.get("monitor", ""), "at": atoms, "warned": " ".join(sorted(summary["warnings"])), "largest_bond_deviation_A": deviation.get("largest_A"),
            "first_beyond_0.5_A_ps": deviation.get("first_beyond_0.5_A_ps"), "drift_meV_atom_ps": summary.get("drift_meV_atom_ps"),
            "verdict": summary["verdict"], "weights_sha256": (weights_of(trial.potential) or summary["potential_sha256"])[:12], "reason": failure.get("reason", "")}  # fmt: skip


@cache
def weights_of(potential: str) -> str | None:
    """SHA-256 of the weights of a file: the same whatever else is written into it, such as a training domain. None for what is no file of ours."""
    from potentials.checkpoint import PotentialFileError, checksum, load_potential
    from potentials.words import file_of

    file = file_of(potential)
    try:
        return None if file is None else checksum(load_potential(file).state_dict())
    except PotentialFileError:
        return None


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A table; it appears whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows({k: word(v) for k, v in row.items()} for row in rows)
    return part.replace(path)


def word(value: Any) -> str:
    """As it stands in the table."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def say(rows: Sequence[dict[str, Any]]) -> None:
    """The curves in words."""
    for (potential, temperature), (times, failed) in groups_of(rows).items():
        t, share, low, high = kaplan_meier(times, failed)
        held = f"each was still sound at its end, after {times.min():.2g} to {times.max():.2g} ps"
        if failed.any():
            held = f"{share[-1]:.2f} survive {t[-1]:.3g} ps (95 %: {low[-1]:.2f} to {high[-1]:.2f})"
        print(f"{potential}, {temperature:g} K: {len(times)} runs, {times.sum():.4g} ps in all, {int(failed.sum())} failed; {held}")


def trials_of(asked: argparse.Namespace) -> list[Trial]:
    """Potentials by temperatures by structures by seeds; a structure is named in `--charge` by its file's name, with or without its suffix."""
    stated = dict(word.split("=", 1) for word in asked.charge)
    unknown = set(stated) - {name for s in asked.structures for name in (s.name, s.stem)}
    if unknown:
        raise SystemExit(f"--charge {sorted(unknown)[0]}: no such structure in --structures.")
    charges = {s: stated.get(s.name, stated.get(s.stem)) for s in asked.structures}
    return [Trial(p, s, T, seed, None if charges[s] is None else int(charges[s])) for p in asked.potential for T in asked.temperatures
            for s in asked.structures for seed in asked.seeds]  # fmt: skip


@cache
def atoms_of(path: Path) -> Any:
    """The structure, with the box that a run would take it to have."""
    from mdapp.structure import read_structure

    return read_structure(path)


@dataclass
class Study:
    """The runs of a study, in turns.

    Parameters
    ----------
    slice_s : seconds of one turn; None: each run goes on to its end.
    until : `time.monotonic()` at which the study ends.
    """

    output: Path
    options: dict[str, Any]
    slice_s: float | None = None
    until: float = float("inf")

    def __post_init__(self):
        self.rows: dict[Trial, dict[str, Any]] = {}
        self.turns: dict[Trial, float] = {}  # s; longer than the slice where the start alone took longer
        self.compiled: set[tuple[str, bool]] = set()  # potentials whose code is made, without and with a stress

    def all_turns(self, lengths_fs: dict[Trial, float]) -> None:
        """Round after round, until every run is at its end or the time is up. The table on the disk is that of the last turn, and knows of earlier calls."""
        for trial in lengths_fs:
            if (self.output / trial.name / "summary.json").exists():
                self.rows[trial] = row_of(trial, self.output / trial.name)
        left = list(lengths_fs)
        while left:
            waiting = []
            for k, trial in enumerate(left):
                if time.monotonic() >= self.until:
                    print(f"The time for the study is up; {len(waiting) + len(left) - k} of {len(lengths_fs)} runs are not at their end. Call again to go on.", flush=True)
                    return
                if not self.turn(trial, lengths_fs[trial]):
                    waiting.append(trial)
            left = waiting

    def turn(self, trial: Trial, length_fs: float) -> bool:
        """One turn of a run; is it at its end?"""
        turn_s = self.turns.setdefault(trial, self.slice_s or float("inf"))
        try:
            self.compile(trial)
            turn_s = min(turn_s, max(1.0, self.until - time.monotonic()))
            summary = one(trial, self.output / trial.name, length_fs, turn_s if turn_s < float("inf") else None, **self.options)
        except Interrupted as error:
            if "wall-time" not in str(error):
                sys.exit(f"{error} Call again to go on.")
            self.turns[trial] *= 2  # it was still being prepared
            return False
        except UserError as error:
            print(f"{trial.name}: left out. {error}", flush=True)
            self.rows.pop(trial, None)
            return True
        self.rows[trial] = row_of(trial, self.output / trial.name)
        write(self.output / "survival.csv", list(self.rows.values()))
        ended = summary["exit_code"] != EXIT_STOPPED
        print(f"{trial.name}: {summary['verdict'] if ended else 'so far'} at {self.rows[trial]['time_ps']:.3g} ps {self.rows[trial]['reason']}", flush=True)
        self.turns[trial] *= 1 if summary["session_steps"] else 2
        if not ended and "wall-time" not in summary["why"]:
            print(f"interrupted in {trial.name}; call again to go on", flush=True)
            sys.exit(EXIT_STOPPED)
        return ended

    def compile(self, trial: Trial) -> None:
        """Make code that is not there yet outside of any turn: a turn that ends in the middle of it would throw it away. It serves structures of all sizes."""
        if not self.options.get("compile"):
            return
        kind = trial.potential, bool(atoms_of(trial.structure).pbc.all())
        if kind not in self.compiled:
            prepare(RunConfig(structure=str(trial.structure), potential=(trial.potential,), charge=trial.charge, relax_start=False, **self.options), silent())
            self.compiled.add(kind)


def keep(rows: list[dict[str, Any]], threads: int, device: str) -> None:
    """Table and figure to scripts/results; what stood there of other runs stays, but for those of other weights under the same name."""
    from _bench import RESULTS, environment

    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "survival.csv"
    where = {name: value for name, value in environment(threads, device).items() if name in ("date", "commit", "torch", "device")}
    new, others = [{**where, **row} for row in rows], []
    if path.exists():
        with path.open(newline="") as file:
            others = [{name: row.get(name, "") for name in new[0]} for row in csv.DictReader(file) if not replaced(row, rows)]
    write(path, [*others, *new])
    draw([*others, *new], RESULTS / "survival.png")


def replaced(old: dict[str, Any], rows: Sequence[dict[str, Any]]) -> bool:
    """Is a line of the table that of a run done again, or of other weights of the same name?"""
    same, keys = [new for new in rows if new["potential"] == old["potential"]], ("structure", "temperature_K", "seed", "timestep_fs", "hydrogens_amu")
    return any(new["weights_sha256"] != old["weights_sha256"] for new in same) or any(all(word(new[k]) == old.get(k, "") for k in keys) for new in same)


def seconds(text: str) -> float:
    """'90', '2min', '01:30:00'."""
    return quantity(text, "s", "time")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("potential", nargs="+")
    parser.add_argument("--structures", nargs="+", type=Path, required=True)
    parser.add_argument("--temperatures", nargs="+", type=float, default=[300.0], help="K")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--charge", action="append", default=[], metavar="STRUCTURE=Q", help="total charge in e, where a file states none")
    parser.add_argument("--time", default="10ps", help="of each run")
    parser.add_argument("--most", type=float, default=float("inf"), metavar="ATOMS*PS", help="no run is longer than this over its number of atoms")
    parser.add_argument("--slice", type=seconds, metavar="TIME", help="by the clock, after which the next run has its turn: 60, 2min")
    parser.add_argument("--wall-time", type=seconds, default=float("inf"), metavar="TIME", help="by the clock, for the whole study: 1800, 3h, 02:30:00")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--heavy-hydrogens", type=float, metavar="AMU", help="mass of hydrogens, taken from their heavy atoms")
    parser.add_argument("--every", type=int, default=100, help="steps between two frames")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--results", action="store_true", help="table and figure to scripts/results too")
    asked = parser.parse_args()
    time_fs = quantity(asked.time, "fs", "time")
    options = {"timestep": asked.timestep, "every": asked.every, "device": asked.device, "threads": asked.threads, "compile": asked.compile,
               "heavy_hydrogens": asked.heavy_hydrogens}  # fmt: skip
    asked.output.mkdir(parents=True, exist_ok=True)
    study = Study(asked.output, options, asked.slice, time.monotonic() + asked.wall_time)
    study.all_turns({trial: min(time_fs, 1000 * asked.most / len(atoms_of(trial.structure))) for trial in trials_of(asked)})
    rows = list(study.rows.values())
    if not rows:
        sys.exit("No structure could be run.")
    say(rows)
    print(f"{asked.output}/survival.csv and {draw(rows, asked.output / 'survival.png')}")
    if asked.results:
        keep(rows, asked.threads, asked.device)


if __name__ == "__main__":
    main()
