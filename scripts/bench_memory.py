"""How much memory does a run need, at its peak?

    python scripts/bench_memory.py [STRUCTURE...] [--potential P] [--steps 400]

The largest resident set of a process of its own that does `mdapp run`, against that of one that only imports torch and against a short and a long
run (it must not grow with the number of steps). Without structures: Ac-Ala15-NHMe, 162 atoms.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from _bench import append_row, say_where, structures, table

LAUNCHER = """
import atexit, pathlib, resource, runpy, sys

def peak_kB():
    try:  # of this program alone; the system's own count includes what the parent held when it forked
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)

told = pathlib.Path(sys.argv[1])
atexit.register(lambda: told.write_text(str(peak_kB())))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def peak_MB(module: str, *words: str) -> float:
    """Largest resident set of `python -m MODULE WORDS`, MB (10^6 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "peak")
        done = subprocess.run([sys.executable, "-c", LAUNCHER, str(told), module, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"python -m {module} {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return int(told.read_text()) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="*")
    parser.add_argument("--potential", default="so3krates.pt")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    where = say_where(threads=asked.threads, seed=1)
    torch_MB, shown = peak_MB("torch.version"), []
    for structure in structures(asked.structure, ("A" * 15,)):
        n_atoms = int(structure.read_text().split(maxsplit=1)[0]) if structure.suffix in (".xyz", ".extxyz") else ""
        for steps in (max(1, asked.steps // 10), asked.steps):
            with tempfile.TemporaryDirectory() as folder:
                words = ["run", str(structure), "--potential", asked.potential, "--steps", str(steps), "--every", "10", "--seed", "1", "--threads", str(asked.threads), *(["--compile"] if asked.compile else [])]
                found = peak_MB("mdapp", *words, "--output", str(Path(folder, "out")), "-q")
            path = append_row("memory", {**where, "structure": structure.stem, "atoms": n_atoms, "potential": Path(asked.potential).name, "compiled": int(asked.compile), "steps": steps, "peak_MB": found,
                                         "import_torch_MB": torch_MB})
            shown.append((structure.stem, n_atoms, steps, found, torch_MB))
    print(table(shown, ("structure", "atoms", "steps", "peak MB", "import torch alone, MB")))
    print(f"rows added to {path}")


if __name__ == "__main__":
    main()
