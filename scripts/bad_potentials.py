"""Are bad potentials caught before the trajectory is nonsense? The guards' step against the step at which a chemist would have stopped.

    python scripts/bad_potentials.py so3krates.pt --structures A.xyz --perturb 0.02 0.05 0.1 0.2 --narrow 60 --time 1ps --output FOLDER

Two kinds are made bad on purpose. `--perturb S` multiplies each weight of the potential by 1 + S x, x normal. `--narrow N` trains a small So3krates for some minutes
on N frames of one conformer alone, atoms moved by 0.03 Å at random, by the forces that the given potential has for them. The given potential itself runs too, as the one that
should raise no alarm.

Every run writes every step and goes on after alarms. Then the full record is asked when somebody who sees it all would have stopped: at the first step in which a bond of the
start is off by more than 0.5 Å (Fu et al., 2023), or from which the bonds that one would draw by distance and valence are not those of the start for 10 fs, or in which two
atoms are closer than 0.6 Å. None of this is taken from the guards. Where every step is written the guards look at every step; in an ordinary run they look at every tenth, and
speak up to nine steps later. FOLDER/guard_timing.csv has a line for each run and FOLDER/guard_timing.png shows it;
`--results` puts both into scripts/results too.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stability_study import Trial, one, write

from mdapp.errors import EXIT_STOPPED, PotentialError
from mdapp.frame import Frame
from mdapp.quantities import quantity
from mdapp.topology import find_bonds
from mdapp.trajectory import read_events, read_frames

STRETCHED_A, DRAWN_FS, FUSED_A = 0.5, 10.0, 0.6
JITTER_A = 0.03
TRAINING = {"name": "so3krates", "config": {"num_layers": 2, "num_features": 32, "num_heads": 2, "degrees": [1, 2], "cutoff": 4.0, "energy_regression_dim": 32}}


def perturbed(spec: str, share: float, folder: Path, seed: int = 1) -> str:
    """A copy of a potential with each weight multiplied by 1 + share · normal; its path."""
    import torch

    from potentials import load_potential
    from potentials.checkpoint import save_potential

    path = folder / f"{Path(spec).stem}, weights off by {100 * share:g} %.pt"
    if not path.exists():
        potential, noise = load_potential(spec), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in potential.parameters():
                weight *= 1.0 + share * torch.randn(weight.shape, generator=noise, dtype=torch.float64).to(weight.dtype)
        save_potential(path, potential, potential.card)
    return str(path)


def narrow(spec: str, structure: Path, frames: int, steps: int, folder: Path, seed: int = 1) -> str:
    """A potential that has seen one conformer of one molecule only; its path.

    Parameters
    ----------
    spec : gives the forces.
    frames : of the conformer, and a quarter as many for validation.
    steps : of the training.
    """
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write as write_frames

    from mdapp.jobs.train import train
    from mdapp.structure import read_structure
    from potentials import load_calculator
    from potentials.training.config import TrainConfig
    from potentials.typed import from_mapping

    path = folder / f"{structure.stem}, one conformer.pt"
    if path.exists():
        return str(path)
    start, rng, teacher, labelled = read_structure(structure), np.random.default_rng(seed), load_calculator(spec, device="cpu"), []
    start.info.clear()
    for _ in range(frames + max(2, frames // 4)):
        atoms = start.copy()
        atoms.positions += JITTER_A * rng.standard_normal(atoms.positions.shape)
        atoms.calc = teacher
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().copy()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        labelled.append(atoms)
    out = folder / f"training-{structure.stem}"
    for name, part in (("train", labelled[:frames]), ("validation", labelled[frames:])):
        write_frames(folder / f"{structure.stem}-{name}.extxyz", part, format="extxyz")
    config = {"output": str(out), "max_steps": steps, "batch_size": 10, "validate_every": max(1, steps // 4), "seed": seed, "threads": 1, "compile": False,
              "level_of_theory": f"forces of {spec}", "description": "One conformer alone: bad on purpose.", "potential": TRAINING,
              "data": {name: [str(folder / f"{structure.stem}-{name}.extxyz")] for name in ("train", "validation")}, "loss": {"energy": 0.0, "forces": 1.0},
              "optimiser": {"learning_rate": 4e-3, "warmup_steps": 20, "ema": 0.98}}  # fmt: skip
    result = train(from_mapping(TrainConfig, config, "[train]"), resume=(out / "last.pt").exists())
    if result.exit_code == EXIT_STOPPED:
        sys.exit(EXIT_STOPPED)
    (out / "best.pt").rename(path)
    return str(path)


def chemist_step(frames: Iterable[Frame]) -> tuple[int | None, str]:
    """When somebody who sees every step would have stopped, and why; None where there was no reason."""
    bonds, lengths, changed_since = None, None, None
    for frame in frames:
        distances = np.linalg.norm(frame.positions[:, None] - frame.positions[None], axis=2)  # (n_atoms, n_atoms), of a free molecule
        drawn = find_bonds(frame.numbers, frame.positions, frame.cell, frame.pbc)
        if bonds is None:
            bonds, lengths = drawn, distances[tuple(drawn.T)]
        if (np.abs(distances[tuple(bonds.T)] - lengths) > STRETCHED_A).any():
            return (frame.step, "bond off by 0.5 Å") if changed_since is None else (changed_since[0], "other bonds")
        if distances[np.triu_indices(len(distances), 1)].min() < FUSED_A:
            return frame.step, "atoms closer than 0.6 Å"
        if np.array_equal(drawn, bonds):
            changed_since = None
        elif changed_since is None:
            changed_since = frame.step, frame.time_fs
        elif frame.time_fs - changed_since[1] >= DRAWN_FS:
            return changed_since[0], "other bonds"
    return None, ""


def row_of(trial: Trial, folder: Path, steps_fs: float, summary: dict[str, Any]) -> dict[str, Any]:
    """The guards' steps beside the chemist's."""
    events = [e for e in read_events(folder) if e["kind"] in ("guard", "warning")]
    acted = next((e for e in events if e["kind"] == "guard"), None)
    warned = events[0] if events else None
    chemist, why = chemist_step(read_frames(folder))
    late = {name: None if chemist is None or event is None else (event["step"] - chemist) * steps_fs for name, event in (("warned", warned), ("stopped", acted))}
    return {"potential": Path(trial.potential).stem, "structure": trial.structure.stem, "temperature_K": trial.temperature_K, "seed": trial.seed, "timestep_fs": steps_fs,
            "steps": summary["steps"], "chemist_step": chemist, "chemist_saw": why,
            "warned_step": warned and warned["step"], "warned_by": warned and warned["monitor"], "warned_after_chemist_fs": late["warned"],
            "stopped_step": acted and acted["step"], "stopped_by": acted and acted["monitor"], "stopped_after_chemist_fs": late["stopped"],
            "reason": (acted or warned or {}).get("message", "")}  # fmt: skip


def draw(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """One line a run: when the chemist, the first warning and the stop came."""
    from mdapp.plots import style

    marks = (("chemist_step", "o", style.BLACK, "a chemist would have stopped"), ("warned_step", ">", style.ORANGE, "a guard warned"),
             ("stopped_step", "s", style.VERMILION, "a guard stopped the run"))  # fmt: skip
    with style.look():
        figure, axes = style.panel(9.0, 1.4 + 0.24 * len(rows))
        for y, row in enumerate(rows):
            axes.plot([row["timestep_fs"], row["steps"] * row["timestep_fs"]], [y, y], color="#dddddd", linewidth=1, zorder=1)
            for name, marker, colour, _ in marks:
                if row[name] is not None:
                    axes.plot(max(row[name], 1) * row["timestep_fs"], y, marker, color=colour, markersize=9 if marker == "o" else 6,
                              fillstyle="none" if marker == "o" else "full", zorder=3 if marker == "o" else 2)  # fmt: skip
        for _, marker, colour, label in marks:
            axes.plot([], [], marker, color=colour, fillstyle="none" if marker == "o" else "full", label=label)
        axes.set(xscale="log", xlabel="time / fs", ylim=(len(rows) - 0.4, -0.6))
        axes.set_yticks(range(len(rows)), [f"{r['potential'].removeprefix(r['structure'] + ', ')}; {r['structure']}, {r['temperature_K']:g} K" for r in rows])
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle("Bad potentials: guards against a chemist who sees every step", fontsize=11)
        return style.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("potential")
    parser.add_argument("--structures", nargs="+", type=Path, required=True)
    parser.add_argument("--temperatures", nargs="+", type=float, default=[300.0], help="K")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--perturb", nargs="*", type=float, default=[], metavar="S")
    parser.add_argument("--narrow", type=int, default=0, metavar="N", help="frames of one conformer")
    parser.add_argument("--training-steps", type=int, default=400)
    parser.add_argument("--time", default="1ps", help="of each run")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--results", action="store_true", help="table and figure to scripts/results too")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    trials = []
    for structure in asked.structures:
        bad = [narrow(asked.potential, structure, asked.narrow, asked.training_steps, asked.output)] if asked.narrow else []
        potentials = [asked.potential, *(perturbed(asked.potential, share, asked.output) for share in asked.perturb), *bad]
        trials += [Trial(p, structure, T, seed) for p in potentials for T in asked.temperatures for seed in asked.seeds]
    rows = []
    for k, trial in enumerate(trials, 1):
        folder = asked.output / trial.name
        try:
            summary = one(trial, folder, quantity(asked.time, "fs", "time"), timestep=asked.timestep, every=1, on_event="warn", device="cpu", threads=1)
        except PotentialError as error:
            print(f"{k}/{len(trials)} {trial.name}: refused before the first step, so it has no row. {error}", flush=True)
            continue
        if summary["exit_code"] == EXIT_STOPPED:
            print(f"interrupted in {trial.name}; call again to go on", flush=True)
            sys.exit(EXIT_STOPPED)
        rows.append(row_of(trial, folder, asked.timestep, summary))
        said = ", ".join(f"{name} {rows[-1][f'{name}_step']}" for name in ("chemist", "warned", "stopped"))
        print(f"{k}/{len(trials)} {trial.name}: {said}. {rows[-1]['reason']}", flush=True)
        write(asked.output / "guard_timing.csv", rows)
    late = [r["stopped_after_chemist_fs"] for r in rows if r["chemist_step"] is not None and r["stopped_step"] is not None]
    missed = sum(r["chemist_step"] is not None and r["warned_step"] is None for r in rows)
    print(f"{len(rows)} runs; a chemist would have stopped {sum(r['chemist_step'] is not None for r in rows)}, of which {missed} passed without a word; "
          f"stops came {np.median(late) if late else np.nan:.3g} fs after the chemist's (median), {max(late, default=np.nan):.3g} at most")
    print(f"{asked.output}/guard_timing.csv and {draw(rows, asked.output / 'guard_timing.png')}")
    if asked.results:
        from _bench import RESULTS, environment

        where = {name: value for name, value in environment(1).items() if name in ("date", "commit", "torch", "device")}
        write(RESULTS / "guard_timing.csv", [{**where, **row} for row in rows])
        draw(rows, RESULTS / "guard_timing.png")


if __name__ == "__main__":
    main()
