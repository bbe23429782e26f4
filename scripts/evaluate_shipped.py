"""How far is the shipped potential off, on whole molecules that it has not been trained on?

Prints one row a molecule and one for all frames: MAE of energies in meV/atom and of forces in meV/Å.

    python scripts/evaluate_shipped.py [POTENTIAL] [DATA...]
"""
from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch

from mdapp.config import EvaluateConfig
from mdapp.jobs.evaluate import evaluate

HELD_OUT = Path(__file__).parents[1] / "../shared/data/peptides_gfn2/peptides_gfn2_val.h5"


def main(potential: str = "so3krates", *data: str) -> None:
    result = evaluate(EvaluateConfig(data=data or (str(HELD_OUT.resolve()),), potential=(potential,), device="cpu"))
    print(f"# {potential}, torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads")
    print(f"{'molecule':<40} {'frames':>7} {'energy MAE':>12} {'energy RMSE':>12} {'force MAE':>11} {'force RMSE':>11}")
    print(f"{'':<40} {'':>7} {'meV/atom':>12} {'meV/atom':>12} {'meV/Å':>11} {'meV/Å':>11}")
    for path, found in result.summary["data"].items():
        for name, e in [*found["molecules"].items(), (f"all of {Path(path).name}", found["errors"])]:
            forces = f"{e.get('forces_mae_meV_A', float('nan')):11.1f} {e.get('forces_rmse_meV_A', float('nan')):11.1f}"
            print(f"{name:<40} {e['frames']:7d} {e['energy_mae_meV_atom']:12.2f} {e['energy_rmse_meV_atom']:12.2f} {forces}")


if __name__ == "__main__":
    main(*sys.argv[1:])
