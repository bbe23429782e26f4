"""Energy and forces of a potential: plain, compiled, compiled with radial filters from a table; the time to the first result of a fresh process.

    python scripts/bench_evaluation.py STRUCTURE... --potential so3lr.pt [--rounds 40] [--threads 1]

The ways are timed in turns within one process, so that what else the machine does touches all alike; shortest and median milliseconds of a call with
positions handed in and forces handed back (neighbour list with its skin included). Code that is not yet in the cache is compiled first. Then a process
of its own starts with compiled code from the cache: seconds to its first forces. One row a structure is added to results/evaluation.csv.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from _bench import append_row, median, say_where, table

WAYS = {"plain": {}, "compiled": {"compiled": True, "radial_table": False}, "table": {"compiled": True}}

START = """
import sys, time
from ase.io import read
import torch
torch.set_num_threads(int(sys.argv[3]))
from potentials import load_calculator
atoms = read(sys.argv[1])
atoms.calc = load_calculator(sys.argv[2], dtype="float32", compiled=True)
atoms.get_forces()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structures", nargs="+", type=Path)
    parser.add_argument("--potential", "-p", default="so3krates.pt")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    import torch
    from ase.io import read

    from potentials import load_calculator

    torch.set_num_threads(asked.threads)
    torch.set_flush_denormal(True)
    where = say_where(threads=asked.threads, seed=0)
    ways = {name: load_calculator(asked.potential, dtype="float32", **options) for name, options in WAYS.items()}  # type: ignore[arg-type]
    shown = []
    for path in asked.structures:
        atoms = read(path)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for k in range(asked.rounds + 3):
            for name, calculator in ways.items():
                atoms.rattle(1e-4, seed=k)
                begin = time.perf_counter()
                calculator.calculate(atoms, ["energy", "forces"])
                if k >= 3:  # the first ones compile and warm up
                    times[name].append(1000 * (time.perf_counter() - begin))
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", START, str(path), asked.potential, str(asked.threads)], check=True, capture_output=True)
        start = time.perf_counter() - begin
        row = {**where, "potential": Path(asked.potential).name, "structure": path.stem, "atoms": len(atoms), "rounds": asked.rounds}
        for name, found in times.items():
            row |= {f"{name}_ms": min(found), f"{name}_median_ms": median(found)}
        append_row("evaluation", {**row, "first_forces_s": start})
        shown.append((path.stem, len(atoms), *(f"{min(found):.2f} / {median(found):.2f}" for found in times.values()), f"{start:.1f}"))
    print(table(shown, ("structure", "atoms", *(f"{name}, shortest / median ms" for name in ways), "first forces s")))


if __name__ == "__main__":
    main()
