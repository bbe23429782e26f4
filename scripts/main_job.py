"""Does the shipped potential do the main job: 20 ps of peptides at 300 K without an alarm, and no drift of the energy?

    python scripts/main_job.py [STRUCTURE...] [--potential so3krates.pt] [--output runs/main-job]

Each structure runs NVT at 300 K (Langevin, 0.5 fs); no guard may speak. Then one of them (--nve, the second when not given) runs 10 ps of NVE from
the last frame of its NVT run, velocities drawn anew; the conserved energy may drift by 0.2 meV/atom/ps. Without structures: alanine
dipeptide, Ac-Ala3-NHMe and helical Ac-Ala15-NHMe, built by make_peptide.py.

A run that is there is resumed, a finished one is read: the same command goes on after any interruption. Exits with 1 if a limit is missed.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _bench import append_row, say_where, structures, table
from mdapp.config import ResumeConfig, RunConfig
from mdapp.errors import EXIT_STOPPED, UserError
from mdapp.jobs import resume, run
from mdapp.jobs._session import summary_of
from mdapp.quantities import quantity
from mdapp.screen import Screen
from mdapp.trajectory import RunFolder

MOST_DRIFT = 0.2  # meV/atom/ps
TEMPERATURE_K, TIMESTEP_FS = 300.0, 0.5


@dataclass(frozen=True)
class Job:
    """One run and what it has to show."""

    structure: Path
    ensemble: str
    length_fs: float
    folder: Path


def carried_out(job: Job, potential: str, threads: int | None, device: str, compiled: bool, screen: Screen) -> tuple[dict[str, Any], bool]:
    """The summary of a run, made now, resumed, or read where it had ended before; whether a step was made now."""
    folder = RunFolder(job.folder)
    before = summary_of(folder) if job.folder.exists() else None
    if before is not None and before["exit_code"] != EXIT_STOPPED:
        return before, False
    if folder.config.exists():
        return resume.resume(ResumeConfig(run=str(job.folder), threads=threads), screen).summary, True
    return run.run(RunConfig(
        structure=str(job.structure), potential=(potential,), ensemble=job.ensemble, temperature=TEMPERATURE_K, timestep=TIMESTEP_FS, time=job.length_fs, every=20,
        seed=1, device=device, threads=threads, compile=compiled, output=str(job.folder),
    ), screen).summary, True  # fmt: skip


def judged(job: Job, summary: dict[str, Any]) -> tuple[bool, str]:
    """Whether the run did its job, and what it missed."""
    alarms = sum(summary["warnings"].values()) + (summary["failure"] is not None)
    drift = summary.get("drift_meV_atom_ps")
    if summary["status"] != "finished":
        return False, summary["why"]
    if alarms:
        return False, f"{alarms} alarm(s): {', '.join(summary['warnings'])}"
    if job.ensemble == "nve" and (drift is None or abs(drift) > MOST_DRIFT):
        return False, f"drift above {MOST_DRIFT:g} meV/atom/ps" if drift is not None else "too short for a drift"
    return True, "passed"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="*")
    parser.add_argument("--potential", default="so3krates.pt")
    parser.add_argument("--output", type=Path, default=Path("runs/main-job"))
    parser.add_argument("--nve", type=int, help="the structure whose energy drift is measured, by its place (1, 2, ...); 0 for none")
    parser.add_argument("--time", default="20ps", help="length of the NVT runs")
    parser.add_argument("--nve-time", default="10ps")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="evaluate by compiled code; the physics is the same, the wait is shorter")
    parser.add_argument("--no-row", action="store_true", help="print only, leave scripts/results as it is")
    asked = parser.parse_args(words)
    paths = structures(asked.structure, ("A", "AAA", "A" * 15))
    chosen = asked.nve if asked.nve is not None else min(2, len(paths))
    jobs = [Job(p, "nvt", quantity(asked.time, "fs", "time"), asked.output / f"{p.stem}-nvt") for p in paths]
    if chosen:
        p = paths[chosen - 1]
        jobs.append(Job(jobs[chosen - 1].folder / "final.extxyz", "nve", quantity(asked.nve_time, "fs", "nve-time"), asked.output / f"{p.stem}-nve"))
    where, shown, passed = say_where(threads=asked.threads, device=asked.device, seed=1), [], True
    screen = Screen()
    for job in jobs:
        try:
            s, fresh = carried_out(job, asked.potential, asked.threads, asked.device, asked.compile, screen)
        except UserError as error:
            print(f"{job.folder.name}: {error}", file=sys.stderr)
            return error.exit_code
        if s["exit_code"] == EXIT_STOPPED:
            print(f"{job.folder.name}: {s['why']} The same command goes on.")
            return EXIT_STOPPED
        good, why = judged(job, s)
        passed &= good
        row = {
            "run": job.folder.name, "atoms": s["n_atoms"], "ensemble": s["method"], "dtype": s["dtype"], "compiled": int(asked.compile), "timestep_fs": TIMESTEP_FS, "ps": s["time_ps"], "verdict": s["verdict"],
            "alarms": sum(s["warnings"].values()) + (s["failure"] is not None), "temperature_K": s.get("temperature_K"), "temperature_error_K": s.get("temperature_error_K"),
            "drift_meV_atom_ps": s.get("drift_meV_atom_ps"), "drift_error_meV_atom_ps": s.get("drift_error_meV_atom_ps"), "ms_per_step": s["ms_per_step"],
            "ns_per_day": s["ns_per_day"], "passed": "yes" if good else "no", "why": why,
        }  # fmt: skip
        if fresh and not asked.no_row:
            append_row("main_job", {**where, "potential": Path(s["potential"]).name, "potential_sha256": s["potential_sha256"][:12], **row})
        shown.append(["-" if v is None else v for v in row.values()])
    print(table(shown, list(row)))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
