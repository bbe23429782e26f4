"""How long do trajectories hold? A potential on many structures at many temperatures, and the survival curve.

    python scripts/stability_study.py POTENTIAL... --structures A.xyz B.pdb --temperatures 300 500 --time 5ps --output FOLDER

Each run is `mdapp run` with all guards, in a folder of its own under FOLDER. Called again, the script leaves finished runs as they are, goes on with interrupted
ones, and lengthens finished ones where more time is asked for. A run has failed when a guard stopped it; one that reached its end is censored. Structures that a
potential does not know are left out by name. FOLDER/survival.csv has a line for each run, FOLDER/survival.png the curves by Kaplan and Meier with their 95 % bands
(Greenwood, on the log-log scale); `--results` puts both into scripts/results too.

`--most 100` lets no run be longer than 100 atoms times ps: large structures run shorter. A PDB file does not state its charge: `--charge chignolin=-2`.

E. L. Kaplan and P. Meier, J. Am. Stat. Assoc. 53, 457 (1958). The units of the table are those of X. Fu et al., Trans. Mach. Learn. Res. (2023).
"""
from __future__ import annotations

import argparse
import csv
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import EXIT_FINISHED, EXIT_GUARD, EXIT_STOPPED, UserError
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.quantities import quantity

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


def one(trial: Trial, folder: Path, time_fs: float, **options: Any) -> dict[str, Any]:
    """A run, or what is left to do of it; its summary.

    Parameters
    ----------
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
        return resume(ResumeConfig(str(folder), steps=max(steps, found["steps"]))).summary
    if (folder / "run.toml").exists():
        return resume(ResumeConfig(str(folder))).summary
    return run(RunConfig(structure=str(trial.structure), potential=(trial.potential,), temperature=trial.temperature_K, steps=steps, seed=trial.seed,
                         charge=trial.charge, output=str(folder), **options)).summary  # fmt: skip


def row_of(trial: Trial, summary: dict[str, Any]) -> dict[str, Any]:
    """A line of the table: times in ps, the drift in meV/atom/ps, bonds in Å off their length at the start."""
    failure, deviation = summary["failure"] or {}, summary.get("bond_deviation") or {}
    atoms = " ".join(a.get("name", f"{a['element']}{a['index']}") for a in failure.get("atoms", [])[:NAMED_ATOMS])
    return {"potential": Path(trial.potential).stem, "structure": trial.structure.name, "atoms": summary["n_atoms"], "charge": summary["charge"],
            "temperature_K": trial.temperature_K, "seed": trial.seed, "time_ps": failure.get("time_ps", summary["time_ps"]), "failed": int(bool(failure)),
            "cause": failure.get("monitor", ""), "at": atoms, "warned": " ".join(sorted(summary["warnings"])), "largest_bond_deviation_A": deviation.get("largest_A"),
            "first_beyond_0.5_A_ps": deviation.get("first_beyond_0.5_A_ps"), "drift_meV_atom_ps": summary.get("drift_meV_atom_ps"),
            "verdict": summary["verdict"], "reason": failure.get("reason", "")}  # fmt: skip


def kaplan_meier(times: np.ndarray, failed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The share that survives beyond each time of a failure, and the bounds that hold it with 95 %.

    Parameters
    ----------
    times : (n,) when each run failed or ended.
    failed : (n,) bool; False where it was still sound.

    Returns
    -------
    Times (n + 1 at most,) from 0 on, the share, its lower and its upper bound. Where all that were left have failed nothing bounds the share from below.
    """
    from scipy import stats

    curve = stats.ecdf(stats.CensoredData.right_censored(np.asarray(times, float), ~np.asarray(failed, bool))).sf
    with warnings.catch_warnings():  # the formula says nothing where the share is 0 or 1
        warnings.simplefilter("ignore", RuntimeWarning)
        band = curve.confidence_interval(0.95, method="log-log")
    at, share = np.append(0.0, curve.quantiles), np.append(1.0, curve.probabilities)
    low = np.where(share == 1.0, 1.0, np.nan_to_num(np.append(1.0, band.low.probabilities), nan=0.0))
    high = np.append(1.0, band.high.probabilities)
    high[(share == 1.0)] = 1.0
    for k in np.flatnonzero(np.isnan(high)):  # all that were left have failed: no higher than before
        high[k] = high[k - 1]
    return at, share, low, high


def groups_of(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, float], tuple[np.ndarray, np.ndarray]]:
    """Times in ps and failures (n_runs,) each, by potential and temperature."""
    keys = dict.fromkeys((r["potential"], r["temperature_K"]) for r in rows)
    chosen = {key: [r for r in rows if (r["potential"], r["temperature_K"]) == key] for key in keys}
    return {key: (np.array([r["time_ps"] for r in group], float), np.array([bool(r["failed"]) for r in group])) for key, group in chosen.items()}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Survival by potential and temperature."""
    from mdapp.plots import style

    colours = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.SKY, style.PURPLE, style.BLACK)
    groups = groups_of(rows)
    with style.look():
        figure, axes = style.panel(9.5 if len(groups) > 3 else 6.8, 3.8)
        for colour, ((potential, temperature), (times, failed)) in zip(colours * len(groups), groups.items()):
            t, share, low, high = kaplan_meier(times, failed)
            t, share, low, high = np.append(t, times.max()), np.append(share, share[-1]), np.append(low, low[-1]), np.append(high, high[-1])
            axes.step(t, share, where="post", color=colour, label=f"{potential}, {temperature:g} K ({int(failed.sum())} of {len(times)} failed)")
            if failed.any():
                axes.fill_between(t, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
            ended = np.searchsorted(t, times[~failed], side="right") - 1
            axes.plot(times[~failed], share[ended], "|", color=colour, markersize=9)
        axes.set(xlabel="time / ps", ylabel="share of runs still sound", ylim=(-0.03, 1.05), xlim=(0, None), title="Survival (Kaplan-Meier, 95 %; ticks: ended sound)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0)) if len(groups) > 3 else axes.legend(loc="lower left")
        return style.save(figure, path)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A table; it appears whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return part.replace(path)


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


def natoms(path: Path) -> int:
    from mdapp.structure import read_structure

    return len(read_structure(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("potential", nargs="+")
    parser.add_argument("--structures", nargs="+", type=Path, required=True)
    parser.add_argument("--temperatures", nargs="+", type=float, default=[300.0], help="K")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--charge", action="append", default=[], metavar="STRUCTURE=Q", help="total charge in e, where a file states none")
    parser.add_argument("--time", default="10ps", help="of each run")
    parser.add_argument("--most", type=float, default=float("inf"), metavar="ATOMS*PS", help="no run is longer than this over its number of atoms")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--every", type=int, default=100, help="steps between two frames")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--results", action="store_true", help="table and figure to scripts/results too")
    asked = parser.parse_args()
    time_fs = quantity(asked.time, "fs", "time")
    options = {"timestep": asked.timestep, "every": asked.every, "device": asked.device, "threads": asked.threads, "compile": asked.compile}
    asked.output.mkdir(parents=True, exist_ok=True)
    trials, rows = trials_of(asked), []
    for k, trial in enumerate(trials, 1):
        try:
            length_fs = min(time_fs, 1000 * asked.most / natoms(trial.structure))
            summary = one(trial, asked.output / trial.name, length_fs, **options)
        except UserError as error:
            print(f"{k}/{len(trials)} {trial.name}: left out. {error}", flush=True)
            continue
        if summary["exit_code"] == EXIT_STOPPED:
            print(f"interrupted in {trial.name}; call again to go on", flush=True)
            sys.exit(EXIT_STOPPED)
        rows.append(row_of(trial, summary))
        print(f"{k}/{len(trials)} {trial.name}: {summary['verdict']} at {rows[-1]['time_ps']:.3g} ps {rows[-1]['reason']}", flush=True)
        write(asked.output / "survival.csv", rows)
    if not rows:
        sys.exit("No structure could be run.")
    say(rows)
    print(f"{asked.output}/survival.csv and {draw(rows, asked.output / 'survival.png')}")
    if asked.results:
        from _bench import RESULTS, environment

        RESULTS.mkdir(exist_ok=True)
        where = {name: value for name, value in environment(asked.threads, asked.device).items() if name in ("date", "commit", "torch", "device")}
        write(RESULTS / "survival.csv", [{**where, **row} for row in rows])
        draw(rows, RESULTS / "survival.png")


if __name__ == "__main__":
    main()
