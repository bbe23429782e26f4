"""What benchmarks share: systems, a potential that costs nothing, medians, rows in scripts/results."""
from __future__ import annotations

import csv
import itertools
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

SCRIPTS = Path(__file__).parent
RESULTS = SCRIPTS / "results"
SCRATCH = SCRIPTS.parent / "scratch"  # not under version control


def structures(paths: Sequence[str], sequences: Sequence[str] = ("AAA", "A" * 15)) -> list[Path]:
    """The files given, or capped peptides of `sequences`, built once: helices where they are long enough to be one."""
    if paths:
        return [Path(p) for p in paths]
    made = []
    for sequence in sequences:
        path = SCRATCH / f"Ac-{sequence}-NHMe.xyz"
        if not path.exists():
            from ase.io import write
            from make_peptide import build

            SCRATCH.mkdir(exist_ok=True)
            write(path, build(sequence, "helix" if len(sequence) > 5 else "ppii", tries=1 if len(sequence) > 5 else 10), format="extxyz")
        made.append(path)
    return made


class Tethered(Calculator):
    """Each atom on a spring to where it was first seen: a potential of next to no cost. Changes are found by one comparison, as our own calculator does."""

    implemented_properties = ["energy", "free_energy", "forces"]
    k = 20.0  # eV/Å²: no atom meets another at 300 K, and hydrogen still swings in 28 steps of 0.5 fs

    def __init__(self):
        super().__init__()
        self.reference: np.ndarray | None = None
        self.seen: np.ndarray | None = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        return [] if self.seen is not None and np.array_equal(self.seen, atoms.positions) else ["positions"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if self.reference is None:
            self.reference = atoms.positions.copy()
        u = atoms.positions - self.reference
        energy = 0.5 * self.k * float(np.einsum("ij,ij->", u, u))
        self.results = {"energy": energy, "free_energy": energy, "forces": -self.k * u}
        self.seen, self.atoms = atoms.positions.copy(), atoms


def timed(function: Callable[[], Any], runs: int, warm_up: int = 1) -> tuple[list[float], float]:
    """Wall seconds of each of `runs` calls, and processor seconds of one on average. (Asking for those can cost more than a short call.)"""
    for _ in range(warm_up):
        function()
    wall, begin_cpu = [], time.process_time()
    for _ in range(runs):
        begin = time.perf_counter()
        function()
        wall.append(time.perf_counter() - begin)
    return wall, (time.process_time() - begin_cpu) / runs


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles."""
    low, high = np.percentile(values, (25, 75))
    return float(high - low) / 2


def environment(threads: int | None = None, device: str = "cpu", seed: int | None = None) -> dict[str, Any]:
    """Where and with what a row was measured. The load is that of the last minute: on a busy machine believe the processor times."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "commit": commit(), "python": platform.python_version(), "torch": installed("torch"),
        "ase": installed("ase"), "numpy": installed("numpy"), "device": device, "processor": processor(), "cores": os.cpu_count(),
        "threads": threads if threads is not None else "", "seed": seed if seed is not None else "", "load": f"{os.getloadavg()[0]:.1f}",
    }  # fmt: skip


def commit() -> str:
    """The commit that is checked out; with a + where files under version control differ from it."""
    try:
        run = [subprocess.run(["git", *words], cwd=SCRIPTS, capture_output=True, text=True, check=True).stdout.strip()
               for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "--", "../mdapp", "../potentials"))]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run[0] + ("+" if run[1] else "")


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def append_row(question: str, row: Mapping[str, Any]) -> Path:
    """Add a row to results/QUESTION.csv, or to QUESTION-2.csv and so on where a table has other columns: hours of measuring are not thrown away."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = next(p for k in itertools.count(1) if _takes(p := RESULTS / f"{question}{f'-{k}' if k > 1 else ''}.csv", list(row)))
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerow({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()})
    return path


def _takes(path: Path, columns: list[str]) -> bool:
    """Whether a table is not there yet, or has these columns."""
    if not path.exists():
        return True
    with path.open(newline="") as file:
        return next(csv.reader(file), columns) == columns


def table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    """Aligned text columns."""
    words = [list(head)] + [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    widths = [max(len(row[k]) for row in words) for k in range(len(head))]
    return "\n".join("  ".join(word.rjust(width) if k else word.ljust(width) for k, (word, width) in enumerate(zip(row, widths))) for row in words)


def say_where(**known: Any) -> dict[str, Any]:
    """The environment, printed as the first line of a benchmark."""
    found = environment(**known)
    print(f"# {Path(sys.argv[0]).name}: " + ", ".join(f"{k} {v}" for k, v in found.items() if v != ""), flush=True)
    return found
