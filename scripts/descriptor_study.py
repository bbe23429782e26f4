"""How does accuracy depend on the set of descriptors? Lithium, from 4 to 117 symmetry functions.

    python scripts/descriptor_study.py [--data FILE] [--sizes 4 8 14 30 60 117] [--epochs 5] [--every 1] [--csv FILE] [--plot FILE]

From the published set of 117 functions so many are chosen by CUR on the training data; beside them stands NNMD's set for the bcc cell of 27 atoms (12 G2, 2 G4,
3.54 Å). Each is trained with a network of two layers of 16 by the same Kalman filter and tested on every eighth frame, which no training sees. Existing rows of the
table are kept, so that a study that was stopped goes on; a size is trained again where more epochs are asked for, and drawn as trained longest. Large sets need more.
"""
from __future__ import annotations

import argparse
import csv
import math
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("set", "functions", "cutoff_A", "epochs", "frames_tested", "energy_rmse_meV_atom", "forces_rmse_meV_A")
HOLD_OUT = 8


def nnmd_set() -> list[dict[str, Any]]:
    """12 G2 (eta from 0.001 to 1) and 2 G4 (zeta 3), 3.54 Å."""
    etas = [10 ** (-3 + 3 * k / 11) for k in range(12)]
    radial = [{"kind": "G2", "neighbour": 3, "eta": eta, "cutoff": 3.54} for eta in etas]
    angular = [{"kind": "G4", "neighbour": 3, "second": 3, "eta": eta, "zeta": 3.0, "lam": lam, "cutoff": 3.54} for eta, lam in ((0.01, -1.0), (0.02, 1.0))]
    return [*radial, *angular]


def descriptors(size: int | str) -> dict[str, Any]:
    """The part of the architecture's settings that says which functions."""
    if size == "NNMD":
        return {"functions": nnmd_set()}
    return {"cutoff": 5.2, "grid": {"scheme": "mlearn"}, "selection": {"keep": int(size), "method": "cur", "correlation": 1.0}}


def trained(data: Path, size: int | str, epochs: int, every: int, folder: Path) -> dict[str, Any]:
    """A row: train in `folder`, test on the frames that were held out."""
    from ase.io import read, write

    from mdapp.config import EvaluateConfig
    from mdapp.jobs.evaluate import evaluate
    from mdapp.jobs.train import train
    from potentials import load_potential
    from potentials.training.config import TrainConfig
    from potentials.typed import from_mapping

    frames = read(data, index=":", format="extxyz")
    held_out = frames[::HOLD_OUT]
    learnt = [f for k, f in enumerate(frames) if k % HOLD_OUT][::every]
    for name, some in (("train", learnt), ("test", held_out)):
        write(folder / f"{name}.extxyz", some, format="extxyz")
    stressed = any("stress" in (f.calc.results if f.calc else {}) or any("stress" in name.lower() or "virial" in name.lower() for name in f.info) for f in learnt)
    settings = {
        "output": str(folder / "run"), "epochs": epochs, "batch_size": 1, "validate_every": len(learnt), "dtype": "float64", "threads": 1, "seed": 1,
        "data": {"train": str(folder / "train.extxyz"), "validation_fraction": 0.07},
        "potential": {"name": "behler-parrinello", "config": {"hidden": [16, 16], **descriptors(size)}},
        "loss": {"energy": 4000.0, "forces": 8.0, "stress": 2000.0 if stressed else 0.0},
        "optimiser": {"kind": "kalman", "kalman": {"forces_per_update": 40}},
    }  # fmt: skip
    train(from_mapping(TrainConfig, settings, "descriptor study"))
    best = folder / "run" / "best.pt"
    errors = next(iter(evaluate(EvaluateConfig(data=(str(folder / "test.extxyz"),), potential=(str(best),), device="cpu", threads=1, worst=0)).summary["data"].values()))
    config = load_potential(best).config
    return {"set": "NNMD" if size == "NNMD" else "CUR of 117", "functions": len(config.functions) or 117, "cutoff_A": 3.54 if size == "NNMD" else 5.2, "epochs": epochs,
            "frames_tested": len(held_out), **{name: errors["errors"][name] for name in ("energy_rmse_meV_atom", "forces_rmse_meV_A")}}  # fmt: skip


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Errors over the number of functions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    rows = list({(r["set"], int(r["functions"])): r for r in sorted(rows, key=lambda r: int(r["epochs"]))}.values())
    chosen = sorted((r for r in rows if r["set"] != "NNMD"), key=lambda r: int(r["functions"]))
    for axis, name, label, published in ((axes[0], "energy_rmse_meV_atom", "energy RMSE / meV/atom", 0.98), (axes[1], "forces_rmse_meV_A", "force RMSE / meV/Å", 23.4)):
        axis.loglog([int(r["functions"]) for r in chosen], [float(r[name]) for r in chosen], "o-", label="of the 117, by CUR")
        other = [r for r in rows if r["set"] == "NNMD"]
        axis.loglog([int(r["functions"]) for r in other], [float(r[name]) for r in other], "s", label="NNMD's 14, 3.54 Å")
        axis.axhline(published, color="k", lw=0.8, ls=":", label="published network, its test set")
        sizes = sorted({int(r["functions"]) for r in rows})
        axis.set(xlabel="symmetry functions", ylabel=label)
        axis.set_xticks(sizes, [str(n) for n in sizes])
        axis.xaxis.minorticks_off()
    axes[0].legend(fontsize=8)
    sets = {n: sorted({int(r["functions"]) for r in rows if int(r["epochs"]) == n}) for n in sorted({int(r["epochs"]) for r in rows})}
    epochs = "; ".join(f"{n} epochs: {', '.join(map(str, sizes))}" for n, sizes in sets.items())
    figure.suptitle(f"mlearn Li, every eighth frame held out ({epochs} functions)", fontsize=9)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main(words: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "mlearn_li" / "training.xyz.gz")
    parser.add_argument("--sizes", nargs="*", default=["NNMD", "4", "8", "14", "30", "60", "117"], help="numbers of functions, or NNMD")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--every", type=int, default=1, help="train on every so-manieth of the frames that are not held out")
    parser.add_argument("--csv", type=Path, default=ROOT / "scripts" / "results" / "descriptor_study.csv")
    parser.add_argument("--plot", type=Path, default=ROOT / "scripts" / "results" / "descriptor_study.png")
    options = parser.parse_args(words)
    rows: list[dict[str, Any]] = []
    if options.csv.exists():
        with options.csv.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    for size in options.sizes:
        there = [r for r in rows if (r["set"] == "NNMD") == (size == "NNMD") and (size == "NNMD" or int(r["functions"]) == int(size)) and int(r["epochs"]) >= options.epochs]
        if there:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            row = trained(options.data, size, options.epochs, options.every, Path(scratch))
        if not math.isfinite(row["energy_rmse_meV_atom"]):
            raise SystemExit(f"The training with {size} functions gave no finite errors.")
        rows.append({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
        print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    draw(rows, options.plot)
    return rows


if __name__ == "__main__":
    main()
