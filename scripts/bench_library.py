"""How long does a library of minima take to place a structure, when it holds ten thousand?

    python scripts/bench_library.py [STRUCTURE...] [--minima 10000] [--queries 500]

A library is filled with conformers of a peptide (random torsions about the start's) or with random clusters (`--cluster N`), their energies spread over --spread eV, the
visits half known and half new. Known ones are turned, their equivalent atoms exchanged, with noise of 1e-3 Å and 0.5 meV; each must be found again, and every
new one must be new, before a time counts. The time of `place` is that of finding, of the journal, and now and then of folding the journal into minima.h5, which is also told by
itself. On a busy machine believe the processor times.
"""
from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from _bench import append_row, median, say_where, structures, table
from ase import Atoms
from ase.io import read
from scipy.spatial.transform import Rotation

from mdapp.analysis.dihedrals import backbone_torsions
from mdapp.minima.library import Library, Origin
from mdapp.topology import find_bonds, topology_of


def beyond(bonds: np.ndarray, i: int, j: int) -> list[int]:
    """Atoms on j's side of the bond i-j."""
    found, waiting = {j}, [j]
    while waiting:
        at = waiting.pop()
        for n in {*bonds[bonds[:, 0] == at, 1].tolist(), *bonds[bonds[:, 1] == at, 0].tolist()} - found - {i}:
            found.add(n)
            waiting.append(n)
    return sorted(found)


def conformers(start: Atoms, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, n_atoms, 3) with phi and psi turned at random, and a little of everything else."""
    bonds = find_bonds(start.numbers, start.positions, start.cell.array, start.pbc)
    torsions = backbone_torsions(topology_of(start, bonds))
    turns = [(q[1], q[2], beyond(bonds, int(q[1]), int(q[2]))) for q in (*torsions.phi, *torsions.psi)]
    found = np.repeat(start.positions[None], n, axis=0)
    for x in found:
        for i, j, moved in turns:
            axis = x[j] - x[i]
            turn = Rotation.from_rotvec(rng.uniform(0, 2 * np.pi) * axis / np.linalg.norm(axis))
            x[moved] = turn.apply(x[moved] - x[j]) + x[j]
    return found + 0.02 * rng.normal(size=found.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structure", nargs="*")
    parser.add_argument("--cluster", type=int, help="so many argon atoms in place of a peptide")
    parser.add_argument("--minima", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--spread", type=float, default=1.0, help="eV between the lowest and the highest minimum")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    where = say_where(threads=1, seed=asked.seed)
    if asked.cluster:
        starts = [(f"Ar{asked.cluster}", Atoms(f"Ar{asked.cluster}", positions=np.zeros((asked.cluster, 3))))]
    else:
        starts = [(path.stem, read(path)) for path in structures(asked.structure, ("AAA",))]
    for name, start in starts:
        start.pbc = False
        rng = np.random.default_rng(asked.seed)
        if asked.cluster:
            shapes = rng.normal(size=(asked.minima, len(start), 3)) * 1.5 * len(start) ** (1 / 3)
        else:
            shapes = conformers(start, asked.minima, rng)
        energies = rng.uniform(0, asked.spread, asked.minima)
        row = one(name, start, shapes, energies, asked.queries, rng)
        print(table([(key, value) for key, value in row.items()], (name, "")))
        print(append_row("library", {**where, **row}))


def one(name: str, start: Atoms, shapes: np.ndarray, energies: np.ndarray, queries: int, rng: np.random.Generator) -> dict[str, object]:
    """Fills a library, asks it, and tells the times in ms."""
    atoms = start.copy()
    with tempfile.TemporaryDirectory() as folder, Library(Path(folder) / "minima.h5", like=start) as library:
        symmetry = library.identity.symmetry
        merged = 0
        begin = time.perf_counter()
        for k, (x, energy) in enumerate(zip(shapes, energies)):
            atoms.positions = x
            merged += not library.place(atoms, energy, Origin("bench", None, 0, k)).is_new
        filling = time.perf_counter() - begin
        library.fold()
        wall: dict[str, list[float]] = {"known": [], "new": [], "fold": []}
        cpu: dict[str, list[float]] = {"known": [], "new": [], "fold": []}

        def timed(kind: str, work):
            begin, begin_cpu = time.perf_counter(), time.process_time()
            done = work()
            wall[kind].append(1000 * (time.perf_counter() - begin))
            cpu[kind].append(1000 * (time.process_time() - begin_cpu))
            return done

        known = library.positions()
        known_energies = library.energies()
        for q in range(queries):
            k = int(rng.integers(len(known)))
            p = symmetry.assign(rng.random((len(start), len(start))))
            atoms.positions = (known[k] + 1e-3 * rng.normal(size=start.positions.shape))[p] @ Rotation.random(random_state=q).as_matrix()
            energy = known_energies[k] + 5e-4 * rng.uniform(-1, 1)
            placed = timed("known", lambda: library.place(atoms, energy, Origin("bench", k, 0, q)))
            assert placed.index == k and not placed.is_new, (k, placed)
            atoms.positions = known[k] + 0.4 * rng.normal(size=start.positions.shape)
            assert timed("new", lambda: library.place(atoms, energy, Origin("bench", k, 0, q))).is_new
        for _ in range(5):
            atoms.positions = known[0]
            library.place(atoms, known_energies[0], Origin("bench"))
            timed("fold", library.fold)
        size = library.path.stat().st_size / 1e6
        begin = time.perf_counter()
        reread = Library(library.path, "r")
        opening = time.perf_counter() - begin
        assert len(reread) == len(library)
        return {
            "structure": name, "atoms": len(start), "minima": len(library), "merged": merged, "features": library.identity.n_features,
            "place_known_ms": median(wall["known"]), "place_known_99_ms": float(np.percentile(wall["known"], 99)), "place_known_cpu_ms": float(np.mean(cpu["known"])),
            "place_new_ms": median(wall["new"]), "place_new_99_ms": float(np.percentile(wall["new"], 99)), "place_new_cpu_ms": float(np.mean(cpu["new"])),
            "filling_ms_each": 1000 * filling / len(shapes), "fold_ms": median(wall["fold"]), "open_s": opening, "file_MB": size,
        }  # fmt: skip


if __name__ == "__main__":
    main()
