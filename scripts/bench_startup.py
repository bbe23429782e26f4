"""How long does the user wait for help, for a refusal, and for the first step of a run?

    python scripts/bench_startup.py [STRUCTURE] [--potential P] [--runs 7]

Each is a process of its own on a warm disk; wall and processor seconds, median and half the distance between the quartiles. The time to the first step
is from the command to the moment at which the frame of step 1 stands in thermo.csv.
"""
from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _bench import append_row, median, say_where, spread, table

PYTHON = [sys.executable, "-m", "mdapp"]


def process(words: list[str], expected: int, folder: str) -> subprocess.CompletedProcess:
    """One command, to its end; its exit code must be as expected."""
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    if done.returncode != expected:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}, expected {expected}: {done.stderr.strip()}")
    return done


def measured(act: Callable[[], float], runs: int) -> tuple[list[float], list[float]]:
    """What `act` returns (seconds) and the processor seconds of its child, `runs` times after one that warms the disk."""
    act()
    wall, cpu = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(act())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return wall, cpu


def whole(words: list[str], expected: int, says: str) -> float:
    """Seconds from the command to its end."""
    begin = time.perf_counter()
    done = process(words, expected, ".")
    seconds = time.perf_counter() - begin
    assert says in done.stdout + done.stderr, f"{words} does not say '{says}'"
    return seconds


def first_step(structure: Path, potential: str, threads: int) -> float:
    """Seconds from the command to the line of step 1 in thermo.csv."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.time()
        words = ["run", str(structure), "--potential", potential, "--steps", "1", "--every", "1", "--threads", str(threads), "--seed", "1", "--output", "out", "-q"]
        process([*PYTHON, *words], 0, folder)
        thermo = Path(folder, "out", "thermo.csv")
        assert thermo.read_text().splitlines()[-1].startswith("1,")
        return thermo.stat().st_mtime - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="?", type=Path, default=Path(__file__).parents[1] / "examples" / "peptide.xyz")
    parser.add_argument("--potential", default="so3krates.pt")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    potential = str(Path(asked.potential).resolve()) if Path(asked.potential).exists() else asked.potential
    structure = asked.structure.resolve()
    where = say_where(threads=asked.threads, seed=1)
    os.environ.update({name: str(asked.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")})
    acts: dict[str, Callable[[], float]] = {
        "python": lambda: whole([sys.executable, "-c", "pass"], 0, ""),
        "help": lambda: whole([*PYTHON, "--help"], 0, "mdapp run"),
        "run_help": lambda: whole([*PYTHON, "run", "--help"], 0, "--timestep"),
        "usage_error": lambda: whole([*PYTHON, "run", "x.xyz", "--temprature", "300"], 2, "--temperature"),
        "import_torch": lambda: whole([sys.executable, "-c", "import torch"], 0, ""),
        "first_step": lambda: first_step(structure, potential, asked.threads),
    }
    row, shown = {**where, "potential": Path(potential).name, "structure": structure.name, "runs": asked.runs}, []
    for name, act in acts.items():
        wall, cpu = measured(act, asked.runs)
        row |= {f"{name}_s": median(wall), f"{name}_spread_s": spread(wall), f"{name}_cpu_s": median(cpu)}
        shown.append((name, median(wall), spread(wall), median(cpu)))
        print(f"  {name} done", file=sys.stderr, flush=True)
    print(table(shown, ("what", "wall s", "spread s", "processor s")))
    print(f"import torch is {100 * row['import_torch_cpu_s'] / row['first_step_cpu_s']:.0f} % of the processor time of a run with one step")
    print(f"row added to {append_row('startup', row)}")


if __name__ == "__main__":
    main()
