"""How many distinct minima does a force evaluation buy: our search against ASE's minima hopping?

    python scripts/bench_minima.py [STRUCTURE] [--potential P] [--evaluations 6000] [--seeds 1] [--move MOVE...]

Both searches get the same start (relaxed once, not counted), the same potential, the same stop rule of relaxations and the same number of force evaluations. What each has
relaxed is then counted by one rule: the library's (permutations of equivalent atoms, aligned RMSD, mirror images apart), bonds, hands and peptide bonds as at the
start. For ASE every relaxed structure counts, also those that it rejected or took for known. ASE's settings are its own defaults but for `fmax`.
Without a structure: Ac-Ala3-NHMe.
"""
from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import append_row, say_where, structures, table
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read
from ase.optimize.minimahopping import MinimaHopping
from mdapp.jobs._minima_start import moves_of
from mdapp.minima.driver import SearchOptions, Setup, search
from mdapp.minima.integrity import Integrity
from mdapp.minima.library import Library, Origin
from mdapp.minima.molecule import Molecule
from mdapp.relax import relax
from mdapp.relax.pool import RelaxationPool
from mdapp.structure import read_structure
from potentials import load_calculator
from potentials.calculator import batch_evaluator


class Enough(Exception):
    """The evaluations are used up."""


class Counted(Calculator):
    """Passes on to a calculator, and counts; raises `Enough` at the limit."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, inner: Calculator, limit: int):
        super().__init__()
        self.inner, self.limit, self.evaluations = inner, limit, 0

    def calculate(self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = tuple(all_changes)) -> None:
        if self.evaluations >= self.limit:
            raise Enough
        super().calculate(atoms, properties, system_changes)
        self.evaluations += 1
        self.inner.calculate(atoms, ("energy", "forces"), system_changes)
        self.results = {"energy": self.inner.results["energy"], "forces": self.inner.results["forces"]}


def ours(start: Atoms, calculator: Calculator, evaluations: int, fmax: float, seed: int, walkers: int, moves: Sequence[str], folder: Path) -> dict[str, Any]:
    """Our search: the library that it leaves."""
    evaluate = batch_evaluator(calculator)
    begin, cpu = time.perf_counter(), time.process_time()
    with Library(folder / "ours.h5", like=start) as library:
        found = search(start, evaluate, library, SearchOptions(walkers=walkers, seed=seed), Setup(moves_of(moves), RelaxationPool("internal", fmax=fmax)),
                       should_stop=lambda: evaluate.evaluations >= evaluations)
        energies = np.array(library.energies())
    words = ", ".join(f"{name} {arm.per_thousand:.2f} in {arm.hops} hops" for name, arm in found.mixture.arms.items())
    return {"minima": len(energies), "evaluations": evaluate.evaluations, "hops": found.progress.hops, "lowest_eV": energies.min(), "words": words,
            "seconds": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu, "refused": sum(found.progress.refused.values())}


def theirs(start: Atoms, calculator: Calculator, evaluations: int, fmax: float, seed: int, folder: Path) -> dict[str, Any]:
    """ASE's minima hopping: all that it relaxed, placed in a library of ours."""
    atoms = start.copy()
    atoms.calc = counted = Counted(calculator, evaluations)
    begin, cpu, home = time.perf_counter(), time.process_time(), os.getcwd()
    os.chdir(folder)
    try:
        MinimaHopping(atoms, fmax=fmax, rng=np.random.RandomState(seed))()
    except Enough:
        pass
    finally:
        os.chdir(home)
    seconds, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    integrity, hops, refused = Integrity(Molecule.of(start)), 0, 0
    with Library(folder / "theirs.h5", like=start) as library:
        for path in sorted(folder.glob("qn*.traj")):
            if not path.stat().st_size:
                continue
            end = read(path, index=-1)
            if np.linalg.norm(end.get_forces(), axis=1).max() > fmax:
                continue  # under way when the evaluations were used up
            hops += 1
            if integrity.broken(end.positions) is not None:
                refused += 1
                continue
            library.place(start_like(start, end.positions), end.get_potential_energy(), Origin("minima-hopping"))
        energies = np.array(library.energies())
    return {"minima": len(energies), "evaluations": counted.evaluations, "hops": hops, "lowest_eV": energies.min(), "words": "", "seconds": seconds, "cpu_s": cpu_s,
            "refused": refused}


def start_like(start: Atoms, positions: np.ndarray) -> Atoms:
    made = start.copy()
    made.positions = positions
    return made


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("structure", nargs="?", help="Ac-Ala3-NHMe when not given")
    p.add_argument("--potential", default="so3krates.pt")
    p.add_argument("--evaluations", type=int, default=6000)
    p.add_argument("--fmax", type=float, default=0.02, help="eV/Å, of both")
    p.add_argument("--walkers", type=int, default=16)
    p.add_argument("--move", nargs="+", default=["mixture"])
    p.add_argument("--seeds", type=int, nargs="+", default=[1])
    p.add_argument("--only", choices=("ours", "theirs"))
    a = p.parse_args(argv)
    torch.set_num_threads(1)
    source = structures([a.structure] if a.structure else [], ("AAA",))[0]
    calculator = load_calculator(a.potential)
    start = read_structure(source)
    start.info.pop("notes", None)
    start.calc = calculator
    relaxed = relax(start, "lbfgs", a.fmax).atoms
    start.calc = None
    start.positions = relaxed.positions
    where = say_where(threads=1)
    rows = []
    for seed in a.seeds:
        for name in ("ours", "theirs"):
            if a.only not in (None, name):
                continue
            with tempfile.TemporaryDirectory() as folder:
                if name == "ours":
                    found = ours(start, calculator, a.evaluations, a.fmax, seed, a.walkers, a.move, Path(folder))
                else:
                    found = theirs(start, calculator, a.evaluations, a.fmax, seed, Path(folder))
            words = found.pop("words")
            rate = 1000 * found["minima"] / found["evaluations"]
            title = "mdapp minima" if name == "ours" else "ASE MinimaHopping"
            print(f"{title}, seed {seed}: {found['minima']} minima in {found['evaluations']} evaluations, {rate:.2f} per 1,000  {words}", flush=True)
            row = {**where, "seed": seed, "structure": source.stem, "atoms": len(start), "potential": a.potential, "search": title,
                   "moves": " ".join(a.move) if name == "ours" else "ASE defaults", "walkers": a.walkers if name == "ours" else 1, "fmax_eV_A": a.fmax, **found,
                   "minima_per_1000": rate}
            append_row("minima", row)
            rows.append((title, seed, found["minima"], found["evaluations"], found["hops"], found["refused"], rate, found["cpu_s"]))
    print(table(rows, ("search", "seed", "minima", "evaluations", "hops", "refused", "minima/1000", "cpu_s")))
    rates = {title: np.array([row[6] for row in rows if row[0] == title]) for title in {row[0] for row in rows}}
    for title, found in rates.items():
        print(f"{title}: {found.mean():.2f} minima per 1,000 evaluations, {found.min():.2f} to {found.max():.2f} over {len(found)} seeds.")
    by = {title: found.mean() for title, found in rates.items()}
    if len(by) == 2:
        print(f"Ours finds {by['mdapp minima'] / by['ASE MinimaHopping']:.1f} times as many distinct minima per evaluation.")


if __name__ == "__main__":
    main()
