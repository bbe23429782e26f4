"""Does bcc lithium stay a crystal under a learned potential, with a sane lattice constant and thermal expansion?

    python scripts/lithium_npt.py POTENTIAL [--temperatures 100 200 300] [--time PS] [--folder runs/lithium_npt] [--read] [--keep]

54 atoms at 1 bar (NPT), one run a temperature; runs that were stopped go on, whole ones are only read. From the second half of each: the lattice constant with its
error from blocks, how far atoms move from their sites, and the largest share of atoms without 8 + 6 neighbours (1.2 times the second shell's distance).
The expansion is the slope of the lattice constant over the temperature. Experiment: 3.51 Å at 300 K, 4.6e-5 / K; PBE without motion of the nuclei: 3.44 Å.
With --keep, the table and the figure are results/lithium_npt.csv and .png.
"""
from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.io import write

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = ("potential", "temperature_K", "time_ps", "a_A", "a_error_A", "rms_displacement_A", "share_off_14_neighbours", "crystal", "expansion_per_K")
MELTED_A = 1.0  # rms displacement from the sites; a liquid diffuses by several Å


def run(potential: str, temperature_K: float, time_ps: float, timestep_fs: float, folder: Path) -> Path:
    """One NPT run, or what is missing of the one that is there."""
    from mdapp.config import ResumeConfig, RunConfig
    from mdapp.jobs.resume import resume
    from mdapp.jobs.run import run as job

    output = folder / f"{temperature_K:g}K"
    if (output / "run.toml").exists():
        resume(ResumeConfig(run=str(output), time=1000 * time_ps))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        start = folder / f"li54_{temperature_K:g}K.extxyz"
        write(start, bulk("Li", "bcc", a=3.44, cubic=True).repeat(3))
        job(RunConfig(structure=str(start), potential=(potential,), ensemble="npt", temperature=temperature_K, pressure=1.0, timestep=timestep_fs, time=1000 * time_ps,
                      every=25, output=str(output), dtype="float64"))  # fmt: skip
    return output


def measured(folder: Path) -> dict[str, Any]:
    """Lattice constant over time, and its mean, displacements and coordination over the second half of a run."""
    from ase.geometry import get_distances

    from mdapp.trajectory import read_frames

    frames = list(read_frames(folder))
    half = frames[len(frames) // 2 :]
    lattice = np.array([abs(np.linalg.det(f.cell)) ** (1 / 3) / 3 for f in frames])
    second = lattice[len(frames) // 2 :]
    blocks = np.array([b.mean() for b in np.array_split(second, 5)])
    sites = bulk("Li", "bcc", a=1.0, cubic=True).repeat(3)
    sites = sites.get_scaled_positions()
    moved, odd = [], []
    for f in half[::5]:  # neighbours in time are alike
        s = f.positions @ np.linalg.inv(f.cell) - sites
        s -= s.mean(0)  # the crystal as a whole may drift
        s -= np.round(s)
        moved.append(np.sqrt(((s @ f.cell) ** 2).sum(1).mean()))
        d = get_distances(f.positions, cell=f.cell, pbc=True)[1]
        reach = 1.2 * abs(np.linalg.det(f.cell)) ** (1 / 3) / 3
        odd.append(np.mean(((d < reach) & (d > 0)).sum(1) != 14))
    return {"times_ps": np.array([f.time_fs for f in frames]) / 1000, "lattice_A": lattice,
            "time_ps": frames[-1].time_fs / 1000, "a_A": second.mean(), "a_error_A": blocks.std(ddof=1) / np.sqrt(len(blocks)),
            "rms_displacement_A": float(np.mean(moved)), "share_off_14_neighbours": float(np.mean(odd))}  # fmt: skip


def draw(runs: dict[float, dict[str, Any]], expansion: float | None, file: Path) -> None:
    """The lattice constant over time, and over temperature."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    for T, found in sorted(runs.items()):
        left.plot(found["times_ps"], found["lattice_A"], lw=0.5, label=f"{T:g} K")
    left.set(xlabel="time / ps", ylabel="lattice constant / Å", title="54 atoms, NPT at 1 bar")
    left.legend(fontsize=8)
    T = np.array(sorted(runs))
    a = np.array([runs[t]["a_A"] for t in T])
    right.errorbar(T, a, [runs[t]["a_error_A"] for t in T], fmt="o", capsize=3, label="learned potential")
    if expansion is not None:
        right.plot(T, a.mean() * (1 + expansion * (T - T.mean())), "-", lw=0.8, label=f"slope {1e5 * expansion:.1f}e-5 / K")
    right.plot(300, 3.51, "k*", label="experiment")
    right.set(xlabel="temperature / K", ylabel="lattice constant / Å", title="mean over the second half")
    right.legend(fontsize=8)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("potential")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[100.0, 200.0, 300.0])
    parser.add_argument("--time", type=float, default=100.0, help="ps of each run")
    parser.add_argument("--timestep", type=float, default=4.0, help="fs; the fastest phonon of lithium takes 110")
    parser.add_argument("--folder", type=Path, default=Path("runs/lithium_npt"))
    parser.add_argument("--read", action="store_true", help="run nothing: measure what is there, however long it is")
    parser.add_argument("--keep", action="store_true", help="write the table and the figure into scripts/results")
    options = parser.parse_args()
    runs, rows = {}, []
    for T in options.temperatures:
        there = options.folder / f"{T:g}K" if options.read else run(options.potential, T, options.time, options.timestep, options.folder)
        found = runs[T] = measured(there)
        crystal = found["rms_displacement_A"] < MELTED_A
        rows.append({"potential": Path(options.potential).name, "temperature_K": T, **found, "crystal": "yes" if crystal else "no"})
        print(f"{T:g} K, {found['time_ps']:.1f} ps: a = {found['a_A']:.4f} ± {found['a_error_A']:.4f} Å, atoms {found['rms_displacement_A']:.2f} Å from their sites: "
              f"{'a crystal' if crystal else 'NO crystal'}", flush=True)  # fmt: skip
    expansion = None
    if len(rows) > 1:
        slope = np.polyfit([r["temperature_K"] for r in rows], [r["a_A"] for r in rows], 1)[0]
        expansion = float(slope / np.mean([r["a_A"] for r in rows]))
        print(f"Thermal expansion: {expansion:.2e} / K (linear).")
    if options.keep:
        with (RESULTS / "lithium_npt.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
            table.writeheader()
            for row in rows:
                row["expansion_per_K"] = "" if expansion is None else expansion
                table.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
        draw(runs, expansion, RESULTS / "lithium_npt.png")


if __name__ == "__main__":
    main()
