"""A bcc cell of 27 lithium atoms: 12 G2 and 2 G4 functions up to 3.54 Å in a cell that is larger than the cutoff by little, oblique, and periodic.

    python examples/behler_parrinello/li27.py [--output runs/li27] [--short]

The trajectory of the first such example is not public; these frames are displaced crystals, labelled by a Morse pair potential that ends at the cutoff of
the functions. An atom at the boundary whose neighbours' images were forgotten would have half its descriptors; how far those of the 27 atoms of
the perfect crystal differ is printed too. On real labels the same functions are a row of scripts/descriptor_study.py.
"""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.io import write

HERE = Path(__file__).resolve().parent
A = 3.49  # Å
CUTOFF = 3.54  # Å


def crystal() -> Atoms:
    return bulk("Li", "bcc", a=A).repeat(3)


def frames(n: int, seed: int) -> list[Atoms]:
    """Labelled crystals, strained by up to 3 % and displaced by up to 0.25 Å rms."""
    rng, found, r0 = np.random.default_rng(seed), [], 3.02
    for _ in range(n):
        atoms = crystal()
        atoms.set_cell(atoms.cell * (1 + 0.03 * rng.uniform(-1, 1)), scale_atoms=True)
        atoms.positions += rng.uniform(0.02, 0.25) * rng.normal(size=(27, 3))
        atoms.calc = MorsePotential(epsilon=0.15, r0=r0, rho0=3.0, rcut1=1.02, rcut2=CUTOFF / r0)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        found.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={"REF_energy": energy}))
        found[-1].arrays["REF_forces"] = forces
    return found


def spread_over_the_perfect_crystal(potential: Path) -> float:
    """The largest relative difference between descriptors of two of its 27 atoms."""
    from potentials import load_potential
    from potentials.neighbours import graph_of

    loaded = load_potential(str(potential), "float64")
    G = loaded.fixed_descriptors(graph_of(crystal(), loaded.cutoff)).detach()
    return float(((G.amax(0) - G.amin(0)) / G.abs().amax(0)).max())


def main(words: list[str] | None = None) -> dict[str, float]:
    from mdapp.jobs.train import train
    from potentials.training.config import read_config

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("runs/li27"))
    parser.add_argument("--short", action="store_true", help="few frames and epochs, for a test")
    options = parser.parse_args(words)
    folder = options.output.with_name(options.output.name + "_data")
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", 30 if options.short else 200, 0), ("validation", 8 if options.short else 40, 1)):
        write(folder / f"{name}.extxyz", frames(count, seed), format="extxyz")
    config = read_config(HERE / "li27.toml", {"output": str(options.output)} | ({"epochs": 40, "batch_size": 2, "validate_every": 300} if options.short else {}))
    train(replace(config, data=replace(config.data, train=str(folder / "train.extxyz"), validation=str(folder / "validation.extxyz"))))
    errors = json.loads((options.output / "errors.json").read_text())["errors"]
    labels = frames(8, 1)
    result = {
        "energy_rmse_meV_atom": errors["energy_rmse_meV_atom"], "forces_rmse_meV_A": errors["forces_rmse_meV_A"],
        "forces_rms_meV_A": float(1000 * np.sqrt(np.mean([np.mean(f.arrays["REF_forces"] ** 2) for f in labels]))),
        "spread_of_descriptors_over_the_perfect_crystal": spread_over_the_perfect_crystal(options.output / "best.pt"),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
