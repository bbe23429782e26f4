"""Do searches from random starts find the global minima of Lennard-Jones clusters, and in how many hops?

    python scripts/lennard_jones_clusters.py [13 38] [--seeds 1 2 3 4] [--walkers 16] [--move basin-hopping|minima-hopping|mixture] [--restart-after 40] [--folder F]

All pairs, no cutoff, in argon's units (energies are printed in epsilon). Every hop is a relaxation, the random starts included, over all walkers together.
With --folder a search that was interrupted (SIGINT, SIGTERM, kill) goes on from where it stood by the same command. Global minima:
M. R. Hoare and P. Pal, Adv. Phys. 20, 161 (1971) for 13 atoms; J. Pillardy and L. Piela, J. Phys. Chem. 99, 11805 (1995) for 38, whose truncated octahedron lies in a
narrow funnel beside a wide icosahedral one. The hops are shown beside those of the program GMIN: 100 searches for LJ38 from random starts by basin hopping with the same
length of step and temperature (0.4 sigma, 1 epsilon/k) and new starts after 40 hops without gain took 2825 +- 3093 quenches and 388,000 evaluations (mean and standard
deviation; github.com/wales-group/examples, LJ38/02_Calculating_MFET).
"""
from __future__ import annotations

import argparse
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _bench import append_row, say_where, table
from ase import Atoms, units
from mdapp.minima.driver import Progress, SearchOptions, Setup, search
from mdapp.minima.library import Library, Sameness
from mdapp.minima.moves._base import Move
from mdapp.minima.moves.basin_hopping import BasinHopping
from mdapp.minima.moves.minima_hopping import MinimaHopping
from mdapp.relax.pool import RelaxationPool
from potentials.runtime.batch_evaluator import Item

EPSILON, SIGMA = 0.0103, 3.4  # eV, Å
LOWEST = {13: -44.326801, 38: -173.928427}  # epsilon
HIT = 0.02  # epsilon above it, of a relaxation that ended early; the next minimum lies 0.67 higher
GMIN = {38: (2825, 387_785)}  # mean hops and evaluations to the first encounter
MOVES: dict[str, Move] = {
    "basin-hopping": BasinHopping(step_A=0.4 * SIGMA, largest_A=0.6 * SIGMA, temperature_K=EPSILON / units.kB),
    "minima-hopping": MinimaHopping(temperature_K=60, coldest_K=5, hottest_K=400, timestep_fs=40, soften_reach_A=0.5, soften_gain=2.0),
}


class Pairs:
    """Lennard-Jones of many clusters of one size at once, by plain numpy."""

    def __init__(self) -> None:
        self.evaluations = 0
        self._sums: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __call__(self, items: Sequence[Item]) -> tuple[np.ndarray, list[np.ndarray]]:
        self.evaluations += len(items)
        x = np.stack([item.positions for item in items])
        i, j, sums = self._pairs(x.shape[1])
        d = x[:, i] - x[:, j]
        r2 = np.einsum("spk,spk->sp", d, d) / SIGMA**2
        s6 = 1.0 / r2**3
        pull = (24 * EPSILON / SIGMA**2 * (2 * s6 * s6 - s6) / r2)[:, :, None] * d
        return 4 * EPSILON * (s6 * s6 - s6).sum(1), list(np.matmul(sums, pull))

    def _pairs(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if n not in self._sums:
            i, j = np.triu_indices(n, 1)
            sums = np.zeros((n, len(i)))
            sums[i, np.arange(len(i))], sums[j, np.arange(len(i))] = 1.0, -1.0
            self._sums[n] = i, j, sums
        return self._sums[n]


class Processor:
    """Seconds of processor time of all sessions of a search, kept in a file beside it."""

    def __init__(self, path: Path):
        self.path, self.total_s = path, float(path.read_text()) if path.exists() else 0.0

    def __enter__(self) -> Processor:
        self._begin = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.total_s += time.process_time() - self._begin
        self.path.write_text(f"{self.total_s:.3f}")


@contextmanager
def kept(folder: Path | None, name: str) -> Iterator[Path]:
    """A folder that stays, or one for the moment."""
    if folder is not None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        yield folder / name
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def first_encounter(n: int, rows: Sequence[Sequence[Any]]) -> str:
    """Mean number of hops and evaluations to the global minimum; those of searches that ended before it count as far as they went (exponential waiting times)."""
    found = sum(row[2] == "found" for row in rows)
    if not found:
        return f"LJ{n}: not found in {sum(row[5] for row in rows)} hops."
    hops, evaluations = (sum(row[k] for row in rows) / found for k in (5, 7))
    there = f"; GMIN {GMIN[n][0]} hops, {GMIN[n][1]} evaluations" if n in GMIN else ""
    return f"LJ{n}: first found after {hops:.0f} +- {hops / found**0.5:.0f} hops on average, {evaluations:.0f} evaluations ({found} of {len(rows)} searches found it){there}."


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("sizes", nargs="*", type=int, default=[13, 38], choices=sorted(LOWEST))
    p.add_argument("--seeds", nargs="+", type=int, default=[1])
    p.add_argument("--walkers", type=int, default=16)
    p.add_argument("--restart-after", type=int, default=40, help="hops without gain after which a walker is thrown anew; 0: never")
    p.add_argument("--hops", type=int, default=20_000)
    p.add_argument("--folder", type=Path, help="keeps libraries and journals; thrown away when not given")
    p.add_argument("--move", choices=[*MOVES, "mixture"], default="basin-hopping")
    a = p.parse_args(argv)
    where, rows, interrupted = say_where(threads=1), [], threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: interrupted.set())
    moves = MOVES if a.move == "mixture" else {a.move: MOVES[a.move]}
    for n in a.sizes:
        for seed in a.seeds:
            evaluate, lowest, begin = Pairs(), [0.0], time.perf_counter()

            def look(now: Progress, lowest: list[float] = lowest, begin: float = begin, n: int = n) -> None:
                lowest[0] = now.lowest_eV / EPSILON
                if now.hops % 200 == 0:
                    print(f"  LJ{n}: {now.hops} hops, {now.minima} minima, lowest {lowest[0]:.4f} after {now.lowest_at}, {time.perf_counter() - begin:.0f} s", flush=True)

            with kept(a.folder, f"LJ{n}-{a.move}-{a.walkers}-{a.restart_after}-{seed}") as folder, Library(folder / "minima.h5", sameness=Sameness(energy_window_eV=2e-5)) as library, \
                    Processor(folder / "cpu_s") as cpu:
                start = Atoms(f"Ar{n}", positions=np.arange(n)[:, None] * [3.8, 0.1, 0.0])
                options = SearchOptions(walkers=a.walkers, seed=seed, hops=a.hops, random_start=True, threshold_eV=2 * EPSILON, restart_after=a.restart_after or None)
                found = search(start, evaluate, library, options,
                               Setup(moves, RelaxationPool(fmax=1e-3, steps=3000, max_step=0.5), journal=folder / "hops.jsonl"),
                               should_stop=lambda: interrupted.is_set() or lowest[0] < LOWEST[n] + HIT, on_progress=look)
            if interrupted.is_set():
                print(f"interrupted after {found.progress.hops} hops" + ("; the same command goes on." if a.folder else "."))
                return
            hit = lowest[0] < LOWEST[n] + HIT
            q = found.progress
            row = {**where, "seed": seed, "atoms": n, "move": a.move, "restart_after": a.restart_after, "walkers": a.walkers, "found": hit, "lowest_epsilon": f"{lowest[0]:.6f}", "known_epsilon": LOWEST[n],
                   "hops": q.hops, "minima": q.minima, "evaluations": q.evaluations, "seconds": q.seconds, "cpu_s": cpu.total_s}
            append_row("lennard_jones", row)
            rows.append([f"LJ{n}", seed, "found" if hit else "not found", row["lowest_epsilon"], LOWEST[n], q.hops, q.minima, q.evaluations, row["cpu_s"]])
        print(first_encounter(n, [r for r in rows if r[0] == f"LJ{n}"]))
    print(table(rows, ("cluster", "seed", "", "lowest", "known", "hops", "minima", "evaluations", "cpu_s")))


if __name__ == "__main__":
    main()
