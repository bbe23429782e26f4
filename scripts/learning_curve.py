"""At equal labels: how much do labels where the committee disagrees pay against labels drawn at random?

    python scripts/learning_curve.py [CONFIG.toml] [--held-out FILE...] [--seeds 1 2 3] [--rounds 5] [--folder FOLDER]

The same loop of `mdapp learn` with selection = "uncertain" and "random", once for each seed, judged on the same held-out frames, which neither has drawn. Both
begin with the same first labels. A row for each round in results/learning_curve.csv: error and spread, and how long the dynamics held in exploration.
Loops that were cut short go on when the script is called again with the same folder.
"""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from _bench import RESULTS, append_row, say_where, table
from mdapp.jobs.learn import learn, read
from mdapp.plots.style import save
from mdapp.plots.uncertainty import learning_rounds
from mdapp.screen import Screen

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("labels", "forces_rmse_eV_A", "energy_mae_eV_atom", "held_out_spread_eV_A", "held_ps", "held_most_ps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", nargs="?", default=str(ROOT / "examples/learn_ethanol/learn.toml"))
    parser.add_argument("--held-out", nargs="+", default=[str(ROOT / "examples/train_so3krates/ethanol_gfn2_validation.extxyz")])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--folder", default=str(ROOT / "runs/learning-curve"))
    words = parser.parse_args()
    settings = read(words.config, {} if words.rounds is None else {"rounds": words.rounds})
    where = say_where(threads=settings.threads or 1, device="cpu", seed=words.seeds[0])
    found: dict[str, list[list[dict]]] = {"uncertain": [], "random": []}
    for seed in words.seeds:
        for selection, loops in found.items():
            folder = Path(words.folder) / f"{selection}-{seed}"
            asked = replace(settings, selection=selection, seed=seed, output=str(folder), held_out=tuple(words.held_out), flat=0.0, patience=settings.rounds)
            loops.append(learn(asked, Screen(), resume=(folder / "learn.toml").exists()).summary["history"])
            for row in loops[-1]:
                append_row("learning_curve", {"system": Path(words.config).parent.name, "selection": selection, "round": row["round"],
                                              **{name: row[name] for name in COLUMNS}, **where, "seed": seed})
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
    save(learning_rounds(labels, curves, held, found["uncertain"][0][0]["held_most_ps"]), RESULTS / "learning_curve")


if __name__ == "__main__":
    main()
