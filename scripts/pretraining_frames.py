"""Make many cheaply labelled frames of the molecule of a small training set, for a potential that is then fine-tuned on the set itself.

    python scripts/pretraining_frames.py ../shared/data/ethanol_md17/train.xyz.gz data/ethanol_gfn2.h5 --frames 10000

From random frames of the given file short Langevin runs start at temperatures between --coldest and --hottest, driven by a potential that knows
GFN2-xTB (the shipped one); every twentieth step is labelled by GFN2-xTB itself (tblite, extra `reference`). Of the file only geometries are
read, never labels. Writes the layout of SPICE, as generate_training_data.py does; one seed and one number of workers give one file.
"""
from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # one run a process; before numpy and tblite are loaded

import argparse
import multiprocessing
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from generate_training_data import BOHR_A, HARTREE_EV, LARGEST_FORCE, Molecule, _write_part, label

BETWEEN, IN_A_RUN = 20, 25  # steps of 1 fs between two frames; frames of a run


@dataclass(frozen=True)
class Task:
    """What one process makes."""

    source: str
    potential: str
    frames: int
    temperatures: tuple[float, float]
    seed: tuple[int, int]


def make(task: Task) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sample and label; atomic numbers and the labels, stacked."""
    import torch
    from ase import units
    from ase.io import read
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    from potentials import load_calculator

    torch.set_num_threads(1)
    rng = np.random.default_rng(task.seed)
    starts = read(task.source, index=":")
    calculator = load_calculator(task.potential, dtype="float32", compiled=True)
    kept: list[dict[str, np.ndarray]] = []
    cold, hot = np.log(task.temperatures)
    while len(kept) < task.frames:
        atoms = starts[rng.integers(len(starts))].copy()
        atoms.calc, temperature = calculator, float(np.exp(rng.uniform(cold, hot)))
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dynamics = Langevin(atoms, 1.0 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng)
        for _ in range(IN_A_RUN):
            dynamics.run(BETWEEN)
            if not np.isfinite(atoms.positions).all() or np.linalg.norm(atoms.get_forces(), axis=1).max() > LARGEST_FORCE:
                break  # out of what the sampler knows
            labels = label(atoms.numbers, atoms.positions)
            if labels is None or np.linalg.norm(labels["gradient"], axis=1).max() * HARTREE_EV / BOHR_A > LARGEST_FORCE:
                break
            kept.append(labels)
    kept = kept[: task.frames]
    return starts[0].numbers.astype(np.int16), {name: np.array([f[name] for f in kept]) for name in kept[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", help="frames of one molecule, its atoms in one order")
    parser.add_argument("output", type=Path, help="HDF5 file to write")
    parser.add_argument("--name", help="of the molecule in the file (default: the output's)")
    parser.add_argument("--frames", type=int, default=10000)
    parser.add_argument("--coldest", type=float, default=200.0, help="K")
    parser.add_argument("--hottest", type=float, default=1200.0, help="K")
    parser.add_argument("--potential", "-p", default="so3krates.pt", help="what drives the runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if not Path(asked.source).exists():
        sys.exit(f"Error: there is no file {asked.source}.")
    share = -(-asked.frames // asked.workers)
    tasks = [Task(asked.source, asked.potential, share, (asked.coldest, asked.hottest), (asked.seed, k)) for k in range(asked.workers)]
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(make, tasks))
    labels = {name: np.concatenate([part[1][name] for part in made]) for name in made[0][1]}
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    name = asked.name or asked.output.stem
    kinds = np.zeros(len(labels["energy"]), np.uint8)
    _write_part(asked.output, Molecule(name, "", "pretraining", "train"), made[0][0], kinds, labels)
    with h5py.File(asked.output, "r+") as file:
        file.attrs["level_of_theory"] = "GFN2-xTB, gas phase, closed shell, electronic temperature 300 K, accuracy 0.2"
    print(f"{asked.output}: {len(kinds)} frames of {name}, {len(made[0][0])} atoms, {asked.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
