"""Atomic environment vectors and their forces: ours beside TorchANI's, the same functions on the same structures.

    python scripts/bench_descriptors.py [--repeats N] [--dtype float32] [--dry]

Both run on one thread of a CPU with pairs found beforehand, so that no neighbour search is timed; TorchANI gets its own list of pairs in
its own form. Timed is what a step of dynamics needs: the vectors, and the gradient of a fixed sum of them to the positions. The values of
both are compared before anything is timed. Calls of both take turns, and the shortest of each counts. Rows go to results/descriptors.csv.
TorchANI is not a dependency: without it, our column stands alone.
"""
from __future__ import annotations

import argparse
import time
from importlib.metadata import version

import numpy as np
import torch
from _bench import append_row, say_where
from ase import Atoms
from ase.build import molecule

from potentials.layers.symmetry_functions import SymmetryFunction, SymmetryFunctions
from potentials.neighbours import graph_of

SPECIES = (1, 6, 7, 8)  # H C N O: ANI-1x
RADIAL = dict(eta=16.0, shifts=[0.9 + 0.26875 * k for k in range(16)], cutoff=5.2)
ANGULAR = dict(eta=8.0, zeta=32.0, shifts=[0.9 + 0.65 * k for k in range(4)], sections=[np.pi / 16 * (2 * k + 1) for k in range(8)], cutoff=3.5)


def ours() -> SymmetryFunctions:
    """ANI-1x's functions as symmetry functions."""
    radial = [SymmetryFunction("AEV-R", RADIAL["cutoff"], z, eta=RADIAL["eta"], rs=rs) for z in SPECIES for rs in RADIAL["shifts"]]
    angular = [
        SymmetryFunction("AEV-A", ANGULAR["cutoff"], a, b, eta=ANGULAR["eta"], rs=rs, zeta=ANGULAR["zeta"], theta=theta)
        for k, a in enumerate(SPECIES) for b in SPECIES[k:] for rs in ANGULAR["shifts"] for theta in ANGULAR["sections"]
    ]  # fmt: skip
    return SymmetryFunctions(radial + angular, SPECIES)


def systems() -> dict[str, Atoms]:
    """From a small molecule to a drop of water."""
    rng = np.random.default_rng(0)
    water = molecule("H2O")
    grid = [np.array(p) * 3.1 for p in np.ndindex(6, 6, 6)]
    drop = Atoms()
    for place in grid:
        one = water.copy()
        one.rotate(rng.uniform(0, 360), rng.normal(size=3))
        one.positions += place + rng.normal(size=3) * 0.1
        drop += one
    return {"ethanol, 9 atoms": molecule("CH3CH2OH"), "24 waters, 72 atoms": drop[: 3 * 24], "216 waters, 648 atoms": drop}


def our_pass(atoms: Atoms, dtype: torch.dtype, module: SymmetryFunctions, weights: torch.Tensor):
    """A function that makes vectors and gradient, and the vectors."""
    graph = graph_of(atoms, RADIAL["cutoff"])
    graph.positions.requires_grad_(True)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        G = module.of_element(module(graph, dtype), 0)
        return G, torch.autograd.grad((G * weights).sum(), graph.positions)[0]

    return run


def torchani_pass(atoms: Atoms, dtype: torch.dtype, weights: torch.Tensor):
    """The same by TorchANI, or None where it is not installed."""
    try:
        from torchani.aev import AEVComputer
        from torchani.neighbors import AllPairs
    except ImportError:
        return None
    computer = AEVComputer.like_1x(num_species=4).to(dtype)
    species = torch.tensor([[SPECIES.index(z) for z in atoms.numbers]])
    positions = torch.tensor(atoms.positions[None], dtype=dtype, requires_grad=True)
    with torch.no_grad():
        found = AllPairs()(RADIAL["cutoff"], species, positions)
    i, j = found.indices

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        vectors = positions[0].index_select(0, j) - positions[0].index_select(0, i)
        sign = float(found.diff_vectors[0].detach() @ vectors[0].detach())
        pairs = type(found)(found.indices, vectors.norm(dim=1), vectors if sign > 0 else -vectors)
        G = computer.compute_from_neighbors(species, positions, pairs)[0]
        return G, torch.autograd.grad((G * weights).sum(), positions)[0][0]

    return run


def milliseconds(runs, repeats: int) -> list[float]:
    """The shortest time of each, taken in turns after two that warm up: what else the machine does can only add to it."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + 2):
        for run, found in zip(runs, times):
            start = time.perf_counter()
            run()
            found.append(time.perf_counter() - start)
    return [1000 * min(found[2:]) for found in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=100, help="of the smallest system; larger ones take fewer")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--dry", action="store_true", help="print, and keep no row")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dtype, module, where = getattr(torch, options.dtype), ours(), say_where(threads=1, seed=0)
    for name, atoms in systems().items():
        weights = torch.randn(len(atoms), module.count(1), dtype=dtype, generator=torch.Generator().manual_seed(0))
        mine, theirs = our_pass(atoms, dtype, module.to(dtype), weights), torchani_pass(atoms, dtype, weights)
        row = {"system": name, "dtype": options.dtype, "torchani": "", "torchani_ms": "", "largest_difference": "", "largest_gradient_difference": ""}
        if theirs is not None:
            (G, f), (G_ani, f_ani) = mine(), theirs()
            row |= {"torchani": version("torchani"), "largest_difference": f"{float((G - G_ani).detach().abs().max()):.1e}",
                    "largest_gradient_difference": f"{float((f - f_ani).abs().max()):.1e}"}  # fmt: skip
        found = milliseconds([run for run in (mine, theirs) if run is not None], max(options.repeats * 9 // len(atoms), 10))
        row |= {"ours_ms": round(found[0], 3)} | ({} if theirs is None else {"torchani_ms": round(found[1], 3), "ours_over_torchani": round(found[0] / found[1], 3)})
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        if not options.dry:
            append_row("descriptors", {**where, **row, "ours_over_torchani": row.get("ours_over_torchani", "")})


if __name__ == "__main__":
    main()
