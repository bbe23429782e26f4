"""How long do trajectories hold? A potential on many structures at many temperatures, and the survival curve.

    python scripts/stability_study.py POTENTIAL... --structures A.xyz B.pdb --temperatures 300 500 --time 100ps --output FOLDER
    python scripts/stability_study.py so3krates.pt --perturb 0.02 0.05 0.1 0.2 --full-rate --structures A.xyz --time 1ps --output FOLDER

Each run is `mdapp run` with all guards, in a folder of its own under FOLDER; called again, the script leaves finished runs as they are and goes on with interrupted ones. A run has failed when
a guard stopped it; a run that reached its end, or was interrupted, is censored. FOLDER/survival.csv has a line for each run, FOLDER/survival.png the curves by Kaplan and Meier with their
95 % bands (Greenwood, on the log-log scale).

`--perturb` adds copies of each potential whose weights were multiplied by 1 + s x, with x normal: deliberately bad potentials. `--full-rate` writes every step and goes on after alarms, and
then asks afterwards, with the full record at hand, when a chemist would have stopped: at the first step of a stretch in which a bond of the start is off by more than 0.5 Å for more than
10 fs, or at which two atoms are closer than 0.6 Å. FOLDER/guards.csv sets that beside the step at which a guard warned first and at which one would have stopped the run.

E. L. Kaplan and P. Meier, J. Am. Stat. Assoc. 53, 457 (1958).
"""
from __future__ import annotations

import argparse
import csv
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdapp.analysis.bonds import bond_lengths
from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import UserError
from mdapp.jobs.resume import resume
from mdapp.jobs.run import run
from mdapp.quantities import quantity
from mdapp.topology.bonds import close_pairs, find_bonds
from mdapp.trajectory import read_events, read_frames

STRETCHED_A, LASTING_FS, FUSED_A = 0.5, 10.0, 0.6


@dataclass(frozen=True)
class Trial:
    """One run of the study."""

    potential: str
    structure: Path
    temperature_K: float
    seed: int

    @property
    def name(self) -> str:
        return f"{Path(self.potential).stem}/{self.structure.stem}-{self.temperature_K:g}K-{self.seed}"


def perturbed(spec: str, share: float, folder: Path, seed: int = 1) -> str:
    """A copy of a potential with each weight multiplied by 1 + share · normal."""
    import torch

    from potentials import load_potential
    from potentials.checkpoint import save_potential

    path = folder / f"{Path(spec).stem}-perturbed-{share:g}.pt"
    if not path.exists():
        potential, noise = load_potential(spec), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in potential.parameters():
                weight *= 1.0 + share * torch.randn(weight.shape, generator=noise, dtype=torch.float64).to(weight.dtype)
        save_potential(path, potential, potential.card)
    return str(path)


def one(trial: Trial, asked: argparse.Namespace) -> dict[str, Any]:
    """A run, or what is left to do of it; what its summary says."""
    folder = asked.output / trial.name
    summary = folder / "summary.json"
    if summary.exists() and json.loads(summary.read_text())["exit_code"] in (0, 4):
        return json.loads(summary.read_text())
    if (folder / "run.toml").exists():
        return resume(ResumeConfig(str(folder))).summary
    options = {"every": 1, "on_event": "warn"} if asked.full_rate else {"every": asked.every, "on_event": "stop"}
    return run(RunConfig(structure=str(trial.structure), potential=(trial.potential,), temperature=trial.temperature_K, time=asked.time_fs, timestep=asked.timestep,
                         seed=trial.seed, device=asked.device, threads=asked.threads, output=str(folder), **options)).summary  # fmt: skip


def row_of(trial: Trial, summary: dict[str, Any]) -> dict[str, Any]:
    failure, deviation = summary["failure"] or {}, summary.get("bond_deviation") or {}
    atoms = " ".join(a.get("name", f"{a['element']}{a['index']}") for a in failure.get("atoms", [])[:6])
    return {"potential": Path(trial.potential).stem, "structure": trial.structure.stem, "atoms": summary["n_atoms"], "temperature_K": trial.temperature_K, "seed": trial.seed,
            "time_ps": failure.get("time_ps", summary["time_ps"]), "failed": int(bool(failure)), "cause": failure.get("monitor", ""), "at": atoms,
            "largest_bond_deviation_A": deviation.get("largest_A"), "first_beyond_0.5_A_ps": deviation.get("first_beyond_0.5_A_ps"),
            "drift_meV_atom_ps": summary.get("drift_meV_atom_ps"), "verdict": summary["verdict"], "reason": failure.get("reason", "")}


def kaplan_meier(times: np.ndarray, failed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The share that survives beyond each time of a failure, and the bounds that hold it with 95 %.

    Parameters
    ----------
    times : (n,) when each run failed or ended.
    failed : (n,) bool; False where it was still sound.

    Returns
    -------
    Times (n_failures + 1,) from 0 on, the share, its lower and its upper bound.
    """
    times, failed = np.asarray(times, float), np.asarray(failed, bool)
    at = np.unique(times[failed])
    risk = np.array([(times >= t).sum() for t in at], float)
    lost = np.array([(failed & (times == t)).sum() for t in at], float)
    share = np.cumprod(1.0 - lost / risk) if len(at) else np.zeros(0)
    low, high = np.zeros_like(share), np.ones_like(share)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(lost / (risk * (risk - lost)))
        width = 1.96 * np.sqrt(variance) / np.abs(np.log(share))
        inside = (share > 0) & (share < 1) & np.isfinite(width)
        low[inside], high[inside] = share[inside] ** np.exp(width[inside]), share[inside] ** np.exp(-width[inside])
    high[share == 0] = high[np.flatnonzero(share == 0)[0] - 1] if (share == 0).any() and (share > 0).any() else 1.0
    return np.append(0.0, at), np.append(1.0, share), np.append(1.0, low), np.append(1.0, high)


def draw(rows: list[dict[str, Any]], path: Path) -> Path:
    """Survival by potential and temperature."""
    from mdapp.plots import style

    colours = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.SKY, style.PURPLE, style.BLACK)
    with style.look():
        figure, axes = style.panel(6.8, 3.8)
        groups = sorted({(r["potential"], r["temperature_K"]) for r in rows})
        for colour, (potential, temperature) in zip(colours * len(groups), groups):
            group = [r for r in rows if (r["potential"], r["temperature_K"]) == (potential, temperature)]
            times, failed = np.array([r["time_ps"] for r in group]), np.array([bool(r["failed"]) for r in group])
            t, share, low, high = kaplan_meier(times, failed)
            end = max(float(times.max()), float(t[-1]))
            t, share, low, high = np.append(t, end), np.append(share, share[-1]), np.append(low, low[-1]), np.append(high, high[-1])
            axes.step(t, share, where="post", color=colour, label=f"{potential}, {temperature:g} K ({int(failed.sum())} of {len(group)} failed)")
            if failed.any():
                axes.fill_between(t, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
            axes.plot(times[~failed], np.interp(times[~failed], t, share), "|", color=colour, markersize=9)
        axes.set(xlabel="time / ps", ylabel="share of runs still sound", ylim=(-0.03, 1.05), xlim=(0, None), title="Survival (Kaplan-Meier, 95 %; ticks: ended sound)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0)) if len(groups) > 3 else axes.legend(loc="best")
        figure.set_size_inches(9.5, 3.8) if len(groups) > 3 else None
        return style.save(figure, path)


def chemist_step(folder: Path) -> tuple[int | None, str]:
    """When somebody who sees every step would have stopped the run, and why; None where there was no reason."""
    bonds, start, since = None, None, {}
    for frame in read_frames(folder):
        if bonds is None:
            bonds = find_bonds(frame.numbers, frame.positions, frame.cell, frame.pbc)
            start = bond_lengths(frame.positions[None], bonds, frame.cell, frame.pbc)[0]
        off = np.abs(bond_lengths(frame.positions[None], bonds, frame.cell, frame.pbc)[0] - start) > STRETCHED_A
        since = {k: since.get(k, (frame.step, frame.time_fs)) for k in np.flatnonzero(off).tolist()}
        lasting = [first for first, begun in since.values() if frame.time_fs - begun > LASTING_FS]
        if lasting:
            return min(lasting), "bond"
        if len(close_pairs(frame.positions, frame.cell, frame.pbc, FUSED_A)[2]):
            return frame.step, "contact"
    return None, ""


def guards_of_run(trial: Trial, folder: Path, timestep_fs: float) -> dict[str, Any]:
    """The guards' steps beside the chemist's."""
    events = [e for e in read_events(folder) if e["kind"] in ("guard", "warning")]
    warned = min((e["step"] for e in events), default=None)
    acted = min((e["step"] for e in events if e["kind"] == "guard"), default=None)
    who = {step: next((e["monitor"] for e in events if e["step"] == step), "") for step in (warned, acted)}
    chemist, why = chemist_step(folder)
    late = None if chemist is None or acted is None else (acted - chemist) * timestep_fs
    return {"potential": Path(trial.potential).stem, "structure": trial.structure.stem, "temperature_K": trial.temperature_K, "seed": trial.seed,
            "warned_step": warned, "warned_by": who[warned], "stopped_step": acted, "stopped_by": next((e["monitor"] for e in events if e["kind"] == "guard" and e["step"] == acted), ""),
            "chemist_step": chemist, "chemist_saw": why, "guard_late_fs": late}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("potential", nargs="+")
    parser.add_argument("--structures", nargs="+", type=Path, required=True)
    parser.add_argument("--temperatures", nargs="+", type=float, default=[300.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--time", default="10ps")
    parser.add_argument("--timestep", type=float, default=0.5)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--perturb", nargs="*", type=float, default=[])
    parser.add_argument("--full-rate", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    asked.time_fs = quantity(asked.time, "fs", "time")
    asked.output.mkdir(parents=True, exist_ok=True)
    potentials = [*asked.potential, *(perturbed(p, share, asked.output) for p in asked.potential for share in asked.perturb)]
    trials = [Trial(p, s, T, seed) for p in potentials for T in asked.temperatures for s in asked.structures for seed in asked.seeds]
    rows, compared = [], []
    for k, trial in enumerate(trials, 1):
        try:
            summary = one(trial, asked)
        except UserError as error:
            print(f"{k}/{len(trials)} {trial.name}: left out. {error}", flush=True)
            continue
        if summary["exit_code"] == 3:
            print(f"interrupted in {trial.name}; call again to go on", flush=True)
            sys.exit(128 + signal.SIGINT)
        rows.append(row_of(trial, summary))
        print(f"{k}/{len(trials)} {trial.name}: {summary['verdict']} at {rows[-1]['time_ps']:.3g} ps {rows[-1]['reason']}", flush=True)
        if asked.full_rate:
            compared.append(guards_of_run(trial, asked.output / trial.name, asked.timestep))
            print("    " + ", ".join(f"{name} {value}" for name, value in list(compared[-1].items())[4:]), flush=True)
        write(asked.output / "survival.csv", rows)
    if compared:
        write(asked.output / "guards.csv", compared)
    for potential, temperature in sorted({(r["potential"], r["temperature_K"]) for r in rows}):
        group = [r for r in rows if (r["potential"], r["temperature_K"]) == (potential, temperature)]
        t, share, low, high = kaplan_meier(np.array([r["time_ps"] for r in group]), np.array([r["failed"] for r in group], bool))
        print(f"{potential}, {temperature:g} K: {len(group)} runs, {sum(r['time_ps'] for r in group):.4g} ps in all, {sum(r['failed'] for r in group)} failed; "
              f"share that survives {t[-1]:.3g} ps: {share[-1]:.2f} (95 %: {low[-1]:.2f} to {high[-1]:.2f})")
    if rows:
        print(f"{asked.output}/survival.csv and {draw(rows, asked.output / 'survival.png')}")


if __name__ == "__main__":
    main()
