"""A Lennard-Jones trimer recovered: energies over the distance, and dynamics that keep their energy.

    python examples/behler_parrinello/lj_trimer.py [--output runs/lj_trimer] [--short]

Three hydrogens attract each other by Lennard-Jones' law with epsilon = 1 eV and sigma = 1 Å, switched off smoothly between 2 and 3 Å. A network learns
it from triangles drawn at random, through three sums over neighbours (G1) with cutoffs of 2, 2.5 and 3 Å. Printed and drawn are the energy of the
equilateral trimer from 1 to 2 Å against the exact one, and how well the total energy is kept in dynamics on the learned surface.
"""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from ase.io import write
from ase.md.verlet import VelocityVerlet

WELL_eV = 3.0  # depth of the equilateral trimer's well: three pairs
HERE = Path(__file__).resolve().parent


def exact() -> LennardJones:
    return LennardJones(epsilon=1.0, sigma=1.0, ro=2.0, rc=3.0, smooth=True)


def triangle(a: float, b: float, c: float) -> Atoms:
    """Three atoms with these sides, Å."""
    x = (a * a + b * b - c * c) / (2 * a)
    return Atoms("H3", [[0, 0, 0], [a, 0, 0], [x, np.sqrt(max(b * b - x * x, 0.0)), 0]])


def frames(n: int, seed: int, shortest: float = 0.95) -> list[Atoms]:
    """Labelled triangles: a third of them nearly equilateral, on a grid of sides, the others with sides drawn from `shortest` to 3.2 Å."""
    rng, found = np.random.default_rng(seed), []
    grid = np.linspace(shortest + 0.01, 2.2, (n + 2) // 3)
    for k in range(n):
        sides = np.zeros(3)
        while 2 * sides.max() >= sides.sum() or sides.min() < shortest - 0.01:  # no triangle
            sides = rng.uniform(shortest, 3.2, 3) if k % 3 else grid[k // 3] * (1 + 0.01 * rng.normal(size=3))
        atoms = triangle(*sides)
        atoms.calc = exact()
        found.append(Atoms(atoms.numbers, atoms.positions, info={"REF_energy": atoms.get_potential_energy()}))
        found[-1].arrays["REF_forces"] = atoms.get_forces()
    return found


def train(output: Path, short: bool) -> Path:
    """Make data beside the run's folder, train, and give the potential's file."""
    from mdapp.jobs.train import train as job
    from potentials.training.config import read_config

    folder = output.with_name(output.name + "_data")
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in (("train", frames(120 if short else 2000, 0)), ("validation", frames(20 if short else 150, 1, shortest=1.0))):  # inside what is learnt
        write(folder / f"{name}.extxyz", made, format="extxyz")
    config = read_config(HERE / "lj_trimer.toml", {"output": str(output)})
    if short:  # a few line searches over all frames at once
        config = replace(config, epochs=12, batch_size=1000, optimiser=replace(config.optimiser, kind="lbfgs"), loss=replace(config.loss, energy=1.0, forces=0.1))
    config = replace(config, data=replace(config.data, train=str(folder / "train.extxyz"), validation=str(folder / "validation.extxyz")))
    job(config)
    return output / "best.pt"


def curve(potential: Path) -> np.ndarray:
    """Distance, exact and learned energy of the equilateral trimer, (n, 3), Å and eV."""
    from potentials import load_calculator

    learned, rows = load_calculator(str(potential), dtype="float64"), []
    for r in np.linspace(1.0, 2.0, 201):
        energies = []
        for calc in (exact(), learned):
            atoms = triangle(r, r, r)
            atoms.calc = calc
            energies.append(atoms.get_potential_energy())
        rows.append([r, *energies])
    return np.array(rows)


def dynamics(potential: Path, n_steps: int, timestep_fs: float = 0.1) -> np.ndarray:
    """Total energy over NVE dynamics from 300 K on the learned surface, (n_steps + 1,), eV."""
    from potentials import load_calculator

    r = 2 ** (1 / 6)
    atoms = triangle(r, r, r)
    atoms.calc = load_calculator(str(potential), dtype="float64")
    atoms.set_momenta(np.random.default_rng(0).normal(size=(3, 3)) * np.sqrt(units.kB * 300 * atoms.get_masses())[:, None])
    steps, energy = VelocityVerlet(atoms, timestep_fs * units.fs), [atoms.get_total_energy()]
    for _ in range(n_steps):
        steps.run(1)
        energy.append(atoms.get_total_energy())
    return np.array(energy)


def draw(found: np.ndarray, energy: np.ndarray, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    left.plot(found[:, 0], found[:, 1], "k-", label="exact")
    left.plot(found[::8, 0], found[::8, 2], "o", ms=3, label="learned")
    left.set(xlabel="side / Å", ylabel="energy / eV", title="equilateral trimer")
    left.legend()
    right.plot(np.arange(len(energy)) * 1e-4, 1000 * (energy - energy[0]), lw=0.6)
    right.set(xlabel="time / ps", ylabel="total energy - start / meV", title="NVE on the learned surface")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("runs/lj_trimer"))
    parser.add_argument("--short", action="store_true", help="few frames and steps, for a test")
    options = parser.parse_args(words)
    potential = train(options.output, options.short)
    found, energy = curve(potential), dynamics(potential, 300 if options.short else 20_000)
    difference = found[:, 2] - found[:, 1]
    result = {
        "largest_difference_over_well_depth": float(np.abs(difference).max() / WELL_eV), "rmse_meV": float(1000 * np.sqrt(np.mean(difference**2))),
        "nve_spread_meV": float(1000 * energy.std()), "nve_drift_meV_per_ps": float(1000 * np.polyfit(np.arange(len(energy)) * 1e-4, energy, 1)[0]),
    }  # fmt: skip
    (options.output / "trimer.json").write_text(json.dumps(result, indent=1))
    draw(found, energy, options.output / "trimer.png")
    print(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
