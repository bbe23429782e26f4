"""At equal labels: how much do labels where the committee disagrees pay against labels drawn at random?

    python scripts/learning_curve.py [CONFIG.toml] [--held-out FILE... | --hot 1000] [--seeds 1 2 3] [--rounds 5] [--begin-from FILE] [--folder FOLDER]
    python scripts/learning_curve.py CONFIG.toml --survival 1500 [--runs 4] [--ps 2]

The same loop of `mdapp learn` with selection = "uncertain" and "random", once for each seed, judged on the same held-out frames, which neither has drawn: files,
or frames of dynamics of the config's calculator itself from the first structure (--hot, K), which no potential has had a hand in. Both begin
with the same first labels. A row for each round in results/learning_curve.csv: error and spread, and how long the dynamics held in exploration; the row
with 0 labels is the potential that the loop begins from. The loops go on round by round in turn; what was cut short goes on when the script is called again with
the same folder. --survival asks how long dynamics at that temperature hold before and after, until a guard breaks them: results/learning_survival.csv.
"""
from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _bench import RESULTS, append_row, say_where, table
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as read_structures
from ase.io import write
from mdapp.config import RunConfig
from mdapp.config.learn import ExploreConfig, LearnConfig
from mdapp.errors import EXIT_FINISHED
from mdapp.jobs._learn_explore import explore
from mdapp.jobs.learn import learn, read
from mdapp.jobs.run import run
from mdapp.plots.style import save
from mdapp.plots.uncertainty import learning_rounds
from mdapp.screen import Screen
from mdapp.structure import read_structure
from mdapp.trajectory import read_frames
from potentials.calculator import load_calculator
from potentials.checkpoint import fingerprint
from potentials.words import file_of

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("labels", "forces_rmse_eV_A", "energy_mae_eV_atom", "held_out_spread_eV_A", "held_ps", "held_most_ps")
HOT_STEPS, HOT_EVERY, HOT_SEED = 2000, 40, 777


def hot_frames(settings: LearnConfig, temperature_K: float, file: Path) -> Path:
    """Labelled frames of dynamics by the labels' own calculator, the first fifth left out; made once."""
    if not file.exists():
        made = run(RunConfig(structure=settings.starts[0], potential=(settings.calculator,), temperature=temperature_K, steps=HOT_STEPS, every=HOT_EVERY, seed=HOT_SEED,
                             threads=settings.threads, output=str(file.with_suffix(""))))
        if made.exit_code != EXIT_FINISHED:
            raise SystemExit(f"The held-out dynamics ended early: {made.summary['why']}")
        frames = []
        for frame in read_frames(file.with_suffix("")):
            if 5 * frame.step > HOT_STEPS:
                frames.append(Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc))
                frames[-1].calc = SinglePointCalculator(frames[-1], energy=frame.potential_energy, forces=frame.forces)
        part = file.with_suffix(".part")
        write(part, frames, format="extxyz")
        part.rename(file)
    return file


def errors_of(word: str, file: str | Path) -> dict[str, float]:
    """Errors of one potential on labelled frames, in eV and Å."""
    calculator, forces, energies = load_calculator(word), [], []
    for labelled in read_structures(file, ":", format="extxyz"):
        atoms = labelled.copy()
        atoms.calc = calculator
        forces.append((atoms.get_forces() - labelled.get_forces()).ravel())
        energies.append((atoms.get_potential_energy() - labelled.get_potential_energy()) / len(atoms))
    return {"forces_rmse_eV_A": float(np.sqrt(np.mean(np.square(np.concatenate(forces))))), "energy_mae_eV_atom": float(np.mean(np.abs(energies)))}


def survival(settings: LearnConfig, folder: Path, seeds: list[int], temperature_K: float, runs: int, ps: float, where: dict[str, Any]) -> None:
    """How long dynamics hold, before and after; a run that has a row in the folder is not done again."""
    steps = round(1000 * ps / settings.explore.timestep_fs)
    asked = replace(settings, explore=ExploreConfig(temperature_K=temperature_K, steps=steps, every=steps, walks=1))
    potentials = {"before": [settings.begin_from or ""]}
    for selection in ("uncertain", "random"):
        last = sorted((folder / f"{selection}-{seeds[0]}").glob("round-*/round.json"))
        if last:
            potentials[f"after, {selection}"] = [str(f) for f in sorted(last[-1].parent.glob("member-*/best.pt"))]
    done_file = folder / f"survival-{temperature_K:g}K.json"
    done = json.loads(done_file.read_text()) if done_file.exists() else {}
    start = read_structure(settings.starts[0])
    for k in range(runs):
        for name, files in potentials.items():
            key = f"{name} {k}"
            if key not in done:
                found = explore(replace(asked, seed=9000 + k), [start], [Path(f) for f in files], folder, 0, lambda: False)
                done[key] = {"held_ps": found.held_ps[0], "reason": (found.reasons or [""])[0]}
                done_file.write_text(json.dumps(done, indent=1))
                append_row("learning_survival", {"system": Path(settings.starts[0]).stem, "potential": name, "members": len(files), "temperature_K": temperature_K,
                                                 "run": k, "held_ps": done[key]["held_ps"], "most_ps": ps, "reason": done[key]["reason"], **where})
    rows = [[name, len(held), float(np.mean(held)), float(np.min(held)), sum(h < ps for h in held)] for name in potentials
            for held in [[done[f"{name} {k}"]["held_ps"] for k in range(runs)]]]
    print(table(rows, ["potential", "runs", "held on average / ps", "shortest / ps", "broken"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", nargs="?", default=str(ROOT / "examples/learn_ethanol/learn.toml"))
    parser.add_argument("--held-out", nargs="+", default=[str(ROOT / "examples/train_so3krates/ethanol_gfn2_validation.extxyz")])
    parser.add_argument("--hot", type=float, help="K; held-out frames of the calculator's own dynamics in place of files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--begin-from", help="in place of the config's")
    parser.add_argument("--folder", default=str(ROOT / "runs/learning-curve"))
    parser.add_argument("--survival", type=float, help="K; how long dynamics hold before and after, and nothing else")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--ps", type=float, default=2.0)
    words = parser.parse_args()
    changes = {"rounds": words.rounds, "begin_from": words.begin_from}
    settings = read(words.config, {name: value for name, value in changes.items() if value is not None})
    where = say_where(threads=settings.threads or 1, device="cpu", seed=words.seeds[0])
    folder, system = Path(words.folder), Path(words.config).parent.name
    folder.mkdir(parents=True, exist_ok=True)
    if words.survival:
        survival(settings, folder, words.seeds, words.survival, words.runs, words.ps, where)
        return
    held_out = [str(hot_frames(settings, words.hot, folder / f"hot-{words.hot:g}K.extxyz"))] if words.hot else words.held_out
    file = None if settings.begin_from is None else file_of(settings.begin_from)
    origin = "" if file is None else fingerprint(file)[:12]
    if file is not None and not any(folder.glob("*/round-000/round.json")):
        before = errors_of(str(file), held_out[0])
        append_row("learning_curve", {"system": system, "selection": "none", "round": -1, **{n: {"labels": 0, **before}.get(n, "") for n in COLUMNS}, **where, "origin": origin})
        print(f"before: forces {1000 * before['forces_rmse_eV_A']:.4g} meV/Å (RMSE)")
    found: dict[str, list[list[dict]]] = {"uncertain": [], "random": []}
    for seed in words.seeds:
        for rounds in range(1, settings.rounds + 1):
            for selection in found:
                target = folder / f"{selection}-{seed}"
                before_rounds = len(list(target.glob("round-*/round.json")))
                if before_rounds < rounds:
                    asked = replace(settings, selection=selection, seed=seed, output=str(target), held_out=tuple(held_out), flat=0.0, patience=settings.rounds, rounds=rounds)
                    learn(asked, Screen(), resume=(target / "learn.toml").exists())
                    ended = target / f"round-{rounds - 1:03d}" / "round.json"
                    if not ended.exists():
                        print(f"{target.name}: no round {rounds - 1}; the loop ended, or was told to stop, before it.")
                        continue
                    row = json.loads(ended.read_text())
                    append_row("learning_curve", {"system": system, "selection": selection, "round": row["round"],
                                                  **{name: row[name] for name in COLUMNS}, **where, "seed": seed, "origin": origin})
        for selection, loops in found.items():
            loops.append([json.loads(f.read_text()) for f in sorted((folder / f"{selection}-{seed}").glob("round-*/round.json"))])
    rows = []
    for selection, loops in found.items():
        for k in range(min(len(loop) for loop in loops)):
            errors = [1000 * loop[k]["forces_rmse_eV_A"] for loop in loops]
            rows.append([selection, k, float(np.mean([loop[k]["labels"] for loop in loops])), float(np.mean(errors)), float(np.std(errors)),
                         float(np.mean([loop[k]["held_ps"] or 0.0 for loop in loops]))])
    print(table(rows, ["selection", "round", "labels", "forces RMSE / meV/Å", "over seeds", "held / ps"]))
    labels = [row[2] for row in rows if row[0] == "uncertain"]
    curves = {selection: [row[3] / 1000 for row in rows if row[0] == selection] for selection in found}
    held = [row[5] for row in rows if row[0] == "uncertain"]
    figure = learning_rounds(labels, curves, held, found["uncertain"][0][0]["held_most_ps"])
    errors = figure.axes[0]
    errors.set(yscale="linear", ylabel="force error (RMSE) / eV/Å")
    if (before_any := _before(system)) is not None:
        errors.axhline(before_any, color="0.4", ls=":", label="before, without labels")
    errors.set_ylim(0, 1.15 * max(before_any or 0.0, *(max(c) for c in curves.values())))  # from zero: small differences look small
    errors.legend()
    save(figure, RESULTS / f"learning_curve_{system.removeprefix('learn_')}")


def _before(system: str) -> float | None:
    """The error of the potential that the loop of this system began from, as it was measured last."""
    path = RESULTS / "learning_curve.csv"
    with path.open(newline="", encoding="utf-8") as file:
        found = [row for row in csv.DictReader(file) if (row["system"], row["selection"]) == (system, "none")]
    return float(found[-1]["forces_rmse_eV_A"]) if found else None


if __name__ == "__main__":
    main()
