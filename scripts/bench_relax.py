"""How many conformers of alanine dipeptide relax in an hour, together and one by one with ASE's LBFGS, same potential, same stop rule?

    python scripts/bench_relax.py [--conformers 256] [--alone 32] [--plain] [--device cpu]

Conformers: the shipped dipeptide with phi and psi drawn anew and every atom moved a little (0.05 Å), no two atoms closer than 1.6 Å across three bonds. The same
starts go to ASE's LBFGS (its defaults; `--alone` of them, spread evenly over all) and to the pool (L-BFGS from a model Hessian). Both ways run on one thread, both
with compiled code or both without (--plain); compilation is not counted. Times are processor seconds of one core, which a busy machine changes little: the rate of a
machine is that of a core times its cores, for both alike (one process a core). A batch is first checked to give the energies and forces of the plain calculator.
"""
from __future__ import annotations

import argparse
import time

import numpy as np
from _bench import append_row, say_where, table
from ase import Atoms
from ase.optimize import LBFGS

from mdapp.relax import BatchOptions, relax_batch
from mdapp.relax.pool import system_of
from mdapp.topology import find_bonds
from potentials.calculator import batch_evaluator, load_calculator
from potentials.runtime.batch_evaluator import Item


def conformers(n: int, seed: int) -> list[Atoms]:
    """Alanine dipeptide with random phi and psi."""
    from make_peptide import build

    base, rng, made = build("A", "ppii"), np.random.default_rng(seed), []
    numbers, bonds = base.numbers, find_bonds(base.numbers, base.positions, base.cell.array, base.pbc)
    linked = np.eye(len(base), dtype=int)
    linked[bonds[:, 0], bonds[:, 1]] = linked[bonds[:, 1], bonds[:, 0]] = 1
    apart = np.triu(linked @ linked @ linked == 0)
    side = lambda i, j: _reached(linked, j, without=i)
    alpha = next(i for i in np.flatnonzero(numbers == 6) if {6, 7} <= set(numbers[linked[i] > 0]) and (numbers[linked[i] > 0] == 1).sum() == 1)
    nitrogen = next(i for i in np.flatnonzero(linked[alpha]) if numbers[i] == 7)
    carbonyl = next(i for i in np.flatnonzero(linked[alpha]) if numbers[i] == 6 and 8 in numbers[linked[i] > 0])
    while len(made) < n:
        atoms = base.copy()
        for i, j in ((nitrogen, alpha), (alpha, carbonyl)):
            axis = atoms.positions[j] - atoms.positions[i]
            turned = Atoms(numbers, atoms.positions - atoms.positions[i])
            turned.rotate(rng.uniform(0, 360), axis)
            atoms.positions[side(i, j)] = turned.positions[side(i, j)] + atoms.positions[i]
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        if atoms.get_all_distances()[apart].min() > 1.6:
            made.append(atoms)
    return made


def _reached(linked: np.ndarray, start: int, without: int) -> np.ndarray:
    """(n_atoms,) bool: atoms on the far side of the bond without-start."""
    seen, todo = np.zeros(len(linked), dtype=bool), [start]
    seen[without] = True
    while todo:
        i = todo.pop()
        if not seen[i]:
            seen[i] = True
            todo += np.flatnonzero(linked[i]).tolist()
    seen[without] = False
    return seen


def check(evaluate, plain, structures: list[Atoms]) -> None:
    """The batch gives what the plain calculator gives, to the rounding of single precision."""
    energies, forces = evaluate([Item(("check", k), system_of(a), a.positions) for k, a in enumerate(structures)])
    for k, atoms in enumerate(structures):
        atoms = atoms.copy()
        atoms.calc = plain
        assert abs(energies[k] - atoms.get_potential_energy()) < 2e-3, (k, energies[k], atoms.get_potential_energy())
        np.testing.assert_allclose(forces[k], atoms.get_forces(), atol=5e-3, rtol=1e-3)  # eV/Å; starts have forces up to 50
        evaluate.forget(("check", k))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default="so3krates.pt")
    parser.add_argument("--conformers", type=int, default=256)
    parser.add_argument("--alone", type=int, default=32, help="How many of them ASE relaxes.")
    parser.add_argument("--fmax", type=float, default=0.01)
    parser.add_argument("--plain", action="store_true", help="Without compiled code.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    where = say_where(threads=1, device=asked.device, seed=asked.seed)
    compiled = not asked.plain and asked.device == "cpu"
    starts = conformers(asked.conformers, asked.seed)
    plain = load_calculator(asked.potential, device=asked.device)
    together = batch_evaluator(plain, compiled=compiled)
    begin = time.perf_counter()
    check(together, plain, starts[:24])
    print(f"# the batch agrees with the plain calculator; first calls {time.perf_counter() - begin:.0f} s", flush=True)
    list(relax_batch(starts[:24], together, BatchOptions(fmax=asked.fmax, steps=3)))

    before, begin, cpu = together.evaluations, time.perf_counter(), time.process_time()
    found = dict(relax_batch(starts, together, BatchOptions(fmax=asked.fmax)))
    cpu, wall, evaluations = time.process_time() - cpu, time.perf_counter() - begin, together.evaluations - before
    rows = [_row("together", len(starts), evaluations, cpu, wall, sum(end.converged for end in found.values()))]
    print(rows[-1], flush=True)

    chosen = np.unique(np.linspace(0, len(starts) - 1, min(asked.alone, len(starts))).round().astype(int))
    alone = load_calculator(asked.potential, device=asked.device, compiled=compiled)
    first = starts[0].copy()
    first.calc = alone
    first.get_forces()  # compiles
    energies, evaluations, converged = {}, 0, 0
    cpu, begin = time.process_time(), time.perf_counter()
    for k in chosen.tolist():
        atoms = starts[k].copy()
        atoms.calc = alone
        search = LBFGS(atoms, logfile=None)
        converged += bool(search.run(fmax=asked.fmax, steps=1000))
        energies[k], evaluations = atoms.get_potential_energy(), evaluations + search.nsteps + 1
    cpu, wall = time.process_time() - cpu, time.perf_counter() - begin
    rows.append(_row("one by one", len(chosen), evaluations, cpu, wall, converged))

    ratio = rows[0]["structures_per_core_hour"] / rows[1]["structures_per_core_hour"]
    gap = np.array([found[k].energy - energies[k] for k in energies])
    print(table([list(row.values()) for row in rows], list(rows[0])))
    print(f"together / one by one: {ratio:.2f}; the same minimum (within 2 meV) for {np.mean(abs(gap) < 2e-3):.0%}, a lower one for {np.mean(gap <= -2e-3):.0%}, "
          f"a higher one for {np.mean(gap >= 2e-3):.0%}")
    for row in rows:
        append_row("relax", {"potential": asked.potential, "system": "alanine dipeptide, random phi and psi", "fmax_eV_A": asked.fmax,
                             "compiled": compiled, **row, "ratio": ratio, "same_minimum": float(np.mean(abs(gap) < 2e-3)), **where})


def _row(way: str, n: int, evaluations: int, cpu_s: float, wall_s: float, converged: int) -> dict:
    return {"way": way, "structures": n, "converged": converged, "evaluations_per_structure": evaluations / n, "ms_per_evaluation": 1e3 * cpu_s / evaluations,
            "cpu_s_per_structure": cpu_s / n, "wall_s_per_structure": wall_s / n, "structures_per_core_hour": 3600 * n / cpu_s}


if __name__ == "__main__":
    main()
