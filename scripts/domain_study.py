"""Does a single potential know where it does not know: is the distance from its training set worth anything?

    python scripts/domain_study.py [POTENTIAL] [--folder FOLDER] [--training 700] [--frames 160] [--distorted 40] [--hot 1000]

The domain is made of frames of the training set, and held against errors on whole molecules that were not in it, as they are, thrown off by 0.1 and 0.2 Å, and
hot: dynamics of the potential itself at that temperature (K). Labels are GFN2-xTB. A row for each set in results/domain.csv: rank correlation of distance and
force error by atom and by frame (largest distance on an atom, RMSE), how well the largest distance parts the set from the held-out frames, and the worst
tenth of atoms from the rest (areas under the receiver's curve). results/domain_bins.csv: force errors of atoms in bins of their distance.
results/domain.png is the figure of `mdapp evaluate --calibration` on all sets
together; POTENTIAL with its domain is kept in the folder as domain.pt, and what was labelled beside it.
"""
from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import RESULTS, append_row, say_where, table
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from mdapp.analysis.calibration import auroc, finds_worst, spearman
from mdapp.config import EvaluateConfig
from mdapp.config.learn import ExploreConfig, LearnConfig
from mdapp.jobs._learn_explore import explore
from mdapp.jobs.evaluate import evaluate
from potentials import load_calculator, load_potential
from potentials.checkpoint import fingerprint, save_potential
from potentials.data.labelled import LabelledStructure
from potentials.data.read import read_labelled
from potentials.neighbours import graph_for
from potentials.uncertainty import domain_of
from potentials.words import file_of

DATA = Path(__file__).resolve().parents[1] / "../shared/data/peptides_gfn2"
EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, np.inf)  # of distances
SMALL = 30  # atoms; molecules that are distorted and heated
HOT_STEPS, HOT_EVERY, HOT_MOLECULES = 400, 40, 4


def some(frames: Sequence[LabelledStructure], n: int, rng: np.random.Generator) -> list[Atoms]:
    """Some of them, as ASE has them, with their labels."""
    chosen = [frames[k] for k in np.sort(rng.choice(len(frames), min(n, len(frames)), replace=False))]
    return [with_labels(Atoms(s.numbers, s.positions), float(s.energy), s.forces) for s in chosen if s.energy is not None and s.forces is not None]


def with_labels(atoms: Atoms, energy: float, forces: Any) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.asarray(forces, dtype=float))
    return atoms


def labelled(structures: Sequence[Atoms]) -> list[Atoms]:
    calculator, found = load_calculator("tblite:GFN2-xTB"), []
    for still in structures:
        atoms = still.copy()
        atoms.calc = calculator
        found.append(with_labels(still.copy(), atoms.get_potential_energy(), atoms.get_forces()))
    return found


def sets_of(word: str, frames: int, distorted: int, hot_K: float, folder: Path) -> dict[str, list[Atoms]]:
    """Frames by the name of the set, labelled once."""
    rng = np.random.default_rng(0)
    held_out = some(list(read_labelled(DATA / "peptides_gfn2_val.h5")), frames, rng)
    small = [a for a in held_out if len(a) < SMALL]

    def thrown(by: float) -> list[Atoms]:
        found = [a.copy() for a in small[:distorted]]
        for atoms in found:
            atoms.positions += rng.normal(0.0, by, atoms.positions.shape)
        return labelled(found)

    def hot() -> list[Atoms]:
        how = LearnConfig("-", "-", {}, explore=ExploreConfig(temperature_K=hot_K, steps=HOT_STEPS, every=HOT_EVERY), guard=("off",), seed=7)
        starts = [a.copy() for a in small[:: max(1, len(small) // HOT_MOLECULES)][:HOT_MOLECULES]]
        return labelled(explore(how, starts, [Path(word)], folder, 0, lambda: False).found)

    made = {"held out": lambda: held_out, "thrown off by 0.1 Å": lambda: thrown(0.1), "thrown off by 0.2 Å": lambda: thrown(0.2), f"at {hot_K:g} K": hot}
    found = {}
    for name, make in made.items():
        file = folder / f"{name.replace(' ', '-').replace('Å', 'A')}.extxyz"
        if not file.exists():
            write(file, make(), format="extxyz")
        found[name] = read(file, ":", format="extxyz")
    return found


def measured(word: str, frames: Sequence[Atoms]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each frame the distances of its atoms, and the sizes of their force errors, eV/Å."""
    calculator, distances, errors = load_calculator(word), [], []
    for still in frames:
        atoms = still.copy()
        atoms.calc = calculator
        errors.append(np.linalg.norm(atoms.get_forces() - still.get_forces(), axis=1))
        distances.append(np.asarray(calculator.results["domain_distance"]))
    return distances, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("potential", nargs="?", default="so3krates.pt")
    parser.add_argument("--folder", default="scratch/domain")
    parser.add_argument("--training", type=int, default=700)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--distorted", type=int, default=40)
    parser.add_argument("--hot", type=float, default=1000.0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    where = say_where(threads=1, device="cpu", seed=0)
    folder = Path(words.folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = file_of(words.potential)
    if file is None:
        raise SystemExit(f"There is no potential file {words.potential}.")
    with_domain = folder / "domain.pt"
    potential = load_potential(file)
    training = some(list(read_labelled(DATA / "peptides_gfn2_train.h5")), words.training, np.random.default_rng(1))
    potential.domain = domain_of(potential, (graph_for(a, potential) for a in training))
    save_potential(with_domain, potential)
    found = {name: measured(str(with_domain), frames) for name, frames in sets_of(str(file), words.frames, words.distorted, words.hot, folder).items()}
    near = np.array([d.max() for d in found["held out"][0]])
    found["all"] = tuple(sum((list(part[k]) for part in found.values()), []) for k in (0, 1))  # type: ignore[assignment]
    rows = []
    for name, (distances, errors) in found.items():
        d, e = np.concatenate(distances), np.concatenate(errors)
        largest, rms = np.array([x.max() for x in distances]), np.array([np.sqrt(np.mean(np.square(x)) / 3) for x in errors])
        parts = None if name in ("held out", "all") else auroc(np.concatenate([largest, near]), np.arange(len(largest) + len(near)) < len(largest))
        row = {"set": name, "frames": len(errors), "atoms": len(d), "forces_rmse_meV_A": 1000 * float(np.sqrt(np.mean(np.square(e)) / 3)),
               "spearman_atoms": spearman(d, e), "spearman_frames": spearman(largest, rms), "auroc_against_held_out": "" if parts is None else parts,
               "auroc_worst_tenth": finds_worst(d, e), "median_largest_distance": float(np.median(largest)), "share_outside": float((d > 1).mean())}
        append_row("domain", {"potential": file.name, "sha256": fingerprint(file)[:12], "training_frames": len(training), **row, **where})
        rows.append(list(row.values()))
    print(table(rows, ["set", "frames", "atoms", "RMSE / meV/Å", "rho atoms", "rho frames", "AUROC set", "AUROC worst", "median distance", "outside"]))
    d, e = (np.concatenate(part) for part in found["all"])
    bins = []
    for low, high in pairwise(EDGES):
        inside = e[(d >= low) & (d < high)]
        if len(inside):
            bins.append({"from": low, "below": high, "atoms": len(inside), "median_error_eV_A": float(np.median(inside)),
                         "worst_tenth_above_eV_A": float(np.quantile(inside, 0.9))})
            append_row("domain_bins", {"potential": file.name, "sha256": fingerprint(file)[:12], **bins[-1], **where})
    print(table([list(row.values()) for row in bins], ["from", "below", "atoms", "median error / eV/Å", "a tenth is above"]))
    everything = folder / "all.extxyz"
    write(everything, [a for f in sorted(folder.glob("*.extxyz")) if f != everything for a in read(f, ":", format="extxyz")], format="extxyz")
    shutil.rmtree(folder / "evaluation", ignore_errors=True)
    said = evaluate(EvaluateConfig((str(everything),), (str(with_domain),), calibration=True, device="cpu", output=str(folder / "evaluation"))).summary
    print(json.dumps(said["data"][str(everything)]["calibration"], indent=1))
    shutil.copy(folder / "evaluation" / "errors-by-distance.png", RESULTS / "domain.png")


if __name__ == "__main__":
    main()
