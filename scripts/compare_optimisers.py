"""AdamW, SOAP, the Kalman filter and L-BFGS on one training config, epoch for epoch: errors on the validation frames, and time.

    python scripts/compare_optimisers.py examples/training/ethanol_md17.toml [--epochs 50] [--rates adamw=1e-3 soap=3e-3]

Everything but the optimiser is the config's; the cosine ends with the last epoch. An epoch of L-BFGS (lbfgs=1, kalman=1: they have no rate) is
one line search after another over all frames at once, as many as `lbfgs_iterations`. Trainings lie in --work; rows go to results/optimisers.csv.
"""
from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from _bench import append_row, say_where, table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rates", nargs="+", default=["adamw=1e-3", "soap=3e-3"], metavar="KIND=RATE")
    parser.add_argument("--work", type=Path, default=Path("runs/optimisers"))
    asked = parser.parse_args()
    from mdapp.jobs.train import train
    from potentials.training.config import read_config

    config = read_config(asked.config)
    where, shown = say_where(threads=config.threads, seed=config.seed), []
    for kind, rate in (word.split("=") for word in asked.rates):
        folder = asked.work / f"{asked.config.stem}-{kind}-{rate}-{asked.epochs}"
        optimiser = replace(config.optimiser, kind=kind, learning_rate=float(rate))
        begin = time.perf_counter()
        batch_size = 1_000_000 if kind == "lbfgs" else config.batch_size
        train(replace(config, output=str(folder), epochs=asked.epochs, max_hours=None, max_steps=None, batch_size=batch_size, optimiser=optimiser))
        seconds = time.perf_counter() - begin
        found = json.loads((folder / "errors.json").read_text())["errors"]
        row = {**where, "config": asked.config.stem, "kind": kind, "rate": float(rate), "epochs": asked.epochs, "seconds": seconds}
        row |= {name: found[name] for name in ("energy_mae_meV_atom", "forces_mae_meV_A")}
        shown.append((kind, rate, f"{seconds:.0f}", f"{row['energy_mae_meV_atom']:.3g}", f"{row['forces_mae_meV_A']:.3g}"))
        append_row("optimisers", row)
    print(table(shown, ("optimiser", "rate", "s, compilation included", "energy MAE meV/atom", "forces MAE meV/A")))


if __name__ == "__main__":
    main()
